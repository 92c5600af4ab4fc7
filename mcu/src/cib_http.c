/* cib_http.c: AES envelopes over plain HTTP: a token, a sealed request, and its response, opened record by record as it comes. */
#include <string.h>

#include "cib_bytes.h"
#include "cib_crypto.h"
#include "cib_envelope.h"
#include "cib_http_body.h"
#include "cib_secret.h"
#include "cib_send.h"
#include "cib_text.h"

/* h->step: nothing under way; the answer of /aes/token; of /aes: Rs, records, what stands behind the last one. */
enum { IDLE, TOKEN, RS, RECORDS, TAIL };

/* An empty record comes every 15 s: three that did not. */
#define SILENCE_MS 45000u
/* A token lives for 120 s: less the time that a request may be on its way. */
#define TOKEN_MS 110000u
#define RS_BYTES 16u
#define PLAINTEXT_AT (CIB_ENVELOPE_HEADER + 2u)

static uint32_t now(const cib_http *h) { return h->port->ms(h->port->user); }

void cib_http_init(cib_http *h, cib_key *key, const cib_port *port, const char *host, uint8_t *buf, size_t room)
{
    memset(h, 0, sizeof *h);
    h->key = key;
    h->port = port;
    h->host = host;
    h->buf = buf;
    h->room = room > UINT16_MAX ? UINT16_MAX : (uint16_t)room;
}

bool cib_http_needs_token(const cib_http *h) { return !h->has_token || now(h) - h->token_at > TOKEN_MS; }

/* ------------------------------------------------------------------ requests */

static void put_text(cib_outgoing *o, const char *text) { cib_put(o, text, strlen(text)); }

static void put_decimal(cib_outgoing *o, size_t value)
{
    char digits[20];
    char *at = digits + sizeof digits;
    do
        *--at = (char)('0' + value % 10u);
    while ((value /= 10u) > 0);
    cib_put(o, at, (size_t)(digits + sizeof digits - at));
}

/* Sends a request, with the n bytes of body that stand at buf, and waits for its answer in that step. */
static int ask(cib_http *h, const char *line, size_t n, uint8_t step)
{
    cib_outgoing o = { .port = h->port };
    put_text(&o, line);
    put_text(&o, " HTTP/1.1\r\nHost: ");
    put_text(&o, h->host);
    if (n > 0) {
        put_text(&o, "\r\nContent-Type: application/octet-stream\r\nContent-Length: ");
        put_decimal(&o, n);
    }
    put_text(&o, "\r\n\r\n");
    cib_put(&o, h->buf, n);
    cib_body_expect(h);
    h->counter = 0;
    h->heard = now(h);
    int error = cib_flush(&o);
    h->step = error ? IDLE : step;
    return error;
}

int cib_http_get_token(cib_http *h) { return h->room < CIB_HTTP_ROOM(0) ? CIB_EROOM : ask(h, "GET /aes/token", 0, TOKEN); }

cib_writer cib_http_writer(cib_http *h)
{
    return cib_writer_of(h->buf + PLAINTEXT_AT, h->room > CIB_HTTP_ROOM(0) ? h->room - CIB_HTTP_ROOM(0) : 0);
}

int cib_http_post(cib_http *h, const cib_writer *w)
{
    size_t n = cib_written(w);
    if (w->full || h->room < CIB_HTTP_ROOM(0) || n >= CIB_LAST_RECORD)
        return CIB_EROOM;
    if (!h->has_token)
        return CIB_EBUSY;
    cib_put16(h->buf + CIB_ENVELOPE_HEADER, (uint16_t)(CIB_LAST_RECORD | n));
    size_t size = CIB_ENVELOPE_HEADER + CIB_RECORD_ROOM(n);
    int error = cib_envelope_seal(h->key, h->port, "POST\n/aes\n", h->token, h->buf, size, h->response_key);
    if (error == 0)
        error = ask(h, "POST /aes", size, RS);
    if (error)
        cib_wipe(h->response_key, sizeof h->response_key);
    return error;
}

