/*
 * fuzz_mqtt_link.c: a sealed link over MQTT against a box that answers the hello and then sends what the input says: records that hold,
 * records that come twice, and anything else on any topic, while time passes.
 */
#include "mqtt_box.h"

static size_t record_n;

/* Whether a plaintext that was given out is what was sealed. */
static bool same(int n, const uint8_t *plaintext, size_t length)
{
    return n >= 0 && (size_t)n <= length && memcmp(l.plain, plaintext, (size_t)n) == 0;
}

/* One thing that happens: what it was, a byte of length, bytes. */
static int happen(unsigned what, const uint8_t *bytes, size_t n)
{
    bool fresh = false;
    switch (what & 7u) {
    case 0: /* a record that holds */
    case 1:
        if (!cib_link_ready(&l))
            return 0;
        record_n = box_seals(l.received, bytes, n);
        fresh = true;
        box_says(DOWN, sealed, record_n);
        break;
    case 2: /* the last one again */
        box_says(DOWN, sealed, record_n);
        break;
    case 3:
        box_says(DOWN, bytes, n);
        break;
    case 4:
        box_says("cib/online", bytes, n);
        break;
    case 5:
        line.ms += (uint32_t)n * 1000u;
        return cib_mqtt_link_tick(&m, &l);
    case 6: {
        cib_writer w = cib_mqtt_link_writer(&l);
        cib_write_bytes(&w, bytes, n);
        int sent = cib_mqtt_link_send(&m, &l, &w);
        MUST(sent == 0 || sent == CIB_EBUSY || sent == CIB_EROOM);
        return 0;
    }
    default:
        box_acknowledges();
        return cib_mqtt_link_tick(&m, &l);
    }
    uint32_t before = l.received;
    uint16_t skipped = m.skipped;
    int got = 0;
    while (line.in_at < line.in_n && got == 0)
        got = hears();
    MUST(l.received == before + (fresh ? 1u : 0u) || got < 0 || m.skipped > skipped);
    MUST(got <= 0 || (fresh && same(got, bytes, n)));
    return got < 0 ? got : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { BUF = 9 + sizeof DOWN - 1 + CIB_MQTT_RECORD_ROOM(140), TX = 100 };
    uint8_t *buf = malloc(BUF), *tx = malloc(TX);
    comes_in(buf, BUF, tx, TX);
    MUST(cib_mqtt_link_start(&m, &l) == 0);
    box_acknowledges();
    MUST(cib_mqtt_link_tick(&m, &l) == 0);
    box_acknowledges();
    if (size == 0 || data[0] & 1)
        box_replies();
    record_n = 0;
    int n = 0;
    for (size_t at = 1; n >= 0 && at + 2 <= size;) {
        size_t length = data[at + 1] < size - at - 2 ? data[at + 1] : size - at - 2;
        line.out_n = 0;
        n = happen(data[at], data + at + 2, length);
        at += 2 + length;
    }
    cib_link_wipe(&l);
    free(buf);
    free(tx);
    return 0;
}
