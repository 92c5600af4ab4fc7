/* http.c: sealed requests bit by bit, and their responses: however the line cuts them, and whatever stands in the way of them. */
#include "check.h"
#include "cib_bytes.h"
#include "cib_crypto.h"
#include "cib_envelope.h"
#include "fake_port.h"

#include "cib1.h"

#define ROOM 512u
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The worked example of docs/AES-TRANSPORT.md. */
static const envelope_answer EXAMPLE = {
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "a0a1a2a3a4a5a6a7",
    "303132333435363738393a3b3c3d3e3f", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf", "POST\n/aes\n",
    "67f8638524813bdb0937babb2309803e",
    "4349424800010000a0a1a2a3a4a5a6a767f8638524813bdb0937babb2309803ec0c1c2c3c4c5c6c7c8c9cacbcccdcecf",
    "687edbcb996752e746cc7c4485834484c34c52890af99568420b7931173b4dca",
    "4349424800010000a0a1a2a3a4a5a6a767f8638524813bdb0937babb2309803ec0c1c2c3c4c5c6c7c8c9cacbcccdcecf0033"
    "e0f68431e4ca067eda0f506d4771ab21849c1d0e646b25ce7f2cf68f2afbf395737a5ddff8bb8736c2f4ddc54da442846870"
    "ff54f21ba494c9532efcb870eb0974c432803c3035f6e21cd347d1698b04de454228f0bf4c9e66f0c38e0e07b69c8c26e2c5"
    "1c7fd687923e45fd87447c31a1ff7521515c6b6386f120673a578a8a0831a7f285f9c361d40ee90775fafa32e5",
    "505152535455565758595a5b5c5d5e5f809a07fef00351377d8f0882553d0e40482d7a2a840401be268e7920226d394af0a8"
    "7f05246b528f4e436cfd780d748570ebe648f0fc95f02744e75b6cf2aa50a58ce8fb6274f95f58f1ff02a9926d1052389cdc"
    "fd3a114df1408d4bfb2915c12bee531be35424c91b5cdadff71a6c45c8453be26bf0779d6a87f9ba085379825dc43ec7564d"
    "f9ec4c4c9d32d229ebae24dabe1ffa186bd01a7543e56a4ee8da61d3214dd439bef1596e23a9",
    { "a463636d6465696e70757462696463372d306773657373696f6e500190f0c27a117c339a551234567890ab6474657874626869",
      "a463636d646c73657373696f6e732e676574626964016773657373696f6e500190f0c27a117c339a551234567890ab696d61785f6279746573190200" },
    7, 0
};
/* The one record of its response. */
static const char EXAMPLE_SAYS[] =
    "a1646e65787450707172737475767778797a7b7c7d7e7fa662696463372d3065696e707574782430313930663063322d3864"
    "33652d346635612d623063312d633066666565303030303031637365710d6573746174656861636365707465646272656337"
    "2d30626f6bf5a46773657373696f6e500190f0c27a117c339a551234567890ab65737461746567776f726b696e6762726501"
    "626f6bf5";

static fake line;
static cib_key key;
static cib_http h;
static uint8_t buf[ROOM];

static const uint8_t RS[16] = { 1, 2, 3 };
static const uint8_t RANDOM[16] = { 9, 8, 7 };

static void board(void)
{
    static const uint8_t id[8] = { 0xa0 }, secret[32] = { 0x5e };
    fake_init(&line);
    line.random = RANDOM;
    SAME(cib_key_init(&key, id, secret, 3), 0);
    cib_http_init(&h, &key, &line.port, "box:8080", buf, sizeof buf);
}

/* Polls until something but "nothing yet" comes. */
static int waits(void)
{
    int n = 0;
    for (int polls = 0; n == 0 && polls < 20000; polls++)
        n = cib_http_poll(&h);
    return n;
}

static int comes(const void *bytes, size_t n)
{
    fake_give(&line, bytes, n);
    return waits();
}

static int says(const char *text) { return comes(text, strlen(text)); }

static const char TOKEN_ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n"
                                   "{\"token\":\"000102030405060708090A0b0c0d0e0f\"}";

static void with_token(void)
{
    board();
    SAME(cib_http_get_token(&h), 0);
    SAME(says(TOKEN_ANSWER), CIB_HTTP_END);
}

