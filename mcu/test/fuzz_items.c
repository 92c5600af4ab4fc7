/*
 * fuzz_items.c: any bytes as what a box says: every item, every field, every value in it, and everything that takes items.
 * What is read must lie in what was given, and reading must come to an end.
 */
#include "cib.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition)     \
    do {                    \
        if (!(condition))   \
            abort();        \
    } while (0)

static const uint8_t *begin, *end;

static void within(cib_text text)
{
    MUST(text.at == NULL ? text.n == 0 : text.at >= begin && text.n <= (size_t)(end - text.at));
}

static void sound(const cib_reader *r)
{
    MUST(r->at >= begin && r->at <= r->end && r->end <= end);
    MUST(r->error == 0 || r->at == r->end);
}

/* A value, read in every way; each from its own copy, as each may fail. */
static void read_value(cib_reader value)
{
    sound(&value);
    cib_reader r = value;
    within(cib_read_text(&r));
    sound(&r);
    r = value;
    cib_read_bool(&r);
    sound(&r);
    for (unsigned kind = 0; kind <= CIB_CBOR_END; kind++) {
        r = value;
        uint64_t n = cib_read_head(&r, (enum cib_cbor_kind)kind);
        sound(&r);
        MUST(r.error != 0 || kind < CIB_CBOR_BYTES || kind > CIB_CBOR_MAP || n <= (size_t)(end - begin));
    }
    r = value;
    cib_skip(&r);
    sound(&r);
    MUST(r.error != 0 || r.at > value.at);
}

static void read_frame(const cib_frame *frame)
{
    cib_reader value;
    MUST(frame->session >= begin && frame->session + CIB_SESSION_BYTES <= end);
    for (uint32_t key = 0; key <= CIB_KEY_TRUNCATED; key++) {
        if (cib_field(frame, key, &value))
            read_value(value);
        within(cib_field_text(frame, key));
    }
}

static void read_reply(const cib_reply *reply)
{
    static const char *const NAMES[] = {"verdict", "from", "epoch", "sessions", "error", ""};
    cib_reader value;
    within(reply->name);
    within(reply->code);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (cib_reply_field(reply, NAMES[i], &value))
            read_value(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t kept[128];
    uint8_t session[CIB_SESSION_BYTES] = {0};
    cib_follow f;
    cib_outbox o;
    cib_item item;
    int result;
    /* Of its own, so that one byte too far is found. */
    uint8_t *copy = malloc(size + 1);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    begin = copy;
    end = copy + size;

    if (size >= CIB_SESSION_BYTES)
        memcpy(session, data + size - CIB_SESSION_BYTES, CIB_SESSION_BYTES);
    cib_follow_init(&f, session);
    f.attach_id = 0;
    cib_outbox_init(&o, kept, sizeof kept);
    cib_writer w = cib_outbox_writer(&o);
    cib_cmd_input(&w, "7-0", session, "hi");
    MUST(cib_outbox_keep(&o, &w) == 0);
    w = cib_writer_of(kept + o.n, sizeof kept - o.n);
    cib_cmd_attach(&w, &f, 0);

    cib_reader r = cib_reader_of(copy, size);
    do {
        const uint8_t *before = r.at;
        uint64_t stood = f.seq;
        result = cib_next(&r, &item);
        sound(&r);
        if (result <= 0)
            break;
        MUST(r.at > before);
        if (item.kind == CIB_ITEM_FRAME)
            read_frame(&item.frame);
        if (item.kind == CIB_ITEM_REPLY)
            read_reply(&item.reply);
        within(item.token);
        enum cib_taken taken = cib_follow_take(&f, &item);
        /* Only what says so moves the place. */
        MUST(f.seq == stood || taken != CIB_OLD);
        MUST(taken != CIB_NEW || (item.frame.seq > stood && (f.seq == item.frame.seq) == item.frame.last));
        cib_outbox_take(&o, &item);
    } while (1);
    MUST(result == 0 || result == CIB_EFORMAT);
    MUST(result == CIB_EFORMAT || r.at == end);
    read_value(cib_reader_of(copy, size));
    free(copy);
    return 0;
}
