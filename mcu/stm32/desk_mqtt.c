/* desk_mqtt.c: the way of a desk through MQTT, stage by stage (docs/MQTT.md, "Following a session"). */
#include "desk_mqtt.h"

#include <string.h>

enum stage { AWAY, CONNECTING, ASKING_FOR_REPLIES, ASKING_FOR_FRAMES, THERE };

/* An attach: session, position, types and sizes with their names. */
#define ATTACH_BYTES 160

void desk_mqtt_init(desk_mqtt *m, desk *d, const cib_port *port, const desk_mqtt_settings *settings, uint8_t *buf, size_t room)
{
    memset(m, 0, sizeof *m);
    m->desk = d;
    m->settings = settings;
    cib_mqtt_init(&m->mqtt, port, buf, room);
}

static uint32_t now(const desk_mqtt *m)
{
    return m->mqtt.port->ms(m->mqtt.port->user);
}

static int connect(desk_mqtt *m)
{
    const desk_mqtt_settings *s = m->settings;
    if (now(m) - m->since < m->wait)
        return 0;
    m->stage = CONNECTING;
    return cib_mqtt_connect(&m->mqtt, s->client_id, s->user, s->password, s->keepalive_s);
}

/* Replies, and the frames of our attach, come under the client's own name: "/reply", or "/" and the session. */
static int subscribe(desk_mqtt *m, enum stage stage, const char *end)
{
    char filter[DESK_TOPIC_ROOM];
    const int n = cib_topic(filter, sizeof filter, "cib/client/", m->settings->client_id, end);
    m->stage = (uint8_t)stage;
    return n < 0 ? n : cib_mqtt_subscribe(&m->mqtt, filter, 1);
}

static int subscribe_to_frames(desk_mqtt *m)
{
    char end[1 + 37] = "/";
    cib_session_text(end + 1, m->desk->follow.session);
    return subscribe(m, ASKING_FOR_FRAMES, end);
}

static int publish(desk_mqtt *m, const uint8_t *bytes, size_t n)
{
    return cib_mqtt_publish(&m->mqtt, "cib/cmd", bytes, n, 1, false);
}

static int attach(desk_mqtt *m)
{
    uint8_t bytes[ATTACH_BYTES];
    cib_writer w = cib_writer_of(bytes, sizeof bytes);
    cib_cmd_attach_for(&w, &m->desk->follow, m->settings->types, 0, 0, m->mqtt.room - DESK_MQTT_OVERHEAD);
    return w.full ? CIB_EROOM : publish(m, bytes, cib_written(&w));
}

static int send_answer(desk_mqtt *m)
{
    cib_outbox *o = &m->desk->outbox;
    const int error = publish(m, o->bytes, o->n);
    o->sent = error == CIB_OK;
    return error;
}

/* What is due next on a connection that waits for nothing. */
static int advance(desk_mqtt *m)
{
    switch ((enum stage)m->stage) {
    case CONNECTING:
        return subscribe(m, ASKING_FOR_REPLIES, "/reply");
    case ASKING_FOR_REPLIES:
        return subscribe_to_frames(m);
    case ASKING_FOR_FRAMES:
        m->stage = THERE;
        return 0;
    case THERE:
        if (cib_follow_due(&m->desk->follow))
            return attach(m);
        return cib_outbox_due(&m->desk->outbox) ? send_answer(m) : 0;
    case AWAY:
        break;
    }
    return 0;
}

/* MQTT has no checksum: what a noisy line made unreadable ends the connection, and the frame comes again after the next attach. */
static int take(desk_mqtt *m, const cib_message *message)
{
    cib_reader r = cib_reader_of(message->payload.at, message->payload.n);
    cib_item item;
    int n;
    while ((n = cib_next(&r, &item)) > 0)
        desk_take(m->desk, &item);
    if (n < 0)
        return n;
    m->tries = 0;
    return cib_mqtt_ack(&m->mqtt, message);
}

static int lost(desk_mqtt *m, int error)
{
    desk_lost(m->desk);
    m->stage = AWAY;
    m->since = now(m);
    /* No need of good random numbers: it only keeps boxes that lost the same power from coming back in step. */
    m->wait = cib_backoff(m->tries, m->since * UINT32_C(2654435761));
    if (m->tries < UINT8_MAX)
        m->tries++;
    return error;
}

int desk_mqtt_step(desk_mqtt *m)
{
    cib_message message;
    int n = m->stage == AWAY ? connect(m) : cib_mqtt_poll(&m->mqtt, &message);
    if (n > 0)
        n = take(m, &message);
    if (n == 0 && m->stage != AWAY && cib_mqtt_ready(&m->mqtt))
        n = advance(m);
    return n < 0 ? lost(m, n) : 0;
}
