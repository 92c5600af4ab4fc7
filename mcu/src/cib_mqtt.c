/*
 * cib_mqtt.c: one MQTT 3.1.1 connection: packets out, piece by piece from where they lie; packets in, through one buffer.
 *
 * Numbers in brackets are sections and requirements of the standard (OASIS, 29 October 2014).
 */
#include <string.h>

#include "cib_bytes.h"
#include "cib_send.h"

/* First bytes of packets [2.2.1], with the flags that are fixed for them. */
enum {
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH = 0x30,
    PUBACK = 0x40,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
    PINGREQ = 0xc0,
    PINGRESP = 0xd0,
    DISCONNECT = 0xe0,
};

/* Flags of PUBLISH [3.3.1] and CONNECT [3.1.2]. */
enum { RETAINED = 0x01, QOS_1 = 0x02, QOS_2 = 0x04, AGAIN = 0x08 };
enum { CLEAN = 0x02, HAS_PASSWORD = 0x40, HAS_USER = 0x80 };

/* From here on m->status is a SUBACK's [3.9.3]; below it is a CONNACK's [3.2.2.3]. */
#define NO_SUBSCRIPTION 0x80

/* m->state: one of these, or the first byte of the acknowledgement that is waited for: CONNACK, PUBACK, SUBACK. */
enum { CLOSED = 0, OPEN = 1 };

/* What a step of reading came to. */
enum { NOTHING = 0, PACKET = 1, MESSAGE = 2 };

/* Until CONNACK, as half a keepalive of 7 s: dead after 10.5 s. A box answers at once, and waits 5 s for a CONNECT itself. */
#define HALF_CONNACK_MS 3500u
/* Packets that one poll goes through, so that a flood of them cannot hold its caller. */
#define PACKETS_A_POLL 16
/* A head of at most 5 bytes, the length of a topic, and room to move. */
#define LEAST_ROOM 16u
#define HEAD_BYTES 5u
/* Reads before CONNECT that throw away what they find: any serial buffer is empty after so many. */
#define STALE_READS 256
/* Four bytes of 7 bits [2.2.3]. */
#define MOST_REST 268435455u

static uint32_t now(const cib_mqtt *m) { return m->port->ms(m->port->user); }

/* ------------------------------------------------------------------ packets out */

/* What put_text will put; more than a packet may have where the text is longer than its length can say [1.5.3]. */
static size_t size_of(const char *text)
{
    size_t n = text ? strlen(text) + 2u : 0;
    return n > UINT16_MAX + 2u ? MOST_REST : n;
}

static void put16(cib_outgoing *o, unsigned value)
{
    uint8_t bytes[2];
    cib_put16(bytes, (uint16_t)value);
    cib_put(o, bytes, 2);
}

static void put_text(cib_outgoing *o, const char *text)
{
    if (text == NULL)
        return;
    size_t n = strlen(text);
    put16(o, (unsigned)n);
    cib_put(o, text, n);
}

/* Begins a packet with `rest` bytes behind its head. Of one that is too long nothing is sent. */
static void begin(cib_outgoing *o, const cib_mqtt *m, unsigned first, size_t rest)
{
    o->port = m->port;
    o->error = m->state == CLOSED ? CIB_EBUSY : rest >= MOST_REST ? CIB_EROOM : CIB_OK;
    o->n = 1;
    o->bytes[0] = (uint8_t)first;
    for (; rest > 0x7f; rest >>= 7)
        o->bytes[o->n++] = (uint8_t)(rest | 0x80);
    o->bytes[o->n++] = (uint8_t)rest;
}

/* Sends it, and waits for that acknowledgement, or for none. */
static int finish(cib_outgoing *o, cib_mqtt *m, uint8_t acknowledgement)
{
    int n = cib_flush(o);
    if (n == CIB_ELINE)
        m->state = CLOSED; /* half a packet may be out: nothing can follow it on this connection */
    if (n == CIB_OK && acknowledgement) {
        m->waiting = m->packet;
        m->state = acknowledgement;
    }
    return n;
}

/* The next packet's id [2.3.1]: never 0. */
static void put_id(cib_outgoing *o, cib_mqtt *m, bool same)
{
    if (!same)
        m->packet++;
    if (m->packet == 0)
        m->packet = 1;
    put16(o, m->packet);
}

/* A packet without anything, or with the id that it is about. */
static int say(cib_mqtt *m, unsigned first, unsigned id)
{
    cib_outgoing o;
    begin(&o, m, first, id ? 2 : 0);
    if (id)
        put16(&o, id);
    return finish(&o, m, 0);
}

