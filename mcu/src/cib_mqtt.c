/*
 * cib_mqtt.c: one MQTT 3.1.1 connection: packets out, piece by piece from where they lie; packets in, through one buffer.
 *
 * Numbers in brackets are sections and requirements of the standard (OASIS, 29 October 2014).
 */
#include <string.h>

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

/* m->state: one of these, or the first byte of the acknowledgement that is waited for: CONNACK, PUBACK, SUBACK. */
enum { CLOSED = 0, OPEN = 1 };

/* What a step of reading came to. */
enum { NOTHING = 0, PACKET = 1, MESSAGE = 2 };

/* A box answers CONNECT at once, and gives up waiting for one after 5 s: twice that is a line that goes nowhere. */
#define CONNACK_MS 10000u
/* Packets that one poll goes through, so that a flood of them cannot hold its caller. */
#define PACKETS_A_POLL 16
/* A head of at most 5 bytes, the length of a topic, and room to move. */
#define LEAST_ROOM 16u
#define HEAD_BYTES 5u
/* Four bytes of 7 bits [2.2.3]. */
#define MOST_REST 268435455u

static uint32_t now(const cib_mqtt *m) { return m->port->ms(m->port->user); }

static size_t u16_at(const uint8_t *at) { return (size_t)at[0] << 8 | at[1]; }

/* ------------------------------------------------------------------ packets out */

/* A packet on its way: collected, since a small segment for each of its parts would cost more than this room. */
typedef struct outgoing {
    cib_mqtt *m;
    int error;
    size_t n;
    uint8_t bytes[64];
} outgoing;

static void put(outgoing *o, const void *from, size_t n)
{
    const uint8_t *bytes = from;
    while (n-- > 0) {
        if (o->n == sizeof o->bytes) {
            if (o->error == 0)
                o->error = cib_send_all(o->m->port, o->bytes, o->n);
            o->n = 0;
        }
        o->bytes[o->n++] = *bytes++;
    }
}

static void put_byte(outgoing *o, uint8_t byte) { put(o, &byte, 1); }

static void put_u16(outgoing *o, size_t value)
{
    put_byte(o, (uint8_t)(value >> 8));
    put_byte(o, (uint8_t)value);
}

/* What put_text will put; more than any packet may have where the text is too long for its length field. */
static size_t size_of(const char *text)
{
    if (text == NULL)
        return 0;
    size_t n = strlen(text);
    return n > UINT16_MAX ? MOST_REST + 1u : n + 2u;
}

static void put_text(outgoing *o, const char *text)
{
    if (text == NULL)
        return;
    size_t n = strlen(text);
    put_u16(o, n);
    put(o, text, n);
}

/* Begins a packet with `rest` bytes behind its head. One that is too long is never sent, not even its beginning. */
static void begin(outgoing *o, cib_mqtt *m, unsigned first, size_t rest)
{
    o->m = m;
    o->n = 0;
    o->error = rest > MOST_REST ? CIB_EROOM : CIB_OK;
    put_byte(o, (uint8_t)first);
    for (; rest > 0x7f; rest >>= 7)
        put_byte(o, (uint8_t)(0x80 | (rest & 0x7f)));
    put_byte(o, (uint8_t)rest);
}

static int finish(outgoing *o)
{
    if (o->error == 0)
        o->error = cib_send_all(o->m->port, o->bytes, o->n);
    /* Half a packet may be out: nothing can follow it on this connection. */
    if (o->error == CIB_ELINE)
        o->m->state = CLOSED;
    return o->error;
}

static int say(cib_mqtt *m, unsigned first)
{
    outgoing o;
    begin(&o, m, first, 0);
    return finish(&o);
}

static int acknowledge(cib_mqtt *m, size_t packet)
{
    outgoing o;
    begin(&o, m, PUBACK, 2);
    put_u16(&o, packet);
    return finish(&o);
}

/* An id for the next packet that needs one, and what will answer it. */
static void expect(cib_mqtt *m, uint8_t acknowledgement, bool same)
{
    if (!same || m->packet == 0)
        m->packet = m->packet == UINT16_MAX ? 1 : (uint16_t)(m->packet + 1);
    m->waiting = m->packet;
    m->state = acknowledgement;
}

void cib_mqtt_init(cib_mqtt *m, const cib_port *port, uint8_t *buf, size_t room)
{
    memset(m, 0, sizeof *m);
    m->port = port;
    m->buf = buf;
    m->room = room > UINT16_MAX ? UINT16_MAX : (uint16_t)room;
}

/* Nothing that is there before CONNECT can be an answer to it. Where a bridge came back in silence it is of another connection. */
static int discard(cib_mqtt *m)
{
    for (uint32_t since = now(m); now(m) - since < CIB_SEND_MS;) {
        int n = m->port->recv(m->port->user, m->buf, m->room);
        if (n <= 0)
            return n < 0 ? CIB_ELINE : CIB_OK;
    }
    return CIB_ELINE;
}

