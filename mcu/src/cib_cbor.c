/*
 * cib_cbor.c: CBOR (RFC 8949) in the subset of docs/frames.cddl: definite lengths, no tags.
 *
 * An item is a head (three bits of kind, and a value in 0 to 8 further bytes) and, by its kind, what the head counts. Reading
 * checks each head once against what is left; after that nothing can point outside, so nothing else has to check.
 */
#include "cib.h"

#include <string.h>

/* The low five bits of a head: up to 23 the value itself, 24 to 27 says 1, 2, 4 or 8 bytes of it, 31 an indefinite length. */
enum { ONE_BYTE = 24, EIGHT_BYTES = 27 };
/* Whole heads. */
enum { IS_FALSE = 0xf4, IS_TRUE = 0xf5, IS_NULL = 0xf6 };

/* ------------------------------------------------------------------ reading */

cib_reader cib_reader_of(const uint8_t *bytes, size_t n)
{
    cib_reader r = {bytes, bytes + n, 0};
    return r;
}

static size_t left(const cib_reader *r)
{
    return (size_t)(r->end - r->at);
}

/* Nothing can be read any more: there is nothing left. */
static uint64_t fail(cib_reader *r)
{
    r->error = CIB_EFORMAT;
    r->at = r->end;
    return 0;
}

enum cib_cbor_kind cib_peek(const cib_reader *r)
{
    return r->at == r->end ? CIB_CBOR_END : (enum cib_cbor_kind)(*r->at >> 5);
}

/* Any head but a tag's. What it counts is there: so many bytes, or at least a byte for each item. */
static uint64_t read_head(cib_reader *r)
{
    enum cib_cbor_kind kind = cib_peek(r);
    if (kind >= CIB_CBOR_END || kind == CIB_CBOR_TAG)
        return fail(r);
    uint64_t value = *r->at++ & 31u;
    if (value > EIGHT_BYTES)
        return fail(r);
    if (value >= ONE_BYTE) {
        size_t n = (size_t)1 << (value - ONE_BYTE);
        if (n > left(r))
            return fail(r);
        for (value = 0; n > 0; n--)
            value = value << 8 | *r->at++;
    }
    if (kind >= CIB_CBOR_BYTES && kind <= CIB_CBOR_MAP && value > left(r))
        return fail(r);
    return value;
}

uint64_t cib_read_head(cib_reader *r, enum cib_cbor_kind kind)
{
    return cib_peek(r) == kind ? read_head(r) : fail(r);
}

uint64_t cib_read_uint(cib_reader *r)
{
    return cib_read_head(r, CIB_CBOR_UINT);
}

cib_text cib_read_text(cib_reader *r)
{
    cib_text text = {NULL, 0};
    enum cib_cbor_kind kind = cib_peek(r) == CIB_CBOR_BYTES ? CIB_CBOR_BYTES : CIB_CBOR_TEXT;
    size_t n = (size_t)cib_read_head(r, kind);
    if (r->error == 0) {
        text.at = r->at;
        text.n = n;
        r->at += n;
    }
    return text;
}

bool cib_read_bool(cib_reader *r)
{
    uint8_t head = r->at == r->end ? 0 : *r->at;
    if (head < IS_FALSE || head > IS_NULL)
        return fail(r) != 0;
    r->at++;
    return head == IS_TRUE;
}

void cib_skip(cib_reader *r)
{
    /* Items still to go over. Each takes at least a byte, so their number cannot pass what is left, nor what a size_t holds. */
    size_t items = 1;
    while (items-- > 0) {
        enum cib_cbor_kind kind = cib_peek(r);
        size_t n = (size_t)read_head(r);
        if (kind == CIB_CBOR_BYTES || kind == CIB_CBOR_TEXT)
            r->at += n;
        else if (kind == CIB_CBOR_ARRAY)
            items += n;
        else if (kind == CIB_CBOR_MAP)
            items += n + n;
        if (items > left(r))
            fail(r);
        if (r->error != 0)
            return;
    }
}

bool cib_text_is(cib_text text, const char *word)
{
    size_t n = strlen(word);
    return text.n == n && text.at != NULL && memcmp(text.at, word, n) == 0;
}

/* ------------------------------------------------------------------ writing */

cib_writer cib_writer_of(uint8_t *bytes, size_t room)
{
    cib_writer w = {bytes, bytes, bytes + room, false};
    return w;
}

size_t cib_written(const cib_writer *w)
{
    return (size_t)(w->at - w->start);
}

static void put(cib_writer *w, const void *bytes, size_t n)
{
    if (w->full || n > (size_t)(w->end - w->at)) {
        w->full = true;
        return;
    }
    memcpy(w->at, bytes, n);
    w->at += n;
}

void cib_write_head(cib_writer *w, enum cib_cbor_kind kind, uint64_t value)
{
    uint8_t head[9];
    unsigned n = 0; /* bytes of value behind the first, as few as do: the box takes no longer form */
    uint8_t low = (uint8_t)value;
    if (value >= ONE_BYTE) {
        low = ONE_BYTE;
        for (n = 1; n < 8 && value >> (8 * n) != 0; n *= 2)
            low++;
    }
    head[0] = (uint8_t)((unsigned)kind << 5 | low);
    for (unsigned i = n; i > 0; i--, value >>= 8)
        head[i] = (uint8_t)value;
    put(w, head, 1 + n);
}

void cib_write_uint(cib_writer *w, uint64_t value)
{
    cib_write_head(w, CIB_CBOR_UINT, value);
}

void cib_write_bool(cib_writer *w, bool value)
{
    uint8_t head = value ? IS_TRUE : IS_FALSE;
    put(w, &head, 1);
}

void cib_write_text(cib_writer *w, const char *text)
{
    cib_text all = {(const uint8_t *)text, strlen(text)};
    cib_write_text_n(w, all);
}

void cib_write_text_n(cib_writer *w, cib_text text)
{
    cib_write_head(w, CIB_CBOR_TEXT, text.n);
    put(w, text.at, text.n);
}

void cib_write_bytes(cib_writer *w, const uint8_t *bytes, size_t n)
{
    cib_write_head(w, CIB_CBOR_BYTES, n);
    put(w, bytes, n);
}