void cib_mqtt_init(cib_mqtt *m, const cib_port *port, uint8_t *buf, size_t room)
{
    memset(m, 0, sizeof *m);
    m->port = port;
    m->buf = buf;
    m->room = room > UINT16_MAX ? UINT16_MAX : (uint16_t)room;
}

int cib_mqtt_connect(cib_mqtt *m, const char *client_id, const char *user, const char *password, uint16_t keepalive_s)
{
    static const uint8_t protocol[] = { 0, 4, 'M', 'Q', 'T', 'T', 4 };
    uint8_t flags = (uint8_t)(CLEAN | (user ? HAS_USER : 0) | (password ? HAS_PASSWORD : 0));
    m->got = m->waiting = 0;
    m->left = 0;
    m->status = 0;
    m->keepalive = keepalive_s;
    m->state = CLOSED;
    if (m->room < LEAST_ROOM)
        return CIB_EROOM;
    /* What is there before CONNECT is no answer to it: a bridge that came back in silence has brought it from another connection. */
    int n = 1;
    for (int i = 0; n > 0 && i < STALE_READS; i++)
        n = m->port->recv(m->port->user, m->buf, m->room);
    if (n < 0)
        return CIB_ELINE;
    m->heard = m->spoke = now(m);
    m->state = CONNACK;
    cib_outgoing o;
    begin(&o, m, CONNECT, sizeof protocol + 3u + size_of(client_id) + size_of(user) + size_of(password));
    cib_put(&o, protocol, sizeof protocol);
    cib_put(&o, &flags, 1);
    put16(&o, keepalive_s);
    put_text(&o, client_id);
    put_text(&o, user);
    put_text(&o, password);
    return finish(&o, m, 0);
}

int cib_mqtt_subscribe(cib_mqtt *m, const char *filter, uint8_t qos)
{
    if (m->state != OPEN)
        return CIB_EBUSY;
    cib_outgoing o;
    begin(&o, m, SUBSCRIBE, 2u + size_of(filter) + 1u);
    put_id(&o, m, false);
    put_text(&o, filter);
    cib_put(&o, &qos, 1);
    return finish(&o, m, SUBACK);
}

int cib_mqtt_publish(cib_mqtt *m, const char *topic, const uint8_t *payload, size_t n, uint8_t qos, bool again)
{
    if (m->state == CONNACK || (qos > 0 && m->state != OPEN))
        return CIB_EBUSY;
    cib_outgoing o;
    unsigned flags = qos == 0 ? 0 : again ? QOS_1 | AGAIN : QOS_1;
    begin(&o, m, PUBLISH | flags, size_of(topic) + (flags & QOS_1) + n);
    put_text(&o, topic);
    if (flags)
        put_id(&o, m, again);
    cib_put(&o, payload, n);
    return finish(&o, m, flags ? PUBACK : 0);
}

int cib_mqtt_ack(cib_mqtt *m, const cib_message *message) { return message->packet ? say(m, PUBACK, message->packet) : CIB_OK; }

int cib_mqtt_disconnect(cib_mqtt *m)
{
    int n = say(m, DISCONNECT, 0);
    m->state = CLOSED;
    return n;
}

bool cib_mqtt_ready(const cib_mqtt *m) { return m->state == OPEN; }

/* ------------------------------------------------------------------ packets in */

/* Up to n bytes into buf behind what is there; how many came. */
static int receive(cib_mqtt *m, size_t n)
{
    int took = m->port->recv(m->port->user, m->buf + m->got, n);
    return took < 0 || (size_t)took > n ? CIB_ELINE : took;
}

/* Are the first n bytes of the packet there? 1, 0 not yet. Takes never a byte of the next packet. */
static int fill(cib_mqtt *m, size_t n)
{
    while (m->got < n) {
        int took = receive(m, n - m->got);
        if (took <= 0)
            return took;
        m->got = (uint16_t)(m->got + took);
    }
    return 1;
}

/* The same for the last bytes of a packet, which stays in buf until the next poll. */
static int fill_packet(cib_mqtt *m, size_t n)
{
    int all = fill(m, n);
    if (all > 0) {
        m->got = 0;
        m->heard = now(m);
    }
    return all;
}

