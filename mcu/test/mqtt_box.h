/* mqtt_box.h: the box's side of a sealed link over MQTT, for tests: answers the hello, seals what is to come. */
#ifndef MQTT_BOX_H
#define MQTT_BOX_H

#include <stdlib.h>

#include "cib_bytes.h"
#include "cib_crypto.h"
#include "fake_port.h"

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static const char DOWN[] = "cib/link/0100000000000000/down";

static fake line;
static cib_mqtt m;
static cib_link l;
static cib_message message;
static cib_key key;
/* What the box says next. */
static uint8_t wire[2048];
static uint8_t sealed[4 + 18 + 255];

/* A message of QoS 1. */
static inline void box_says(const char *topic, const uint8_t *payload, size_t n)
{
    static uint16_t id;
    size_t topic_n = strlen(topic), rest = 2 + topic_n + 2 + n, at = 0;
    wire[at++] = 0x32;
    wire[at++] = (uint8_t)(rest | 0x80);
    wire[at++] = (uint8_t)(rest >> 7);
    cib_put16(wire + at, (uint16_t)topic_n);
    memcpy(wire + at + 2, topic, topic_n);
    at += 2 + topic_n;
    id = id == UINT16_MAX ? 1 : (uint16_t)(id + 1);
    cib_put16(wire + at, id);
    if (n > 0)
        memcpy(wire + at + 2, payload, n);
    fake_give(&line, wire, at + 2 + n);
}

static inline void box_answers(uint8_t first, const uint8_t *rest, size_t n)
{
    wire[0] = first;
    wire[1] = (uint8_t)n;
    memcpy(wire + 2, rest, n);
    fake_give(&line, wire, 2 + n);
    MUST(cib_mqtt_poll(&m, &message) == 0);
}

/* What waits for an acknowledgement has it. */
static inline void box_acknowledges(void)
{
    uint8_t rest[3] = { 0, 0, 1 };
    cib_put16(rest, m.waiting);
    if (m.waiting != 0)
        box_answers(m.state, rest, m.state == 0x90 ? 3 : 2);
}

/* The next message, as the client's loop has it. */
static inline int hears(void)
{
    int n = cib_mqtt_poll(&m, &message);
    if (n <= 0)
        return n;
    n = cib_mqtt_link_take(&m, &l, &message);
    MUST(cib_mqtt_ack(&m, &message) == 0);
    return n;
}

static inline void box_reply(uint8_t reply[CIB_REPLY_BYTES])
{
    uint8_t mac[32];
    static const uint8_t label = 2, head[8] = { 'C', 'I', 'B', '1', 2, 1, 1, 0 };
    const cib_piece pieces[] = { { &label, 1 }, { l.tx, CIB_HELLO_BYTES }, { reply, 24 } };
    memset(reply, 7, CIB_REPLY_BYTES);
    memcpy(reply, head, sizeof head);
    MUST(cib_hmac(mac, l.key->prk0, pieces, 3) == 0);
    memcpy(reply + 24, mac, 16);
}

static inline void box_replies(void)
{
    uint8_t reply[CIB_REPLY_BYTES];
    box_reply(reply);
    box_says(DOWN, reply, sizeof reply);
    MUST(hears() == 0 && cib_link_ready(&l));
}

/* Record number `counter` with this plaintext, in `sealed`; how long it is. */
static inline size_t box_seals(uint32_t counter, const void *plaintext, size_t n)
{
    cib_put32(sealed, counter);
    cib_put16(sealed + 4, (uint16_t)n);
    if (n > 0)
        memcpy(sealed + 6, plaintext, n);
    MUST(cib_seal(l.receive_key, counter, sealed + 4, n) == 0);
    return n + 22;
}

/* A client that is connected, with this much room. */
static inline void comes_in(uint8_t *buf, size_t room, uint8_t *tx, size_t tx_room)
{
    static const uint8_t id[8] = { 1 }, secret[32] = { 2 }, yes[2] = { 0, 0 }, random[16] = { 3 };
    fake_init(&line);
    line.random = random;
    MUST(cib_key_init(&key, id, secret, 1) == 0);
    cib_mqtt_init(&m, &line.port, buf, room);
    cib_link_init(&l, &key, &line.port, NULL, 0, tx, tx_room);
    MUST(cib_mqtt_connect(&m, "c", "u", "p", 0) == 0);
    box_answers(0x20, yes, 2);
    line.out_n = 0;
}

#endif
