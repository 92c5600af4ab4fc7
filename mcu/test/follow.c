/* follow.c: each frame once and in order, whatever comes twice, is missing, or breaks in between. */
#include "said.h"

static enum cib_taken take(cib_follow *f, said *s)
{
    return cib_follow_take(f, heard(s));
}

static enum cib_taken take_frame(cib_follow *f, uint64_t seq)
{
    said s;
    write_frame(begin(&s), SESSION, seq, 0, 0);
    return take(f, &s);
}

static enum cib_taken take_verdict(cib_follow *f, const char *verdict, uint64_t from, uint32_t epoch)
{
    said s;
    write_verdict(begin(&s), f->attach_id, verdict, from, epoch);
    return take(f, &s);
}

/* The attach that is sent, as hex for SAME_HEX; f is asked from then on. */
static size_t ask(cib_follow *f, uint8_t *bytes, size_t room, uint32_t types)
{
    cib_writer w = cib_writer_of(bytes, room);
    CHECK(cib_follow_due(f));
    cib_cmd_attach(&w, f, types);
    CHECK(!w.full && !cib_follow_due(f));
    return cib_written(&w);
}

static cib_follow attached(void)
{
    uint8_t bytes[128];
    cib_follow f;
    cib_follow_init(&f, SESSION);
    ask(&f, bytes, sizeof bytes, 0);
    SAME(take_verdict(&f, "ok", 1, 1), CIB_FOLLOWED);
    return f;
}

static bool has(const uint8_t *bytes, size_t n, const char *word)
{
    for (size_t i = 0; i + strlen(word) <= n; i++)
        if (memcmp(bytes + i, word, strlen(word)) == 0)
            return true;
    return false;
}

static void a_new_one_asks_from_the_beginning_without_an_epoch(void)
{
    uint8_t bytes[128];
    cib_follow f;
    cib_follow_init(&f, SESSION);
    f.attach_id = 0;
    size_t n = ask(&f, bytes, sizeof bytes, 0);
    /* {cmd: "attach", id: 1, session, from: 1} */
    SAME_HEX(bytes, "a463636d6466617474616368626964016773657373696f6e500190f0c27a117c339a551234567890ab6466726f6d01");
    SAME(n, 47);
}

static void from_now_names_no_place_until_the_verdict_has_one(void)
{
    uint8_t bytes[128];
    cib_follow f;
    cib_follow_init(&f, SESSION);
    cib_follow_from_now(&f);
    size_t n = ask(&f, bytes, sizeof bytes, 0);
    CHECK(!has(bytes, n, "from") && !has(bytes, n, "epoch"));
    cib_follow_lost(&f);
    n = ask(&f, bytes, sizeof bytes, 0); /* cut before the verdict: still from now */
    CHECK(!has(bytes, n, "from"));
    SAME(take_verdict(&f, "ok", 42, 3), CIB_FOLLOWED);
    SAME(f.seq, 41);
    cib_follow_lost(&f);
    n = ask(&f, bytes, sizeof bytes, 0);
    CHECK(has(bytes, n, "from\x18\x2a") && has(bytes, n, "epoch\x03"));
}

static void types_are_asked_for_by_name(void)
{
    uint8_t bytes[256];
    cib_follow f;
    cib_follow_init(&f, SESSION);
    size_t n = ask(&f, bytes, sizeof bytes, CIB_TYPE(CIB_FRAME_STATUS) | CIB_TYPE(CIB_FRAME_ASK_QUESTION));
    CHECK(has(bytes, n, "types\x82\x6c" "ask.question\x66" "status"));
    cib_follow_lost(&f);
    n = ask(&f, bytes, sizeof bytes, CIB_TYPE(CIB_FRAME_TEXT_DELTA) | CIB_TYPE(CIB_FRAME_PTY_RAW));
    CHECK(has(bytes, n, "types\x82\x6a" "text.delta\x67" "pty.raw"));
    cib_follow_lost(&f);
    n = ask(&f, bytes, sizeof bytes, UINT32_MAX); /* all there are, and none that has no name */
    cib_reader r = cib_reader_of(bytes, n);
    cib_skip(&r);
    CHECK(r.error == 0 && r.at == r.end && has(bytes, n, "types\x8f\x6a" "text.delta"));
}

