/*
 * device.c: one connection after the other, and on each of them what docs/PROTOCOL.md asks of a client. The loop to take
 * with you: device_next, at the end, and what it calls.
 */
#include "device.h"

#include <string.h>

/* docs/PROTOCOL.md, "When to give up": so many hellos answered with a close, and never a reply. */
#define MAX_TURNED_AWAY 6u
/* One AES request waits for frames this long: well before the token of its answer is too old (120 s). */
#define REQUEST_WAIT_MS 60000u
#define REQUEST_FRAMES 1000u
/* Before asking again where there was no session yet, or for what the box could not do just now. */
#define PATIENCE_MS 2000u
#define LIST_ID 1u

enum { AWAY, CONNECTED };

void device_init(device *d, const uint8_t *session)
{
    cib_outbox_init(&d->outbox, d->kept, sizeof d->kept);
    d->has_session = session != NULL;
    if (session != NULL) {
        cib_follow_init(&d->follow, session);
        carrier_session(&d->carrier, session);
    }
    d->types = d->max_bytes = d->tries = d->wait_ms = 0;
    d->turned_away = 0;
    d->state = AWAY;
    d->is_up = false;
    d->bye = CIB_BYE_OTHER;
    d->reader = cib_reader_of(NULL, 0);
}

static uint32_t now(const device *d)
{
    return d->carrier.port.ms(d->carrier.port.user);
}

