/* carrier.c: what each of the four carriers needs, from its first byte to a command that may be sent. */
#include "carrier.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_MS 5000
#define KEEPALIVE_S 30u
/* A 401 may be a token that was too old; with a new one it is the key (docs/AES-TRANSPORT.md). */
#define MAX_REFUSED 2u
#define TOKEN_FORM "cib_0123456789abcdef_"

static int connect_to_box(carrier *c)
{
    return cib_posix_connect(&c->net, c->host, c->service, CONNECT_MS);
}

/* ------------------------------------------------------------------ raw TCP: cib_link does it all */

static int open_tcp(carrier *c)
{
    int error = connect_to_box(c);
    return error < 0 ? error : cib_link_start(&c->link);
}

static int poll_tcp(carrier *c)
{
    int n = cib_link_poll(&c->link);
    c->plain = c->link.plain;
    c->known = c->known || cib_link_ready(&c->link);
    return n;
}

/* ------------------------------------------------------------------ AES envelope: a connection for each request */

enum { HTTP_IDLE, HTTP_TOKEN, HTTP_POST };

static int open_http(carrier *c)
{
    c->stage = HTTP_IDLE;
    if (!cib_http_needs_token(&c->http))
        return CIB_OK;
    int error = connect_to_box(c);
    c->stage = HTTP_TOKEN;
    return error < 0 ? error : cib_http_get_token(&c->http);
}

static int poll_http(carrier *c)
{
    if (c->stage == HTTP_IDLE)
        return cib_http_needs_token(&c->http) ? open_http(c) : 0;
    int n = cib_http_poll(&c->http);
    c->plain = c->http.plain;
    if (n > 0) {
        c->known = true;
        c->refused = 0;
    }
    bool stale = n == CIB_EREFUSED && c->http.status == 401 && ++c->refused < MAX_REFUSED;
    if (n != CIB_HTTP_END && !stale)
        return n;
    bool was_token = c->stage == HTTP_TOKEN;
    cib_posix_close(&c->net);
    c->stage = HTTP_IDLE;
    return was_token ? 0 : CIB_HTTP_END;
}

static int send_http(carrier *c, const cib_writer *w)
{
    int error = connect_to_box(c);
    if (error < 0)
        return error;
    c->stage = HTTP_POST;
    return cib_http_post(&c->http, w);
}

/* ------------------------------------------------------------------ MQTT: subscribe to what is for us, then publish */

enum { MQTT_CONNECTING, MQTT_REPLIES, MQTT_FRAMES };

static int open_mqtt(carrier *c)
{
    c->stage = MQTT_CONNECTING;
    c->message.packet = 0;
    int error = connect_to_box(c);
    return error < 0 ? error : cib_mqtt_connect(&c->mqtt, c->client_id, c->user, c->password, KEEPALIVE_S);
}

/* Subscribes to cib/client/<client id>/<which>. */
static int subscribe_to(carrier *c, const char *which, uint8_t stage)
{
    char topic[CARRIER_AROUND];
    char client[sizeof c->client_id + 1];
    int error = cib_topic(client, sizeof client, c->client_id, "/", NULL);
    if (error >= 0)
        error = cib_topic(topic, sizeof topic, "cib/client/", client, which);
    if (error >= 0)
        error = cib_mqtt_subscribe(&c->mqtt, topic, 1);
    if (error >= 0)
        c->stage = stage;
    return error;
}

/* The next step on the way in, once the one before has been acknowledged. */
static int come_in(carrier *c)
{
    if (!cib_mqtt_ready(&c->mqtt))
        return CIB_OK;
    c->known = true;
    if (c->stage == MQTT_CONNECTING)
        return subscribe_to(c, "reply", MQTT_REPLIES);
    if (c->stage == MQTT_REPLIES && c->session[0] != 0)
        return subscribe_to(c, c->session, MQTT_FRAMES);
    return CIB_OK;
}

