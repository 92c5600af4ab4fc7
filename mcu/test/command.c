/* command.c: commands as the box reads them, and the one that is kept until it is answered. */
#include "said.h"

static cib_text ask_of(const char *text)
{
    cib_text ask = {(const uint8_t *)text, strlen(text)};
    return ask;
}

static void every_command_has_its_bytes(void)
{
    uint8_t bytes[160];
    cib_writer w = cib_writer_of(bytes, sizeof bytes);
    cib_cmd_input(&w, "7-0", SESSION, "hi");
    SAME(cib_written(&w), 51);
    SAME_HEX(bytes, "a463636d6465696e70757462696463372d306773657373696f6e500190f0c27a117c339a551234567890ab6474657874626869");

    w = cib_writer_of(bytes, sizeof bytes); /* {cmd: "answer", id: "b", session, ask: "t/0", decision: "allow"} */
    cib_cmd_decide(&w, "b", SESSION, ask_of("t/0"), true);
    SAME_HEX(bytes,
        "a563636d6466616e7377657262696461626773657373696f6e500190f0c27a117c339a551234567890ab6361736b63742f306864656369"
        "73696f6e65616c6c6f77");
    w = cib_writer_of(bytes, sizeof bytes);
    cib_cmd_decide(&w, "b", SESSION, ask_of("t/0"), false);
    CHECK(memcmp(bytes + cib_written(&w) - 5, "\x64" "deny", 5) == 0);

    w = cib_writer_of(bytes, sizeof bytes); /* …, choices: [24] */
    cib_cmd_choose(&w, "b", SESSION, ask_of("t/0"), 24);
    CHECK(memcmp(bytes + cib_written(&w) - 11, "\x67" "choices\x81\x18\x18", 11) == 0);

    w = cib_writer_of(bytes, sizeof bytes); /* {cmd: "sessions.list", id: 300, limit: 3} */
    cib_cmd_begin(&w, "sessions.list", NULL, 300, NULL, 1);
    cib_write_text(&w, "limit");
    cib_write_uint(&w, 3);
    SAME_HEX(bytes, "a363636d646d73657373696f6e732e6c69737462696419012c656c696d697403");
}

static void ids_are_new_for_each_boot_and_number(void)
{
    char id[CIB_ID_ROOM];
    cib_id(id, 31, 7);
    CHECK(strcmp(id, "0000001f-00000007") == 0);
    cib_id(id, UINT32_MAX, 0x89abcdef);
    CHECK(strcmp(id, "ffffffff-89abcdef") == 0);
}

/* ------------------------------------------------------------------ outbox */

typedef struct box {
    uint8_t bytes[96];
    cib_outbox o;
} box;

static void keep_input(box *b, const char *id)
{
    cib_outbox_init(&b->o, b->bytes, sizeof b->bytes);
    cib_writer w = cib_outbox_writer(&b->o);
    cib_cmd_input(&w, id, SESSION, "hi");
    SAME(cib_outbox_keep(&b->o, &w), 0);
}

static void a_command_is_due_until_sent_and_again_after_a_cut(void)
{
    box b;
    keep_input(&b, "7-0");
    for (unsigned round = 0; round < 3; round++) {
        CHECK(cib_outbox_due(&b.o));
        b.o.sent = true;
        CHECK(!cib_outbox_due(&b.o));
        cib_outbox_lost(&b.o);
    }
    SAME_HEX(b.bytes, "a463636d6465696e70757462696463372d30"); /* unchanged, with the same id */
}

static void its_reply_empties_it(void)
{
    box b;
    said s;
    keep_input(&b, "7-0");
    b.o.sent = true;
    write_done(begin(&s), "7-0");
    CHECK(cib_outbox_take(&b.o, heard(&s)));
    CHECK(!cib_outbox_due(&b.o) && b.o.n == 0);
    CHECK(!cib_outbox_take(&b.o, heard(&s))); /* the same reply again */
    cib_outbox_lost(&b.o);
    CHECK(!cib_outbox_due(&b.o));
}

static void a_final_refusal_empties_it_and_a_passing_one_makes_it_due(void)
{
    box b;
    said s;
    keep_input(&b, "7-0");
    b.o.sent = true;
    write_refusal(begin(&s), 0, "7-0", "overloaded", true);
    CHECK(cib_outbox_take(&b.o, heard(&s)));
    CHECK(cib_outbox_due(&b.o));
    b.o.sent = true;
    write_refusal(begin(&s), 0, "7-0", "ask_settled", false);
    CHECK(cib_outbox_take(&b.o, heard(&s)));
    CHECK(b.o.n == 0 && !cib_outbox_due(&b.o));
}

static void other_items_are_not_its_reply(void)
{
    box b;
    said s;
    keep_input(&b, "7-0");
    b.o.sent = true;
    write_done(begin(&s), "7-1");
    CHECK(!cib_outbox_take(&b.o, heard(&s)));
    write_done(begin(&s), "7-");
    CHECK(!cib_outbox_take(&b.o, heard(&s)));
    write_done(begin(&s), "7-00");
    CHECK(!cib_outbox_take(&b.o, heard(&s)));
    write_refusal(begin(&s), 7, NULL, "bad_request", false);
    CHECK(!cib_outbox_take(&b.o, heard(&s)));
    write_frame(begin(&s), SESSION, 1, 0, 0);
    CHECK(!cib_outbox_take(&b.o, heard(&s)));
    CHECK(b.o.n > 0 && b.o.sent);
}

static void one_command_at_a_time(void)
{
    box b;
    keep_input(&b, "7-0");
    cib_writer w = cib_outbox_writer(&b.o);
    CHECK(w.full);
    cib_cmd_input(&w, "7-1", SESSION, "no");
    SAME(cib_outbox_keep(&b.o, &w), CIB_EBUSY);
    SAME_HEX(b.bytes, "a463636d6465696e70757462696463372d30"); /* what was kept is not written over */
}

static void what_does_not_fit_is_not_kept(void)
{
    box b;
    cib_outbox_init(&b.o, b.bytes, 50);
    cib_writer w = cib_outbox_writer(&b.o);
    cib_cmd_input(&w, "7-0", SESSION, "hi"); /* 51 bytes */
    SAME(cib_outbox_keep(&b.o, &w), CIB_EROOM);
    CHECK(!cib_outbox_due(&b.o));
    w = cib_outbox_writer(&b.o);
    cib_cmd_input(&w, "7-0", SESSION, "h");
    SAME(cib_outbox_keep(&b.o, &w), 0);
}

int main(void)
{
    RUN(every_command_has_its_bytes);
    RUN(ids_are_new_for_each_boot_and_number);
    RUN(a_command_is_due_until_sent_and_again_after_a_cut);
    RUN(its_reply_empties_it);
    RUN(a_final_refusal_empties_it_and_a_passing_one_makes_it_due);
    RUN(other_items_are_not_its_reply);
    RUN(one_command_at_a_time);
    RUN(what_does_not_fit_is_not_kept);
    return report("command");
}
