/* mqtt.c: MQTT packets out, bit by bit; packets in, however they are cut; and whatever a broker must not send. */
#include <stdlib.h>

#include "check.h"
#include "fake_port.h"

#define ROOM 64

static fake line;
static cib_mqtt m;
static cib_message message;
static uint8_t buf[ROOM];

static const uint8_t CONNACK[] = { 0x20, 2, 0, 0 };

/* A new client, connected. */
static void connected(uint16_t keepalive)
{
    fake_init(&line);
    cib_mqtt_init(&m, &line.port, buf, sizeof buf);
    SAME(cib_mqtt_connect(&m, "c", "u", "p", keepalive), 0);
    fake_give(&line, CONNACK, sizeof CONNACK);
    SAME(cib_mqtt_poll(&m, &message), 0);
    CHECK(cib_mqtt_ready(&m));
    line.out_n = 0;
}

/* These bytes come, and are looked at. */
static int comes(const void *bytes, size_t n)
{
    fake_give(&line, bytes, n);
    return cib_mqtt_poll(&m, &message);
}

#define COMES(...) comes((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void sent(const char *expected)
{
    SAME(line.out_n, strlen(expected) / 2);
    SAME_HEX(line.out, expected);
    line.out_n = 0;
}

static bool said(cib_text text, const char *word) { return text.n == strlen(word) && memcmp(text.at, word, text.n) == 0; }

/* ------------------------------------------------------------------ out */

static void connect_is_said_as_the_standard_has_it(void)
{
    for (size_t each = 0; each < 4; each++) {
        fake_init(&line);
        line.out_each = each;
        cib_mqtt_init(&m, &line.port, buf, sizeof buf);
        SAME(cib_mqtt_connect(&m, "lamp", "user", "word", 60), 0);
        sent("101c00044d51545404c2003c00046c616d7000047573657200"
             "04776f7264");
        CHECK(!cib_mqtt_ready(&m));
        SAME(cib_mqtt_connect(&m, "", NULL, NULL, 0), 0);
        sent("100c00044d5154540402000000"
             "00");
    }
}

static void a_refusal_has_its_number(void)
{
    for (uint8_t why = 1; why <= 5; why++) {
        fake_init(&line);
        cib_mqtt_init(&m, &line.port, buf, sizeof buf);
        SAME(cib_mqtt_connect(&m, "c", "u", "p", 60), 0);
        SAME(COMES(0x20, 2, 0, why), CIB_EREFUSED);
        SAME(m.status, why);
        CHECK(!cib_mqtt_ready(&m));
        SAME(cib_mqtt_poll(&m, &message), CIB_EBUSY);
        SAME(cib_mqtt_publish(&m, "t", NULL, 0, 0, false), CIB_EBUSY);
        SAME(cib_mqtt_connect(&m, "c", "u", "p", 60), 0);
        SAME(m.status, 0);
    }
}

static void a_subscription_waits_for_its_answer(void)
{
    connected(60);
    SAME(cib_mqtt_subscribe(&m, "a/b", 1), 0);
    sent("8208000100"
         "03612f6201");
    CHECK(!cib_mqtt_ready(&m));
    SAME(cib_mqtt_subscribe(&m, "a/c", 1), CIB_EBUSY);
    SAME(COMES(0x90, 3, 0, 2, 1), 0); /* of another */
    SAME(COMES(0x40, 2, 0, 1), 0);    /* of another kind */
    CHECK(!cib_mqtt_ready(&m));
    for (uint8_t granted = 0; granted <= 2; granted++) {
        m.state = 0x90;
        m.waiting = 1;
        SAME(COMES(0x90, 3, 0, 1, granted), 0);
        CHECK(cib_mqtt_ready(&m));
        SAME(m.status, 0);
    }
}

static void a_subscription_that_is_refused_leaves_the_connection(void)
{
    connected(60);
    SAME(cib_mqtt_subscribe(&m, "a", 0), 0);
    SAME(COMES(0x90, 3, 0, 1, 0x80), CIB_EREFUSED);
    SAME(m.status, 0x80);
    CHECK(cib_mqtt_ready(&m));
    SAME(COMES(0x30, 4, 0, 1, 't', 'x'), 1);
    CHECK(said(message.payload, "x"));
    SAME(cib_mqtt_publish(&m, "t", NULL, 0, 1, false), 0);
    SAME(COMES(0x40, 2, 0, 2), 0);
    SAME(m.status, 0);
}