/* A request has gone out, and its answer is due. */
static void asked(void)
{
    with_token();
    line.out_n = 0;
    cib_writer w = cib_http_writer(&h);
    cib_write_uint(&w, 1);
    SAME(cib_http_post(&h, &w), 0);
}

/* ------------------------------------------------------------------ the box's side */

/* A body in the making: the answer to the request that has just gone out. */
typedef struct answer {
    uint8_t bytes[4096];
    size_t n;
    uint8_t key[32];
    uint32_t counter;
} answer;

static answer box;

static void begin_answer(void)
{
    memcpy(box.bytes, RS, sizeof RS);
    box.n = sizeof RS;
    box.counter = 0;
    memcpy(box.key, h.response_key, 32);
    SAME(cib_envelope_response(box.key, RS), 0);
}

static void put_record(const void *plaintext, size_t n, bool last)
{
    uint8_t *at = box.bytes + box.n;
    cib_put16(at, (uint16_t)(n | (last ? 0x8000u : 0u)));
    memcpy(at + 2, plaintext, n);
    SAME(cib_seal(box.key, box.counter++, at, n), 0);
    box.n += n + 18;
}

/* {next: bytes}, 1, | an empty one | 2, 3 */
static const uint8_t FIRST[] = "\xa1\x64next\x50" "0123456789abcdef" "\x01";
static void usual_answer(void)
{
    begin_answer();
    put_record(FIRST, sizeof FIRST - 1, false);
    put_record("", 0, false);
    put_record("\x02\x03", 2, true);
}

static uint8_t wire[65536];
static size_t wire_n;

static void put_wire(const void *bytes, size_t n)
{
    memcpy(wire + wire_n, bytes, n);
    wire_n += n;
}

static void put_line(const char *text) { put_wire(text, strlen(text)); }

static void as_length(void)
{
    char head[64];
    wire_n = 0;
    put_line("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n");
    put_wire(head, (size_t)sprintf(head, "CONTENT-length:  %zu \r\n\r\n", box.n));
    put_wire(box.bytes, box.n);
}

static void as_chunks(size_t each, const char *extension)
{
    char head[64];
    wire_n = 0;
    put_line("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nX-Anything: content-length: 5\r\n\r\n");
    for (size_t at = 0; at < box.n; at += each) {
        size_t n = box.n - at < each ? box.n - at : each;
        put_wire(head, (size_t)sprintf(head, at % 2 ? "%zX%s\r\n" : "0%zx%s\r\n", n, extension));
        put_wire(box.bytes + at, n);
        put_line("\r\n");
    }
    put_line("0\r\n\r\n");
}

static void as_endless(void)
{
    wire_n = 0;
    put_line("HTTP/1.0 200 OK\r\n\r\n");
    put_wire(box.bytes, box.n);
}

/* The usual answer, and then the end. */
static void takes_usual(void)
{
    SAME(waits(), sizeof FIRST - 1);
    CHECK(memcmp(h.plain, FIRST, sizeof FIRST - 1) == 0);
    SAME(waits(), 2);
    CHECK(memcmp(h.plain, "\x02\x03", 2) == 0);
    SAME(waits(), CIB_HTTP_END);
    SAME(cib_http_poll(&h), CIB_EBUSY);
    CHECK(memcmp(h.token, "0123456789abcdef", 16) == 0);
    SAME(h.status, 200);
}

/* ------------------------------------------------------------------ known answers */

static void seals_as_known(const envelope_answer *known)
{
    uint8_t id[8], secret[32], random[16], token[16], body[512], prk[32];
    fake f;
    cib_key k;
    fake_init(&f);
    f.random = random;
    hex(id, known->keyId);
    hex(secret, known->secret);
    hex(random, known->random);
    hex(token, known->token);
    SAME(cib_key_init(&k, id, secret, known->boot), 0);
    k.uses = known->requestCounter;
    size_t n = 48;
    for (int i = 0; i < 2; i++) {
        size_t length = hex(body + n + 2, known->plaintexts[i]);
        cib_put16(body + n, (uint16_t)(length | (i ? 0x8000u : 0u)));
        n += length + 18;
    }
    SAME(n, strlen(known->request) / 2);
    SAME(cib_envelope_seal(&k, &f.port, known->line, token, body, n, prk), 0);
    SAME_HEX(body + 16, known->Rc);
    SAME_HEX(body, known->header);
    SAME_HEX(prk, known->PRK);
    SAME_HEX(body, known->request);
    SAME(k.uses, known->requestCounter + 1);
}