static uint32_t any_number(const device *d)
{
    uint8_t bytes[4] = {0};
    (void)d->carrier.port.random(d->carrier.port.user, bytes, sizeof bytes);
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* From now on, nothing of its own is said for so long. */
static void wait_for(device *d, uint32_t ms)
{
    d->since = now(d);
    d->wait_ms = ms;
}

static bool has_waited(device *d)
{
    if (d->wait_ms != 0 && now(d) - d->since < d->wait_ms)
        return false;
    d->wait_ms = 0;
    return true;
}

/* ------------------------------------------------------------------ what we say */

/* The one that needs you first stands first: working sessions come before idle ones, new before old. */
static int ask_for_a_session(device *d)
{
    cib_writer w = carrier_writer(&d->carrier);
    cib_cmd_begin(&w, "sessions.list", NULL, LIST_ID, NULL, 1);
    cib_write_text(&w, "limit");
    cib_write_uint(&w, 1);
    wait_for(d, PATIENCE_MS);
    return carrier_send(&d->carrier, &w);
}

static int attach(device *d)
{
    cib_writer w = carrier_writer(&d->carrier);
    uint32_t max_bytes = d->max_bytes != 0 ? d->max_bytes : CARRIER_TAKES;
    d->listens = true;
    bool request = d->carrier.kind == CARRIER_HTTP;
    cib_cmd_attach_for(&w, &d->follow, d->types, request ? REQUEST_FRAMES : 0, request ? REQUEST_WAIT_MS : 0, max_bytes);
    return carrier_send(&d->carrier, &w);
}

static int send_kept(device *d)
{
    cib_writer w = carrier_writer(&d->carrier);
    if ((size_t)(w.end - w.at) < d->outbox.n)
        return CIB_EROOM;
    memcpy(w.at, d->outbox.bytes, d->outbox.n);
    w.at += d->outbox.n;
    d->outbox.sent = true;
    return carrier_send(&d->carrier, &w);
}

/* The request, or the connection, that carried these is over. */
static void forget_what_was_under_way(device *d)
{
    if (d->has_session)
        cib_follow_lost(&d->follow);
    cib_outbox_lost(&d->outbox);
    d->listens = false;
}

/* At most one command; the next comes with the next turn. */
static int say_what_is_due(device *d)
{
    if (d->carrier.kind == CARRIER_HTTP && d->listens && cib_outbox_due(&d->outbox)) {
        /* The request that only waits for frames makes room. */
        carrier_close(&d->carrier);
        forget_what_was_under_way(d);
    }
    if (!carrier_ready(&d->carrier) || !has_waited(d))
        return 0;
    if (!d->has_session)
        return ask_for_a_session(d);
    if (cib_outbox_due(&d->outbox))
        return send_kept(d);
    return cib_follow_due(&d->follow) ? attach(d) : 0;
}

/* ------------------------------------------------------------------ what we hear */

/* The reply to sessions.list: {sessions: [{session: <16 bytes>, ...}]}. */
static void take_session(device *d)
{
    cib_reader list;
    if (!d->item.reply.ok || !cib_reply_field(&d->item.reply, "sessions", &list))
        return;
    if (cib_read_head(&list, CIB_CBOR_ARRAY) == 0)
        return;
    uint64_t pairs = cib_read_head(&list, CIB_CBOR_MAP);
    while (pairs-- > 0 && list.error == 0) {
        cib_text key = cib_read_text(&list);
        if (!cib_text_is(key, "session")) {
            cib_skip(&list);
            continue;
        }
        cib_text session = cib_read_text(&list);
        if (session.n != CIB_SESSION_BYTES)
            return;
        cib_follow_init(&d->follow, session.at);
        carrier_session(&d->carrier, session.at);
        d->has_session = true;
        d->wait_ms = 0;
    }
}

/* 1: there is one; 0: all have been told; or CIB_EFORMAT. */
static int next_item(device *d)
{
    int more = cib_next(&d->reader, &d->item);
    if (more <= 0)
        return more;
    d->taken = d->has_session ? cib_follow_take(&d->follow, &d->item) : CIB_OLD;
    d->settled = cib_outbox_take(&d->outbox, &d->item);
    if (cib_outbox_due(&d->outbox) && d->settled)
        wait_for(d, PATIENCE_MS);
    if (!d->has_session && d->item.kind == CIB_ITEM_REPLY && d->item.reply.id == LIST_ID)
        take_session(d);
    /* Links find a goodbye themselves; over MQTT and in envelopes it is an item. The end of a request is none. */
    if (d->item.kind == CIB_ITEM_BYE && d->item.reason < CIB_BYE_MAX_FRAMES) {
        d->why = CIB_EBYE;
        d->bye = d->item.reason;
    }
    return 1;
}

/* ------------------------------------------------------------------ the end of a connection */

static bool is_final(const device *d, int why)
{
    const carrier *c = &d->carrier;
    if (why == CIB_EBYE)
        return d->bye >= CIB_BYE_SUPERSEDED && d->bye <= CIB_BYE_BAD_REQUEST;
    /* CONNACK 3: the box is full, or saw too many wrong passwords from here; later it may not be (docs/MQTT.md). */
    if (why == CIB_EREFUSED)
        return c->kind == CARRIER_HTTP ? c->http.status == 401 : c->mqtt.status != 3;
    return !c->known && d->turned_away >= MAX_TURNED_AWAY;
}

static enum device_news lose(device *d, int why)
{
    d->reader = cib_reader_of(NULL, 0);
    if (why == CIB_EBYE && d->why != CIB_EBYE)
        d->bye = carrier_bye(&d->carrier);
    carrier_close(&d->carrier);
    forget_what_was_under_way(d);
    d->why = why;
    d->state = AWAY;
    d->is_up = false;
    if (is_final(d, why))
        return DEVICE_OVER;
    bool at_once = why == CIB_EREKEY || (why == CIB_EBYE && d->bye == CIB_BYE_REKEY);
    wait_for(d, at_once ? 0 : cib_backoff(d->tries++, any_number(d)));
    return DEVICE_DOWN;
}

/* ------------------------------------------------------------------ one turn after the other */

static int connect_again(device *d)
{
    d->why = 0;
    d->is_quiet = true;
    int error = carrier_open(&d->carrier);
    /* A connection that never came about says nothing of our key: the box is away. */
    if (error < 0)
        return error;
    d->state = CONNECTED;
    if (!d->carrier.known)
        d->turned_away++;
    return CIB_OK;
}

/* Whether there is something to read in the other file. */
static bool sleep_until_something_comes(device *d, int other)
{
    uint32_t waited = now(d) - d->since;
    bool soon = d->wait_ms != 0 && d->wait_ms - waited < DEVICE_TICK_MS;
    int ms = !soon ? DEVICE_TICK_MS : waited < d->wait_ms ? (int)(d->wait_ms - waited) : 0;
    return (cib_posix_wait(&d->carrier.net, other, ms) & CIB_POSIX_OTHER) != 0;
}

enum device_news device_next(device *d, int other)
{
    for (;;) {
        int more = next_item(d);
        if (more > 0)
            return DEVICE_ITEM;
        if (more < 0)
            return lose(d, more);
        if (d->state == AWAY && has_waited(d)) {
            int error = connect_again(d);
            if (error < 0)
                return lose(d, error);
        }
        int n = d->state == AWAY ? 0 : d->why == CIB_EBYE ? CIB_EBYE : carrier_poll(&d->carrier);
        if (n == CIB_HTTP_END) {
            forget_what_was_under_way(d);
            continue;
        }
        if (n > 0) {
            d->tries = 0;
            d->is_quiet = false;
            d->reader = cib_reader_of(d->carrier.plain, (size_t)n);
            continue;
        }
        if (n == 0 && d->state == CONNECTED && !d->is_up && carrier_ready(&d->carrier)) {
            d->is_up = true;
            return DEVICE_UP;
        }
        if (n == 0 && d->state == CONNECTED)
            n = say_what_is_due(d);
        if (n < 0)
            return lose(d, n);
        if (!d->is_quiet) {
            d->is_quiet = true;
            return DEVICE_QUIET;
        }
        if (sleep_until_something_comes(d, other))
            return DEVICE_INPUT;
    }
}