static void a_message_is_said_at_both_qualities(void)
{
    connected(60);
    SAME(cib_mqtt_publish(&m, "t", (const uint8_t *)"hi", 2, 0, false), 0);
    sent("3005000174"
         "6869");
    CHECK(cib_mqtt_ready(&m));
    SAME(cib_mqtt_publish(&m, "t", (const uint8_t *)"hi", 2, 1, false), 0);
    sent("3207000174"
         "00016869");
    SAME(m.waiting, 1);
    SAME(cib_mqtt_publish(&m, "t", (const uint8_t *)"ho", 2, 1, false), CIB_EBUSY);
    sent("");
    SAME(cib_mqtt_publish(&m, "t", NULL, 0, 0, false), 0); /* which nobody waits for */
    sent("30030001"
         "74");
    SAME(COMES(0x40, 2, 0, 9), 0);
    SAME(COMES(0x90, 3, 0, 1, 0), 0);
    CHECK(!cib_mqtt_ready(&m));
    SAME(COMES(0x40, 2, 0, 1), 0);
    SAME(m.waiting, 0);
    CHECK(cib_mqtt_ready(&m));
    SAME(cib_mqtt_publish(&m, "t", NULL, 0, 1, true), 0);
    sent("3a05000174"
         "0001");
    SAME(COMES(0x40, 2, 0, 1), 0);
    SAME(COMES(0x40, 2, 0, 1), 0); /* said twice */
}

static void packet_ids_go_round_without_zero(void)
{
    connected(60);
    m.packet = 65535;
    SAME(cib_mqtt_publish(&m, "t", NULL, 0, 1, false), 0);
    sent("32050001740001");
    m.packet = 0;
    m.state = 1;
    SAME(cib_mqtt_publish(&m, "t", NULL, 0, 1, true), 0);
    sent("3a050001740001");
}

static void lengths_take_as_many_bytes_as_they_need(void)
{
    static const struct { size_t payload; const char *head; } cases[] = {
        { 124, "307f000174" }, { 125, "308001000174" }, { 7000, "30db36000174" }
    };
    static uint8_t payload[20000];
    for (size_t i = 0; i < 3; i++) {
        connected(60);
        SAME(cib_mqtt_publish(&m, "t", payload, cases[i].payload, 0, false), 0);
        SAME(line.out_n, cases[i].payload + strlen(cases[i].head) / 2);
        SAME_HEX(line.out, cases[i].head);
    }
}

static void what_no_packet_can_hold_is_not_begun(void)
{
    static char topic[70000];
    memset(topic, 't', sizeof topic - 1);
    connected(60);
    SAME(cib_mqtt_publish(&m, topic, NULL, 0, 0, false), CIB_EROOM);
    SAME(cib_mqtt_publish(&m, topic, NULL, 0, 1, false), CIB_EROOM);
    SAME(cib_mqtt_subscribe(&m, topic, 1), CIB_EROOM);
    SAME(cib_mqtt_publish(&m, "t", (const uint8_t *)topic, 268435456, 1, false), CIB_EROOM);
    sent("");
    CHECK(cib_mqtt_ready(&m));
    topic[65536] = '\0';
    SAME(cib_mqtt_publish(&m, topic, NULL, 0, 0, false), CIB_EROOM);
    topic[65535] = '\0';
    SAME(cib_mqtt_publish(&m, topic, NULL, 0, 0, false), 0);
    SAME(line.out_n, 4 + 2 + 65535);
}

static void an_acknowledgement_is_of_its_message(void)
{
    connected(60);
    SAME(COMES(0x32, 6, 0, 1, 't', 0x12, 0x34, '!'), 1);
    SAME(message.packet, 0x1234);
    SAME(cib_mqtt_ack(&m, &message), 0);
    sent("40021234");
    SAME(COMES(0x30, 3, 0, 1, 't'), 1);
    SAME(message.packet, 0);
    SAME(cib_mqtt_ack(&m, &message), 0);
    sent("");
}

static void goodbye_is_said_once(void)
{
    connected(60);
    SAME(cib_mqtt_disconnect(&m), 0);
    sent("e000");
    SAME(cib_mqtt_disconnect(&m), CIB_EBUSY);
    sent("");
    SAME(cib_mqtt_poll(&m, &message), CIB_EBUSY);
}