/* Its response, as one body, comes to a client that has sent its request. */
static void expect_known(const envelope_answer *known)
{
    asked();
    hex(h.response_key, known->PRK);
    box.n = hex(box.bytes, known->response);
    as_length();
    fake_give(&line, wire, wire_n);
}

static void known_requests_and_responses_have_their_bytes(void)
{
    for (size_t i = 0; i < COUNT(ENVELOPES); i++) {
        const envelope_answer *known = &ENVELOPES[i];
        seals_as_known(known);
        expect_known(known);
        for (int record = 0; record < 2; record++) {
            SAME(waits(), strlen(known->plaintexts[record]) / 2);
            SAME_HEX(h.plain, known->plaintexts[record]);
        }
        SAME(waits(), CIB_HTTP_END);
    }
}

static void the_worked_example_has_its_bytes(void)
{
    seals_as_known(&EXAMPLE);
    expect_known(&EXAMPLE);
    SAME(waits(), strlen(EXAMPLE_SAYS) / 2);
    SAME_HEX(h.plain, EXAMPLE_SAYS);
    SAME_HEX(h.token, "707172737475767778797a7b7c7d7e7f");
    SAME(waits(), CIB_HTTP_END);
}

/* ------------------------------------------------------------------ requests */

static void a_token_is_asked_for_and_kept(void)
{
    board();
    CHECK(cib_http_needs_token(&h));
    cib_writer w = cib_http_writer(&h);
    SAME(cib_http_post(&h, &w), CIB_EBUSY);
    SAME(cib_http_get_token(&h), 0);
    const char expected[] = "GET /aes/token HTTP/1.1\r\nHost: box:8080\r\n\r\n";
    SAME(line.out_n, sizeof expected - 1);
    CHECK(memcmp(line.out, expected, sizeof expected - 1) == 0);
    SAME(says(TOKEN_ANSWER), CIB_HTTP_END);
    SAME_HEX(h.token, "000102030405060708090a0b0c0d0e0f");
    CHECK(!cib_http_needs_token(&h));
    line.ms += 110000;
    CHECK(!cib_http_needs_token(&h));
    line.ms += 1;
    CHECK(cib_http_needs_token(&h));
}

static void what_is_no_token_is_refused(void)
{
    static const char *const bodies[] = {
        "", "{}", "{\"token\":\"\"}", "{\"token\":\"000102030405060708090a0b0c0d0e0\"}",
        "{\"token\":\"0001020304050607 08090a0b0c0d0e0f\"}", "g000102030405060708090a0b0c0d0e0g",
    };
    for (size_t i = 0; i < COUNT(bodies); i++) {
        char text[256];
        with_token();
        SAME(cib_http_get_token(&h), 0);
        sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(bodies[i]), bodies[i]);
        SAME(says(text), CIB_EFORMAT);
        CHECK(cib_http_needs_token(&h));
    }
    static char long_text[1200];
    with_token();
    SAME(cib_http_get_token(&h), 0);
    memset(long_text, ' ', sizeof long_text - 1);
    memcpy(long_text, "HTTP/1.1 200 OK\r\n\r\n", 19);
    SAME(says(long_text), CIB_EFORMAT);
}

static void a_request_is_http_around_an_envelope(void)
{
    for (size_t each = 0; each < 3; each++) {
        uint8_t body[256], prk[32];
        with_token();
        line.out_n = 0;
        line.out_each = each * 7;
        cib_writer w = cib_http_writer(&h);
        cib_cmd_begin(&w, "sessions.list", NULL, 1, NULL, 0);
        size_t n = cib_written(&w);
        cib_put16(body + 48, (uint16_t)(0x8000u | n));
        memcpy(body + 50, w.start, n);
        SAME(cib_http_post(&h, &w), 0);
        cib_key again = key;
        again.uses = 0;
        SAME(cib_envelope_seal(&again, &line.port, "POST\n/aes\n", h.token, body, n + 66, prk), 0);
        char head[256];
        int head_n = sprintf(head, "POST /aes HTTP/1.1\r\nHost: box:8080\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n", n + 66);
        SAME(line.out_n, (size_t)head_n + n + 66);
        CHECK(memcmp(line.out, head, (size_t)head_n) == 0);
        CHECK(memcmp(line.out + head_n, body, n + 66) == 0);
        SAME(key.uses, 1);
    }
}

