/*
 * cib_follow.c: where a client stands in one session, so that it handles each frame once and in order, whatever breaks in between.
 */
#include "cib.h"

#include <string.h>

/* f->state: one of these, and FROM_NOW until the first verdict has said where now is. */
enum { DUE = 0, ASKED = 1, ON = 2, ENDED = 3, FROM_NOW = 0x80 };

static void turn(cib_follow *f, uint8_t state)
{
    f->state = (uint8_t)((f->state & FROM_NOW) | state);
}

static bool is(const cib_follow *f, uint8_t state)
{
    return (f->state & ~FROM_NOW) == state;
}

void cib_follow_init(cib_follow *f, const uint8_t session[CIB_SESSION_BYTES])
{
    memset(f, 0, sizeof *f);
    memcpy(f->session, session, CIB_SESSION_BYTES);
    /* Each session counts its attaches in a range of its own: a refusal names no session, only the attach. */
    f->attach_id = (uint32_t)session[13] << 24 | (uint32_t)session[14] << 16 | (uint32_t)session[15] << 8;
}

void cib_follow_from_now(cib_follow *f)
{
    f->state |= FROM_NOW;
}

bool cib_follow_due(const cib_follow *f)
{
    return is(f, DUE);
}

void cib_follow_lost(cib_follow *f)
{
    turn(f, DUE);
}

static bool mine(const cib_follow *f, const uint8_t *session)
{
    return session != NULL && memcmp(session, f->session, CIB_SESSION_BYTES) == 0;
}

/* The next frame is number `from`. */
static void stand_before(cib_follow *f, uint64_t from)
{
    if (from > 0)
        f->seq = from - 1;
}

static uint64_t number(const cib_reply *reply, const char *name)
{
    cib_reader value;
    return cib_reply_field(reply, name, &value) ? cib_read_uint(&value) : 0;
}

static enum cib_taken take_frame(cib_follow *f, const cib_frame *frame)
{
    /* Terminal bytes have numbers of their own: they say nothing about where the frames are. */
    if (!is(f, ON) || frame->type == CIB_FRAME_PTY_RAW || frame->seq <= f->seq)
        return CIB_OLD;
    if (frame->last)
        f->seq = frame->seq;
    return CIB_NEW;
}

static enum cib_taken take_verdict(cib_follow *f, const cib_reply *reply)
{
    cib_reader value;
    if (!is(f, ASKED) || reply->id != f->attach_id)
        return CIB_OLD;
    if (!reply->ok) {
        turn(f, ENDED);
        return CIB_UNFOLLOWED;
    }
    f->state = ON;
    f->epoch = (uint32_t)number(reply, "epoch");
    stand_before(f, number(reply, "from"));
    cib_text verdict = {NULL, 0};
    if (cib_reply_field(reply, "verdict", &value))
        verdict = cib_read_text(&value);
    if (cib_text_is(verdict, "gap"))
        return CIB_GAP;
    return cib_text_is(verdict, "ahead") ? CIB_AHEAD : CIB_FOLLOWED;
}

static enum cib_taken end(cib_follow *f, enum cib_bye reason)
{
    if (is(f, ENDED) || is(f, DUE))
        return CIB_OLD;
    bool again = reason == CIB_BYE_TOO_FAR_BEHIND || reason == CIB_BYE_MAX_FRAMES || reason == CIB_BYE_WAIT_MS;
    turn(f, again ? DUE : ENDED);
    return CIB_UNFOLLOWED;
}

enum cib_taken cib_follow_take(cib_follow *f, const cib_item *item)
{
    switch (item->kind) {
    case CIB_ITEM_FRAME:
        return mine(f, item->frame.session) ? take_frame(f, &item->frame) : CIB_OLD;
    case CIB_ITEM_REPLY:
        return take_verdict(f, &item->reply);
    case CIB_ITEM_GAP:
        if (!mine(f, item->session) || !is(f, ON))
            return CIB_OLD;
        stand_before(f, item->to);
        return CIB_GAP;
    case CIB_ITEM_DETACHED:
        return mine(f, item->session) ? end(f, item->reason) : CIB_OLD;
    case CIB_ITEM_BYE:
        return end(f, item->reason);
    default:
        return CIB_OLD;
    }
}

/* ------------------------------------------------------------------ the attach */

/* A pair that an attach has only where it says something: how many that makes. */
static unsigned write_number(cib_writer *w, const char *name, uint64_t value)
{
    if (value == 0)
        return 0;
    cib_write_text(w, name);
    cib_write_uint(w, value);
    return 1;
}

static unsigned write_types(cib_writer *w, uint32_t types)
{
    static const char NAMES[] = CIB_TYPE_NAMES;
    const char *name = NAMES;
    unsigned count = 0;
    if (types == 0)
        return 0;
    types &= CIB_TYPE(CIB_TYPE_MAX + 1) - CIB_TYPE(1); /* those that have a name */
    for (uint32_t rest = types; rest != 0; rest &= rest - 1)
        count++;
    cib_write_text(w, "types");
    cib_write_head(w, CIB_CBOR_ARRAY, count);
    for (unsigned type = 0; type <= CIB_TYPE_MAX; type++, name += strlen(name) + 1)
        if (types >> type & 1u)
            cib_write_text(w, name);
    return 1;
}

void cib_cmd_attach_for(cib_writer *w, cib_follow *f, uint32_t types, uint32_t max_frames, uint32_t wait_ms, uint32_t max_bytes)
{
    bool from_now = (f->state & FROM_NOW) != 0;
    uint8_t *head = w->at;
    cib_cmd_begin(w, "attach", NULL, ++f->attach_id, f->session, 0);
    unsigned pairs = 0;
    if (!from_now) {
        pairs += write_number(w, "from", f->seq + 1);
        pairs += write_number(w, "epoch", f->epoch);
    }
    pairs += write_number(w, "max_frames", max_frames);
    pairs += write_number(w, "wait_ms", wait_ms);
    pairs += write_number(w, "max_bytes", max_bytes);
    pairs += write_types(w, types);
    if (!w->full)
        *head = (uint8_t)(*head + pairs); /* a map of fewer than 24 pairs has its count in its first byte */
    turn(f, ASKED);
}

void cib_cmd_attach(cib_writer *w, cib_follow *f, uint32_t types)
{
    cib_cmd_attach_for(w, f, types, 0, 0, 0);
}

/* ------------------------------------------------------------------ coming back */

/* A first wait, doubled until the longest (docs/PROTOCOL.md, "Keeping alive, ending, coming back"). */
#define FIRST_WAIT_MS 250u
#define LONGEST_WAIT_MS 15000u

uint32_t cib_backoff(uint32_t tries, uint32_t random)
{
    uint32_t wait = FIRST_WAIT_MS;
    while (tries-- > 0 && wait < LONGEST_WAIT_MS)
        wait *= 2;
    if (wait > LONGEST_WAIT_MS)
        wait = LONGEST_WAIT_MS;
    return wait / 2 + random % (wait / 2 + 1);
}