/* What answers a packet of ours: CONNACK [3.2], PUBACK [3.4], SUBACK [3.9], PINGRESP [3.13]. */
static int answer_in(cib_mqtt *m, const uint8_t *at, uint32_t rest)
{
    uint8_t first = m->buf[0], status = 0;
    if (first == PINGRESP && rest == 0)
        return PACKET;
    if (rest != (first == SUBACK ? 3u : 2u))
        return CIB_EFORMAT;
    if (first == CONNACK && m->state == CONNACK) {
        status = at[1];
    } else if (first == PUBACK || first == SUBACK) {
        /* Of something that nobody waits for: said twice, or of a publish before this connection. */
        if (first != m->state || cib_get16(at) != m->waiting)
            return PACKET;
        if (first == SUBACK && at[2] > 2)
            status = at[2]; /* 0 to 2 is the QoS that was granted */
    } else {
        return CIB_EFORMAT;
    }
    m->waiting = 0;
    m->status = status;
    m->state = OPEN;
    return status ? CIB_EREFUSED : PACKET;
}

/* PUBLISH [3.3]: topic, packet id of QoS 1, payload. */
static int message_in(cib_mqtt *m, size_t head, uint32_t rest, cib_message *message)
{
    const uint8_t *at = m->buf + head;
    unsigned flags = m->buf[0];
    if (rest < 2 || (flags & QOS_2))
        return CIB_EFORMAT; /* QoS 2 we never ask for, 3 does not exist [3.3.1-4] */
    int n = fill(m, head + 2);
    if (n <= 0)
        return n;
    message->topic.n = cib_get16(at);
    size_t before = 2u + message->topic.n + (flags & QOS_1);
    if (before > rest)
        return CIB_EFORMAT;
    if (before > m->room - head)
        return CIB_EROOM;
    bool fits = rest <= m->room - head;
    if ((n = fill_packet(m, head + (fits ? rest : before))) <= 0)
        return n;
    message->topic.at = at + 2;
    message->payload.at = at + before;
    message->payload.n = rest - before;
    message->retained = flags & RETAINED;
    message->again = flags & AGAIN;
    message->packet = 0;
    if (flags & QOS_1) {
        message->packet = cib_get16(at + before - 2);
        if (message->packet == 0)
            return CIB_EFORMAT; /* [2.3.1-1] */
    }
    if (fits)
        return MESSAGE;
    /* Acknowledged though nobody has it: else what follows it would never come. */
    m->left = rest - (uint32_t)before;
    m->skipped++;
    n = cib_mqtt_ack(m, message);
    return n < 0 ? n : PACKET;
}

/* One step: NOTHING, a PACKET, a MESSAGE, or an error. */
static int take(cib_mqtt *m, cib_message *message)
{
    size_t head = 1;
    uint32_t rest = 0;
    int n;
    if (m->left > 0) {
        n = receive(m, m->left < m->room ? m->left : m->room);
        if (n <= 0)
            return n;
        m->left -= (uint32_t)n;
        return PACKET;
    }
    do {
        if (++head > HEAD_BYTES)
            return CIB_EFORMAT;
        if ((n = fill(m, head)) <= 0)
            return n;
        rest |= (m->buf[head - 1] & 0x7fu) << (7u * (head - 2u));
    } while (m->buf[head - 1] & 0x80);
    /* Nothing comes before CONNACK [3.2.0-1]. */
    if ((m->buf[0] & 0xf0) == PUBLISH && m->state != CONNACK)
        return message_in(m, head, rest, message);
    if (rest > 3)
        return CIB_EFORMAT;
    n = fill_packet(m, head + rest);
    return n > 0 ? answer_in(m, m->buf + head, rest) : n;
}

/* A ping every half keepalive, whatever else is said: it costs 4 bytes, and only its answer tells a line that lives from one
 * that merely takes. Silence is measured in whole packets: half of one may be all that a dead connection has left. */
static int keep_alive(cib_mqtt *m)
{
    uint32_t time = now(m);
    uint32_t half = m->state == CONNACK ? HALF_CONNACK_MS : m->keepalive * 500u;
    if (half == 0)
        return CIB_OK;
    if (time - m->heard > 3u * half)
        return CIB_EDEAD;
    if (time - m->spoke < half)
        return CIB_OK;
    m->spoke = time;
    return say(m, PINGREQ, 0);
}

int cib_mqtt_poll(cib_mqtt *m, cib_message *message)
{
    if (m->state == CLOSED)
        return CIB_EBUSY;
    int n = PACKET;
    for (int packets = 0; n == PACKET && packets < PACKETS_A_POLL; packets++)
        n = take(m, message);
    if (n == MESSAGE)
        return 1;
    if (n >= 0)
        n = keep_alive(m);
    /* Only a subscription that was refused leaves the connection as it is. */
    if (n < 0 && (n != CIB_EREFUSED || m->status < NO_SUBSCRIPTION))
        m->state = CLOSED;
    return n;
}
