/*
 * link.c: a link over a line that gives and takes as few bytes as it likes, with a box at its other end that is written here
 * from docs/PROTOCOL.md, under a clock that stands until it is moved.
 */
#include "said.h"
#include "cib_crypto.h"

enum { ACCEPTED = 256, RX = CIB_RECORD_ROOM(ACCEPTED), TX = 200 };

typedef struct world {
    /* The line: what is on its way, and how it behaves. */
    uint8_t down[20000], up[20000];
    size_t down_at, down_n, up_at, up_n;
    unsigned random;
    bool piecemeal; /* gives and takes some of it, or nothing */
    bool dead, stuck, no_random;
    int lie; /* bytes that it claims to have moved beyond the truth */
    uint32_t clock;
    uint32_t tick; /* that much passes whenever the clock is looked at */
    /* The client. */
    cib_key key;
    cib_port port;
    cib_link link;
    uint8_t rx[RX], tx[TX];
    /* The box. */
    uint8_t hello[CIB_HELLO_BYTES];
    uint8_t to_client[32], to_box[32];
    uint32_t sealed, opened;
} world;

static size_t some_of(world *w, size_t n)
{
    return w->piecemeal ? random_of(&w->random) % (n + 1) : n;
}

static int take(void *user, const uint8_t *bytes, size_t n)
{
    world *w = user;
    if (w->dead)
        return -1;
    size_t some = w->stuck ? 0 : some_of(w, n);
    CHECK(w->up_n + some <= sizeof w->up);
    memcpy(w->up + w->up_n, bytes, some);
    w->up_n += some;
    return (int)some + w->lie;
}

static int give(void *user, uint8_t *bytes, size_t room)
{
    world *w = user;
    size_t n = w->down_n - w->down_at;
    if (w->dead)
        return -1;
    CHECK(room > 0);
    n = some_of(w, n < room ? n : room);
    memcpy(bytes, w->down + w->down_at, n);
    w->down_at += n;
    return (int)n + w->lie;
}

static uint32_t clock_of(void *user)
{
    world *w = user;
    return w->clock += w->tick;
}

static int chance(void *user, uint8_t *bytes, size_t n)
{
    world *w = user;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)random_of(&w->random);
    return w->no_random ? -1 : 0;
}

static void init(world *w)
{
    static const uint8_t ID[8] = {1}, SECRET[32] = {2};
    memset(w, 0, sizeof *w);
    w->random = 1;
    w->clock = UINT32_MAX - 20000; /* it wraps while the tests run */
    w->port = (cib_port){w, take, give, clock_of, chance};
    SAME(cib_key_init(&w->key, ID, SECRET, 5), 0);
    cib_link_init(&w->link, &w->key, &w->port, w->rx, sizeof w->rx, w->tx, sizeof w->tx);
}

/* ------------------------------------------------------------------ the box */

static void box_mac(uint8_t *out, const uint8_t *key, uint8_t what, const uint8_t *a, size_t a_n, const uint8_t *b, size_t b_n)
{
    const cib_piece pieces[] = {{&what, 1}, {a, a_n}, {b, b_n}};
    SAME(cib_hmac(out, key, pieces, 3), 0);
}

static void send_down(world *w, const uint8_t *bytes, size_t n)
{
    CHECK(w->down_n + n <= sizeof w->down);
    memcpy(w->down + w->down_n, bytes, n);
    w->down_n += n;
}

/* Reads the hello that came, and makes the reply to it. */
static void box_reply(world *w, uint8_t reply[CIB_REPLY_BYTES])
{
    uint8_t mac[32], prk1[32];
    SAME(w->up_n - w->up_at, CIB_HELLO_BYTES);
    memcpy(w->hello, w->up + w->up_at, CIB_HELLO_BYTES);
    w->up_at = w->up_n;
    SAME_HEX(w->hello, "43494231" "00" "01" "0100" "0100000000000000");
    box_mac(mac, w->key.prk0, 0x01, w->hello, 32, NULL, 0);
    CHECK(memcmp(mac, w->hello + 32, 16) == 0);
    memcpy(reply, "CIB1\0\1\0\xa0", 8); /* takes 160 bytes */
    memset(reply + 8, 7, 16);
    box_mac(mac, w->key.prk0, 0x02, w->hello, 48, reply, 24);
    memcpy(reply + 24, mac, 16);
    box_mac(prk1, w->key.prk0, 0x03, w->hello, 48, reply, 40);
    box_mac(w->to_box, prk1, 0x10, NULL, 0, NULL, 0);
    box_mac(w->to_client, prk1, 0x11, NULL, 0, NULL, 0);
    w->sealed = w->opened = 0;
}

