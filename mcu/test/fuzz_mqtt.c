/*
 * fuzz_mqtt.c: any bytes from a broker, in pieces as the input says, while time passes and things are said: behind a CONNACK, or in
 * place of it.
 */
#include <stdlib.h>

#include "fake_port.h"

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

/* Reads every byte of it: past an end the sanitizer stops us. */
static void look_at(cib_text text)
{
    for (size_t i = 0; i < text.n; i++) {
        volatile uint8_t seen = text.at[i];
        (void)seen;
    }
}

static void something_is_said(cib_mqtt *m, unsigned what)
{
    if (what == 1)
        (void)cib_mqtt_subscribe(m, "a/b", 1);
    else if (what == 2)
        (void)cib_mqtt_publish(m, "a/b", (const uint8_t *)"x", 1, 1, false);
    else if (what == 3)
        (void)cib_mqtt_publish(m, "a/b", NULL, 0, 0, false);
}

/* First byte: room for packets. Second: bytes a read. Third: is a CONNACK put before the rest. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t yes[] = { 0x20, 2, 0, 0 };
    static fake line;
    if (size < 3)
        return 0;
    size_t room = 16u + data[0];
    uint8_t *buf = malloc(room);
    cib_mqtt m;
    cib_message message;
    fake_init(&line);
    cib_mqtt_init(&m, &line.port, buf, room);
    MUST(cib_mqtt_connect(&m, "c", "u", "p", 10) == 0);
    if (data[2] & 1) {
        fake_give(&line, yes, sizeof yes);
        MUST(cib_mqtt_poll(&m, &message) == 0);
    }
    fake_give(&line, data + 3, size - 3);
    line.in_each = data[1];
    line.in_dead = true;
    int n = 0;
    for (size_t polls = 0; n >= 0 || n == CIB_EREFUSED; polls++) {
        /* Each poll takes something, or time passes: it ends. */
        MUST(polls < 10 * size + 1000);
        line.out_n = 0;
        size_t before = line.in_at;
        n = cib_mqtt_poll(&m, &message);
        if (n > 0) {
            MUST(n == 1 && message.topic.n + message.payload.n <= room);
            look_at(message.topic);
            look_at(message.payload);
            something_is_said(&m, message.payload.n & 3u);
            (void)cib_mqtt_ack(&m, &message);
        } else if (n == CIB_EREFUSED && m.status < 0x80) {
            break;
        } else if (line.in_at == before) {
            line.ms += 700;
        }
        something_is_said(&m, (unsigned)polls & 3u);
        MUST(m.got <= room);
    }
    (void)cib_mqtt_disconnect(&m);
    free(buf);
    return 0;
}
