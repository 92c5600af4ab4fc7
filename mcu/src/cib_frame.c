/*
 * cib_frame.c: items of the box (docs/PROTOCOL.md, "Records"): frames, replies, and what it says beside them.
 *
 * Each item is first gone over whole. What is read from it afterwards lies within it, and what this version does not know in
 * it is left aside.
 */
#include "cib.h"

#include <string.h>

/* Where word stands among words, each ended by a zero, the last by two; -1 where it does not. */
static int place_of(cib_text word, const char *words)
{
    for (int place = 0; *words != 0; place++) {
        if (cib_text_is(word, words))
            return place;
        words += strlen(words) + 1;
    }
    return -1;
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

/* In the order of enum cib_bye, from 1. */
static const char REASONS[] =
    "rekey\0stopping\0too_far_behind\0superseded\0revoked\0expired\0bad_request\0detached\0max_frames\0wait_ms\0";

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

/* {re: the command's id or null, ok, error?: {code, message, retryable}, …} */
static void read_reply(cib_reader re, cib_reply *reply)
{
    cib_reader value;
    if (cib_peek(&re) == CIB_CBOR_TEXT)
        reply->name = cib_read_text(&re);
    else if (cib_peek(&re) == CIB_CBOR_UINT)
        reply->id = (uint32_t)cib_read_uint(&re);
    reply->ok = cib_reply_field(reply, "ok", &value) && cib_read_bool(&value);
    if (!reply->ok && cib_reply_field(reply, "error", &value)) {
        cib_reply error = {0};
        error.pairs = (uint32_t)cib_read_head(&value, CIB_CBOR_MAP);
        error.body = value;
        if (cib_reply_field(&error, "code", &value))
            reply->code = cib_read_text(&value);
        reply->retryable = cib_reply_field(&error, "retryable", &value) && cib_read_bool(&value);
    }
}

/* A map: a reply, where it has `re`; else one of the notices, each told by a key of its own. */
static void read_map(cib_reader r, cib_item *item)
{
    cib_reply *map = &item->reply;
    cib_reader value;
    map->pairs = (uint32_t)cib_read_head(&r, CIB_CBOR_MAP);
    map->body = r;
    if (cib_reply_field(map, "re", &value)) {
        item->kind = CIB_ITEM_REPLY;
        read_reply(value, map);
    } else if (cib_reply_field(map, "gap", &value)) {
        item->kind = CIB_ITEM_GAP;
        cib_read_head(&value, CIB_CBOR_ARRAY);
        item->from = cib_read_uint(&value);
        item->to = cib_read_uint(&value);
    } else if (cib_reply_field(map, "next", &value)) {
        item->kind = CIB_ITEM_NEXT;
        item->token = cib_read_text(&value);
    } else if (cib_reply_field(map, "bye", &value)) {
        item->kind = CIB_ITEM_BYE;
        item->reason = (enum cib_bye)(place_of(cib_read_text(&value), REASONS) + 1);
    } else if (cib_reply_field(map, "detached", &value)) {
        item->kind = CIB_ITEM_DETACHED;
        item->reason = (enum cib_bye)(place_of(cib_read_text(&value), REASONS) + 1);
    }
    if (cib_reply_field(map, "session", &value))
        item->session = read_session(&value);
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