static void box_send(world *w, const uint8_t *plain, size_t n)
{
    uint8_t record[CIB_RECORD_ROOM(1000)];
    CHECK(n <= 1000);
    record[0] = (uint8_t)(n >> 8);
    record[1] = (uint8_t)n;
    if (n > 0)
        memcpy(record + 2, plain, n);
    SAME(cib_seal(w->to_client, w->sealed++, record, n), 0);
    send_down(w, record, CIB_RECORD_ROOM(n));
}

static void box_says(world *w, const said *s)
{
    CHECK(!s->w.full);
    box_send(w, s->bytes, cib_written(&s->w));
}

/* The next record that has come: its plaintext's bytes, at `plain`; -1 where none has. */
static int box_hears(world *w, uint8_t *plain)
{
    uint8_t record[TX];
    if (w->up_n - w->up_at < 18)
        return -1;
    size_t n = (size_t)w->up[w->up_at] << 8 | w->up[w->up_at + 1];
    CHECK(n <= 160 && w->up_n - w->up_at >= n + 18);
    memcpy(record, w->up + w->up_at, n + 18);
    w->up_at += n + 18;
    SAME(cib_open(w->to_box, w->opened++, record, n), 0);
    memcpy(plain, record + 2, n);
    return (int)n;
}

/* ------------------------------------------------------------------ the client */

/* Polls until the line is empty, or something came. */
static int poll(world *w)
{
    int n;
    do
        n = cib_link_poll(&w->link);
    while (n == 0 && w->down_at < w->down_n && !w->dead);
    return n;
}

/* A link that lives at both ends. */
static void greet(world *w)
{
    uint8_t reply[CIB_REPLY_BYTES], plain[TX];
    w->up_at = w->up_n = w->down_at = w->down_n = 0;
    SAME(cib_link_start(&w->link), 0);
    CHECK(!cib_link_ready(&w->link));
    SAME(cib_link_poll(&w->link), 0);
    box_reply(w, reply);
    send_down(w, reply, sizeof reply);
    SAME(poll(w), 0);
    CHECK(cib_link_ready(&w->link));
    SAME(cib_link_poll(&w->link), 0); /* nothing was sent: an empty record makes it live at the box */
    SAME(box_hears(w, plain), 0);
    SAME(box_hears(w, plain), -1);
}

static int send_input(world *w, const char *text)
{
    cib_writer c = cib_link_writer(&w->link);
    cib_cmd_input(&c, "7-0", SESSION, text);
    return cib_link_send(&w->link, &c);
}

static void commands_and_items_arrive_however_the_line_cuts_them(void)
{
    static world w;
    for (unsigned seed = 1; seed <= 400; seed++) {
        said s;
        uint8_t plain[TX];
        cib_item item;
        init(&w);
        w.random = seed;
        w.piecemeal = true;
        greet(&w);
        for (uint64_t seq = 1; seq <= 5; seq++) {
            SAME(send_input(&w, "hi"), 0);
            SAME(box_hears(&w, plain), 51);
            write_frame(begin(&s), SESSION, seq, 0, 0);
            box_says(&w, &s);
            SAME(poll(&w), cib_written(&s.w));
            CHECK(w.link.plain == w.rx + 2);
            cib_reader r = cib_reader_of(w.link.plain, cib_written(&s.w));
            SAME(cib_next(&r, &item), 1);
            SAME(item.frame.seq, seq);
        }
    }
}

/* A reply, a frame and an empty record, with one cut at every place: a poll between the two pieces, and no byte more. */
static void records_may_be_cut_at_every_byte(void)
{
    static world w;
    size_t whole = CIB_REPLY_BYTES + 2 * 18 + 5;
    for (size_t cut = 0; cut <= whole; cut++) {
        uint8_t reply[CIB_REPLY_BYTES];
        init(&w);
        SAME(cib_link_start(&w.link), 0);
        box_reply(&w, reply);
        send_down(&w, reply, sizeof reply);
        box_send(&w, NULL, 0);
        box_send(&w, (const uint8_t *)"\x64" "abcd", 5);
        SAME(w.down_n, whole);
        w.down_n = cut;
        unsigned given = 0;
        for (unsigned polls = 0; polls < 12; polls++) {
            int n = cib_link_poll(&w.link);
            CHECK(n >= 0);
            given += n > 0;
            if (polls == 5)
                w.down_n = whole;
        }
        SAME(given, 1);
    }
}

