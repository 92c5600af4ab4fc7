/* vectors.c: the known answers of test/vectors/cib1.json, and the conversation that docs/PROTOCOL.md shows byte by byte. */
#include "check.h"
#include "cib.h"
#include "cib1.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A board whose random bytes are the answer's, and that keeps what is sent. */
typedef struct board {
    uint8_t random[16];
    uint8_t sent[512];
    size_t n;
} board;

static int keep(void *user, const uint8_t *bytes, size_t n)
{
    board *b = user;
    CHECK(b->n + n <= sizeof b->sent);
    memcpy(b->sent + b->n, bytes, n);
    b->n += n;
    return (int)n;
}

static int none(void *user, uint8_t *bytes, size_t room)
{
    (void)user;
    (void)bytes;
    (void)room;
    return 0;
}

static uint32_t still(void *user)
{
    (void)user;
    return 0;
}

static int answered(void *user, uint8_t *bytes, size_t n)
{
    CHECK(n == 16);
    memcpy(bytes, ((board *)user)->random, n);
    return 0;
}

/* A link of the key's connection number `uses`, whose reply has come. */
static void greet(cib_link *l, const char *hello, const char *reply)
{
    uint8_t bytes[64];
    SAME(cib_link_hello(l, 0), 0);
    SAME_HEX(l->tx, hello);
    size_t n = hex(bytes, reply);
    SAME(n, CIB_REPLY_BYTES);
    SAME(cib_link_reply(l, bytes, n), 0);
}

static void seals_to(cib_link *l, const char *plaintext, const char *record)
{
    uint8_t bytes[CIB_RECORD_ROOM(4096)];
    size_t n = hex(bytes + 2, plaintext);
    SAME(cib_link_seal(l, bytes, n), strlen(record) / 2);
    SAME_HEX(bytes, record);
}

static void opens_to(cib_link *l, const char *record, const char *plaintext)
{
    uint8_t bytes[CIB_RECORD_ROOM(4096)];
    size_t n = hex(bytes, record);
    SAME(cib_link_open(l, bytes, n), strlen(plaintext) / 2);
    SAME_HEX(bytes + 2, plaintext);
}

static void every_known_link_has_its_bytes(void)
{
    for (size_t i = 0; i < COUNT(LINKS); i++) {
        const link_answer *answer = &LINKS[i];
        uint8_t id[8], secret[32], tx[256];
        static uint8_t rx[65535];
        board b = {{0}, {0}, 0};
        cib_port port = {&b, keep, none, still, answered};
        cib_key key;
        cib_link l;
        hex(id, answer->keyId);
        hex(secret, answer->secret);
        hex(b.random, answer->random);
        SAME(cib_key_init(&key, id, secret, (uint32_t)strtoul(answer->boot, NULL, 10)), 0);
        SAME_HEX(key.prk0, answer->PRK0);
        key.uses = (uint32_t)strtoul(answer->connectionCounter, NULL, 10);
        cib_link_init(&l, &key, &port, rx, CIB_RECORD_ROOM(strtoul(answer->clientMax, NULL, 10)), tx, sizeof tx);
        greet(&l, answer->hello, answer->reply);
        SAME_HEX(l.tx + 16, answer->Rc);
        SAME_HEX(l.send_key, answer->Kc2s);
        SAME_HEX(l.receive_key, answer->Ks2c);
        SAME(l.accepts, strtoul(answer->daemonMax, NULL, 10));
        for (size_t j = 0; j < COUNT(answer->c2s); j++)
            seals_to(&l, answer->c2s[j].plaintext, answer->c2s[j].record);
        for (size_t j = 0; j < COUNT(answer->s2c); j++)
            opens_to(&l, answer->s2c[j].record, answer->s2c[j].plaintext);
    }
    CHECK(COUNT(LINKS) >= 2);
}

static void every_known_password_is_made(void)
{
    for (size_t i = 0; i < COUNT(PASSWORDS); i++) {
        uint8_t id[8], secret[32];
        char password[33];
        cib_key key;
        hex(id, PASSWORDS[i].keyId);
        hex(secret, PASSWORDS[i].secret);
        SAME(cib_key_init(&key, id, secret, 0), 0);
        SAME(cib_key_mqtt_password(&key, password), 0);
        CHECK(strcmp(password, PASSWORDS[i].password) == 0);
    }
}

/* ------------------------------------------------------------------ "A conversation, byte by byte" */