static void a_request_may_end_by_itself(void)
{
    uint8_t bytes[128];
    cib_follow f;
    cib_follow_init(&f, SESSION);
    cib_writer w = cib_writer_of(bytes, sizeof bytes);
    cib_cmd_attach_for(&w, &f, 0, 20, 20000, 512);
    size_t n = cib_written(&w);
    CHECK(has(bytes, n, "max_frames\x14") && has(bytes, n, "wait_ms\x19\x4e\x20") && has(bytes, n, "max_bytes\x19\x02"));
    SAME(bytes[0], 0xa7);
    SAME(take_verdict(&f, "ok", 1, 1), CIB_FOLLOWED);
    said s;
    write_bye(begin(&s), "wait_ms");
    SAME(take(&f, &s), CIB_UNFOLLOWED);
    CHECK(cib_follow_due(&f));
}

static void each_frame_is_new_once(void)
{
    cib_follow f = attached();
    SAME(take_frame(&f, 1), CIB_NEW);
    SAME(take_frame(&f, 1), CIB_OLD);
    SAME(take_frame(&f, 2), CIB_NEW);
    SAME(take_frame(&f, 1), CIB_OLD);
    SAME(take_frame(&f, 9), CIB_NEW); /* those between are of types that were not asked for */
    SAME(take_frame(&f, 9), CIB_OLD);
    SAME(take_frame(&f, 5), CIB_OLD);
    SAME(f.seq, 9);
}

static void nothing_counts_before_the_verdict_or_of_another_session(void)
{
    uint8_t bytes[128];
    said s;
    cib_follow f;
    cib_follow_init(&f, SESSION);
    SAME(take_frame(&f, 1), CIB_OLD);
    ask(&f, bytes, sizeof bytes, 0);
    SAME(take_frame(&f, 1), CIB_OLD);
    write_verdict(begin(&s), f.attach_id + 1, "ok", 1, 1);
    SAME(take(&f, &s), CIB_OLD);
    write_refusal(begin(&s), f.attach_id + 1, NULL, "not_found", false);
    SAME(take(&f, &s), CIB_OLD);
    SAME(take_verdict(&f, "ok", 1, 1), CIB_FOLLOWED);
    write_frame(begin(&s), ANOTHER, 1, 0, 0);
    SAME(take(&f, &s), CIB_OLD);
    write_gap(begin(&s), ANOTHER, 1, 9);
    SAME(take(&f, &s), CIB_OLD);
    write_detached(begin(&s), ANOTHER, "detached");
    SAME(take(&f, &s), CIB_OLD);
    SAME(f.seq, 0);
    SAME(take_frame(&f, 1), CIB_NEW);
}

static void the_place_moves_on_behind_the_last_part(void)
{
    said s;
    cib_follow f = attached();
    for (unsigned round = 0; round < 2; round++) {
        write_frame(begin(&s), SESSION, 1, 0, 3);
        SAME(take(&f, &s), CIB_NEW);
        write_frame(begin(&s), SESSION, 1, 1, 3);
        SAME(take(&f, &s), CIB_NEW);
        SAME(f.seq, 0);
        if (round == 0) { /* a cut between parts: the frame comes again, whole */
            uint8_t bytes[128];
            cib_follow_lost(&f);
            size_t n = ask(&f, bytes, sizeof bytes, 0);
            CHECK(has(bytes, n, "from\x01"));
            SAME(take_verdict(&f, "ok", 1, 1), CIB_FOLLOWED);
        }
    }
    write_frame(begin(&s), SESSION, 1, 2, 3);
    SAME(take(&f, &s), CIB_NEW);
    SAME(f.seq, 1);
    SAME(take(&f, &s), CIB_OLD);
}