/* ------------------------------------------------------------------ in */

/* Every kind of packet a broker sends. */
static const uint8_t MANY[] = {
    0x30, 5, 0, 1, 'a', 'h', 'i',                               /* QoS 0 */
    0x40, 2, 0, 77,                                             /* a stray PUBACK */
    0x3b, 9, 0, 3, 'a', '/', 'b', 0, 7, 'y', 'o',               /* QoS 1, again, retained */
    0xd0, 0,                                                    /* PINGRESP */
    0x32, 0x83, 0, 0, 1, 'c',                                   /* a length in more bytes than it needs: no room for an id */
};
static const size_t MANY_N = sizeof MANY - 6;

static void expect_many(int round)
{
    if (round == 0) {
        CHECK(said(message.topic, "a") && said(message.payload, "hi"));
        CHECK(message.packet == 0 && !message.again && !message.retained);
    } else {
        CHECK(said(message.topic, "a/b") && said(message.payload, "yo"));
        CHECK(message.packet == 7 && message.again && message.retained);
    }
}

static void packets_are_whole_wherever_the_line_cuts_them(void)
{
    for (size_t first = 0; first <= MANY_N; first++) {
        for (size_t second = first; second <= MANY_N; second++) {
            connected(60);
            int got = 0;
            const size_t ends[] = { first, second, MANY_N };
            fake_give(&line, MANY, 0);
            for (size_t i = 0; i < 3; i++) {
                line.in_n = ends[i];
                int n;
                while ((n = cib_mqtt_poll(&m, &message)) == 1)
                    expect_many(got++);
                SAME(n, 0);
            }
            SAME(got, 2);
            SAME(line.in_at, MANY_N);
            SAME(m.skipped, 0);
        }
    }
}

static void packets_are_whole_however_little_a_read_brings(void)
{
    for (size_t each = 1; each <= MANY_N; each++) {
        connected(60);
        fake_give(&line, MANY, MANY_N);
        line.in_each = each;
        int got = 0;
        for (int polls = 0; polls < 200; polls++)
            if (cib_mqtt_poll(&m, &message) == 1)
                expect_many(got++);
        SAME(got, 2);
    }
}

static void no_byte_of_the_next_packet_is_taken(void)
{
    connected(60);
    fake_give(&line, MANY, MANY_N);
    SAME(cib_mqtt_poll(&m, &message), 1);
    SAME(line.in_at, 7);
    /* So what a message points to is good until the next poll, whatever is said meanwhile. */
    SAME(cib_mqtt_publish(&m, "t", message.payload.at, message.payload.n, 0, false), 0);
    sent("30050001746869");
    expect_many(0);
}

/* A message of `payload` bytes, then one that says "after". */
static size_t long_then_short(uint8_t *out, size_t payload, bool id)
{
    size_t rest = 3u + (id ? 2u : 0u) + payload, n = 0;
    out[n++] = id ? 0x32 : 0x30;
    for (; rest > 0x7f; rest >>= 7)
        out[n++] = (uint8_t)(rest | 0x80);
    out[n++] = (uint8_t)rest;
    out[n++] = 0;
    out[n++] = 1;
    out[n++] = 'L';
    if (id) {
        out[n++] = 0x01;
        out[n++] = 0x02;
    }
    memset(out + n, 0x32, payload); /* which looks like the beginning of a message */
    n += payload;
    static const uint8_t after[] = { 0x30, 8, 0, 1, 's', 'a', 'f', 't', 'e', 'r' };
    memcpy(out + n, after, sizeof after);
    return n + sizeof after;
}

static void what_is_too_long_is_skipped_acknowledged_and_counted(void)
{
    static uint8_t stream[5000];
    static const size_t sizes[] = { ROOM - 7, ROOM - 6, ROOM, 2 * ROOM, 127, 128, 4000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int id = 0; id < 2; id++) {
            size_t n = long_then_short(stream, sizes[i], id);
            size_t step = n > 400 ? 97 : 1;
            for (size_t cut = 0; cut <= n; cut += step) {
                connected(60);
                fake_give(&line, stream, cut);
                int got = 0, polls = 0;
                while (polls++ < 200) {
                    if (cib_mqtt_poll(&m, &message) == 1 && ++got && message.topic.at[0] == 's')
                        break;
                    if (line.in_at == cut)
                        line.in_n = n;
                }
                bool fits = 2u + 3u + (id ? 2u : 0u) + sizes[i] <= ROOM;
                SAME(got, fits ? 2 : 1);
                SAME(m.skipped, fits ? 0 : 1);
                CHECK(said(message.payload, "after"));
                sent(id && !fits ? "40020102" : "");
            }
        }
    }
}

