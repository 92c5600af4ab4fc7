/* desk_mqtt.h: a desk over MQTT: connects, subscribes, attaches, and after any loss does it again. */
#ifndef DESK_MQTT_H
#define DESK_MQTT_H

#include "desk.h"

/* "cib/client/<at most 64 characters>/<a session's 36>" and its end. */
#define DESK_TOPIC_ROOM 113
/* Frames are cut to what is left of the buffer behind a topic: "cib/client/<64>/<36>", its length, packet id and head. */
#define DESK_MQTT_OVERHEAD 121u

typedef struct desk_mqtt_settings {
    const char *client_id; /* begins with "<user>-" */
    const char *user;      /* the token's id */
    const char *password;  /* the token */
    uint16_t keepalive_s;  /* a silent line is found dead after 1.5 times this */
    uint32_t types;        /* of frames: DESK_TYPES, or 0 for all */
} desk_mqtt_settings;

typedef struct desk_mqtt {
    desk *desk;
    const desk_mqtt_settings *settings;
    cib_mqtt mqtt;
    uint8_t stage;
    uint8_t tries;      /* connections in a row that came to nothing */
    uint32_t since, wait; /* ms: of the pause before the next try */
} desk_mqtt;

/* buf: 384 bytes are enough for a desk, 1,024 if every frame is to be shown. */
void desk_mqtt_init(desk_mqtt *m, desk *d, const cib_port *port, const desk_mqtt_settings *settings, uint8_t *buf, size_t room);
/* Moves what there is; call it every few milliseconds. 0, or the error that ended the connection: the next one is under way. */
int desk_mqtt_step(desk_mqtt *m);

#endif
