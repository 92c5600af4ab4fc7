/* cib_http_body.c: reads an HTTP/1.1 response (RFC 9112) byte by byte where it has lines, and straight through where it has a body. */
#include <string.h>

#include "cib_http_body.h"
#include "cib_text.h"

/* h->state */
enum { STATUS, HEADER, SIZE, EXTENSION, DATA, DATA_END, OVER };

/* Of all headers together, with those of "100 Continue" before them: a box sends 400, a proxy in front of it perhaps 1,000. */
#define MOST_HEAD_BYTES 8192u
/* Of the line before a chunk: 8 digits, and an extension that nobody sends. */
#define MOST_SIZE_LINE 64u
/* h->left of a body that only the end of the connection ends [6.3, rule 8]. Lengths are below 2^28. */
#define ENDLESS UINT32_MAX
#define TOO_LONG (UINT32_C(1) << 28)

void cib_body_expect(cib_http *h)
{
    h->state = STATUS;
    h->status = 0;
    h->chunked = false;
    h->left = ENDLESS;
    h->got = 0;
    h->line = 0;
}

bool cib_body_endless(const cib_http *h) { return h->state == DATA && h->left == ENDLESS; }

static bool begins(const cib_http *h, const char *word) { return h->line >= strlen(word) && memcmp(h->buf, word, strlen(word)) == 0; }

/* "http/1.1 200 ok" */
static int status_line(cib_http *h)
{
    if (h->line == 0)
        return CIB_OK; /* the end of a chunked body before, on a connection that was kept */
    if (h->line < 12 || !begins(h, "http/1.") || h->buf[8] != ' ')
        return CIB_EFORMAT;
    unsigned status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (h->buf[i] < '0' || h->buf[i] > '9')
            return CIB_EFORMAT;
        status = status * 10u + (unsigned)(h->buf[i] - '0');
    }
    h->status = (uint16_t)status;
    h->state = HEADER;
    return status > 200 ? CIB_EREFUSED : CIB_OK;
}

/* The value of a header whose name has `name` bytes, without the blanks around it. */
static cib_text value_of(const cib_http *h, size_t name)
{
    size_t end = h->line;
    while (end > name && h->buf[end - 1] == ' ')
        end--;
    while (name < end && h->buf[name] == ' ')
        name++;
    cib_text value = { h->buf + name, end - name };
    return value;
}

static int length_header(cib_http *h, cib_text value)
{
    h->left = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.at[i] < '0' || value.at[i] > '9' || h->left >= TOO_LONG / 10u)
            return CIB_EFORMAT;
        h->left = h->left * 10u + (uint32_t)(value.at[i] - '0');
    }
    return value.n > 0 ? CIB_OK : CIB_EFORMAT;
}

static int header_line(cib_http *h)
{
    static const char length[] = "content-length:", coding[] = "transfer-encoding:", chunked[] = "chunked";
    bool is_length = begins(h, length), is_coding = begins(h, coding);
    if (is_length || is_coding) {
        if (h->line == CIB_HTTP_LINE)
            return CIB_EFORMAT; /* its end was not kept */
        cib_text value = value_of(h, is_length ? sizeof length - 1 : sizeof coding - 1);
        if (is_length)
            return length_header(h, value);
        h->chunked = value.n == sizeof chunked - 1 && memcmp(value.at, chunked, value.n) == 0;
        return h->chunked ? CIB_OK : CIB_EFORMAT;
    }
    if (h->line > 0)
        return CIB_OK;
    if (h->status < 200) {
        /* "100 Continue": the response proper comes behind it. */
        h->state = STATUS;
        return CIB_OK;
    }
    h->state = h->chunked ? SIZE : DATA;
    if (h->chunked)
        h->left = 0;
    h->got = 0;
    return CIB_OK;
}

/* One byte of the status line or a header. Until the body begins, h->got counts them. */
static int head_byte(cib_http *h, uint8_t c)
{
    if (h->got == MOST_HEAD_BYTES)
        return CIB_EFORMAT;
    h->got++;
    if (c == '\n') {
        int n = h->state == STATUS ? status_line(h) : header_line(h);
        h->line = 0;
        return n;
    }
    if (c != '\r' && h->line < CIB_HTTP_LINE)
        h->buf[h->line++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    return CIB_OK;
}

/* One byte of what stands around chunks: CRLF behind the one before, size in hex digits, extension [7.1]. */
static int chunk_byte(cib_http *h, uint8_t c)
{
    int digit = cib_digit((char)c);
    bool first = h->line == 0;
    if (h->line++ == MOST_SIZE_LINE || (h->state == SIZE && first && digit < 0))
        return CIB_EFORMAT;
    if (c == '\n') {
        h->line = 0;
        h->state = h->state == DATA_END ? SIZE : h->left > 0 ? DATA : OVER;
    } else if (c == '\r' || h->state == EXTENSION) {
        return CIB_OK;
    } else if (h->state == SIZE && digit >= 0) {
        if (h->left >= TOO_LONG >> 4)
            return CIB_EFORMAT;
        h->left = h->left << 4 | (uint32_t)digit;
    } else if (h->state == SIZE && (c == ';' || c == ' ')) {
        h->state = EXTENSION;
    } else {
        return CIB_EFORMAT;
    }
    return CIB_OK;
}

/* Up to n bytes from the connection; CIB_ELINE from a dead one or a broken port. */
static int take(const cib_http *h, uint8_t *to, size_t n)
{
    int took = h->port->recv(h->port->user, to, n);
    return took < 0 || (size_t)took > n ? CIB_ELINE : took;
}

int cib_body(cib_http *h, size_t want)
{
    for (;;) {
        int n;
        if (h->state == OVER)
            return h->got >= want ? 1 : CIB_HTTP_END;
        if (h->state != DATA) {
            if (h->state > HEADER && h->got >= want)
                return 1;
            uint8_t c = 0;
            if ((n = take(h, &c, 1)) <= 0)
                return n;
            n = h->state <= HEADER ? head_byte(h, c) : chunk_byte(h, c);
            if (n < 0)
                return n;
            continue;
        }
        if (h->got >= want)
            return 1;
        if (h->left == 0) {
            h->state = h->chunked ? DATA_END : OVER;
            continue;
        }
        size_t most = want - h->got;
        n = take(h, h->buf + h->got, most < h->left ? most : h->left);
        if (n <= 0)
            return n < 0 && h->left == ENDLESS ? CIB_HTTP_END : n;
        h->got = (uint16_t)(h->got + n);
        if (h->left != ENDLESS)
            h->left -= (uint32_t)n;
    }
}