static void a_command_may_make_the_link_live(void)
{
    static world w;
    uint8_t reply[CIB_REPLY_BYTES], plain[TX];
    init(&w);
    SAME(cib_link_start(&w.link), 0);
    box_reply(&w, reply);
    send_down(&w, reply, sizeof reply);
    SAME(cib_link_poll(&w.link), 0);
    SAME(send_input(&w, "hi"), 0);
    SAME(cib_link_poll(&w.link), 0);
    SAME(box_hears(&w, plain), 51);
    SAME(box_hears(&w, plain), -1); /* and no empty record behind it */
}

static void nothing_can_be_sent_before_the_reply_or_after_the_end(void)
{
    static world w;
    init(&w);
    SAME(send_input(&w, "hi"), CIB_EBUSY);
    SAME(cib_link_poll(&w.link), CIB_EBUSY);
    SAME(cib_link_start(&w.link), 0);
    SAME(send_input(&w, "hi"), CIB_EBUSY);
    SAME(cib_link_send_bytes(&w.link, SESSION, 4), CIB_EBUSY);
    SAME(w.up_n, CIB_HELLO_BYTES);
    greet(&w);
    SAME(cib_link_end(&w.link), 0);
    uint8_t plain[TX];
    SAME(box_hears(&w, plain), 10);
    CHECK(memcmp(plain, "\xa1\x63" "bye\x64" "done", 10) == 0);
    SAME(send_input(&w, "hi"), CIB_EBUSY);
    SAME(cib_link_poll(&w.link), CIB_EBUSY);
}

static void every_connection_has_a_hello_of_its_own(void)
{
    static world w;
    uint8_t before[CIB_HELLO_BYTES];
    init(&w);
    w.random = 1;
    SAME(cib_link_start(&w.link), 0);
    memcpy(before, w.tx, sizeof before);
    w.random = 1; /* a part whose randomness is none */
    SAME(cib_link_start(&w.link), 0);
    CHECK(memcmp(before + 16, w.tx + 16, 16) != 0);
    SAME(w.key.uses, 2);
    w.key.uses = 0;
    w.key.boot++;
    w.random = 1;
    SAME(cib_link_start(&w.link), 0);
    CHECK(memcmp(before + 16, w.tx + 16, 16) != 0);
    w.no_random = true;
    SAME(cib_link_start(&w.link), CIB_ERANDOM);
    SAME(cib_link_poll(&w.link), CIB_EBUSY);
}

static void a_reply_with_any_bit_changed_makes_no_link(void)
{
    static world w;
    init(&w);
    for (unsigned bit = 0; bit < 8 * CIB_REPLY_BYTES; bit++) {
        uint8_t reply[CIB_REPLY_BYTES];
        w.up_at = w.up_n = w.down_at = w.down_n = 0;
        SAME(cib_link_start(&w.link), 0);
        box_reply(&w, reply);
        reply[bit / 8] ^= (uint8_t)(1u << bit % 8);
        send_down(&w, reply, sizeof reply);
        int n = poll(&w);
        CHECK(n == (bit < 48 ? CIB_EFORMAT : CIB_EKEY));
        CHECK(!cib_link_ready(&w.link));
    }
}

static void a_box_that_takes_less_than_it_must_is_left(void)
{
    static world w;
    uint8_t reply[CIB_REPLY_BYTES], mac[32];
    init(&w);
    SAME(cib_link_start(&w.link), 0);
    box_reply(&w, reply);
    reply[7] = 127;
    box_mac(mac, w.key.prk0, 0x02, w.hello, 48, reply, 24);
    memcpy(reply + 24, mac, 16);
    send_down(&w, reply, sizeof reply);
    SAME(poll(&w), CIB_EFORMAT);
    CHECK(!cib_link_ready(&w.link));
}

static void a_record_with_any_bit_changed_ends_the_link_and_leaves_no_key(void)
{
    static world w;
    static const uint8_t NO_KEY[32] = {0};
    for (unsigned bit = 0; bit < 8 * 20; bit++) {
        init(&w);
        greet(&w);
        box_send(&w, (const uint8_t *)"\x18\x18", 2);
        w.down[w.down_at + bit / 8] ^= (uint8_t)(1u << bit % 8);
        int n = poll(&w);
        /* A length that is longer now waits for more, or is more than was accepted. */
        CHECK(bit < 16 ? n == 0 || n == CIB_EFORMAT || n == CIB_EKEY : n == CIB_EKEY);
        if (n < 0) {
            CHECK(!cib_link_ready(&w.link) && memcmp(w.link.send_key, NO_KEY, 32) == 0 && memcmp(w.link.receive_key, NO_KEY, 32) == 0);
            SAME(cib_link_poll(&w.link), CIB_EBUSY);
        }
    }
}

