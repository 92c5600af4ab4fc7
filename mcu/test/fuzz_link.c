/*
 * fuzz_link.c: any bytes on a link, in pieces as the input says, while time passes as it says: in place of the reply; behind a
 * reply that holds; and, sealed as a box would, as what stands in records.
 */
#include "cib.h"
#include "cib_crypto.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition)     \
    do {                    \
        if (!(condition))   \
            abort();        \
    } while (0)

enum { RX = CIB_RECORD_ROOM(256), TX = 128 };

typedef struct line {
    const uint8_t *at, *end; /* what the input still has: bytes of the box from its beginning, the line's whims from its end */
    uint8_t reply[CIB_REPLY_BYTES];
    size_t replied;          /* bytes of it that are still to come */
    uint8_t sealed[RX + 64]; /* a record of ours */
    size_t sealed_at, sealed_n;
    bool sealing;
    cib_link *link;
    uint32_t counter;
    uint32_t clock;
} line;

static uint8_t first(line *l)
{
    return l->at < l->end ? *l->at++ : 0;
}

static uint8_t whim(line *l)
{
    return l->at < l->end ? *--l->end : 0;
}

/* How many of n bytes the line moves: all, where it has no whims left. */
static size_t some_of(line *l, size_t n)
{
    size_t some = whim(l);
    return some == 0 || some > n ? n : some - 1;
}

static int take(void *user, const uint8_t *bytes, size_t n)
{
    line *l = user;
    (void)bytes;
    return (int)some_of(l, n);
}

/* Seals the next bytes of the input as the box would. */
static void seal_more(line *l)
{
    size_t n = first(l);
    if (n > (size_t)(l->end - l->at))
        n = (size_t)(l->end - l->at);
    l->sealed[0] = (uint8_t)(n >> 8);
    l->sealed[1] = (uint8_t)n;
    memcpy(l->sealed + 2, l->at, n);
    l->at += n;
    MUST(cib_seal(l->link->receive_key, l->counter++, l->sealed, n) == 0);
    l->sealed_at = 0;
    l->sealed_n = CIB_RECORD_ROOM(n);
}

static int give(void *user, uint8_t *bytes, size_t room)
{
    line *l = user;
    if (l->at == l->end && l->replied + (l->sealed_n - l->sealed_at) == 0)
        return -1;
    size_t n = some_of(l, room);
    if (l->replied > 0) {
        n = n < l->replied ? n : l->replied;
        memcpy(bytes, l->reply + CIB_REPLY_BYTES - l->replied, n);
        l->replied -= n;
    } else if (l->sealing) {
        if (l->sealed_at == l->sealed_n)
            seal_more(l);
        n = n < l->sealed_n - l->sealed_at ? n : l->sealed_n - l->sealed_at;
        memcpy(bytes, l->sealed + l->sealed_at, n);
        l->sealed_at += n;
    } else {
        n = n < (size_t)(l->end - l->at) ? n : (size_t)(l->end - l->at);
        memcpy(bytes, l->at, n);
        l->at += n;
    }
    return (int)n;
}

static uint32_t clock_of(void *user)
{
    return ((line *)user)->clock;
}

static int random_of(void *user, uint8_t *bytes, size_t n)
{
    (void)user;
    memset(bytes, 7, n);
    return 0;
}

/* The reply of a box that has the key. */
static void make_reply(line *l, const cib_key *key, const uint8_t *hello)
{
    static const uint8_t WHAT = 0x02;
    static const uint8_t HEAD[] = {'C', 'I', 'B', '1', 0, 1, 0x40, 0};
    uint8_t mac[32];
    memset(l->reply, 9, sizeof l->reply);
    memcpy(l->reply, HEAD, sizeof HEAD);
    const cib_piece pieces[] = {{&WHAT, 1}, {hello, CIB_HELLO_BYTES}, {l->reply, 24}};
    MUST(cib_hmac(mac, key->prk0, pieces, 3) == 0);
    memcpy(l->reply + 24, mac, 16);
    l->replied = sizeof l->reply;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t ID[8] = {1}, SECRET[32] = {2};
    static const char LONG[] = "a text that does not always fit into what there is of room, nor is it meant to fit";
    uint8_t *rx = malloc(RX), *tx = malloc(TX);
    MUST(rx != NULL && tx != NULL);
    cib_key key;
    cib_link link;
    line l;
    memset(&l, 0, sizeof l);
    l.at = data;
    l.end = data + size;
    l.link = &link;
    cib_port port = {&l, take, give, clock_of, random_of};
    MUST(cib_key_init(&key, ID, SECRET, 1) == 0);
    cib_link_init(&link, &key, &port, rx, RX, tx, TX);

    uint8_t mode = first(&l) & 3u;
    int n = cib_link_start(&link);
    MUST(n == 0);
    if (mode > 0)
        make_reply(&l, &key, tx);
    l.sealing = mode > 1;
    for (unsigned polls = 0; n >= 0 && polls < 4096; polls++) {
        l.clock += 100u * whim(&l);
        n = cib_link_poll(&link);
        MUST(mode > 0 || !cib_link_ready(&link));
        if (n > 0) {
            cib_item item;
            MUST(mode > 1 && link.plain >= rx && link.plain + n <= rx + RX);
            cib_reader r = cib_reader_of(link.plain, (size_t)n);
            while (cib_next(&r, &item) > 0)
                MUST(item.kind != CIB_ITEM_BYE);
            MUST(r.error == 0);
        }
        if (n >= 0 && cib_link_ready(&link) && (whim(&l) & 7u) == 1) {
            cib_writer w = cib_link_writer(&link);
            cib_cmd_input(&w, "1", SECRET, LONG + (whim(&l) & 63u));
            int sent = cib_link_send(&link, &w);
            MUST(sent == 0 || sent == CIB_EROOM);
        }
    }
    MUST(n >= CIB_EREKEY);
    if (n < 0) {
        static const uint8_t NO_KEY[32] = {0};
        MUST(!cib_link_ready(&link) && memcmp(link.send_key, NO_KEY, 32) == 0 && memcmp(link.receive_key, NO_KEY, 32) == 0);
    }
    free(rx);
    free(tx);
    return 0;
}