static void a_topic_that_does_not_fit_is_told(void)
{
    static uint8_t stream[200] = { 0x32, 0x90, 1, 0, 100 };
    connected(60);
    SAME(comes(stream, sizeof stream), CIB_EROOM);
    SAME(cib_mqtt_poll(&m, &message), CIB_EBUSY);
    /* To the byte: a head of 2, a length of 2, and the topic. */
    for (uint8_t topic = ROOM - 4; topic <= ROOM - 3; topic++) {
        uint8_t bytes[102] = { 0x30, 100, 0, topic };
        connected(60);
        SAME(comes(bytes, sizeof bytes), topic == ROOM - 4 ? 0 : CIB_EROOM);
    }
}

static void the_longest_packet_that_mqtt_knows_is_gone_through(void)
{
    connected(60);
    SAME(COMES(0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'a'), 0);
    SAME(m.left, 268435455 - 3);
}

static void a_flood_of_packets_does_not_hold_its_reader(void)
{
    static uint8_t pings[2000];
    for (size_t i = 0; i < sizeof pings; i += 2)
        pings[i] = 0xd0;
    connected(60);
    SAME(comes(pings, sizeof pings), 0);
    CHECK(line.in_at > 0 && line.in_at < 100);
}

static void what_a_broker_must_not_send_ends_the_connection(void)
{
    static const struct { uint8_t n; uint8_t bytes[12]; } cases[] = {
        { 6, { 0x30, 0xff, 0xff, 0xff, 0xff, 0x01 } }, /* a length of five bytes */
        { 6, { 0x30, 0x80, 0x80, 0x80, 0x80, 0x00 } },
        { 5, { 0x30, 3, 0, 2, 'a' } },                 /* a topic longer than its packet */
        { 5, { 0x30, 3, 0xff, 0xff, 'a' } },
        { 7, { 0x32, 5, 0, 2, 'a', 'b', 0 } },         /* half an id */
        { 3, { 0x30, 1, 0 } },                         /* half a length */
        { 2, { 0x30, 0 } },
        { 6, { 0x34, 5, 0, 1, 'a', 0 } },              /* QoS 2 */
        { 6, { 0x36, 5, 0, 1, 'a', 0 } },              /* QoS 3 */
        { 7, { 0x32, 5, 0, 1, 'a', 0, 0 } },           /* id 0 */
        { 6, { 0x32, 0x83, 0x00, 0, 1, 'c' } },        /* no id */
        { 4, { 0x20, 2, 0, 0 } },                      /* a second CONNACK */
        { 5, { 0x90, 3, 0, 1, 0 } },
        { 4, { 0x90, 2, 0, 1 } },                      /* SUBACK without an answer */
        { 2, { 0x90, 0 } },
        { 3, { 0x40, 1, 0 } },                         /* half a PUBACK */
        { 5, { 0x40, 3, 0, 1, 0 } },
        { 3, { 0xd0, 1, 0 } },                         /* PINGRESP with something in it */
        { 4, { 0x41, 2, 0, 1 } },                      /* flags that are none */
        { 2, { 0x00, 0 } },  { 2, { 0xf0, 0 } },       /* no packets */
        { 2, { 0xc0, 0 } },  { 2, { 0xe0, 0 } },       /* a client's packets */
        { 4, { 0x50, 2, 0, 1 } }, { 4, { 0xb0, 2, 0, 1 } }, /* of QoS 2, of UNSUBSCRIBE */
        { 6, { 0x40, 0xff, 0xff, 0xff, 0x7f, 0 } },    /* 256 MB of PUBACK */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        connected(60);
        int n = comes(cases[i].bytes, cases[i].n);
        /* An acknowledgement that nobody waits for is no fault. */
        bool stray = cases[i].bytes[0] == 0x90 && cases[i].bytes[1] == 3;
        SAME(n, stray ? 0 : CIB_EFORMAT);
        SAME(cib_mqtt_poll(&m, &message), stray ? 0 : CIB_EBUSY);
    }
}