static void a_record_that_comes_again_ends_the_link(void)
{
    static world w;
    init(&w);
    greet(&w);
    size_t at = w.down_n;
    box_send(&w, (const uint8_t *)"\x00", 1);
    size_t n = w.down_n - at;
    SAME(poll(&w), 1);
    send_down(&w, w.down + at, n);
    SAME(poll(&w), CIB_EKEY);
}

static void a_record_as_long_as_was_accepted_fits_and_a_longer_one_is_an_error(void)
{
    static world w;
    uint8_t plain[ACCEPTED + 1];
    memset(plain, 0, sizeof plain); /* 256 items */
    init(&w);
    greet(&w);
    box_send(&w, plain, ACCEPTED);
    SAME(poll(&w), ACCEPTED);
    box_send(&w, plain, ACCEPTED + 1);
    SAME(poll(&w), CIB_EFORMAT);
    CHECK(!cib_link_ready(&w.link));
}

static void a_record_that_is_no_cbor_ends_the_link(void)
{
    static world w;
    init(&w);
    greet(&w);
    box_send(&w, (const uint8_t *)"\x00\x61", 2);
    SAME(poll(&w), CIB_EFORMAT);
}

static void what_stands_before_a_goodbye_is_given_first(void)
{
    static world w;
    said s;
    cib_item item;
    init(&w);
    greet(&w);
    write_frame(begin(&s), SESSION, 1, 0, 0);
    size_t frame = cib_written(&s.w);
    write_bye(&s.w, "superseded");
    box_says(&w, &s);
    SAME(poll(&w), frame);
    CHECK(!cib_link_ready(&w.link));
    SAME(send_input(&w, "hi"), CIB_EBUSY);
    cib_reader r = cib_reader_of(w.link.plain, frame);
    SAME(cib_next(&r, &item), 1);
    SAME(item.frame.seq, 1);
    SAME(cib_next(&r, &item), 0);
    SAME(cib_link_poll(&w.link), CIB_EBYE);
    SAME(w.link.bye, CIB_BYE_SUPERSEDED);
    SAME(cib_link_poll(&w.link), CIB_EBUSY);
}

static void a_goodbye_alone_is_told_at_once_also_behind_an_end_of_the_line(void)
{
    static world w;
    said s;
    init(&w);
    greet(&w);
    write_bye(begin(&s), "stopping");
    box_says(&w, &s);
    SAME(poll(&w), CIB_EBYE);
    SAME(w.link.bye, CIB_BYE_STOPPING);
    greet(&w);
    write_frame(begin(&s), SESSION, 1, 0, 0);
    write_bye(&s.w, "of a later version");
    box_says(&w, &s);
    CHECK(poll(&w) > 0);
    w.dead = true; /* the box closes at once */
    SAME(cib_link_poll(&w.link), CIB_EBYE);
    SAME(w.link.bye, CIB_BYE_OTHER);
}

static void silence_is_broken_before_thirty_seconds(void)
{
    static world w;
    uint8_t plain[TX];
    init(&w);
    greet(&w);
    unsigned kept = 0;
    uint32_t last = w.clock;
    for (unsigned second = 0; second < 600; second++) {
        w.clock += 1000;
        if (second % 60 == 59)
            box_send(&w, NULL, 0);
        SAME(poll(&w), 0);
        while (box_hears(&w, plain) == 0) {
            CHECK(w.clock - last <= 30000);
            last = w.clock;
            kept++;
        }
    }
    CHECK(kept >= 20 && kept <= 21); /* and no more often than it must */
}

static void a_command_counts_as_a_sign_of_life(void)
{
    static world w;
    uint8_t plain[TX];
    init(&w);
    greet(&w);
    w.clock += 28000;
    SAME(send_input(&w, "hi"), 0);
    SAME(box_hears(&w, plain), 51);
    w.clock += 28000;
    SAME(cib_link_poll(&w.link), 0);
    SAME(box_hears(&w, plain), -1);
    w.clock += 1000;
    SAME(cib_link_poll(&w.link), 0);
    SAME(box_hears(&w, plain), 0);
}

