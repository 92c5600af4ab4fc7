/* mqtt_link.c: a sealed link in MQTT messages: how it begins, what it takes, how it ends. */
#include "check.h"
#include "mqtt_box.h"

enum { ROOM = 39 + CIB_MQTT_RECORD_ROOM(128), TX = 100 };

static uint8_t buf[ROOM];
static uint8_t tx[TX];

/* What the client has said since the last look is one message of QoS 1 on this topic; its payload. */
static const uint8_t *said(const char *topic, size_t n)
{
    size_t topic_n = strlen(topic);
    CHECK(line.out_n >= 2 && line.out[0] == 0x32);
    SAME(line.out[1], 2 + topic_n + 2 + n);
    SAME(line.out_n, 2u + line.out[1]);
    CHECK(memcmp(line.out + 4, topic, topic_n) == 0);
    line.out_n = 0;
    return line.out + 4 + topic_n + 2;
}

static const char UP[] = "cib/link/0100000000000000/up";

/* The hello has gone out. */
static void greeting(void)
{
    comes_in(buf, ROOM, tx, TX);
    SAME(cib_mqtt_link_start(&m, &l), 0);
    box_acknowledges();
    line.out_n = 0;
    SAME(cib_mqtt_link_tick(&m, &l), 0);
}

/* The link lives, and everything has been acknowledged. */
static void live(void)
{
    greeting();
    box_acknowledges();
    box_replies();
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    box_acknowledges();
    line.out_n = 0;
}

static int record_comes(uint32_t counter, const void *plaintext, size_t n)
{
    box_says(DOWN, sealed, box_seals(counter, plaintext, n));
    return hears();
}

static void a_link_begins_with_a_subscription_then_the_hello(void)
{
    comes_in(buf, ROOM, tx, TX);
    SAME(cib_mqtt_link_start(&m, &l), 0);
    SAME_HEX(line.out, "82230001001e");
    CHECK(memcmp(line.out + 6, DOWN, sizeof DOWN - 1) == 0);
    SAME(line.out_n, 2 + 35);
    line.out_n = 0;
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    SAME(line.out_n, 0); /* until the subscription holds */
    box_acknowledges();
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    const uint8_t *hello = said(UP, CIB_HELLO_BYTES);
    SAME_HEX(hello, "4349423102010080"); /* flag 2: in messages; accepts what fits into buf */
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    SAME(line.out_n, 0);
}

static void the_first_record_makes_it_live_and_may_be_empty(void)
{
    for (int puback_first = 0; puback_first < 2; puback_first++) {
        greeting();
        line.out_n = 0;
        if (puback_first)
            box_acknowledges();
        box_replies();
        line.out_n = 0;
        SAME(cib_mqtt_link_tick(&m, &l), 0);
        if (!puback_first) {
            SAME(line.out_n, 0);
            box_acknowledges();
            SAME(cib_mqtt_link_tick(&m, &l), 0);
        }
        uint8_t record[22];
        memcpy(record, said(UP, sizeof record), sizeof record);
        SAME_HEX(record, "000000000000");
        SAME(cib_open(l.send_key, 0, record + 4, 0), 0);
        box_acknowledges();
        SAME(cib_mqtt_link_tick(&m, &l), 0);
        SAME(line.out_n, 0);
    }
}