/* ------------------------------------------------------------------ responses */

/* {"token":"<32 hex digits>"}: nothing else in it has as many in a row. */
static int read_token(cib_http *h)
{
    int n = cib_body(h, h->room);
    if (n != CIB_HTTP_END)
        return n == 1 ? CIB_EFORMAT : n;
    size_t digits = 0;
    for (size_t i = 0; i < h->got && digits < 2u * CIB_TOKEN_BYTES; i++) {
        int digit = cib_digit((char)h->buf[i]);
        uint8_t *byte = &h->token[digits / 2u];
        *byte = (uint8_t)(*byte << 4 | (digit & 15));
        digits = digit < 0 ? 0 : digits + 1u;
    }
    h->has_token = digits == 2u * CIB_TOKEN_BYTES;
    h->token_at = now(h);
    return h->has_token ? CIB_HTTP_END : CIB_EFORMAT;
}

/* The first item of a response is the token for the next request. */
static void keep_next(cib_http *h, size_t n)
{
    cib_reader r = cib_reader_of(h->plain, n);
    cib_item item;
    if (cib_next(&r, &item) <= 0 || item.kind != CIB_ITEM_NEXT || item.token.n != CIB_TOKEN_BYTES)
        return;
    memcpy(h->token, item.token.at, CIB_TOKEN_BYTES);
    h->token_at = now(h);
}

static int read_rs(cib_http *h)
{
    int n = cib_body(h, RS_BYTES);
    if (n != 1)
        return n;
    h->got = 0;
    h->step = RECORDS;
    return cib_envelope_response(h->response_key, h->buf);
}

/* The next record's plaintext; 0 for an empty one, and where it is not whole yet. */
static int read_record(cib_http *h)
{
    int n = cib_body(h, 2);
    if (n != 1)
        return n;
    unsigned head = cib_get16(h->buf);
    size_t length = head & (CIB_LAST_RECORD - 1u);
    /* Its frames would be missed without a trace: more was asked for than there is room. */
    if (CIB_RECORD_ROOM(length) > h->room)
        return CIB_EROOM;
    if ((n = cib_body(h, CIB_RECORD_ROOM(length))) != 1)
        return n;
    if ((n = cib_open(h->response_key, h->counter, h->buf, length)) < 0)
        return n;
    h->got = 0;
    h->heard = now(h);
    h->plain = h->buf + 2;
    if (h->counter++ == 0)
        keep_next(h, length);
    if (head & CIB_LAST_RECORD)
        h->step = TAIL;
    return (int)length;
}

/* Nothing may follow the last record but the end of HTTP's body, so that a connection that is kept can carry the next request. */
static int read_tail(cib_http *h)
{
    int n = cib_body_endless(h) ? CIB_HTTP_END : cib_body(h, 1);
    if (n == 1)
        return CIB_EFORMAT;
    /* Everything has come: it does not matter how the line ends. */
    return n == CIB_ELINE ? CIB_HTTP_END : n;
}

int cib_http_poll(cib_http *h)
{
    int n = 0;
    switch (h->step) {
    case IDLE:
        return CIB_EBUSY;
    case TOKEN:
        n = read_token(h);
        break;
    case RS:
        n = read_rs(h);
        if (n != 0 || h->step != RECORDS)
            break;
        /* fall through */
    case RECORDS:
        n = read_record(h);
        break;
    default:
        n = read_tail(h);
    }
    /* A body that ends before its marked last record was cut. */
    if (n == CIB_HTTP_END && (h->step == RS || h->step == RECORDS))
        n = CIB_ELINE;
    if (n == 0 && now(h) - h->heard > SILENCE_MS)
        n = h->step == TAIL ? CIB_HTTP_END : CIB_EDEAD;
    if (n < 0) {
        if (n == CIB_EREFUSED && h->status == 401)
            h->has_token = false;
        cib_wipe(h->response_key, sizeof h->response_key);
        h->step = IDLE;
    }
    return n;
}