static void a_keep_alive_does_not_disturb_a_command_that_is_being_written(void)
{
    static world w;
    uint8_t plain[TX];
    init(&w);
    greet(&w);
    cib_writer c = cib_link_writer(&w.link);
    cib_cmd_input(&c, "7-0", SESSION, "hi");
    w.clock += 40000;
    SAME(cib_link_poll(&w.link), 0);
    SAME(cib_link_send(&w.link, &c), 0);
    SAME(box_hears(&w, plain), 0);
    SAME(box_hears(&w, plain), 51);
    SAME_HEX(plain, "a463636d6465696e707574");
}

static void a_stream_that_never_pauses_does_not_keep_us_from_saying_that_we_live(void)
{
    static world w;
    uint8_t plain[TX];
    init(&w);
    greet(&w);
    unsigned kept = 0;
    for (unsigned i = 0; i < 500; i++) {
        box_send(&w, (const uint8_t *)"\x00", 1);
        w.clock += 200;
        SAME(cib_link_poll(&w.link), 1);
        kept += box_hears(&w, plain) == 0;
    }
    CHECK(kept >= 3);
}

static void ninety_seconds_without_a_whole_record_are_the_end(void)
{
    static world w;
    init(&w);
    greet(&w);
    box_send(&w, NULL, 0);
    w.clock += 89999;
    SAME(cib_link_poll(&w.link), 0); /* bytes that were there all along count */
    w.clock += 89999;
    SAME(cib_link_poll(&w.link), 0);
    send_down(&w, (const uint8_t *)"\0\0\0", 3); /* bytes that are no record do not */
    w.clock += 1;
    SAME(cib_link_poll(&w.link), CIB_EDEAD);
    SAME(cib_link_poll(&w.link), CIB_EBUSY);
}

static void ten_seconds_without_a_reply_are_the_end(void)
{
    static world w;
    init(&w);
    SAME(cib_link_start(&w.link), 0);
    send_down(&w, (const uint8_t *)"CIB1", 4);
    w.clock += 9999;
    SAME(cib_link_poll(&w.link), 0);
    w.clock += 1;
    SAME(cib_link_poll(&w.link), CIB_EDEAD);
}

static void a_line_that_takes_nothing_for_five_seconds_is_dead(void)
{
    static world w;
    init(&w);
    greet(&w);
    w.stuck = true;
    w.tick = 10;
    SAME(send_input(&w, "hi"), CIB_ELINE);
    w.stuck = false;
    w.dead = true;
    SAME(cib_link_poll(&w.link), CIB_ELINE);
    SAME(cib_link_start(&w.link), CIB_ELINE);
}

static void a_port_that_claims_more_than_there_is_room_for_is_dead(void)
{
    static world w;
    init(&w);
    greet(&w);
    w.lie = 1;
    SAME(send_input(&w, "hi"), CIB_ELINE);
    w.lie = 3;
    SAME(cib_link_poll(&w.link), CIB_ELINE);
}

static void nothing_is_opened_under_a_key_that_is_gone(void)
{
    static world w;
    static const uint8_t NO_KEY[32] = {0};
    uint8_t record[CIB_RECORD_ROOM(1)] = {0, 1, 0};
    init(&w);
    greet(&w);
    SAME(cib_link_end(&w.link), 0);
    SAME(cib_seal(NO_KEY, 0, record, 1), 0);
    SAME(cib_link_open(&w.link, record, sizeof record), CIB_EBUSY);
    SAME(cib_link_seal(&w.link, record, 1), CIB_EBUSY);
}

static void keys_are_given_up_about_a_thousand_records_before_their_end(void)
{
    static world w;
    uint8_t plain[TX];
    for (unsigned direction = 0; direction < 2; direction++) {
        init(&w);
        greet(&w);
        uint32_t *counter = direction == 0 ? &w.link.sent : &w.link.received;
        *counter = (1u << 24) - 1002;
        if (direction == 0)
            w.opened = *counter;
        SAME(cib_link_poll(&w.link), 0);
        ++*counter;
        w.opened += direction == 0;
        SAME(cib_link_poll(&w.link), CIB_EREKEY);
        SAME(box_hears(&w, plain), 11);
        CHECK(memcmp(plain, "\xa1\x63" "bye\x65" "rekey", 11) == 0);
        CHECK(!cib_link_ready(&w.link));
        greet(&w); /* at once, with new keys from number 0 on */
        SAME(w.link.received, 0);
    }
}