static void commands_go_out_one_after_the_other(void)
{
    live();
    cib_writer w = cib_mqtt_link_writer(&l);
    cib_write_uint(&w, 7);
    SAME(cib_mqtt_link_send(&m, &l, &w), 0);
    uint8_t record[23];
    memcpy(record, said(UP, sizeof record), sizeof record);
    SAME_HEX(record, "000000010001");
    SAME(cib_open(l.send_key, 1, record + 4, 1), 0);
    SAME(record[6], 7);
    w = cib_mqtt_link_writer(&l);
    cib_write_uint(&w, 8);
    SAME(cib_mqtt_link_send(&m, &l, &w), CIB_EBUSY);
    /* What is being written outlives whatever is said meanwhile. */
    box_acknowledges();
    line.ms += 30000;
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    (void)said(UP, 22);
    box_acknowledges();
    SAME(cib_mqtt_link_send(&m, &l, &w), 0);
    memcpy(record, said(UP, sizeof record), sizeof record);
    SAME_HEX(record, "000000030001");
    SAME(cib_open(l.send_key, 3, record + 4, 1), 0);
    SAME(record[6], 8);
    box_acknowledges();
    w = cib_mqtt_link_writer(&l);
    cib_write_bytes(&w, wire, TX - 22);
    SAME(cib_mqtt_link_send(&m, &l, &w), CIB_EROOM);
    l.accepts = 3;
    w = cib_mqtt_link_writer(&l);
    cib_write_bytes(&w, wire, 3);
    SAME(cib_mqtt_link_send(&m, &l, &w), CIB_EROOM);
    SAME(line.out_n, 0);
    l.accepts = 4;
    SAME(cib_mqtt_link_send(&m, &l, &w), 0);
}

static void records_are_opened_in_their_order_once(void)
{
    live();
    SAME(record_comes(0, "\x01\x02", 2), 2);
    CHECK(memcmp(l.plain, "\x01\x02", 2) == 0);
    SAME(record_comes(0, "\x01\x02", 2), 0); /* brought twice */
    SAME(record_comes(1, "", 0), 0);
    SAME(record_comes(2, "\x03", 1), 1);
    SAME(record_comes(4, "\x04", 1), CIB_EFORMAT);
    CHECK(!cib_link_ready(&l));
    SAME(record_comes(3, "\x04", 1), 0);
    live();
    size_t n = box_seals(0, "\x01", 1);
    for (size_t bit = 0; bit < n * 8; bit++) {
        live();
        box_seals(0, "\x01", 1);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        box_says(DOWN, sealed, n);
        SAME(hears(), bit < 48 ? CIB_EFORMAT : CIB_EKEY);
    }
    for (n = 0; n < 22; n++) {
        live();
        box_says(DOWN, sealed, n);
        memset(sealed, 0, sizeof sealed);
        SAME(hears(), CIB_EFORMAT);
    }
}

static void the_largest_record_that_was_accepted_fits(void)
{
    uint8_t plain[128] = { 0x58, 126 };
    live();
    SAME(record_comes(0, plain, 128), 128);
    CHECK(memcmp(l.plain, plain, 128) == 0);
    SAME(m.skipped, 0);
}

static void what_is_not_of_this_link_is_passed_over(void)
{
    static const uint8_t before[100];
    greeting();
    box_acknowledges();
    box_says(DOWN, before, sizeof before); /* a record of a link of before */
    SAME(hears(), 0);
    box_says("cib/online", (const uint8_t *)"1", 1);
    SAME(hears(), 0);
    uint8_t reply[CIB_REPLY_BYTES];
    box_reply(reply);
    box_replies();
    box_says(DOWN, reply, sizeof reply); /* brought twice */
    SAME(hears(), 0);
    CHECK(cib_link_ready(&l));
    box_says("cib/link/0200000000000000/down", reply, sizeof reply);
    SAME(hears(), 0);
    box_says("cib/link/0100000000000000/dow", reply, sizeof reply);
    SAME(hears(), 0);
    box_says("cib/link/0100000000000001/down", (const uint8_t *)"", 0);
    SAME(hears(), 0);
    CHECK(cib_link_ready(&l));
}

static void a_reply_that_does_not_hold_ends_it(void)
{
    for (size_t byte = 4; byte < CIB_REPLY_BYTES; byte++) {
        uint8_t reply[CIB_REPLY_BYTES];
        greeting();
        box_acknowledges();
        box_reply(reply);
        reply[byte] ^= 1;
        box_says(DOWN, reply, sizeof reply);
        SAME(hears(), byte < 6 ? CIB_EFORMAT : CIB_EKEY);
        CHECK(!cib_link_ready(&l));
    }
}

