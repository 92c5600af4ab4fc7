/*
 * cib_frame.c: items of the box (docs/PROTOCOL.md, "Records"): frames, replies, and what it says beside them.
 *
 * Each item is first gone over whole. What is read from it afterwards lies within it, and what this version does not know in
 * it is left aside.
 */
#include "cib.h"

#include <string.h>

/* Which of words it is, counted from 1; 0 for none. Each word ends with a zero, the last with two. */
static unsigned place_of(cib_text word, const char *words)
{
    for (unsigned place = 1; *words != 0; place++) {
        if (cib_text_is(word, words))
            return place;
        words += strlen(words) + 1;
    }
    return 0;
}

/* ------------------------------------------------------------------ frames */

/* A session's id, where 16 bytes stand; else NULL. */
static const uint8_t *read_session(cib_reader *r)
{
    if (cib_peek(r) == CIB_CBOR_BYTES) {
        cib_text id = cib_read_text(r);
        return id.n == CIB_SESSION_BYTES ? id.at : NULL;
    }
    cib_skip(r);
    return NULL;
}

/* Does another part of this frame follow? */
static bool is_last(const cib_frame *frame)
{
    cib_reader part;
    if (!cib_field(frame, CIB_KEY_PART, &part))
        return true;
    cib_read_head(&part, CIB_CBOR_ARRAY);
    uint64_t piece = cib_read_uint(&part);
    uint64_t of = cib_read_uint(&part);
    return piece + 1 >= of;
}

/* [type, seq, ts, session, data, and what later versions put behind] */
static int read_frame(cib_reader r, cib_frame *frame)
{
    uint64_t elements = cib_read_head(&r, CIB_CBOR_ARRAY);
    uint64_t type = cib_read_uint(&r);
    frame->type = type > UINT32_MAX ? UINT32_MAX : (uint32_t)type;
    frame->seq = cib_read_uint(&r);
    frame->ts = cib_read_uint(&r);
    frame->session = read_session(&r);
    frame->pairs = (uint32_t)cib_read_head(&r, CIB_CBOR_MAP);
    frame->data = r;
    if (r.error != 0 || elements <= CIB_HEAD_ITEMS || frame->session == NULL)
        return CIB_EFORMAT;
    frame->last = is_last(frame);
    return 1;
}

bool cib_field(const cib_frame *frame, uint32_t key, cib_reader *value)
{
    *value = frame->data;
    for (uint32_t pairs = frame->pairs; pairs > 0 && value->error == 0; pairs--) {
        if (cib_read_uint(value) == key && value->error == 0)
            return true;
        cib_skip(value);
    }
    return false;
}

cib_text cib_field_text(const cib_frame *frame, uint32_t key)
{
    cib_reader value;
    cib_text none = {NULL, 0};
    return cib_field(frame, key, &value) ? cib_read_text(&value) : none;
}

/* ------------------------------------------------------------------ replies and notices */

/* In the order of enum cib_bye. */
static const char REASONS[] =
    "rekey\0stopping\0too_far_behind\0superseded\0revoked\0expired\0bad_request\0detached\0max_frames\0wait_ms\0";

/* What a map is, is told by one key: the first of these that it has, in the order of enum cib_item_kind. */
static const char KEYS[] = "re\0gap\0detached\0bye\0next\0ok\0session\0error\0code\0retryable\0";
enum { IS_OK = CIB_ITEM_OTHER, SESSION, ERROR, CODE, RETRYABLE };

/* What a pair says, whatever the others say. */
static void read_value(cib_reader value, unsigned key, cib_item *item)
{
    cib_reply *reply = &item->reply;
    switch (key) {
    case CIB_ITEM_REPLY:
        if (cib_peek(&value) == CIB_CBOR_UINT)
            reply->id = (uint32_t)cib_read_uint(&value);
        else
            reply->name = cib_read_text(&value);
        break;
    case CIB_ITEM_GAP:
        cib_read_head(&value, CIB_CBOR_ARRAY);
        item->from = cib_read_uint(&value);
        item->to = cib_read_uint(&value);
        break;
    case CIB_ITEM_DETACHED:
    case CIB_ITEM_BYE:
        item->reason = (enum cib_bye)place_of(cib_read_text(&value), REASONS);
        break;
    case CIB_ITEM_NEXT:
        item->token = cib_read_text(&value);
        break;
    case IS_OK:
        reply->ok = cib_read_bool(&value);
        break;
    case SESSION:
        item->session = read_session(&value);
        break;
    case CODE:
        reply->code = cib_read_text(&value);
        break;
    case RETRYABLE:
        reply->retryable = cib_read_bool(&value);
        break;
    default:
        break;
    }
}

static void read_map(cib_reader r, cib_item *item)
{
    uint32_t pairs = (uint32_t)cib_read_head(&r, CIB_CBOR_MAP);
    item->reply.pairs = pairs;
    item->reply.body = r;
    for (; pairs > 0 && r.error == 0; pairs--) {
        unsigned key = place_of(cib_read_text(&r), KEYS);
        if (key >= CIB_ITEM_REPLY && key < (unsigned)item->kind)
            item->kind = (enum cib_item_kind)key;
        if (key == ERROR && cib_peek(&r) == CIB_CBOR_MAP) { /* {code, message, retryable}: read as if they stood here */
            pairs += (uint32_t)cib_read_head(&r, CIB_CBOR_MAP);
            continue;
        }
        cib_reader value = r;
        cib_skip(&r);
        read_value(value, key, item);
    }
}

bool cib_reply_field(const cib_reply *reply, const char *name, cib_reader *value)
{
    *value = reply->body;
    for (uint32_t pairs = reply->pairs; pairs > 0 && value->error == 0; pairs--) {
        if (cib_text_is(cib_read_text(value), name))
            return true;
        cib_skip(value);
    }
    return false;
}

int cib_next(cib_reader *r, cib_item *item)
{
    memset(item, 0, sizeof *item);
    item->kind = CIB_ITEM_OTHER;
    if (r->error == 0 && r->at == r->end)
        return 0;
    cib_reader whole = *r;
    cib_skip(r);
    if (r->error != 0)
        return CIB_EFORMAT;
    whole.end = r->at;
    if (cib_peek(&whole) == CIB_CBOR_ARRAY) {
        item->kind = CIB_ITEM_FRAME;
        return read_frame(whole, &item->frame);
    }
    if (cib_peek(&whole) == CIB_CBOR_MAP)
        read_map(whole, item);
    return 1;
}
