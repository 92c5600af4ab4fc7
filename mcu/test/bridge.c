/*
 * bridge.c: a sealed link through a broker that is not the box's own: says one thing in a session, hears another, and leaves. For
 * test/mcu/c-bridge.test.ts.
 *
 *   bridge HOST PORT BOX SESSION SAY HEAR
 *
 * Environment: CIB_DEVICE_KEY. Prints what happens as lines of JSON; exit code 0 when it has heard HEAR, 1 after an error.
 */
#include "cib_posix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t buf[1024], tx[256], kept[192];
static cib_posix net;
static cib_key key;
static cib_mqtt mqtt;
static cib_link link_;
static cib_follow follow;
static cib_outbox outbox;

static void say(const char *text)
{
    char id[CIB_ID_ROOM];
    cib_writer w = cib_outbox_writer(&outbox);
    cib_id(id, key.boot, 1);
    cib_cmd_input(&w, id, follow.session, text);
    (void)cib_outbox_keep(&outbox, &w);
}

/* Whatever is due goes out, one thing at a time. */
static int send_due(void)
{
    cib_writer w = cib_mqtt_link_writer(&link_);
    if (cib_follow_due(&follow)) {
        cib_cmd_attach(&w, &follow, CIB_TYPE(CIB_FRAME_TEXT_DELTA));
        return cib_mqtt_link_send(&mqtt, &link_, &w);
    }
    if (!cib_outbox_due(&outbox))
        return 0;
    memcpy(w.at, outbox.bytes, outbox.n);
    w.at += outbox.n;
    outbox.sent = true;
    return cib_mqtt_link_send(&mqtt, &link_, &w);
}

/* Is this the text that we wait for? */
static bool heard(cib_reader r, const char *text)
{
    cib_item item;
    bool found = false;
    while (cib_next(&r, &item) > 0) {
        if (cib_outbox_take(&outbox, &item))
            printf("{\"answered\":%s}\n", item.reply.ok ? "true" : "false");
        if (cib_follow_take(&follow, &item) == CIB_NEW)
            found = found || cib_text_is(cib_field_text(&item.frame, CIB_KEY_TEXT_DELTA_TEXT), text);
    }
    return found;
}

static int run(const char *text)
{
    cib_message message;
    bool started = false;
    for (;;) {
        int n = cib_mqtt_poll(&mqtt, &message);
        if (n > 0) {
            n = cib_mqtt_link_take(&mqtt, &link_, &message);
            if (n > 0 && heard(cib_reader_of(link_.plain, (size_t)n), text))
                return 0;
            if (n >= 0)
                n = cib_mqtt_ack(&mqtt, &message);
        } else if (n == 0 && !started && cib_mqtt_ready(&mqtt)) {
            started = true;
            n = cib_mqtt_link_start(&mqtt, &link_);
        } else if (n == 0 && started) {
            n = cib_mqtt_link_tick(&mqtt, &link_);
        }
        if (n >= 0 && cib_link_ready(&link_) && cib_mqtt_ready(&mqtt))
            n = send_due();
        if (n < 0)
            return n;
        (void)cib_posix_wait(&net, -1, 100);
    }
}

int main(int argc, char **argv)
{
    const char *secret = getenv("CIB_DEVICE_KEY");
    if (argc != 7 || secret == NULL || cib_key_parse(&key, secret, 1) < 0)
        return 2;
    cib_port port = cib_posix_port(&net);
    uint8_t session[CIB_SESSION_BYTES];
    cib_mqtt_init(&mqtt, &port, buf, sizeof buf);
    mqtt.box = argv[3];
    cib_link_init(&link_, &key, &port, NULL, 0, tx, sizeof tx);
    cib_outbox_init(&outbox, kept, sizeof kept);
    if (cib_session_parse(session, argv[4]) < 0)
        return 2;
    cib_follow_init(&follow, session);
    say(argv[5]);
    int n = cib_posix_connect(&net, argv[1], argv[2], 5000);
    if (n >= 0)
        n = cib_mqtt_connect(&mqtt, "lamp", NULL, NULL, 10);
    if (n >= 0)
        n = run(argv[6]);
    (void)cib_mqtt_disconnect(&mqtt);
    cib_posix_close(&net);
    printf("{\"ended\":%d}\n", n);
    return n == 0 ? 0 : 1;
}