static void a_goodbye_comes_behind_what_stands_before_it(void)
{
    static const uint8_t zeros[32];
    static const char bye[] = "\x05\xa1\x63" "bye\x65" "rekey";
    live();
    SAME(record_comes(0, bye, sizeof bye - 1), 1);
    SAME(l.plain[0], 5);
    SAME(record_comes(1, "\x01", 1), 0);
    SAME(cib_mqtt_link_tick(&m, &l), CIB_EBYE);
    SAME(l.bye, CIB_BYE_REKEY);
    CHECK(memcmp(l.receive_key, zeros, 32) == 0);
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    /* And another link on the same connection. */
    SAME(cib_mqtt_link_start(&m, &l), 0);
    box_acknowledges();
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    box_acknowledges();
    box_replies();
    live();
    SAME(record_comes(0, bye + 1, sizeof bye - 2), CIB_EBYE);
    CHECK(!cib_link_ready(&l));
}

static void something_is_said_in_time_and_silence_is_death(void)
{
    live();
    for (int second = 1; second <= 90; second++) {
        line.ms += 1000;
        line.out_n = 0;
        SAME(cib_mqtt_link_tick(&m, &l), 0);
        SAME(line.out_n > 0, second % 26 == 0);
        box_acknowledges();
    }
    line.ms += 1;
    SAME(cib_mqtt_link_tick(&m, &l), CIB_EDEAD);
    CHECK(!cib_link_ready(&l));
    greeting();
    line.ms += 10001;
    SAME(cib_mqtt_link_tick(&m, &l), CIB_EDEAD);
    /* A reply and a record are life. */
    greeting();
    box_acknowledges();
    line.ms += 9000;
    box_replies();
    line.ms += 89000;
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    box_acknowledges();
    SAME(record_comes(0, "", 0), 0);
    line.ms += 89000;
    SAME(cib_mqtt_link_tick(&m, &l), 0);
}

static void behind_a_bridge_the_box_stands_in_the_topic(void)
{
    comes_in(buf, ROOM, tx, TX);
    m.box = "desk";
    SAME(cib_mqtt_link_start(&m, &l), CIB_EROOM); /* five bytes less for records */
    static uint8_t more[ROOM + 5];
    comes_in(more, sizeof more, tx, TX);
    m.box = "desk";
    SAME(cib_mqtt_link_start(&m, &l), 0);
    CHECK(memcmp(line.out + 6, "cib/desk/link/0100000000000000/down", 35) == 0);
    box_acknowledges();
    line.out_n = 0;
    SAME(cib_mqtt_link_tick(&m, &l), 0);
    (void)said("cib/desk/link/0100000000000000/up", CIB_HELLO_BYTES);
    char name[200];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    m.box = name;
    SAME(cib_mqtt_link_start(&m, &l), CIB_EROOM);
}

static void room_that_is_too_small_is_told(void)
{
    comes_in(buf, ROOM - 1, tx, TX);
    SAME(cib_mqtt_link_start(&m, &l), CIB_EROOM);
    comes_in(buf, 20, tx, TX);
    SAME(cib_mqtt_link_start(&m, &l), CIB_EROOM);
    comes_in(buf, ROOM, tx, 40);
    SAME(cib_mqtt_link_start(&m, &l), CIB_EROOM);
    cib_link_init(&l, &key, &line.port, NULL, 0, tx, 20);
    cib_writer w = cib_mqtt_link_writer(&l);
    cib_write_uint(&w, 1);
    CHECK(w.full);
    SAME(cib_mqtt_link_send(&m, &l, &w), CIB_EBUSY);
}

int main(void)
{
    RUN(a_link_begins_with_a_subscription_then_the_hello);
    RUN(the_first_record_makes_it_live_and_may_be_empty);
    RUN(commands_go_out_one_after_the_other);
    RUN(records_are_opened_in_their_order_once);
    RUN(the_largest_record_that_was_accepted_fits);
    RUN(what_is_not_of_this_link_is_passed_over);
    RUN(a_reply_that_does_not_hold_ends_it);
    RUN(a_goodbye_comes_behind_what_stands_before_it);
    RUN(something_is_said_in_time_and_silence_is_death);
    RUN(behind_a_bridge_the_box_stands_in_the_topic);
    RUN(room_that_is_too_small_is_told);
    return report("mqtt_link");
}