static void nothing_comes_before_connack(void)
{
    static const uint8_t message_first[] = { 0x30, 3, 0, 1, 'a' }, ping_first[] = { 0x90, 3, 0, 0, 0 };
    fake_init(&line);
    cib_mqtt_init(&m, &line.port, buf, sizeof buf);
    SAME(cib_mqtt_connect(&m, "c", NULL, NULL, 60), 0);
    SAME(comes(message_first, sizeof message_first), CIB_EFORMAT);
    SAME(cib_mqtt_connect(&m, "c", NULL, NULL, 60), 0);
    SAME(comes(ping_first, sizeof ping_first), 0); /* of nothing: passed over, and we are not in by it */
    CHECK(!cib_mqtt_ready(&m));
}

/* ------------------------------------------------------------------ the line */

static void a_line_that_is_dead_is_told(void)
{
    connected(60);
    line.in_dead = true;
    SAME(cib_mqtt_poll(&m, &message), CIB_ELINE);
    SAME(cib_mqtt_poll(&m, &message), CIB_EBUSY);
    connected(60);
    line.out_dead = true;
    SAME(cib_mqtt_publish(&m, "t", NULL, 0, 1, false), CIB_ELINE);
    SAME(cib_mqtt_publish(&m, "t", NULL, 0, 1, false), CIB_EBUSY);
    connected(60);
    line.in_dead = true;
    SAME(cib_mqtt_connect(&m, "c", NULL, NULL, 60), CIB_ELINE);
    connected(60);
    line.claims = 1;
    SAME(cib_mqtt_poll(&m, &message), CIB_ELINE);
    SAME(cib_mqtt_connect(&m, "c", NULL, NULL, 60), CIB_ELINE);
}

static int takes_nothing(void *user, const uint8_t *bytes, size_t n)
{
    (void)bytes;
    (void)n;
    ((fake *)user)->ms += 100;
    return 0;
}

static void a_line_that_takes_nothing_is_given_up(void)
{
    connected(60);
    line.port.send = takes_nothing;
    uint32_t before = line.ms;
    SAME(cib_mqtt_publish(&m, "t", NULL, 0, 0, false), CIB_ELINE);
    SAME(line.ms - before, CIB_SEND_MS);
    SAME(cib_mqtt_disconnect(&m), CIB_EBUSY);
}

static void silence_is_measured_in_whole_packets(void)
{
    static const uint8_t endless[] = { 0x30, 60, 0, 1, 'a' };
    connected(10);
    fake_give(&line, endless, 0);
    for (int second = 1; second <= 15; second++) {
        line.ms += 1000;
        /* Bytes keep coming, but never the rest of their packet. */
        line.in_n = second % 3 == 0 && line.in_n < sizeof endless ? line.in_n + 1 : line.in_n;
        SAME(cib_mqtt_poll(&m, &message), 0);
    }
    sent("c000c000c000"); /* at 5, 10 and 15 s */
    line.ms += 1;
    SAME(cib_mqtt_poll(&m, &message), CIB_EDEAD);
    SAME(cib_mqtt_poll(&m, &message), CIB_EBUSY);
}

static void an_answer_to_a_ping_is_life_and_so_is_the_clock_going_round(void)
{
    static const uint8_t pong[] = { 0xd0, 0 };
    connected(10);
    line.ms = UINT32_MAX - 12345;
    SAME(comes(pong, 2), 0);
    line.out_n = 0;
    m.spoke = line.ms;
    for (int second = 1; second <= 60; second++) {
        line.ms += 1000;
        if (line.out_n > 0) {
            sent("c000");
            fake_give(&line, pong, 2);
        }
        SAME(cib_mqtt_poll(&m, &message), 0);
    }
}

static void without_keepalive_nothing_is_said_and_silence_is_no_death(void)
{
    connected(0);
    line.ms += 100000000;
    SAME(cib_mqtt_poll(&m, &message), 0);
    sent("");
}

