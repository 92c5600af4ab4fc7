/*
 * cib_link.c: CIB1 (docs/PROTOCOL.md, "Links without TLS"): a hello, a reply, then sealed records both ways, each verified before
 * a byte of it is believed.
 *
 * The first half needs no connection: it turns messages into keys and back, for every carrier. The second half is raw TCP.
 */
#include "cib.h"
#include "cib_bytes.h"
#include "cib_crypto.h"
#include "cib_secret.h"
#include "cib_send.h"

#include <string.h>

/* l->state. LEAVING: the goodbye was read, and is told at the next poll. */
enum { CLOSED = 0, GREETING = 1, LIVE = 2, LEAVING = 3 };

/* First byte of what an HMAC is made of: what it is for, so that none can stand in another's place. */
enum { FOR_RC = 0x00, FOR_MAC1 = 0x01, FOR_MAC2 = 0x02, FOR_LINK = 0x03, FOR_SENDING = 0x10, FOR_RECEIVING = 0x11 };

/* Where things stand in a hello; a reply has no key id. */
enum { FLAGS_AT = 4, SUITE_AT = 5, ACCEPTS_AT = 6, HEAD_BYTES = 8, RANDOM_BYTES = 16, MAC_BYTES = 16 };
enum { MAC1_AT = CIB_HELLO_BYTES - MAC_BYTES, MAC2_AT = CIB_REPLY_BYTES - MAC_BYTES };

enum { SUITE = 1, FLAG_MQTT = 2, LEAST_ACCEPTED = 128, MQTT_COUNTER_BYTES = 4 };
enum { LENGTH_BYTES = 2, TAG_BYTES = 16, RECORD_MORE = LENGTH_BYTES + TAG_BYTES };

/* Counters 0 to 16,777,214 are a link's; about 1,000 before it is time to go. */
#define RECORDS ((UINT32_C(1) << 24) - 1)
#define RECORDS_LEFT_TO_GO 1000u

/* Something at least every 30 s, by one who polls every second. */
#define KEEP_MS 29000u
#define DEAD_MS 90000u
/* The box gives up after 5 s. */
#define REPLY_MS 10000u

/* ------------------------------------------------------------------ keys and records */

/* HMAC(key, what | pieces); `pieces` has room for `what` at its beginning. */
static int mac(uint8_t out[32], const uint8_t key[32], uint8_t what, cib_piece *pieces, size_t count)
{
    pieces[0].at = &what;
    pieces[0].n = 1;
    return cib_hmac(out, key, pieces, count) == 0 ? CIB_OK : CIB_ERANDOM;
}

/* Rc: never the same twice for one key, or the keys of a link would be. */
static int make_random(cib_link *l, uint8_t out[32])
{
    uint8_t fresh[8 + RANDOM_BYTES];
    cib_piece pieces[2] = {{NULL, 0}, {fresh, sizeof fresh}};
    cib_put32(fresh, l->key->boot);
    cib_put32(fresh + 4, l->key->uses++);
    if (l->port->random(l->port->user, fresh + 8, RANDOM_BYTES) < 0)
        return CIB_ERANDOM;
    return mac(out, l->key->prk0, FOR_RC, pieces, 2);
}

/* The largest plaintext that rx holds. */
static size_t room_of(const cib_link *l)
{
    size_t more = RECORD_MORE + (l->flags & FLAG_MQTT ? MQTT_COUNTER_BYTES : 0u);
    return l->rx_room > more ? l->rx_room - more : 0;
}