#define CONVERSATION_KEY "a0a1a2a3a4a5a6a7:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SESSION_ID "0190f0c27a117c339a551234567890ab"

static void the_conversation_of_the_protocol_has_its_bytes(void)
{
    uint8_t rx[CIB_RECORD_ROOM(512)], tx[256], session[16];
    board b = {{0}, {0}, 0};
    cib_port port = {&b, keep, none, still, answered};
    cib_key key;
    cib_link l;
    cib_follow f;
    cib_writer w;
    hex(session, SESSION_ID);
    hex(b.random, "303132333435363738393a3b3c3d3e3f");
    SAME(cib_key_parse(&key, CONVERSATION_KEY, 7), 0);
    cib_link_init(&l, &key, &port, rx, sizeof rx, tx, sizeof tx);
    greet(&l, "4349423100010200a0a1a2a3a4a5a6a7a4704698b4d2ba01985ad744137eba15bcaad2182920d9693d4cd37aa74925ab",
        "4349423100014000505152535455565758595a5b5c5d5e5f7bed747cf4977622463a28c07e6775bb");

    cib_follow_init(&f, session);
    f.seq = 11;
    f.epoch = 1;
    f.attach_id = 0;
    w = cib_link_writer(&l);
    cib_cmd_attach(&w, &f, 0);
    SAME(cib_link_send(&l, &w), 0);
    SAME_HEX(b.sent,
        "0036d87bdb610fc7003f1f92b4de647fdb234ade4925b17fc31fd845b2284f1773c7de52db97707256f113bed672706f8e58b3098be878601f"
        "d7a459d83f6d2755f8625afacf0b32");

    uint8_t record[256];
    size_t n = hex(record,
        "006ca0c7384e1ee9d9610f9364f730a44ae9acc11f3a32580177034b9fe74c4329634b655d565145597f2cfbd3bc127c0b61cd3981778a41f6"
        "95ffb062758c526b1f9237d0c2c729c7ad4d2acacef6dc996e72314873f559653e7a0a0f31fc2146f6b4a6138d458c70be5658f06e2e743d28"
        "59f7b4b87179f8bd0c011f29");
    int size = cib_link_open(&l, record, n);
    SAME(size, n - 18);
    cib_reader r = cib_reader_of(record + 2, (size_t)size);
    cib_item item;
    SAME(cib_next(&r, &item), 1);
    SAME(cib_follow_take(&f, &item), CIB_FOLLOWED);
    SAME(cib_next(&r, &item), 1);
    SAME(cib_follow_take(&f, &item), CIB_NEW);
    SAME(item.frame.seq, 12);
    CHECK(cib_text_is(cib_field_text(&item.frame, CIB_KEY_TEXT_DELTA_TEXT), "Hello"));
    SAME(cib_next(&r, &item), 0);

    b.n = 0;
    w = cib_link_writer(&l);
    cib_cmd_input(&w, "7-0", session, "hi");
    SAME(cib_link_send(&l, &w), 0);
    SAME_HEX(b.sent,
        "0033f8f9b4ea2156ce505b201a42cb03e3aaa8cf71dcbd0aa63634e9c5da0c236b9a9b018ed7c285c7a29297a569a952b5138f26d9fbe538a1"
        "67fb4b8cee29337f66fc0baf");
    n = hex(record,
        "0053163252aebbaa493f45222705c79d9aedf872c416787442046675ba94222600b9392d347e281a02869851e6aeebadbf2a33db40a3bc3bb0"
        "5161fd04dccad7af5501958a785b2a9d7026395a4c637e3258b2f60950a7c6cea282a6700d1a729b3c93b590");
    size = cib_link_open(&l, record, n);
    SAME(size, n - 18);
    r = cib_reader_of(record + 2, (size_t)size);
    SAME(cib_next(&r, &item), 1);
    SAME(item.kind, CIB_ITEM_REPLY);
    CHECK(item.reply.ok && cib_text_is(item.reply.name, "7-0"));

    seals_to(&l, "", "0000cb1126c60dd57b7afb5065f013ae6c8a");
    b.n = 0;
    SAME(cib_link_end(&l), 0);
    SAME_HEX(b.sent, "000a3a3cb5c91cff8163320174144d961b3dbcc9b0d47b82e3817a41");
}

int main(void)
{
    RUN(every_known_link_has_its_bytes);
    RUN(every_known_password_is_made);
    RUN(the_conversation_of_the_protocol_has_its_bytes);
    return report("vectors");
}