int cib_mqtt_connect(cib_mqtt *m, const char *client_id, const char *user, const char *password, uint16_t keepalive_s)
{
    static const uint8_t protocol[] = { 0, 4, 'M', 'Q', 'T', 'T', 4 };
    m->state = CLOSED;
    m->got = m->waiting = 0;
    m->left = 0;
    m->status = 0;
    m->keepalive = keepalive_s;
    if (m->room < LEAST_ROOM)
        return CIB_EROOM;
    int n = discard(m);
    if (n < 0)
        return n;
    outgoing o;
    begin(&o, m, CONNECT, sizeof protocol + 3u + size_of(client_id) + size_of(user) + size_of(password));
    put(&o, protocol, sizeof protocol);
    put_byte(&o, (uint8_t)(CLEAN | (user ? HAS_USER : 0) | (password ? HAS_PASSWORD : 0)));
    put_u16(&o, keepalive_s);
    put_text(&o, client_id);
    put_text(&o, user);
    put_text(&o, password);
    m->state = CONNACK;
    m->heard = m->spoke = now(m);
    return finish(&o);
}

int cib_mqtt_subscribe(cib_mqtt *m, const char *filter, uint8_t qos)
{
    if (m->state != OPEN)
        return CIB_EBUSY;
    outgoing o;
    begin(&o, m, SUBSCRIBE, 2u + size_of(filter) + 1u);
    if (o.error)
        return o.error;
    expect(m, SUBACK, false);
    put_u16(&o, m->packet);
    put_text(&o, filter);
    put_byte(&o, qos);
    return finish(&o);
}

int cib_mqtt_publish(cib_mqtt *m, const char *topic, const uint8_t *payload, size_t n, uint8_t qos, bool again)
{
    if (m->state == CLOSED || m->state == CONNACK || (qos > 0 && m->state != OPEN))
        return CIB_EBUSY;
    if (n > MOST_REST)
        return CIB_EROOM;
    outgoing o;
    begin(&o, m, PUBLISH | (qos > 0 ? QOS_1 : 0u) | (qos > 0 && again ? AGAIN : 0u), size_of(topic) + (qos > 0 ? 2u : 0u) + n);
    if (o.error)
        return o.error;
    put_text(&o, topic);
    if (qos > 0) {
        expect(m, PUBACK, again);
        put_u16(&o, m->packet);
    }
    put(&o, payload, n);
    return finish(&o);
}

int cib_mqtt_ack(cib_mqtt *m, const cib_message *message)
{
    if (message->packet == 0)
        return CIB_OK;
    return m->state == CLOSED ? CIB_EBUSY : acknowledge(m, message->packet);
}

int cib_mqtt_disconnect(cib_mqtt *m)
{
    int n = m->state == CLOSED ? CIB_OK : say(m, DISCONNECT);
    m->state = CLOSED;
    return n;
}

bool cib_mqtt_ready(const cib_mqtt *m) { return m->state == OPEN; }

/* ------------------------------------------------------------------ packets in */

/* Are the first n bytes of the packet there? 1, 0 not yet. Takes never a byte of the next packet. */
static int fill(cib_mqtt *m, size_t n)
{
    while (m->got < n) {
        int took = m->port->recv(m->port->user, m->buf + m->got, n - m->got);
        if (took < 0 || (size_t)took > n - m->got)
            return CIB_ELINE;
        if (took == 0)
            return 0;
        m->got = (uint16_t)(m->got + took);
    }
    return 1;
}

/* Bytes before the payload: topic and packet id; 0 where they do not fit in, or the flags are none. */
static uint32_t before_payload(const cib_mqtt *m, size_t head, uint32_t rest)
{
    bool id = m->buf[0] & QOS_1;
    if ((m->buf[0] & QOS_2) || rest < 2)
        return 0; /* we never ask for QoS 2, and 3 does not exist [3.3.1-4] */
    uint32_t before = 2u + (uint32_t)u16_at(m->buf + head) + (id ? 2u : 0u);
    return before > rest ? 0 : before;
}

static int publish_in(cib_mqtt *m, size_t head, uint32_t rest, cib_message *message)
{
    uint32_t before = before_payload(m, head, rest);
    if (before == 0)
        return CIB_EFORMAT;
    const uint8_t *at = m->buf + head;
    bool id = m->buf[0] & QOS_1;
    message->topic.at = at + 2;
    message->topic.n = u16_at(at);
    message->payload.at = at + before;
    message->payload.n = rest - before;
    message->packet = id ? (uint16_t)u16_at(at + before - 2) : 0;
    message->retained = m->buf[0] & RETAINED;
    message->again = m->buf[0] & AGAIN;
    return id && message->packet == 0 ? CIB_EFORMAT : MESSAGE; /* [2.3.1-1] */
}

/* One chunk of a message that is longer than buf. Its head and the length of its topic stay in buf, the rest goes through
 * behind them; its packet id is picked out on the way, since what is not acknowledged would stop what follows it. */