int cib_link_hello(cib_link *l, uint8_t flags)
{
    static const uint8_t HEAD[HEAD_BYTES] = {'C', 'I', 'B', '1', 0, SUITE, 0, 0};
    uint8_t *hello = l->tx;
    uint8_t hash[32];
    cib_piece pieces[2] = {{NULL, 0}, {hello, MAC1_AT}};
    cib_link_wipe(l);
    l->flags = flags;
    if (l->tx_room < CIB_HELLO_BYTES || room_of(l) < LEAST_ACCEPTED)
        return CIB_EROOM;
    memcpy(hello, HEAD, HEAD_BYTES);
    hello[FLAGS_AT] = flags;
    cib_put16(hello + ACCEPTS_AT, (uint16_t)room_of(l));
    memcpy(hello + HEAD_BYTES, l->key->id, CIB_KEY_ID_BYTES);
    int result = make_random(l, hash);
    memcpy(hello + HEAD_BYTES + CIB_KEY_ID_BYTES, hash, RANDOM_BYTES);
    if (result == CIB_OK)
        result = mac(hash, l->key->prk0, FOR_MAC1, pieces, 2);
    memcpy(hello + MAC1_AT, hash, MAC_BYTES);
    if (result == CIB_OK)
        l->state = GREETING;
    return result;
}

int cib_link_reply(cib_link *l, const uint8_t *reply, size_t n)
{
    const uint8_t *hello = l->tx;
    uint8_t hash[32];
    cib_piece pieces[3] = {{NULL, 0}, {hello, CIB_HELLO_BYTES}, {reply, MAC2_AT}};
    if (l->state != GREETING)
        return CIB_EBUSY;
    /* The same magic, suite and flags as ours: X25519, the one flag that may differ, we never ask for. */
    if (n != CIB_REPLY_BYTES || memcmp(reply, hello, ACCEPTS_AT) != 0)
        return CIB_EFORMAT;
    int result = mac(hash, l->key->prk0, FOR_MAC2, pieces, 3);
    if (result == CIB_OK && !cib_same(hash, reply + MAC2_AT, MAC_BYTES))
        result = CIB_EKEY;
    pieces[2].n = CIB_REPLY_BYTES;
    if (result == CIB_OK)
        result = mac(hash, l->key->prk0, FOR_LINK, pieces, 3);
    if (result == CIB_OK)
        result = mac(l->send_key, hash, FOR_SENDING, pieces, 1);
    if (result == CIB_OK)
        result = mac(l->receive_key, hash, FOR_RECEIVING, pieces, 1);
    cib_wipe(hash, sizeof hash);
    l->accepts = cib_get16(reply + ACCEPTS_AT);
    if (result == CIB_OK && l->accepts < LEAST_ACCEPTED)
        result = CIB_EFORMAT;
    if (result == CIB_OK)
        l->state = LIVE;
    return result;
}

int cib_link_seal(cib_link *l, uint8_t *record, size_t n)
{
    if (l->state != LIVE)
        return CIB_EBUSY;
    if (n > l->accepts)
        return CIB_EROOM;
    if (l->sent >= RECORDS)
        return CIB_EREKEY;
    cib_put16(record, (uint16_t)n);
    /* Counted first: whatever becomes of this record, its number is never used again. */
    if (cib_seal(l->send_key, l->sent++, record, n) != 0)
        return CIB_ERANDOM;
    return (int)(n + RECORD_MORE);
}

int cib_link_open(cib_link *l, uint8_t *record, size_t n)
{
    if (l->state != LIVE)
        return CIB_EBUSY;
    if (n < RECORD_MORE || cib_get16(record) != n - RECORD_MORE)
        return CIB_EFORMAT;
    if (l->received >= RECORDS)
        return CIB_EREKEY;
    if (cib_open(l->receive_key, l->received, record, n - RECORD_MORE) != 0)
        return CIB_EKEY;
    l->received++;
    return (int)(n - RECORD_MORE);
}

void cib_link_wipe(cib_link *l)
{
    cib_wipe(l->send_key, sizeof l->send_key);
    cib_wipe(l->receive_key, sizeof l->receive_key);
    l->state = CLOSED;
    l->got = 0;
    l->sent = l->received = 0;
}

/* ------------------------------------------------------------------ raw TCP */

void cib_link_init(cib_link *l, cib_key *key, const cib_port *port, uint8_t *rx, size_t rx_room, uint8_t *tx, size_t tx_room)
{
    memset(l, 0, sizeof *l);
    l->key = key;
    l->port = port;
    l->rx = rx;
    l->tx = tx;
    l->rx_room = (uint16_t)(rx_room < UINT16_MAX ? rx_room : UINT16_MAX);
    l->tx_room = (uint16_t)(tx_room < UINT16_MAX ? tx_room : UINT16_MAX);
}

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

