/* desk_link.c: the way of a desk through a CIB1 link (docs/PROTOCOL.md, "Links without TLS: CIB1"). */
#include "desk_link.h"

#include <string.h>

/* Reads of what an old connection left, each of up to a record: more than any ring holds. */
#define OLD_PIECES 64

void desk_link_init(desk_link *l, desk *d, cib_key *key, const cib_port *port, uint32_t types, uint8_t *rx, size_t rx_room,
                    uint8_t *tx, size_t tx_room)
{
    memset(l, 0, sizeof *l);
    l->desk = d;
    l->types = types;
    l->away = true;
    cib_link_init(&l->link, key, port, rx, rx_room, tx, tx_room);
}

static uint32_t now(const desk_link *l)
{
    return l->link.port->ms(l->link.port->user);
}

/* What is there before the hello cannot answer it: behind a serial bridge it is of the connection before. */
static void forget(const cib_link *link)
{
    for (int pieces = 0; pieces < OLD_PIECES; pieces++)
        if (link->port->recv(link->port->user, link->rx, link->rx_room) <= 0)
            return;
}

static int lost(desk_link *l, int error)
{
    const enum cib_bye bye = l->link.bye;
    desk_lost(l->desk);
    l->away = true;
    l->over = error == CIB_EBYE && (bye == CIB_BYE_SUPERSEDED || bye == CIB_BYE_REVOKED || bye == CIB_BYE_EXPIRED);
    l->since = now(l);
    l->wait = cib_backoff(l->tries, l->since * UINT32_C(2654435761));
    if (l->tries < UINT8_MAX)
        l->tries++;
    return error;
}

static void take(desk_link *l, size_t n)
{
    cib_reader r = cib_reader_of(l->link.plain, n);
    cib_item item;
    l->tries = 0;
    while (cib_next(&r, &item) > 0)
        desk_take(l->desk, &item);
}

static int send_due(desk_link *l)
{
    cib_outbox *o = &l->desk->outbox;
    if (cib_follow_due(&l->desk->follow)) {
        cib_writer w = cib_link_writer(&l->link);
        cib_cmd_attach(&w, &l->desk->follow, l->types);
        return cib_link_send(&l->link, &w);
    }
    if (!cib_outbox_due(o))
        return 0;
    const int error = cib_link_send_bytes(&l->link, o->bytes, o->n);
    o->sent = error >= 0;
    return error;
}

int desk_link_step(desk_link *l)
{
    int n;
    if (l->away) {
        if (l->over || now(l) - l->since < l->wait)
            return 0;
        l->away = false;
        forget(&l->link);
        n = cib_link_start(&l->link);
    } else {
        n = cib_link_poll(&l->link);
    }
    if (n > 0)
        take(l, (size_t)n);
    if (n >= 0 && cib_link_ready(&l->link))
        n = send_due(l);
    return n < 0 ? lost(l, n) : 0;
}