static void a_cut_goes_on_where_it_stopped_with_its_epoch(void)
{
    uint8_t bytes[128];
    cib_follow f = attached();
    SAME(take_frame(&f, 7), CIB_NEW);
    uint32_t id = f.attach_id;
    cib_follow_lost(&f);
    SAME(take_frame(&f, 8), CIB_OLD); /* left over from the connection that is gone */
    size_t n = ask(&f, bytes, sizeof bytes, 0);
    CHECK(has(bytes, n, "from\x08") && has(bytes, n, "epoch\x01"));
    SAME(f.attach_id, id + 1);
    SAME(take_verdict(&f, "ok", 8, 1), CIB_FOLLOWED);
    SAME(take_frame(&f, 7), CIB_OLD);
    SAME(take_frame(&f, 8), CIB_NEW);
}

static void a_gap_is_told_and_followed_behind(void)
{
    uint8_t bytes[128];
    said s;
    cib_follow f = attached();
    SAME(take_frame(&f, 3), CIB_NEW);
    write_gap(begin(&s), SESSION, 4, 40);
    SAME(take(&f, &s), CIB_GAP);
    SAME(take_frame(&f, 39), CIB_OLD);
    SAME(take_frame(&f, 40), CIB_NEW);
    cib_follow_lost(&f);
    ask(&f, bytes, sizeof bytes, 0);
    SAME(take_verdict(&f, "gap", 90, 1), CIB_GAP);
    SAME(f.seq, 89);
    SAME(take_frame(&f, 90), CIB_NEW);
}

static void ahead_forgets_what_did_not_survive(void)
{
    uint8_t bytes[128];
    cib_follow f = attached();
    SAME(take_frame(&f, 50), CIB_NEW);
    cib_follow_lost(&f);
    ask(&f, bytes, sizeof bytes, 0);
    SAME(take_verdict(&f, "ahead", 31, 2), CIB_AHEAD);
    SAME(f.seq, 30);
    SAME(f.epoch, 2);
    SAME(take_frame(&f, 30), CIB_OLD);
    SAME(take_frame(&f, 31), CIB_NEW);
}

static void a_refusal_ends_it_until_it_is_tried_again(void)
{
    uint8_t bytes[128];
    said s;
    cib_follow f;
    cib_follow_init(&f, SESSION);
    ask(&f, bytes, sizeof bytes, 0);
    write_refusal(begin(&s), f.attach_id, NULL, "not_found", false);
    SAME(take(&f, &s), CIB_UNFOLLOWED);
    CHECK(!cib_follow_due(&f));
    SAME(take(&f, &s), CIB_OLD);
    SAME(take_frame(&f, 1), CIB_OLD);
    cib_follow_lost(&f);
    CHECK(cib_follow_due(&f));
}

static void a_reader_that_was_too_slow_asks_again_at_once_and_others_wait(void)
{
    static const struct {
        const char *reason;
        bool due;
    } ENDS[] = {{"too_far_behind", true}, {"detached", false}, {"something new", false}};
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
        said s;
        cib_follow f = attached();
        SAME(take_frame(&f, 4), CIB_NEW);
        write_detached(begin(&s), SESSION, ENDS[i].reason);
        SAME(take(&f, &s), CIB_UNFOLLOWED);
        CHECK(cib_follow_due(&f) == ENDS[i].due);
        SAME(take(&f, &s), CIB_OLD);
        SAME(f.seq, 4);
    }
}

static void terminal_bytes_do_not_move_the_place(void)
{
    said s;
    cib_follow f = attached();
    cib_writer *w = begin(&s);
    cib_write_head(w, CIB_CBOR_ARRAY, 5);
    cib_write_uint(w, CIB_FRAME_PTY_RAW);
    cib_write_uint(w, 100000);
    cib_write_uint(w, 1);
    cib_write_bytes(w, SESSION, sizeof SESSION);
    cib_write_head(w, CIB_CBOR_MAP, 0);
    SAME(take(&f, &s), CIB_OLD);
    SAME(f.seq, 0);
}

