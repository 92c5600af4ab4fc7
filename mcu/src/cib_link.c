/*
 * cib_link.c: CIB1 (docs/PROTOCOL.md, "Links without TLS"): a hello, a reply, then sealed records both ways, each verified before
 * a byte of it is believed. No connection is needed here: messages become keys and back, for every carrier.
 */
#include "cib_link.h"
#include "cib_bytes.h"
#include "cib_crypto.h"
#include "cib_secret.h"

#include <string.h>

/* First byte of what an HMAC is made of: what it is for, so that none can stand in another's place. */
enum { FOR_RC = 0x00, FOR_MAC1 = 0x01, FOR_MAC2 = 0x02, FOR_LINK = 0x03, FOR_SENDING = 0x10, FOR_RECEIVING = 0x11 };

/* Where things stand in a hello; a reply has no key id. */
enum { FLAGS_AT = 4, SUITE_AT = 5, ACCEPTS_AT = 6, KEY_ID_AT = 8, RANDOM_AT = 16, RANDOM_BYTES = 16, MAC_BYTES = 16 };
enum { MAC1_AT = CIB_HELLO_BYTES - MAC_BYTES, MAC2_AT = CIB_REPLY_BYTES - MAC_BYTES };
/* While a hello is made: its mac stands in it before it is cut to half. */
enum { HELLO_ROOM = MAC1_AT + 32 };

enum { SUITE = 1, FLAG_MQTT = 2, LEAST_ACCEPTED = 128, MQTT_COUNTER_BYTES = 4 };

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

/* HMAC(key, what | a | b): 0, or negative. out may be the key, or stand in a or b: they are read before. */
static int mac(uint8_t out[32], const uint8_t key[32], uint8_t what, const uint8_t *a, size_t a_n, const uint8_t *b, size_t b_n)
{
    const cib_piece pieces[] = {{&what, 1}, {a, a_n}, {b, b_n}};
    return cib_hmac(out, key, pieces, sizeof pieces / sizeof *pieces);
}

int cib_link_hello(cib_link *l, uint8_t flags)
{
    uint8_t *hello = l->tx;
    uint8_t *random = hello + RANDOM_AT;
    cib_key *key = l->key;
    size_t more = CIB_RECORD_MORE + (flags & FLAG_MQTT ? MQTT_COUNTER_BYTES : 0u);
    cib_link_wipe(l);
    if (l->tx_room < HELLO_ROOM || l->rx_room < more + LEAST_ACCEPTED)
        return CIB_EROOM;
    memcpy(hello, "CIB1", 4);
    hello[FLAGS_AT] = flags;
    hello[SUITE_AT] = SUITE;
    cib_put16(hello + ACCEPTS_AT, (uint16_t)(l->rx_room - more));
    memcpy(hello + KEY_ID_AT, key->id, CIB_KEY_ID_BYTES);
    /* Rc, never the same twice for one key, or the keys of a link would be. It becomes the hash of what it is made of. */
    cib_put32(random, key->boot);
    cib_put32(random + 4, key->uses++);
    if (l->port->random(l->port->user, random + 8, RANDOM_BYTES) < 0
        || mac(random, key->prk0, FOR_RC, random, 8 + RANDOM_BYTES, NULL, 0) != 0
        || mac(hello + MAC1_AT, key->prk0, FOR_MAC1, hello, MAC1_AT, NULL, 0) != 0)
        return CIB_ERANDOM;
    l->state = CIB_LINK_GREETING;
    return CIB_OK;
}

int cib_link_reply(cib_link *l, const uint8_t *reply, size_t n)
{
    const uint8_t *hello = l->tx;
    const uint8_t *prk0 = l->key->prk0;
    uint8_t *proof = l->receive_key; /* until there is that key */
    uint8_t *prk1 = l->send_key;
    if (l->state != CIB_LINK_GREETING)
        return CIB_EBUSY;
    /* The same magic, flags and suite as ours: X25519, the one flag that may differ, we never ask for. */
    if (n != CIB_REPLY_BYTES || memcmp(reply, hello, ACCEPTS_AT) != 0)
        return CIB_EFORMAT;
    if (mac(proof, prk0, FOR_MAC2, hello, CIB_HELLO_BYTES, reply, MAC2_AT) != 0)
        return CIB_ERANDOM;
    if (!cib_same(proof, reply + MAC2_AT, MAC_BYTES))
        return CIB_EKEY;
    if (mac(prk1, prk0, FOR_LINK, hello, CIB_HELLO_BYTES, reply, CIB_REPLY_BYTES) != 0
        || mac(l->receive_key, prk1, FOR_RECEIVING, NULL, 0, NULL, 0) != 0
        || mac(l->send_key, prk1, FOR_SENDING, NULL, 0, NULL, 0) != 0)
        return CIB_ERANDOM;
    l->accepts = cib_get16(reply + ACCEPTS_AT);
    if (l->accepts < LEAST_ACCEPTED)
        return CIB_EFORMAT;
    l->state = CIB_LINK_LIVE;
    return CIB_OK;
}

int cib_link_seal(cib_link *l, uint8_t *record, size_t n)
{
    if (l->state != CIB_LINK_LIVE)
        return CIB_EBUSY;
    if (n > l->accepts)
        return CIB_EROOM;
    if (l->sent >= CIB_LINK_RECORDS)
        return CIB_EREKEY;
    cib_put16(record, (uint16_t)n);
    /* Counted first: whatever becomes of this record, its number is never used again. */
    if (cib_seal(l->send_key, l->sent++, record, n) != 0)
        return CIB_ERANDOM;
    return (int)(n + CIB_RECORD_MORE);
}

int cib_link_open(cib_link *l, uint8_t *record, size_t n)
{
    if (l->state != CIB_LINK_LIVE)
        return CIB_EBUSY;
    if (n < CIB_RECORD_MORE || cib_get16(record) != n - CIB_RECORD_MORE)
        return CIB_EFORMAT;
    if (l->received >= CIB_LINK_RECORDS)
        return CIB_EREKEY;
    int result = cib_open(l->receive_key, l->received, record, n - CIB_RECORD_MORE);
    if (result < 0)
        return result;
    l->received++;
    return (int)(n - CIB_RECORD_MORE);
}

void cib_link_wipe(cib_link *l)
{
    cib_wipe(l->send_key, sizeof l->send_key);
    cib_wipe(l->receive_key, sizeof l->receive_key);
    l->state = CIB_LINK_CLOSED;
    l->got = 0;
    l->sent = l->received = 0;
}

bool cib_link_ready(const cib_link *l)
{
    return l->state == CIB_LINK_LIVE;
}