static void no_number_is_used_beyond_the_last(void)
{
    static world w;
    init(&w);
    greet(&w);
    uint8_t record[CIB_RECORD_ROOM(1)] = {0};
    w.link.sent = (1u << 24) - 2;
    SAME(cib_link_seal(&w.link, record, 1), sizeof record);
    SAME(cib_link_seal(&w.link, record, 1), CIB_EREKEY);
    w.link.received = (1u << 24) - 1;
    record[0] = 0;
    record[1] = 1;
    SAME(cib_link_open(&w.link, record, sizeof record), CIB_EREKEY);
}

static void what_does_not_fit_is_not_sent(void)
{
    static world w;
    uint8_t bytes[TX] = {0};
    init(&w);
    greet(&w);
    size_t sent = w.up_n;
    /* The box takes 160 bytes, tx holds 182. */
    SAME(cib_link_send_bytes(&w.link, bytes, 161), CIB_EROOM);
    SAME(cib_link_send_bytes(&w.link, bytes, 183), CIB_EROOM);
    SAME(cib_link_send_bytes(&w.link, bytes, SIZE_MAX), CIB_EROOM);
    SAME(send_input(&w, "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901"
                        "23456789"), CIB_EROOM);
    SAME(w.up_n, sent);
    SAME(w.link.sent, 1);
    SAME(cib_link_send_bytes(&w.link, bytes, 160), 0);
    uint8_t plain[TX];
    SAME(box_hears(&w, plain), 160);
}

static void buffers_that_are_too_small_are_told_at_the_start(void)
{
    static world w;
    init(&w);
    cib_link_init(&w.link, &w.key, &w.port, w.rx, CIB_RECORD_ROOM(127), w.tx, sizeof w.tx);
    SAME(cib_link_start(&w.link), CIB_EROOM);
    cib_link_init(&w.link, &w.key, &w.port, w.rx, CIB_RECORD_ROOM(128), w.tx, 63);
    SAME(cib_link_start(&w.link), CIB_EROOM);
    cib_link_init(&w.link, &w.key, &w.port, w.rx, CIB_RECORD_ROOM(128), w.tx, 64);
    SAME(cib_link_start(&w.link), 0);
    SAME(w.tx[6] << 8 | w.tx[7], 128);
    cib_link_init(&w.link, &w.key, &w.port, w.rx, CIB_RECORD_ROOM(128) + 4, w.tx, 64);
    SAME(cib_link_hello(&w.link, 2), 0); /* in MQTT messages a counter stands before each record */
    SAME(w.tx[4], 2);
    SAME(w.tx[6] << 8 | w.tx[7], 128);
    CHECK(sizeof(cib_link) <= 160);
}

int main(void)
{
    RUN(commands_and_items_arrive_however_the_line_cuts_them);
    RUN(records_may_be_cut_at_every_byte);
    RUN(a_command_may_make_the_link_live);
    RUN(nothing_can_be_sent_before_the_reply_or_after_the_end);
    RUN(every_connection_has_a_hello_of_its_own);
    RUN(a_reply_with_any_bit_changed_makes_no_link);
    RUN(a_box_that_takes_less_than_it_must_is_left);
    RUN(a_record_with_any_bit_changed_ends_the_link_and_leaves_no_key);
    RUN(a_record_that_comes_again_ends_the_link);
    RUN(a_record_as_long_as_was_accepted_fits_and_a_longer_one_is_an_error);
    RUN(a_record_that_is_no_cbor_ends_the_link);
    RUN(what_stands_before_a_goodbye_is_given_first);
    RUN(a_goodbye_alone_is_told_at_once_also_behind_an_end_of_the_line);
    RUN(silence_is_broken_before_thirty_seconds);
    RUN(a_command_counts_as_a_sign_of_life);
    RUN(a_keep_alive_does_not_disturb_a_command_that_is_being_written);
    RUN(a_stream_that_never_pauses_does_not_keep_us_from_saying_that_we_live);
    RUN(ninety_seconds_without_a_whole_record_are_the_end);
    RUN(ten_seconds_without_a_reply_are_the_end);
    RUN(a_line_that_takes_nothing_for_five_seconds_is_dead);
    RUN(a_port_that_claims_more_than_there_is_room_for_is_dead);
    RUN(nothing_is_opened_under_a_key_that_is_gone);
    RUN(keys_are_given_up_about_a_thousand_records_before_their_end);
    RUN(no_number_is_used_beyond_the_last);
    RUN(what_does_not_fit_is_not_sent);
    RUN(buffers_that_are_too_small_are_told_at_the_start);
    return report("link");
}
