/* said.h: what a box says, for unit tests: items written with the library's own writer, and read back as a client reads them. */
#ifndef SAID_H
#define SAID_H

#include "check.h"
#include "cib.h"

static const uint8_t SESSION[CIB_SESSION_BYTES] = {1, 0x90, 0xf0, 0xc2, 0x7a, 0x11, 0x7c, 0x33, 0x9a, 0x55, 0x12, 0x34, 0x56, 0x78, 0x90, 0xab};
static const uint8_t ANOTHER[CIB_SESSION_BYTES] = {2};

typedef struct said {
    uint8_t bytes[256];
    cib_writer w;
    cib_item item;
} said;

static inline cib_writer *begin(said *s)
{
    s->w = cib_writer_of(s->bytes, sizeof s->bytes);
    return &s->w;
}

/* The first item of what was written. */
static inline const cib_item *heard(said *s)
{
    CHECK(!s->w.full);
    cib_reader r = cib_reader_of(s->bytes, cib_written(&s->w));
    SAME(cib_next(&r, &s->item), 1);
    return &s->item;
}

static inline void write_session(cib_writer *w, const uint8_t *session)
{
    cib_write_text(w, "session");
    cib_write_bytes(w, session, CIB_SESSION_BYTES);
}

/* text.delta number seq; piece `piece` of `of`, where of is not 0. */
static inline void write_frame(cib_writer *w, const uint8_t *session, uint64_t seq, unsigned piece, unsigned of)
{
    cib_write_head(w, CIB_CBOR_ARRAY, 5);
    cib_write_uint(w, CIB_FRAME_TEXT_DELTA);
    cib_write_uint(w, seq);
    cib_write_uint(w, 1763880000123);
    cib_write_bytes(w, session, CIB_SESSION_BYTES);
    cib_write_head(w, CIB_CBOR_MAP, of == 0 ? 1 : 2);
    cib_write_uint(w, CIB_KEY_TEXT_DELTA_TEXT);
    cib_write_text(w, "Hello");
    if (of != 0) {
        cib_write_uint(w, CIB_KEY_PART);
        cib_write_head(w, CIB_CBOR_ARRAY, 2);
        cib_write_uint(w, piece);
        cib_write_uint(w, of);
    }
}

static inline void write_verdict(cib_writer *w, uint32_t id, const char *verdict, uint64_t from, uint32_t epoch)
{
    cib_write_head(w, CIB_CBOR_MAP, 6);
    write_session(w, SESSION);
    cib_write_text(w, "epoch");
    cib_write_uint(w, epoch);
    cib_write_text(w, "from");
    cib_write_uint(w, from);
    cib_write_text(w, "verdict");
    cib_write_text(w, verdict);
    cib_write_text(w, "re");
    cib_write_uint(w, id);
    cib_write_text(w, "ok");
    cib_write_bool(w, true);
}

static inline void write_refusal(cib_writer *w, uint32_t number, const char *name, const char *code, bool retryable)
{
    cib_write_head(w, CIB_CBOR_MAP, 3);
    cib_write_text(w, "re");
    if (name != NULL)
        cib_write_text(w, name);
    else
        cib_write_uint(w, number);
    cib_write_text(w, "ok");
    cib_write_bool(w, false);
    cib_write_text(w, "error");
    cib_write_head(w, CIB_CBOR_MAP, 3);
    cib_write_text(w, "code");
    cib_write_text(w, code);
    cib_write_text(w, "message");
    cib_write_text(w, "code: what it was");
    cib_write_text(w, "retryable");
    cib_write_bool(w, retryable);
}

static inline void write_done(cib_writer *w, const char *name)
{
    cib_write_head(w, CIB_CBOR_MAP, 2);
    cib_write_text(w, "re");
    cib_write_text(w, name);
    cib_write_text(w, "ok");
    cib_write_bool(w, true);
}

static inline void write_gap(cib_writer *w, const uint8_t *session, uint64_t from, uint64_t to)
{
    cib_write_head(w, CIB_CBOR_MAP, 2);
    cib_write_text(w, "gap");
    cib_write_head(w, CIB_CBOR_ARRAY, 2);
    cib_write_uint(w, from);
    cib_write_uint(w, to);
    write_session(w, session);
}

static inline void write_detached(cib_writer *w, const uint8_t *session, const char *reason)
{
    cib_write_head(w, CIB_CBOR_MAP, 2);
    cib_write_text(w, "detached");
    cib_write_text(w, reason);
    write_session(w, session);
}

static inline void write_bye(cib_writer *w, const char *reason)
{
    cib_write_head(w, CIB_CBOR_MAP, 1);
    cib_write_text(w, "bye");
    cib_write_text(w, reason);
}

#endif
