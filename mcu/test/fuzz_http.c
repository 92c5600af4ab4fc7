/*
 * fuzz_http.c: any response to a sealed request or to the one for a token, in pieces as the input says: as raw bytes; or with records
 * that are sealed as a box would, so that what stands behind the cipher is reached, in every framing that HTTP has.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cib_bytes.h"
#include "cib_crypto.h"
#include "cib_envelope.h"
#include "fake_port.h"

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

enum { RAW = 0, LENGTH = 1, CHUNKS = 2, ENDLESS = 3, FOR_TOKEN = 4, WITH_HEAD = 8 };

static const uint8_t RANDOM[16] = { 1 };
static uint8_t wire[65536];
static size_t wire_n;

static void put(const void *bytes, size_t n)
{
    if (n > sizeof wire - wire_n)
        n = sizeof wire - wire_n;
    memcpy(wire + wire_n, bytes, n);
    wire_n += n;
}

/* Rs, then records: a byte of flags (last, damaged), one of length, the plaintext. How many before the first that is damaged or behind the last. */
static size_t seal_body(uint8_t *body, size_t *body_n, const uint8_t prk[32], const uint8_t *data, size_t size)
{
    uint8_t key[32];
    size_t n = 16, good = 0;
    bool open = true;
    memcpy(key, prk, 32);
    memset(body, 7, 16);
    MUST(cib_envelope_response(key, body) == 0);
    for (uint32_t counter = 0; size >= 2; counter++) {
        size_t length = data[1] < size - 2 ? data[1] : size - 2;
        uint8_t flags = data[0];
        cib_put16(body + n, (uint16_t)(length | (flags & 0x80 ? 0x8000u : 0u)));
        memcpy(body + n + 2, data + 2, length);
        MUST(cib_seal(key, counter, body + n, length) == 0);
        if ((flags & 0x70) == 0x70) {
            body[n + (flags & 15u) % (length + 18)] ^= 1;
            open = false;
        }
        good += open;
        open = open && !(flags & 0x80);
        n += length + 18;
        data += 2 + length;
        size -= 2 + length;
    }
    *body_n = n;
    return good;
}

static void frame_body(unsigned kind, const uint8_t *body, size_t n, size_t each)
{
    char head[128];
    if (kind == LENGTH)
        put(head, (size_t)sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n));
    else
        put(head, (size_t)sprintf(head, "HTTP/1.1 200 OK\r\n%s\r\n", kind == CHUNKS ? "Transfer-Encoding: chunked\r\n" : ""));
    if (kind != CHUNKS) {
        put(body, n);
        return;
    }
    for (size_t at = 0; at < n; at += each) {
        size_t some = n - at < each ? n - at : each;
        put(head, (size_t)sprintf(head, "%zx\r\n", some));
        put(body + at, some);
        put("\r\n", 2);
    }
    put("0\r\n\r\n", 5);
}

/* Every item of it is read. */
static void look_at(const uint8_t *plain, size_t n)
{
    cib_reader r = cib_reader_of(plain, n);
    cib_item item;
    while (cib_next(&r, &item) > 0)
        MUST(item.kind <= CIB_ITEM_OTHER);
}

/* First byte: how. Second: bytes a read. Third: bytes a chunk. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fake line;
    static uint8_t body[65536];
    static const uint8_t id[8] = { 1 }, secret[32] = { 2 };
    if (size < 3 || size > 4096)
        return 0;
    unsigned how = data[0], kind = how & 3u;
    size_t room = CIB_HTTP_ROOM(128), body_n, good = SIZE_MAX;
    uint8_t *buf = malloc(room);
    cib_key key;
    cib_http h;
    fake_init(&line);
    line.random = RANDOM;
    MUST(cib_key_init(&key, id, secret, 1) == 0);
    cib_http_init(&h, &key, &line.port, "box", buf, room);
    h.has_token = true;
    cib_writer w = cib_http_writer(&h);
    cib_write_uint(&w, 1);
    MUST((how & FOR_TOKEN ? cib_http_get_token(&h) : cib_http_post(&h, &w)) == 0);
    wire_n = 0;
    if (kind == RAW) {
        if (how & WITH_HEAD)
            frame_body(ENDLESS, data, 0, 0);
        put(data + 3, size - 3);
    } else {
        good = seal_body(body, &body_n, h.response_key, data + 3, size - 3);
        frame_body(kind, body, body_n, 1u + data[2]);
    }
    fake_give(&line, wire, wire_n);
    line.in_each = data[1];
    line.in_dead = true;
    int n = 0;
    size_t records = 0;
    for (size_t polls = 0; n >= 0; polls++) {
        MUST(polls < 2 * wire_n + 1000);
        n = cib_http_poll(&h);
        if (n > 0) {
            MUST((size_t)n + 18 <= room && ++records <= good);
            look_at(h.plain, (size_t)n);
        }
    }
    MUST(cib_http_poll(&h) == CIB_EBUSY);
    free(buf);
    return 0;
}