/* The message of the last poll has been handled by now. */
static int acknowledge(carrier *c)
{
    if (c->message.packet == 0)
        return CIB_OK;
    int error = cib_mqtt_ack(&c->mqtt, &c->message);
    c->message.packet = 0;
    return error;
}

static int poll_mqtt(carrier *c)
{
    int n = acknowledge(c);
    if (n >= 0)
        n = cib_mqtt_poll(&c->mqtt, &c->message);
    if (n > 0) {
        c->plain = c->message.payload.at;
        return (int)c->message.payload.n;
    }
    return n < 0 ? n : come_in(c);
}

/* ------------------------------------------------------------------ a sealed link over MQTT: both of the above */

enum { SEALED_CONNECTING, SEALED_LINKED };

static int poll_sealed(carrier *c)
{
    int n = acknowledge(c);
    if (n >= 0)
        n = cib_mqtt_poll(&c->mqtt, &c->message);
    if (n > 0)
        n = cib_mqtt_link_take(&c->mqtt, &c->link, &c->message);
    else if (n == 0 && c->stage == SEALED_LINKED)
        n = cib_mqtt_link_tick(&c->mqtt, &c->link);
    c->plain = c->link.plain;
    c->known = c->known || (c->stage == SEALED_LINKED && cib_link_ready(&c->link));
    if (n != 0 || c->stage == SEALED_LINKED || !cib_mqtt_ready(&c->mqtt))
        return n;
    c->stage = SEALED_LINKED;
    return cib_mqtt_link_start(&c->mqtt, &c->link);
}

/* ------------------------------------------------------------------ one face */

int carrier_init(carrier *c, const char *kind, const char *address)
{
    static const char *const names[] = {
        [CARRIER_TCP] = "tcp", [CARRIER_HTTP] = "http", [CARRIER_MQTT] = "mqtt", [CARRIER_SEALED] = "mqtt-sealed"};
    memset(c, 0, sizeof *c);
    c->port = cib_posix_port(&c->net);
    unsigned i = 0;
    while (i < sizeof names / sizeof *names && strcmp(kind, names[i]) != 0)
        i++;
    if (i == sizeof names / sizeof *names)
        return CIB_EFORMAT;
    c->kind = (carrier_kind)i;
    if (cib_topic(c->address, sizeof c->address, address, NULL, NULL) < 0)
        return CIB_EFORMAT;
    char *colon = strrchr(c->address, ':');
    if (colon == NULL || colon == c->address)
        return CIB_EFORMAT;
    c->service = colon + 1;
    /* "[::1]:8081": the brackets are not part of the name. */
    bool brackets = c->address[0] == '[' && colon[-1] == ']';
    int n = (int)(colon - c->address) - (brackets ? 2 : 0);
    n = snprintf(c->host, sizeof c->host, "%.*s", n, c->address + (brackets ? 1 : 0));
    return n < (int)sizeof c->host ? CIB_OK : CIB_EFORMAT;
}

int carrier_key(carrier *c, const char *text, uint32_t boot)
{
    int error = cib_key_parse(&c->key, text, boot);
    if (error < 0)
        return error;
    for (unsigned i = 0; i < CIB_KEY_ID_BYTES; i++)
        (void)snprintf(c->user + 2 * i, 3, "%02x", c->key.id[i]);
    if (c->kind == CARRIER_HTTP)
        cib_http_init(&c->http, &c->key, &c->port, c->address, c->in, sizeof c->in);
    if (c->kind == CARRIER_TCP)
        cib_link_init(&c->link, &c->key, &c->port, c->in, CIB_RECORD_ROOM(CARRIER_TAKES), c->out, sizeof c->out);
    if (c->kind != CARRIER_SEALED)
        return CIB_OK;
    cib_mqtt_init(&c->mqtt, &c->port, c->in, sizeof c->in);
    /* Records are opened where the message lies: the link needs no buffer of its own to receive. */
    cib_link_init(&c->link, &c->key, &c->port, NULL, 0, c->out, sizeof c->out);
    return cib_key_mqtt_password(&c->key, c->password);
}