static void two_sessions_do_not_take_each_others_replies(void)
{
    uint8_t bytes[128];
    said s;
    cib_follow one, two;
    cib_follow_init(&one, SESSION);
    cib_follow_init(&two, ANOTHER);
    ask(&one, bytes, sizeof bytes, 0);
    ask(&two, bytes, sizeof bytes, 0);
    CHECK(one.attach_id != two.attach_id);
    write_refusal(begin(&s), two.attach_id, NULL, "forbidden", false);
    SAME(take(&one, &s), CIB_OLD);
    SAME(take(&two, &s), CIB_UNFOLLOWED);
}

/* A box with a log, a line that cuts, repeats and prunes at random, and a client that must see each number once, in order. */
static void whatever_happens_every_frame_is_handled_once_in_order_or_told_missing(void)
{
    for (unsigned seed = 1; seed <= 300; seed++) {
        unsigned random = seed;
        uint64_t last = 0, first = 1, next = 0, handled = 0;
        uint8_t bytes[128];
        said s;
        cib_follow f;
        cib_follow_init(&f, SESSION);
        for (unsigned step = 0; step < 400; step++) {
            switch (random_of(&random) % 8) {
            case 0: /* a cut, then an attach */
                cib_follow_lost(&f);
                ask(&f, bytes, sizeof bytes, 0);
                next = f.seq + 1 < first ? first : f.seq + 1;
                SAME(take_verdict(&f, next > f.seq + 1 ? "gap" : "ok", next, 1), next > handled + 1 ? CIB_GAP : CIB_FOLLOWED);
                handled = next - 1;
                break;
            case 1: /* retention */
                if (first < last)
                    first += random_of(&random) % (unsigned)(last - first + 1);
                break;
            case 2:
            case 3:
                last++;
                break;
            case 4: /* something comes again */
                if (handled > 0)
                    SAME(take_frame(&f, 1 + random_of(&random) % handled), CIB_OLD);
                break;
            default:
                if (next == 0 || next > last)
                    break;
                if (next < first) {
                    write_gap(begin(&s), SESSION, next, first);
                    SAME(take(&f, &s), CIB_GAP);
                    next = first;
                    handled = first - 1;
                    break;
                }
                CHECK(next == handled + 1);
                SAME(take_frame(&f, next), CIB_NEW);
                handled = next++;
            }
            SAME(f.seq, handled);
        }
    }
}

static void waits_double_up_to_fifteen_seconds_half_of_them_by_chance(void)
{
    static const uint32_t LONGEST[] = {250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000};
    for (uint32_t tries = 0; tries < 9; tries++) {
        uint32_t least = UINT32_MAX, most = 0;
        unsigned random = 1;
        for (unsigned i = 0; i < 100000; i++) {
            uint32_t wait = cib_backoff(tries, random_of(&random));
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        SAME(least, LONGEST[tries] / 2);
        SAME(most, LONGEST[tries]);
    }
    CHECK(cib_backoff(UINT32_MAX, UINT32_MAX) <= 15000);
    SAME(cib_backoff(UINT32_MAX, 0), 7500);
}

int main(void)
{
    RUN(a_new_one_asks_from_the_beginning_without_an_epoch);
    RUN(from_now_names_no_place_until_the_verdict_has_one);
    RUN(types_are_asked_for_by_name);
    RUN(a_request_may_end_by_itself);
    RUN(each_frame_is_new_once);
    RUN(nothing_counts_before_the_verdict_or_of_another_session);
    RUN(the_place_moves_on_behind_the_last_part);
    RUN(a_cut_goes_on_where_it_stopped_with_its_epoch);
    RUN(a_gap_is_told_and_followed_behind);
    RUN(ahead_forgets_what_did_not_survive);
    RUN(a_refusal_ends_it_until_it_is_tried_again);
    RUN(a_reader_that_was_too_slow_asks_again_at_once_and_others_wait);
    RUN(terminal_bytes_do_not_move_the_place);
    RUN(two_sessions_do_not_take_each_others_replies);
    RUN(whatever_happens_every_frame_is_handled_once_in_order_or_told_missing);
    RUN(waits_double_up_to_fifteen_seconds_half_of_them_by_chance);
    return report("follow");
}
