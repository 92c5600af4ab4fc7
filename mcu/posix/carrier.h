/*
 * carrier.h: four ways to the box behind one face: raw TCP, AES envelope, MQTT, and a sealed link over MQTT.
 *
 * A device speaks one of them, and calls cib_link_*, cib_http_* or cib_mqtt_* itself: carrier.c shows what each needs,
 * one after the other. This program speaks all four, so that you can try them at your desk.
 */
#ifndef CARRIER_H
#define CARRIER_H

#include "cib.h"
#include "cib_posix.h"

/* Largest plaintext that is taken, and largest command that is sent. A board has 512 and 192 here; a desk has room. */
#ifndef CARRIER_TAKES
#define CARRIER_TAKES 4096u
#endif
#ifndef CARRIER_SAYS
#define CARRIER_SAYS 1024u
#endif
/* What an MQTT message has around its payload: 9 bytes and the topic, "cib/client/" + 64 + "/" + 36. */
#define CARRIER_AROUND 128u

typedef enum carrier_kind { CARRIER_TCP, CARRIER_HTTP, CARRIER_MQTT, CARRIER_SEALED } carrier_kind;

typedef struct carrier {
    carrier_kind kind;
    char address[128]; /* "box.local:8081" */
    char host[120];
    const char *service; /* "8081" */
    cib_posix net;
    cib_port port;
    bool known; /* the box has answered to our key or token: from then on being turned away may be a passing thing */

    cib_key key; /* all but CARRIER_MQTT */
    cib_link link;
    cib_http http;
    cib_mqtt mqtt;
    uint8_t stage;   /* how far the connection, or the request, is */
    uint8_t refused; /* HTTP: requests one behind the other that were a 401 */

    char user[17], password[128], client_id[65]; /* MQTT */
    char session[37];                            /* MQTT: its frames have a topic of their own; "" while none is known */
    cib_message message;                         /* MQTT: being handled, acknowledged afterwards */

    const uint8_t *plain; /* what the last poll gave */
    uint8_t in[CARRIER_TAKES + CARRIER_AROUND], out[CARRIER_SAYS];
} carrier;

/* "tcp", "http", "mqtt" or "mqtt-sealed"; "host:port". 0, or CIB_EFORMAT. */
int carrier_init(carrier *c, const char *kind, const char *address);
/* For all but plain MQTT: a device key, "<16 hex digits>:<64 hex digits>". 0, or CIB_EFORMAT. */
int carrier_key(carrier *c, const char *text, uint32_t boot);
/* For plain MQTT: "cib_<id>_<secret>", or a box's master token. 0, or CIB_EROOM. */
int carrier_token(carrier *c, const char *token);
/* For MQTT: what distinguishes this program among those that have its key or token; letters and digits. CIB_EROOM. */
int carrier_name(carrier *c, const char *name);
/* Tells whose frames will be asked for. Before the attach. */
void carrier_session(carrier *c, const uint8_t session[CIB_SESSION_BYTES]);

/* Connects, and begins whatever the carrier begins with. */
int carrier_open(carrier *c);
/* As cib_link_poll: >0 bytes of items at c->plain, 0 nothing, or an error: then carrier_close. CIB_HTTP_END is none: a
 * request is over, and the next may be sent. */
int carrier_poll(carrier *c);
/* May a command be sent? */
bool carrier_ready(const carrier *c);
cib_writer carrier_writer(carrier *c);
int carrier_send(carrier *c, const cib_writer *w);
/* Why the box ended it, after CIB_EBYE. */
enum cib_bye carrier_bye(const carrier *c);
/* A clean end: the carrier's word for goodbye, then closed. */
void carrier_end(carrier *c);
void carrier_close(carrier *c);

#endif