int carrier_token(carrier *c, const char *token)
{
    bool master = strncmp(token, "cib_", 4) != 0 || strlen(token) < sizeof TOKEN_FORM;
    (void)snprintf(c->user, sizeof c->user, "%.16s", master ? "master" : token + 4);
    cib_mqtt_init(&c->mqtt, &c->port, c->in, sizeof c->in);
    return snprintf(c->password, sizeof c->password, "%s", token) < (int)sizeof c->password ? CIB_OK : CIB_EROOM;
}

int carrier_name(carrier *c, const char *name)
{
    int n = cib_topic(c->client_id, sizeof c->client_id, c->user, "-", name);
    return n < 0 ? n : CIB_OK;
}

void carrier_session(carrier *c, const uint8_t session[CIB_SESSION_BYTES])
{
    cib_session_text(c->session, session);
}

int carrier_open(carrier *c)
{
    switch (c->kind) {
    case CARRIER_TCP: return open_tcp(c);
    case CARRIER_HTTP: return open_http(c);
    default: return open_mqtt(c);
    }
}

int carrier_poll(carrier *c)
{
    switch (c->kind) {
    case CARRIER_TCP: return poll_tcp(c);
    case CARRIER_HTTP: return poll_http(c);
    case CARRIER_MQTT: return poll_mqtt(c);
    default: return poll_sealed(c);
    }
}

bool carrier_ready(const carrier *c)
{
    switch (c->kind) {
    case CARRIER_TCP: return cib_link_ready(&c->link);
    case CARRIER_HTTP: return c->stage == HTTP_IDLE && !cib_http_needs_token(&c->http);
    case CARRIER_MQTT: return c->stage >= (c->session[0] != 0 ? MQTT_FRAMES : MQTT_REPLIES) && cib_mqtt_ready(&c->mqtt);
    default: return c->stage == SEALED_LINKED && cib_link_ready(&c->link) && cib_mqtt_ready(&c->mqtt);
    }
}

cib_writer carrier_writer(carrier *c)
{
    switch (c->kind) {
    case CARRIER_TCP: return cib_link_writer(&c->link);
    case CARRIER_HTTP: return cib_http_writer(&c->http);
    case CARRIER_MQTT: return cib_writer_of(c->out, sizeof c->out);
    default: return cib_mqtt_link_writer(&c->link);
    }
}

int carrier_send(carrier *c, const cib_writer *w)
{
    if (w->full)
        return CIB_EROOM;
    switch (c->kind) {
    case CARRIER_TCP: return cib_link_send(&c->link, w);
    case CARRIER_HTTP: return send_http(c, w);
    case CARRIER_MQTT: return cib_mqtt_publish(&c->mqtt, "cib/cmd", w->start, cib_written(w), 1, false);
    default: return cib_mqtt_link_send(&c->mqtt, &c->link, w);
    }
}

enum cib_bye carrier_bye(const carrier *c)
{
    return c->link.bye;
}

void carrier_end(carrier *c)
{
    if (c->kind == CARRIER_TCP && cib_link_ready(&c->link))
        (void)cib_link_end(&c->link);
    if (c->kind == CARRIER_SEALED && carrier_ready(c)) {
        cib_writer w = cib_mqtt_link_writer(&c->link);
        cib_write_head(&w, CIB_CBOR_MAP, 1);
        cib_write_text(&w, "bye");
        cib_write_text(&w, "done");
        (void)cib_mqtt_link_send(&c->mqtt, &c->link, &w);
    }
    if (c->kind >= CARRIER_MQTT && c->net.fd >= 0)
        (void)cib_mqtt_disconnect(&c->mqtt);
    carrier_close(c);
}

void carrier_close(carrier *c)
{
    cib_posix_close(&c->net);
    /* Nothing of this connection counts on the next one; its keys least of all. */
    cib_link_wipe(&c->link);
    c->stage = 0;
}
