/*
 * cib_tcp.c: a link over raw TCP, or any line that keeps bytes in order (docs/PROTOCOL.md, "Records" to "Keeping alive, ending,
 * coming back"): collecting what comes in pieces, sending what is due, finding out that nobody is there any more.
 */
#include "cib_link.h"
#include "cib_bytes.h"
#include "cib_send.h"

#include <string.h>

/* Records left in a direction when it is time to go. */
#define RECORDS_LEFT_TO_GO 1000u

/* Something at least every 30 s, by one who polls every second. */
#define KEEP_MS 29000u
#define DEAD_MS 90000u
/* The box gives up after 5 s. */
#define REPLY_MS 10000u

static uint32_t now(const cib_link *l)
{
    return l->port->ms(l->port->user);
}

int cib_link_start(cib_link *l)
{
    int result = cib_link_hello(l, 0);
    if (result == CIB_OK)
        result = cib_send_all(l->port, l->tx, CIB_HELLO_BYTES);
    l->heard = now(l);
    return result;
}

/* Seals n bytes that stand at record + 2, and sends them. */
static int send_record(cib_link *l, uint8_t *record, size_t n)
{
    int size = cib_link_seal(l, record, n);
    if (size < 0)
        return size;
    l->spoke = now(l);
    return cib_send_all(l->port, record, (size_t)size);
}

cib_writer cib_link_writer(cib_link *l)
{
    size_t room = (size_t)l->tx_room - CIB_RECORD_MORE; /* a hello fitted, or no link would live */
    cib_writer w = cib_writer_of(l->tx + CIB_LENGTH_BYTES, room < l->accepts ? room : l->accepts);
    w.full = l->state != CIB_LINK_LIVE;
    return w;
}

int cib_link_send(cib_link *l, const cib_writer *w)
{
    if (l->state != CIB_LINK_LIVE)
        return CIB_EBUSY;
    return w->full ? CIB_EROOM : send_record(l, l->tx, cib_written(w));
}

int cib_link_send_bytes(cib_link *l, const uint8_t *bytes, size_t n)
{
    if (l->state != CIB_LINK_LIVE)
        return CIB_EBUSY;
    if (n > (size_t)l->tx_room - CIB_RECORD_MORE)
        return CIB_EROOM;
    memcpy(l->tx + CIB_LENGTH_BYTES, bytes, n);
    return send_record(l, l->tx, n);
}

/* {"bye": "done"} and {"bye": "rekey"} */
static const uint8_t DONE[] = {0xa1, 0x63, 'b', 'y', 'e', 0x64, 'd', 'o', 'n', 'e'};
static const uint8_t REKEY[] = {0xa1, 0x63, 'b', 'y', 'e', 0x65, 'r', 'e', 'k', 'e', 'y'};

int cib_link_end(cib_link *l)
{
    int result = cib_link_send_bytes(l, DONE, sizeof DONE);
    cib_link_wipe(l);
    return result;
}

/* Collects up to `size` bytes in rx. 1: they are all there; 0: not yet. */
static int collect(cib_link *l, size_t size)
{
    while (l->got < size) {
        int n = l->port->recv(l->port->user, l->rx + l->got, size - l->got);
        if (n < 0 || (size_t)n > size - l->got)
            return CIB_ELINE;
        if (n == 0)
            return 0;
        l->got = (uint16_t)(l->got + n);
    }
    return 1;
}

int cib_link_before_bye(cib_link *l, int n)
{
    cib_reader r = cib_reader_of(l->plain, (size_t)n);
    cib_item item;
    int found;
    const uint8_t *start = r.at;
    while ((found = cib_next(&r, &item)) > 0) {
        if (item.kind == CIB_ITEM_BYE) {
            l->bye = item.reason;
            l->state = CIB_LINK_LEAVING;
            return start == l->plain ? CIB_EBYE : (int)(start - l->plain);
        }
        start = r.at;
    }
    return found < 0 ? found : n;
}

/* One whole message: the reply, or a record. */
static int receive(cib_link *l)
{
    size_t size = l->state == CIB_LINK_GREETING ? CIB_REPLY_BYTES : CIB_LENGTH_BYTES;
    int n = collect(l, size);
    if (n > 0 && l->state == CIB_LINK_LIVE) {
        size = (size_t)cib_get16(l->rx) + CIB_RECORD_MORE;
        n = size > l->rx_room ? CIB_EFORMAT : collect(l, size);
    }
    if (n <= 0)
        return n;
    l->got = 0;
    l->heard = now(l);
    if (l->state == CIB_LINK_LIVE) {
        l->plain = l->rx + CIB_LENGTH_BYTES;
        return cib_link_open(l, l->rx, size);
    }
    /* Our first record makes the link live at the box: if no command is the first, the next poll sends an empty one. */
    l->spoke = l->heard - KEEP_MS;
    return cib_link_reply(l, l->rx, size);
}

/* Time for an empty record, or for the end of these keys? It may stand beside a command that is being written in tx. */
static int keep_alive(cib_link *l)
{
    uint8_t record[CIB_RECORD_MORE];
    uint32_t most = l->sent > l->received ? l->sent : l->received;
    if (most >= CIB_LINK_RECORDS - RECORDS_LEFT_TO_GO) {
        int result = cib_link_send_bytes(l, REKEY, sizeof REKEY);
        return result < 0 ? result : CIB_EREKEY;
    }
    return now(l) - l->spoke >= KEEP_MS ? send_record(l, record, 0) : CIB_OK;
}

static int poll(cib_link *l)
{
    if (l->state == CIB_LINK_CLOSED)
        return CIB_EBUSY;
    if (l->state == CIB_LINK_LEAVING)
        return CIB_EBYE;
    uint32_t patience = l->state == CIB_LINK_LIVE ? DEAD_MS : REPLY_MS;
    int n = l->state == CIB_LINK_LIVE ? keep_alive(l) : CIB_OK;
    if (n == CIB_OK)
        n = receive(l);
    if (n == 0 && now(l) - l->heard >= patience)
        return CIB_EDEAD;
    return n > 0 ? cib_link_before_bye(l, n) : n;
}

int cib_link_poll(cib_link *l)
{
    int n = poll(l);
    if (n < 0)
        cib_link_wipe(l);
    return n;
}