static int skip(cib_mqtt *m, size_t head, uint32_t rest)
{
    size_t kept = head + 2u;
    if ((m->buf[0] & 0xf0) != PUBLISH)
        return CIB_EFORMAT;
    int n = fill(m, kept);
    if (n <= 0)
        return n;
    uint32_t before = before_payload(m, head, rest);
    if (before == 0)
        return CIB_EFORMAT;
    if (m->left == 0)
        m->left = rest - 2u;
    size_t chunk = m->left < m->room - kept ? m->left : m->room - kept;
    if ((n = fill(m, kept + chunk)) <= 0)
        return n;
    bool id = m->buf[0] & QOS_1;
    uint32_t payload = rest - before;
    for (size_t i = kept; i < kept + chunk; i++, m->left--)
        if (id && (m->left == payload + 2u || m->left == payload + 1u))
            m->owed = (uint16_t)(m->owed << 8 | m->buf[i]);
    m->got = (uint16_t)kept;
    if (m->left > 0)
        return NOTHING;
    m->got = 0;
    m->skipped++;
    if (id && m->owed == 0)
        return CIB_EFORMAT;
    n = id ? acknowledge(m, m->owed) : CIB_OK;
    return n < 0 ? n : PACKET;
}

/* What answers a packet of ours: CONNACK [3.2], PUBACK [3.4], SUBACK [3.9], PINGRESP [3.13]. */
static int answer_in(cib_mqtt *m, size_t head, uint32_t rest)
{
    const uint8_t *at = m->buf + head;
    uint8_t first = m->buf[0];
    if (first == PINGRESP && rest == 0)
        return PACKET;
    if (rest != (first == SUBACK ? 3u : 2u) || (first != CONNACK && first != PUBACK && first != SUBACK))
        return CIB_EFORMAT;
    if (first == CONNACK) {
        if (m->state != CONNACK)
            return CIB_EFORMAT;
        m->status = at[1];
        m->state = m->status ? CLOSED : OPEN;
        return m->status ? CIB_EREFUSED : PACKET;
    }
    /* Of something that nobody waits for: said twice, or of a publish before this connection. */
    if (first != m->state || u16_at(at) != m->waiting)
        return PACKET;
    m->waiting = 0;
    m->state = OPEN;
    if (first == PUBACK)
        return PACKET;
    m->status = at[2] > 2 ? at[2] : 0; /* 0 to 2 is the QoS that was granted */
    return m->status ? CIB_EREFUSED : PACKET;
}

/* One step: NOTHING, a PACKET, a MESSAGE, or an error. */
static int take(cib_mqtt *m, cib_message *message)
{
    size_t head = 1;
    int n;
    do {
        if (++head > HEAD_BYTES)
            return CIB_EFORMAT;
        if ((n = fill(m, head)) <= 0)
            return n;
    } while (m->buf[head - 1] & 0x80);
    uint32_t rest = 0;
    for (size_t i = head; --i > 0;)
        rest = rest << 7 | (m->buf[i] & 0x7fu);
    /* Nothing comes before CONNACK [3.2.0-1]. */
    if (m->state == CONNACK && m->buf[0] != CONNACK)
        return CIB_EFORMAT;
    if (rest > m->room - head)
        return skip(m, head, rest);
    if ((n = fill(m, head + rest)) <= 0)
        return n;
    /* The packet stays in buf until the next poll. */
    m->got = 0;
    return (m->buf[0] & 0xf0) == PUBLISH ? publish_in(m, head, rest, message) : answer_in(m, head, rest);
}

/* A ping every half keepalive, whatever else is said: it costs 4 bytes, and only its answer tells a line that lives from one
 * that merely takes. Silence is measured in whole packets: half of one may be all that a dead connection has left. */
static int keep_alive(cib_mqtt *m)
{
    uint32_t silence = m->state == CONNACK ? CONNACK_MS : m->keepalive * 1500u;
    if (silence > 0 && now(m) - m->heard > silence)
        return CIB_EDEAD;
    if (m->state == CONNACK || m->keepalive == 0 || now(m) - m->spoke < m->keepalive * 500u)
        return CIB_OK;
    m->spoke = now(m);
    return say(m, PINGREQ);
}

int cib_mqtt_poll(cib_mqtt *m, cib_message *message)
{
    if (m->state == CLOSED)
        return CIB_EBUSY;
    int n = PACKET;
    for (int packets = 0; n == PACKET && packets < PACKETS_A_POLL; packets++) {
        n = take(m, message);
        if (n > 0)
            m->heard = now(m);
    }
    if (n == MESSAGE)
        return 1;
    if (n >= 0)
        n = keep_alive(m);
    /* A subscription that was refused leaves the connection as it is; so does no other error. */
    if (n < 0 && n != CIB_EREFUSED)
        m->state = CLOSED;
    return n;
}