bool cib_link_ready(const cib_link *l)
{
    return l->state == LIVE;
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
    size_t room = (size_t)l->tx_room - RECORD_MORE; /* a hello fitted, or no link would live */
    cib_writer w = cib_writer_of(l->tx + LENGTH_BYTES, room < l->accepts ? room : l->accepts);
    w.full = l->state != LIVE;
    return w;
}

int cib_link_send(cib_link *l, const cib_writer *w)
{
    if (l->state != LIVE)
        return CIB_EBUSY;
    return w->full ? CIB_EROOM : send_record(l, l->tx, cib_written(w));
}

int cib_link_send_bytes(cib_link *l, const uint8_t *bytes, size_t n)
{
    if (l->state != LIVE)
        return CIB_EBUSY;
    if (n > (size_t)l->tx_room - RECORD_MORE)
        return CIB_EROOM;
    memcpy(l->tx + LENGTH_BYTES, bytes, n);
    return send_record(l, l->tx, n);
}

static int say_bye(cib_link *l, const char *reason)
{
    cib_writer w = cib_link_writer(l);
    cib_write_head(&w, CIB_CBOR_MAP, 1);
    cib_write_text(&w, "bye");
    cib_write_text(&w, reason);
    return cib_link_send(l, &w);
}

int cib_link_end(cib_link *l)
{
    int result = say_bye(l, "done");
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

/* What of a plaintext is to be given out: all of it, or what stands before a goodbye. */
static int before_bye(cib_link *l, int n)
{
    cib_reader r = cib_reader_of(l->plain, (size_t)n);
    cib_item item;
    int found;
    const uint8_t *start = r.at;
    while ((found = cib_next(&r, &item)) > 0) {
        if (item.kind == CIB_ITEM_BYE) {
            l->bye = item.reason;
            l->state = LEAVING;
            return start == l->plain ? CIB_EBYE : (int)(start - l->plain);
        }
        start = r.at;
    }
    return found < 0 ? found : n;
}

/* One whole message: the reply, or a record. */
static int receive(cib_link *l)
{
    size_t size = l->state == GREETING ? CIB_REPLY_BYTES : LENGTH_BYTES;
    int n = collect(l, size);
    if (n > 0 && l->state == LIVE) {
        size = (size_t)cib_get16(l->rx) + RECORD_MORE;
        n = size > l->rx_room ? CIB_EFORMAT : collect(l, size);
    }
    if (n <= 0)
        return n;
    l->got = 0;
    l->heard = now(l);
    if (l->state == LIVE) {
        l->plain = l->rx + LENGTH_BYTES;
        return cib_link_open(l, l->rx, size);
    }
    /* Our first record makes the link live at the box: if no command is the first, the next poll sends an empty one. */
    l->spoke = l->heard - KEEP_MS;
    return cib_link_reply(l, l->rx, size);
}

/* Time for an empty record, or for the end of these keys? It may stand beside a command that is being written in tx. */
static int keep_alive(cib_link *l)
{
    uint8_t record[RECORD_MORE];
    uint32_t most = l->sent > l->received ? l->sent : l->received;
    if (most >= RECORDS - RECORDS_LEFT_TO_GO) {
        int result = say_bye(l, "rekey");
        return result < 0 ? result : CIB_EREKEY;
    }
    return now(l) - l->spoke >= KEEP_MS ? send_record(l, record, 0) : CIB_OK;
}

static int poll(cib_link *l)
{
    if (l->state == CLOSED)
        return CIB_EBUSY;
    if (l->state == LEAVING)
        return CIB_EBYE;
    uint32_t patience = l->state == LIVE ? DEAD_MS : REPLY_MS;
    int n = l->state == LIVE ? keep_alive(l) : CIB_OK;
    if (n == CIB_OK)
        n = receive(l);
    if (n == 0 && now(l) - l->heard >= patience)
        return CIB_EDEAD;
    return n > 0 ? before_bye(l, n) : n;
}

int cib_link_poll(cib_link *l)
{
    int n = poll(l);
    if (n < 0)
        cib_link_wipe(l);
    return n;
}
