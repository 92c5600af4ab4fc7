/* cib_mqtt_link.c: a sealed link over MQTT: the hello and every record are messages on two topics of the key (docs/MQTT.md). */
#include <string.h>

#include "cib_bytes.h"
#include "cib_link.h"
#include "cib_send.h"
#include "cib_text.h"

/* "cib/", the box's name at a broker that is not its own, "/link/", 16 digits, "/down" and an end mark. */
#define TOPIC_ROOM 96
#define KEY_DIGITS (2u * CIB_KEY_ID_BYTES)
/* Around the payload of a message: first byte, four of length, the topic's length, a packet id. */
#define MESSAGE_BYTES 9u
/* The hello's flag of a link that travels in messages. */
#define IN_MESSAGES 2u
#define COUNTER_BYTES 4u

/* docs/PROTOCOL.md, "Keeping alive". The box wants to hear something every 30 s; a reply that takes twice the 5 s that the box gives
 * a handshake will not come. */
#define SAY_MS 25000u
#define DEAD_MS 90000u
#define REPLY_MS 10000u

static uint32_t now(const cib_mqtt *m) { return m->port->ms(m->port->user); }

/* "cib/link/<key id>/up" or ".../down"; behind a bridge "cib/<box>/link/...". */
static int topic_of(char out[TOPIC_ROOM], const cib_mqtt *m, const cib_link *l, const char *end)
{
    int n = cib_topic(out, TOPIC_ROOM - KEY_DIGITS - sizeof "/down", "cib/", m->box, m->box ? "/link/" : "link/");
    if (n < 0)
        return n;
    char *at = cib_hex(out + n, l->key->id, CIB_KEY_ID_BYTES);
    return n + (int)KEY_DIGITS + cib_topic(at, sizeof "/down", end, NULL, NULL);
}

static int say(cib_mqtt *m, cib_link *l, const uint8_t *payload, size_t n)
{
    char topic[TOPIC_ROOM];
    int length = topic_of(topic, m, l, "/up");
    if (length < 0)
        return length;
    l->spoke = now(m);
    return cib_mqtt_publish(m, topic, payload, n, 1, false);
}

/* Seals n bytes at message + 6 and sends them: u32 counter | record. */
static int say_record(cib_mqtt *m, cib_link *l, uint8_t *message, size_t n)
{
    cib_put32(message, l->sent);
    int sealed = cib_link_seal(l, message + COUNTER_BYTES, n);
    return sealed < 0 ? sealed : say(m, l, message, COUNTER_BYTES + (size_t)sealed);
}

int cib_mqtt_link_start(cib_mqtt *m, cib_link *l)
{
    char topic[TOPIC_ROOM];
    int n = topic_of(topic, m, l, "/down");
    if (n < 0)
        return n;
    /* Records are opened where cib_mqtt has put them: what the box may send is what its buffer takes. */
    size_t around = MESSAGE_BYTES + (size_t)n;
    if (m->room < around)
        return CIB_EROOM;
    l->rx_room = (uint16_t)(m->room - around);
    l->port = m->port;
    if ((n = cib_link_hello(l, IN_MESSAGES)) < 0)
        return n;
    l->got = CIB_HELLO_BYTES;
    l->heard = now(m);
    return cib_mqtt_subscribe(m, topic, 1);
}

static bool is_down(const cib_mqtt *m, const cib_link *l, cib_text topic)
{
    char down[TOPIC_ROOM];
    int n = topic_of(down, m, l, "/down");
    return n >= 0 && (size_t)n == topic.n && memcmp(down, topic.at, topic.n) == 0;
}

/* Opens the record of n bytes with its counter before it. */
static int open_record(cib_mqtt *m, cib_link *l, uint8_t *at, size_t n)
{
    if (n < COUNTER_BYTES + CIB_RECORD_MORE)
        return CIB_EFORMAT;
    uint32_t counter = cib_get32(at);
    if (counter < l->received)
        return 0; /* brought twice */
    if (counter > l->received)
        return CIB_EFORMAT;
    int opened = cib_link_open(l, at + COUNTER_BYTES, n - COUNTER_BYTES);
    if (opened < 0)
        return opened;
    l->heard = now(m);
    l->plain = at + COUNTER_BYTES + CIB_LENGTH_BYTES;
    return cib_link_before_bye(l, opened);
}

int cib_mqtt_link_take(cib_mqtt *m, cib_link *l, const cib_message *message)
{
    size_t n = message->payload.n;
    if (!is_down(m, l, message->topic))
        return 0;
    /* The same bytes as payload.at, in our buffer, where they may be changed. */
    uint8_t *at = m->buf + (message->payload.at - m->buf);
    bool reply = n == CIB_REPLY_BYTES && memcmp(at, "CIB1", 4) == 0;
    int result = 0;
    /* Before the reply, records are those of a link of before; behind it, another reply is the same brought twice. */
    if (reply && l->state == CIB_LINK_GREETING && l->got == 0) {
        l->heard = now(m);
        result = cib_link_reply(l, at, n);
    } else if (!reply && l->state == CIB_LINK_LIVE) {
        result = open_record(m, l, at, n);
    }
    if (result < 0)
        cib_link_wipe(l);
    return result;
}

cib_writer cib_mqtt_link_writer(cib_link *l)
{
    size_t around = COUNTER_BYTES + CIB_RECORD_MORE;
    return cib_writer_of(l->tx + COUNTER_BYTES + CIB_LENGTH_BYTES, l->tx_room > around ? l->tx_room - around : 0);
}

int cib_mqtt_link_send(cib_mqtt *m, cib_link *l, const cib_writer *w)
{
    size_t n = cib_written(w);
    if (l->state != CIB_LINK_LIVE || !cib_mqtt_ready(m))
        return CIB_EBUSY;
    if (w->full || n > l->accepts)
        return CIB_EROOM;
    return say_record(m, l, l->tx, n);
}

static int tick(cib_mqtt *m, cib_link *l)
{
    if (l->state == CIB_LINK_LEAVING)
        return CIB_EBYE;
    if (now(m) - l->heard > (l->state == CIB_LINK_LIVE ? DEAD_MS : REPLY_MS))
        return CIB_EDEAD;
    if (!cib_mqtt_ready(m))
        return CIB_OK;
    if (l->got > 0) {
        /* The subscription holds: now the reply will reach us. */
        size_t n = l->got;
        l->got = 0;
        return say(m, l, l->tx, n);
    }
    /* The first record makes the link live, though there may be nothing to say yet. Apart from tx, where a command may be growing. */
    uint8_t empty[COUNTER_BYTES + CIB_RECORD_MORE];
    return l->state == CIB_LINK_LIVE && (l->sent == 0 || now(m) - l->spoke > SAY_MS) ? say_record(m, l, empty, 0) : CIB_OK;
}

int cib_mqtt_link_tick(cib_mqtt *m, cib_link *l)
{
    int result = l->state == CIB_LINK_CLOSED ? CIB_OK : tick(m, l);
    if (result < 0)
        cib_link_wipe(l);
    return result;
}