static void a_request_that_cannot_be_made_is_not_begun(void)
{
    with_token();
    line.out_n = 0;
    cib_writer w = cib_http_writer(&h);
    cib_write_bytes(&w, wire, ROOM - 66 - 3);
    CHECK(!w.full);
    cib_write_uint(&w, 1);
    CHECK(w.full);
    SAME(cib_http_post(&h, &w), CIB_EROOM);
    w = cib_http_writer(&h);
    line.random = NULL;
    SAME(cib_http_post(&h, &w), CIB_ERANDOM);
    SAME(line.out_n, 0);
    SAME(cib_http_poll(&h), CIB_EBUSY);
    cib_http_init(&h, &key, &line.port, "box", buf, 65);
    w = cib_http_writer(&h);
    cib_write_uint(&w, 1);
    CHECK(w.full);
    SAME(cib_http_get_token(&h), CIB_EROOM);
    SAME(cib_http_post(&h, &w), CIB_EROOM);
    /* A length has 15 bits. */
    static uint8_t large[40000];
    with_token();
    line.out_n = 0;
    cib_http_init(&h, &key, &line.port, "box", large, sizeof large);
    h.has_token = true;
    w = cib_http_writer(&h);
    w.at += 32768;
    SAME(cib_http_post(&h, &w), CIB_EROOM);
    SAME(line.out_n, 0);
    w.at -= 1;
    SAME(cib_http_post(&h, &w), 0);
}

static void two_requests_never_share_their_rc(void)
{
    uint8_t first[16];
    asked();
    memcpy(first, buf + 16, 16); /* the same random bytes, the same content */
    cib_writer w = cib_http_writer(&h);
    cib_write_uint(&w, 1);
    SAME(cib_http_post(&h, &w), 0);
    CHECK(memcmp(first, buf + 16, 16) != 0);
}

/* ------------------------------------------------------------------ responses */

static void a_response_is_opened_as_it_comes(void)
{
    asked();
    usual_answer();
    as_length();
    fake_give(&line, wire, 0);
    size_t first = wire_n - (2 + 18) - 18; /* the end of the first record */
    line.in_n = first - 1;
    SAME(cib_http_poll(&h), 0);
    line.in_n = first;
    SAME(cib_http_poll(&h), sizeof FIRST - 1);
    line.in_n = wire_n;
    SAME(waits(), 2);
}

static void responses_are_whole_wherever_the_line_cuts_them(void)
{
    asked();
    usual_answer();
    for (int kind = 0; kind < 3; kind++) {
        kind == 0 ? as_length() : kind == 1 ? as_chunks(11, "") : as_endless();
        for (size_t cut = 0; cut <= wire_n; cut++) {
            asked();
            fake_give(&line, wire, cut);
            int n, got = 0;
            for (int i = 0; i < 2; i++) {
                while ((n = cib_http_poll(&h)) > 0)
                    SAME(n, got++ == 0 ? sizeof FIRST - 1 : 2);
                line.in_n = wire_n;
                if (n == CIB_HTTP_END)
                    break;
            }
            while (n == 0 || n > 0) {
                if (n > 0)
                    SAME(n, got++ == 0 ? sizeof FIRST - 1 : 2);
                n = cib_http_poll(&h);
            }
            SAME(n, CIB_HTTP_END);
            SAME(got, 2);
        }
    }
}

static void responses_are_whole_however_little_a_read_brings(void)
{
    for (size_t each = 1; each < 60; each++) {
        asked();
        usual_answer();
        as_length();
        fake_give(&line, wire, wire_n);
        line.in_each = each;
        takes_usual();
    }
}