static void an_answer_to_connect_that_does_not_come_is_death(void)
{
    fake_init(&line);
    cib_mqtt_init(&m, &line.port, buf, sizeof buf);
    SAME(cib_mqtt_connect(&m, "c", NULL, NULL, 600), 0);
    line.ms += 10000;
    SAME(cib_mqtt_poll(&m, &message), 0);
    line.ms += 1000;
    SAME(cib_mqtt_poll(&m, &message), CIB_EDEAD);
}

/* Behind a transparent serial bridge nobody tells that the connection was lost. Half a packet of the old one is left, in the parser and
 * perhaps in the serial buffer; without a new beginning it would swallow the answer to CONNECT. */
static void half_a_packet_of_a_lost_connection_does_not_swallow_the_new_connack(void)
{
    static const uint8_t lost[] = { 0x30, 40, 0, 1, 'a', 'b', 'c', 'd', 'e', 'f' };
    static const uint8_t lost_long[] = { 0x32, 0xff, 0x7f, 0, 1, 'a', 0, 9, 'b', 'c', 'd', 'e', 'f' };
    for (int is_long = 0; is_long < 2; is_long++) {
        const uint8_t *bytes = is_long ? lost_long : lost;
        size_t n = is_long ? sizeof lost_long : sizeof lost;
        for (size_t read = 0; read <= n; read++) {
            connected(10);
            SAME(comes(bytes, read), 0);
            while (cib_mqtt_poll(&m, &message) == 0)
                line.ms += 1000;
            /* What was not read yet is still in the serial buffer. */
            fake_give(&line, bytes + read, n - read);
            line.out_n = 0;
            SAME(cib_mqtt_connect(&m, "c", NULL, NULL, 10), 0);
            SAME(COMES(0x20, 2, 0, 0, 0x30, 4, 0, 1, 't', '!'), 1);
            CHECK(cib_mqtt_ready(&m) && said(message.payload, "!"));
        }
    }
}

static void a_buffer_that_holds_nothing_is_told(void)
{
    fake_init(&line);
    cib_mqtt_init(&m, &line.port, buf, 15);
    SAME(cib_mqtt_connect(&m, "c", NULL, NULL, 10), CIB_EROOM);
    SAME(cib_mqtt_poll(&m, &message), CIB_EBUSY);
    static uint8_t large[70000];
    cib_mqtt_init(&m, &line.port, large, sizeof large);
    SAME(m.room, 65535);
}

static void the_state_is_as_small_as_was_promised(void)
{
    /* 48 bytes where pointers have four. */
    CHECK(sizeof(cib_mqtt) <= 48 + 3 * (sizeof(void *) - 4));
}

int main(void)
{
    RUN(connect_is_said_as_the_standard_has_it);
    RUN(a_refusal_has_its_number);
    RUN(a_subscription_waits_for_its_answer);
    RUN(a_subscription_that_is_refused_leaves_the_connection);
    RUN(a_message_is_said_at_both_qualities);
    RUN(packet_ids_go_round_without_zero);
    RUN(lengths_take_as_many_bytes_as_they_need);
    RUN(what_no_packet_can_hold_is_not_begun);
    RUN(an_acknowledgement_is_of_its_message);
    RUN(goodbye_is_said_once);
    RUN(packets_are_whole_wherever_the_line_cuts_them);
    RUN(packets_are_whole_however_little_a_read_brings);
    RUN(no_byte_of_the_next_packet_is_taken);
    RUN(what_is_too_long_is_skipped_acknowledged_and_counted);
    RUN(a_topic_that_does_not_fit_is_told);
    RUN(the_longest_packet_that_mqtt_knows_is_gone_through);
    RUN(a_flood_of_packets_does_not_hold_its_reader);
    RUN(what_a_broker_must_not_send_ends_the_connection);
    RUN(nothing_comes_before_connack);
    RUN(a_line_that_is_dead_is_told);
    RUN(a_line_that_takes_nothing_is_given_up);
    RUN(silence_is_measured_in_whole_packets);
    RUN(an_answer_to_a_ping_is_life_and_so_is_the_clock_going_round);
    RUN(without_keepalive_nothing_is_said_and_silence_is_no_death);
    RUN(an_answer_to_connect_that_does_not_come_is_death);
    RUN(half_a_packet_of_a_lost_connection_does_not_swallow_the_new_connack);
    RUN(a_buffer_that_holds_nothing_is_told);
    RUN(the_state_is_as_small_as_was_promised);
    return report("mqtt");
}
