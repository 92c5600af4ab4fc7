/* frame.c: items of the box: what they say, and what is left aside. */
#include "said.h"

static void a_frame_gives_its_head_and_its_fields(void)
{
    said s;
    cib_reader value;
    write_frame(begin(&s), SESSION, UINT64_C(1) << 40, 0, 0);
    const cib_frame *frame = &heard(&s)->frame;
    SAME(s.item.kind, CIB_ITEM_FRAME);
    SAME(frame->type, CIB_FRAME_TEXT_DELTA);
    CHECK(frame->seq == UINT64_C(1) << 40 && frame->ts == 1763880000123);
    CHECK(memcmp(frame->session, SESSION, sizeof SESSION) == 0);
    CHECK(frame->last && frame->pairs == 1);
    CHECK(cib_text_is(cib_field_text(frame, CIB_KEY_TEXT_DELTA_TEXT), "Hello"));
    CHECK(!cib_field(frame, CIB_KEY_TEXT_DELTA_MESSAGE, &value));
    CHECK(cib_field_text(frame, CIB_KEY_TEXT_DELTA_MESSAGE).at == NULL);
}

static void all_parts_but_the_last_say_that_more_follow(void)
{
    for (unsigned piece = 0; piece < 3; piece++) {
        said s;
        write_frame(begin(&s), SESSION, 7, piece, 3);
        CHECK(heard(&s)->frame.last == (piece == 2));
    }
}

static void what_later_versions_add_is_left_aside(void)
{
    said s;
    cib_writer *w = begin(&s);
    cib_write_head(w, CIB_CBOR_ARRAY, 6); /* an element behind the data, a type and keys that are not known */
    cib_write_uint(w, UINT64_C(0x100000001));
    cib_write_uint(w, 5);
    cib_write_uint(w, 6);
    cib_write_bytes(w, SESSION, sizeof SESSION);
    cib_write_head(w, CIB_CBOR_MAP, 2);
    cib_write_uint(w, UINT64_C(0x100000000));
    cib_write_text(w, "not key 0");
    cib_write_uint(w, 0);
    cib_write_text(w, "key 0");
    cib_write_text(w, "behind");
    cib_write_uint(w, 24); /* the next item */
    cib_reader r = cib_reader_of(s.bytes, cib_written(w));
    SAME(cib_next(&r, &s.item), 1);
    SAME(s.item.kind, CIB_ITEM_FRAME);
    SAME(s.item.frame.type, UINT32_MAX); /* no number of this version, not its low half */
    CHECK(cib_text_is(cib_field_text(&s.item.frame, 0), "key 0"));
    SAME(cib_next(&r, &s.item), 1);
    SAME(s.item.kind, CIB_ITEM_OTHER);
    SAME(cib_next(&r, &s.item), 0);
    SAME(cib_next(&r, &s.item), 0);
}

static void an_array_that_is_no_frame_is_an_error(void)
{
    static const char *const WRONG[] = {
        "80", "8401020340", "840102034000", "8501020340a0", "8561310203500000000000000000000000000000000000a0",
        "850102034f000000000000000000000000000000a0", "85010203500000000000000000000000000000000080",
        "840102035000000000000000000000000000000000",
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        uint8_t bytes[64];
        cib_item item;
        cib_reader r = cib_reader_of(bytes, hex(bytes, WRONG[i]));
        SAME(cib_next(&r, &item), CIB_EFORMAT);
    }
}

static void a_reply_gives_its_id_its_error_and_its_fields(void)
{
    said s;
    cib_reader value;
    write_verdict(begin(&s), 258, "gap", 40, 3);
    const cib_reply *reply = &heard(&s)->reply;
    SAME(s.item.kind, CIB_ITEM_REPLY);
    CHECK(reply->ok && reply->id == 258 && reply->name.at == NULL && reply->code.at == NULL && reply->pairs == 6);
    CHECK(cib_reply_field(reply, "from", &value) && cib_read_uint(&value) == 40);
    CHECK(cib_reply_field(reply, "verdict", &value) && cib_text_is(cib_read_text(&value), "gap"));
    CHECK(!cib_reply_field(reply, "last", &value));
    CHECK(memcmp(s.item.session, SESSION, sizeof SESSION) == 0);

    write_refusal(begin(&s), 0, "7-0", "ask_settled", false);
    reply = &heard(&s)->reply;
    CHECK(!reply->ok && !reply->retryable && reply->id == 0);
    CHECK(cib_text_is(reply->name, "7-0") && cib_text_is(reply->code, "ask_settled"));
    write_refusal(begin(&s), 9, NULL, "overloaded", true);
    reply = &heard(&s)->reply;
    CHECK(!reply->ok && reply->retryable && reply->id == 9 && reply->name.at == NULL);
}