static void chunks_may_end_anywhere(void)
{
    for (size_t each = 1; each < 120; each++) {
        asked();
        usual_answer();
        as_chunks(each, each % 3 == 0 ? ";a=\"b\"" : each % 3 == 1 ? "" : " ");
        fake_give(&line, wire, wire_n);
        takes_usual();
        SAME(wire_n - line.in_at, 2); /* but for the empty line, which the next status line may have before it */
    }
}

static void a_connection_may_be_kept(void)
{
    static uint8_t both[4096];
    asked();
    for (int i = 0; i < 3; i++) {
        usual_answer();
        i == 1 ? as_length() : as_chunks(40, "");
        size_t rest = line.in_n - line.in_at;
        memmove(both, line.in + line.in_at, i == 0 ? 0 : rest);
        rest = i == 0 ? 0 : rest;
        memcpy(both + rest, wire, wire_n);
        fake_give(&line, both, rest + wire_n);
        takes_usual();
        CHECK(!cib_http_needs_token(&h));
        cib_writer w = cib_http_writer(&h);
        SAME(cib_http_post(&h, &w), 0);
    }
}

static void an_interim_response_is_passed_over(void)
{
    static uint8_t both[4096];
    asked();
    usual_answer();
    as_length();
    int n = sprintf((char *)both, "HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n");
    memcpy(both + n, wire, wire_n);
    fake_give(&line, both, (size_t)n + wire_n);
    takes_usual();
}

static void a_new_request_begins_anew(void)
{
    static const char half[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-";
    asked();
    SAME(cib_http_poll(&h), 0);
    fake_give(&line, half, sizeof half - 1);
    SAME(cib_http_poll(&h), 0);
    SAME(h.status, 200);
    cib_writer w = cib_http_writer(&h);
    SAME(cib_http_post(&h, &w), 0);
    SAME(h.status, 0);
    usual_answer();
    as_length();
    fake_give(&line, wire, wire_n);
    takes_usual();
}

static void the_next_token_is_as_young_as_its_record(void)
{
    with_token();
    line.ms += 100000;
    cib_writer w = cib_http_writer(&h);
    SAME(cib_http_post(&h, &w), 0);
    usual_answer();
    as_length();
    fake_give(&line, wire, wire_n);
    takes_usual();
    line.ms += 110000;
    CHECK(!cib_http_needs_token(&h));
    line.ms += 1;
    CHECK(cib_http_needs_token(&h));
}

static void a_refusal_has_its_status(void)
{
    static const unsigned statuses[] = { 201, 204, 302, 400, 403, 408, 413, 500, 503, 999 };
    char text[128];
    for (size_t i = 0; i < COUNT(statuses); i++) {
        asked();
        sprintf(text, "HTTP/1.1 %u No\r\nContent-Length: 0\r\n\r\n", statuses[i]);
        SAME(says(text), CIB_EREFUSED);
        SAME(h.status, statuses[i]);
        CHECK(!cib_http_needs_token(&h));
    }
    asked();
    SAME(says("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: CIB1\r\n\r\n"), CIB_EREFUSED);
    SAME(h.status, 401);
    CHECK(cib_http_needs_token(&h));
    SAME(cib_http_poll(&h), CIB_EBUSY);
}

static void what_is_no_http_is_refused(void)
{
    static char endless[20000];
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200 OK OK OK\r\n", "HTTP/1.1 2x0 OK\r\n", "HTTP/1.1 20\r\n", "HTTP/1.1\t200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 268435457\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 00000000000000000000000000000000000000000000000005\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        asked();
        SAME(says(texts[i]), CIB_EFORMAT);
        SAME(cib_http_poll(&h), CIB_EBUSY);
    }
    /* A line that never ends; lines that never end. */
    for (int kind = 0; kind < 3; kind++) {
        asked();
        memset(endless, kind == 0 ? 'x' : kind == 1 ? '\r' : '\n', sizeof endless - 1);
        if (kind < 2)
            memcpy(endless, "HTTP/1.1 200 OK\r\n", 17);
        SAME(says(endless), CIB_EFORMAT);
        CHECK(line.in_at < 10000);
    }
    asked();
    for (size_t i = 0; i + 32 < sizeof endless; i += 32)
        memcpy(endless + i, i == 0 ? "HTTP/1.1 200 OK\r\nx:            \r\n" : "y: y                            \n", 32);
    SAME(says(endless), CIB_EFORMAT);
}