static void a_reply_is_a_reply_whatever_else_its_fields_are_called(void)
{
    /* {"next": "x", "error": "why", "bye": 1, "gap": 0, "session": "text", "re": null, "ok": true} */
    said s;
    cib_writer *w = begin(&s);
    cib_write_head(w, CIB_CBOR_MAP, 7);
    cib_write_text(w, "next");
    cib_write_text(w, "x");
    cib_write_text(w, "error");
    cib_write_text(w, "why");
    cib_write_text(w, "bye");
    cib_write_uint(w, 1);
    cib_write_text(w, "gap");
    cib_write_uint(w, 0);
    cib_write_text(w, "session");
    cib_write_text(w, "0190f0c2-7a11-7c33-9a55-1234567890ab");
    cib_write_text(w, "re");
    *w->at++ = 0xf6;
    cib_write_text(w, "ok");
    cib_write_bool(w, true);
    const cib_item *item = heard(&s);
    SAME(item->kind, CIB_ITEM_REPLY);
    CHECK(item->reply.ok && item->reply.id == 0 && item->reply.name.at == NULL && item->session == NULL);
}

static void notices_are_told_apart(void)
{
    static const char *const REASONS[] = {
        "something new", "rekey", "stopping", "too_far_behind", "superseded", "revoked", "expired", "bad_request", "detached",
        "max_frames", "wait_ms",
    };
    said s;
    write_gap(begin(&s), SESSION, 3, UINT64_C(1) << 33);
    const cib_item *item = heard(&s);
    CHECK(item->kind == CIB_ITEM_GAP && item->from == 3 && item->to == UINT64_C(1) << 33);
    CHECK(memcmp(item->session, SESSION, sizeof SESSION) == 0);
    for (unsigned reason = 0; reason < sizeof REASONS / sizeof *REASONS; reason++) {
        write_bye(begin(&s), REASONS[reason]);
        item = heard(&s);
        SAME(item->kind, CIB_ITEM_BYE);
        SAME(item->reason, reason);
        CHECK(item->session == NULL);
        write_detached(begin(&s), ANOTHER, REASONS[reason]);
        item = heard(&s);
        SAME(item->kind, CIB_ITEM_DETACHED);
        SAME(item->reason, reason);
        CHECK(memcmp(item->session, ANOTHER, sizeof ANOTHER) == 0);
    }
    cib_write_head(begin(&s), CIB_CBOR_MAP, 1);
    cib_write_text(&s.w, "next");
    cib_write_bytes(&s.w, SESSION, 16);
    item = heard(&s);
    CHECK(item->kind == CIB_ITEM_NEXT && item->token.n == 16 && memcmp(item->token.at, SESSION, 16) == 0);
    cib_write_head(begin(&s), CIB_CBOR_MAP, 1);
    cib_write_text(&s.w, "weather");
    cib_write_uint(&s.w, 1);
    SAME(heard(&s)->kind, CIB_ITEM_OTHER);
}

static void an_item_cut_anywhere_is_an_error(void)
{
    said s;
    write_frame(begin(&s), SESSION, 1, 0, 2);
    write_verdict(&s.w, 1, "ok", 1, 1);
    write_refusal(&s.w, 1, NULL, "x", true);
    size_t n = cib_written(&s.w);
    for (size_t cut = 1; cut < n; cut++) {
        uint8_t *copy = malloc(cut);
        CHECK(copy != NULL);
        memcpy(copy, s.bytes, cut);
        cib_reader r = cib_reader_of(copy, cut);
        int result;
        while ((result = cib_next(&r, &s.item)) > 0)
            ;
        /* Between two items nothing is cut. */
        CHECK(result == CIB_EFORMAT || (result == 0 && r.at == r.end));
        SAME(cib_next(&r, &s.item), result);
        free(copy);
    }
}

int main(void)
{
    RUN(a_frame_gives_its_head_and_its_fields);
    RUN(all_parts_but_the_last_say_that_more_follow);
    RUN(what_later_versions_add_is_left_aside);
    RUN(an_array_that_is_no_frame_is_an_error);
    RUN(a_reply_gives_its_id_its_error_and_its_fields);
    RUN(a_reply_is_a_reply_whatever_else_its_fields_are_called);
    RUN(notices_are_told_apart);
    RUN(an_item_cut_anywhere_is_an_error);
    return report("frame");
}