static void chunks_that_are_none_are_refused(void)
{
    static char text[1000];
    static const char *const bodies[] = {
        "\r\n", "x\r\n", "-1\r\n", ";a\r\n", "1x\r\n", "10000000\r\n", "fffffffff\r\n", "1\r\nab\r\n", "1\r\na2\r\n",
        "000000000000000000000000000000000000000000000000000000000000000000000000000000000001\r\n",
        "5;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        "\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r",
    };
    for (size_t i = 0; i < COUNT(bodies); i++) {
        asked();
        sprintf(text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s", bodies[i]);
        SAME(says(text), CIB_EFORMAT);
    }
}

static void a_response_that_was_cut_is_no_end(void)
{
    asked();
    usual_answer();
    for (int kind = 0; kind < 3; kind++) {
        kind == 0 ? as_length() : kind == 1 ? as_chunks(50, "") : as_endless();
        /* In chunks the last record is whole before the last chunk is. */
        size_t whole = kind == 1 ? wire_n - sizeof "\r\n0\r\n\r\n" + 1 : wire_n;
        for (size_t cut = 0; cut < whole; cut++) {
            asked();
            fake_give(&line, wire, cut);
            line.in_dead = true;
            int n;
            while ((n = waits()) > 0)
                ;
            SAME(n, CIB_ELINE);
        }
        for (size_t cut = whole; cut <= wire_n; cut++) {
            asked();
            fake_give(&line, wire, cut);
            line.in_dead = true;
            takes_usual();
        }
    }
}

static void without_a_marked_last_record_there_is_no_end(void)
{
    for (int kind = 0; kind < 2; kind++) {
        asked();
        begin_answer();
        put_record("\x01", 1, false);
        kind ? as_length() : as_chunks(30, "");
        SAME(comes(wire, wire_n), 1);
        SAME(waits(), CIB_ELINE);
        asked();
        box.n = 16;
        kind ? as_length() : as_chunks(30, "");
        SAME(comes(wire, wire_n), CIB_ELINE);
        asked();
        box.n = 0;
        kind ? as_length() : as_chunks(30, "");
        SAME(comes(wire, wire_n), CIB_ELINE);
    }
}

static void nothing_may_follow_the_last_record(void)
{
    for (int kind = 0; kind < 2; kind++) {
        asked();
        usual_answer();
        put_record("\x04", 1, true);
        kind ? as_length() : as_chunks(30, "");
        SAME(comes(wire, wire_n), sizeof FIRST - 1);
        SAME(waits(), 2);
        SAME(waits(), CIB_EFORMAT);
    }
}

/* Whoever changes a bit changes what comes out into an error, and never into something else. */
static void no_bit_of_a_response_can_be_changed(void)
{
    asked();
    usual_answer();
    as_length();
    size_t head = wire_n - box.n;
    for (size_t bit = 0; bit < box.n * 8; bit++) {
        asked();
        wire[head + bit / 8] ^= (uint8_t)(1u << bit % 8);
        fake_give(&line, wire, wire_n);
        line.in_dead = true;
        int n, got = 0;
        while ((n = waits()) > 0) {
            CHECK(n == (got == 0 ? (int)sizeof FIRST - 1 : 2));
            CHECK(memcmp(h.plain, got == 0 ? FIRST : (const uint8_t *)"\x02\x03", (size_t)n) == 0);
            got++;
        }
        CHECK(n == CIB_EKEY || n == CIB_EROOM || n == CIB_ELINE);
        CHECK(got < 2);
        wire[head + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void records_cannot_change_places_or_come_twice(void)
{
    asked();
    begin_answer();
    size_t first = box.n;
    put_record("\x01", 1, false);
    memcpy(box.bytes + box.n, box.bytes + first, 19);
    box.n += 19;
    as_length();
    SAME(comes(wire, wire_n), 1);
    SAME(waits(), CIB_EKEY);
    asked();
    begin_answer();
    box.counter = 1;
    put_record("\x02", 1, true);
    as_length();
    SAME(comes(wire, wire_n), CIB_EKEY);
}

static void a_record_that_does_not_fit_is_told(void)
{
    asked();
    begin_answer();
    put_record(wire, ROOM - 18, false);
    put_record(wire, ROOM - 17, true);
    as_length();
    SAME(comes(wire, wire_n), ROOM - 18);
    SAME(waits(), CIB_EROOM);
}

static void silence_is_measured_in_whole_records(void)
{
    asked();
    begin_answer();
    put_record("", 0, false);
    put_record("", 0, false);
    as_length();
    fake_give(&line, wire, 0);
    line.ms += 45000;
    SAME(cib_http_poll(&h), 0);
    line.in_n = wire_n - 18; /* the first has come, the second comes byte by byte */
    SAME(cib_http_poll(&h), 0);
    for (int second = 0; second < 45; second++) {
        line.ms += 1000;
        line.in_n += second % 10 == 0;
        SAME(cib_http_poll(&h), 0);
    }
    line.ms += 1;
    SAME(cib_http_poll(&h), CIB_EDEAD);
    asked();
    line.ms += 45001;
    SAME(cib_http_poll(&h), CIB_EDEAD);
}

static void keys_do_not_stay(void)
{
    static const uint8_t zeros[32];
    asked();
    CHECK(memcmp(h.response_key, zeros, 32) != 0);
    usual_answer();
    as_length();
    fake_give(&line, wire, wire_n);
    takes_usual();
    CHECK(memcmp(h.response_key, zeros, 32) == 0);
    asked();
    line.in_dead = true;
    SAME(waits(), CIB_ELINE);
    CHECK(memcmp(h.response_key, zeros, 32) == 0);
    with_token();
    line.out_dead = true;
    cib_writer w = cib_http_writer(&h);
    SAME(cib_http_post(&h, &w), CIB_ELINE);
    CHECK(memcmp(h.response_key, zeros, 32) == 0);
}

static void a_broken_port_is_a_dead_line(void)
{
    asked();
    line.claims = 1;
    SAME(cib_http_poll(&h), CIB_ELINE);
    with_token();
    line.out_dead = true;
    cib_writer w = cib_http_writer(&h);
    SAME(cib_http_post(&h, &w), CIB_ELINE);
    SAME(cib_http_poll(&h), CIB_EBUSY);
}

static void the_next_token_must_be_one(void)
{
    asked();
    begin_answer();
    put_record("\xa1\x64next\x4f" "0123456789abcde", 22, true);
    as_length();
    SAME(comes(wire, wire_n), 22);
    SAME_HEX(h.token, "000102030405060708090a0b0c0d0e0f");
}

int main(void)
{
    RUN(known_requests_and_responses_have_their_bytes);
    RUN(the_worked_example_has_its_bytes);
    RUN(a_token_is_asked_for_and_kept);
    RUN(what_is_no_token_is_refused);
    RUN(a_request_is_http_around_an_envelope);
    RUN(a_request_that_cannot_be_made_is_not_begun);
    RUN(two_requests_never_share_their_rc);
    RUN(a_response_is_opened_as_it_comes);
    RUN(responses_are_whole_wherever_the_line_cuts_them);
    RUN(responses_are_whole_however_little_a_read_brings);
    RUN(chunks_may_end_anywhere);
    RUN(a_connection_may_be_kept);
    RUN(an_interim_response_is_passed_over);
    RUN(a_new_request_begins_anew);
    RUN(the_next_token_is_as_young_as_its_record);
    RUN(a_refusal_has_its_status);
    RUN(what_is_no_http_is_refused);
    RUN(chunks_that_are_none_are_refused);
    RUN(a_response_that_was_cut_is_no_end);
    RUN(without_a_marked_last_record_there_is_no_end);
    RUN(nothing_may_follow_the_last_record);
    RUN(no_bit_of_a_response_can_be_changed);
    RUN(records_cannot_change_places_or_come_twice);
    RUN(a_record_that_does_not_fit_is_told);
    RUN(silence_is_measured_in_whole_records);
    RUN(keys_do_not_stay);
    RUN(a_broken_port_is_a_dead_line);
    RUN(the_next_token_must_be_one);
    return report("http");
}
