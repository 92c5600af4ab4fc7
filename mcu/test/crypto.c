/* crypto.c: answers that others have published: FIPS 180-4, RFC 4231 and NIST SP 800-38D's case for 256-bit keys. */
#include "check.h"
#include "cib.h"
#include "cib_crypto.h"
#include "cib_secret.h"

static void hashes(const void *bytes, size_t n, const char *expected)
{
    uint8_t hash[32];
    /* Whole, and in pieces cut at every place of its first 130 bytes. */
    for (size_t cut = 0; cut <= n && cut < 130; cut++) {
        const cib_piece pieces[] = {{bytes, cut}, {NULL, 0}, {(const uint8_t *)bytes + cut, n - cut}};
        SAME(cib_sha256(hash, pieces, 3), 0);
        SAME_HEX(hash, expected);
    }
}

static void sha_256_gives_the_examples_of_fips_180(void)
{
    static uint8_t million[1000000];
    hashes("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    hashes("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hashes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    hashes("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu", 112,
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    memset(million, 'a', sizeof million);
    const cib_piece all = {million, sizeof million};
    uint8_t hash[32];
    SAME(cib_sha256(hash, &all, 1), 0);
    SAME_HEX(hash, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Keys shorter than a block are the same as with zeros behind them: those of RFC 4231 that fit 32 bytes. */
static void hmac_gives_the_answers_of_rfc_4231(void)
{
    static const struct {
        const char *key, *data, *mac;
    } CASES[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {"0102030405060708090a0b0c0d0e0f10111213141516171819",
         "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        uint8_t key[32] = {0}, data[64], mac[32];
        hex(key, CASES[i].key);
        size_t n = hex(data, CASES[i].data);
        const cib_piece pieces[] = {{data, 1}, {data + 1, n - 1}};
        SAME(cib_hmac(mac, key, pieces, 2), 0);
        SAME_HEX(mac, CASES[i].mac);
        /* Over its own key, and over what it was made of. */
        SAME(cib_hmac(key, key, pieces, 2), 0);
        SAME_HEX(key, CASES[i].mac);
    }
}

static void hmac_may_be_written_where_its_pieces_are(void)
{
    uint8_t key[32] = {1}, apart[32], data[40];
    memset(data, 5, sizeof data);
    const cib_piece piece = {data + 8, 24};
    SAME(cib_hmac(apart, key, &piece, 1), 0);
    SAME(cib_hmac(data + 8, key, &piece, 1), 0);
    CHECK(memcmp(apart, data + 8, 32) == 0);
}

/* n bytes of a record with a pattern in it. */
static size_t fill(uint8_t *record, size_t n)
{
    record[0] = (uint8_t)(n >> 8);
    record[1] = (uint8_t)n;
    for (size_t i = 0; i < n; i++)
        record[2 + i] = (uint8_t)(i * 7 + 3);
    return n;
}

static void a_record_opens_to_what_was_sealed_at_every_length(void)
{
    static const uint8_t KEY[32] = {9, 8, 7};
    for (size_t n = 0; n <= 70; n++) {
        uint8_t record[CIB_RECORD_ROOM(70)], plain[CIB_RECORD_ROOM(70)];
        fill(plain, n);
        fill(record, n);
        SAME(cib_seal(KEY, 5, record, n), 0);
        CHECK(n < 8 || memcmp(record + 2, plain + 2, n) != 0);
        SAME(cib_open(KEY, 5, record, n), 0);
        CHECK(memcmp(record, plain, 2 + n) == 0);
    }
}

static void every_bit_counts_and_nothing_is_left_of_what_does_not_verify(void)
{
    static const uint8_t KEY[32] = {1, 2, 3};
    enum { N = 21 };
    uint8_t whole[CIB_RECORD_ROOM(N)], record[sizeof whole];
    static const uint8_t ZEROS[N] = {0};
    fill(whole, N);
    SAME(cib_seal(KEY, 0, whole, N), 0);
    for (size_t bit = 0; bit < 8 * sizeof whole; bit++) {
        memcpy(record, whole, sizeof whole);
        record[bit / 8] ^= (uint8_t)(1u << bit % 8);
        SAME(cib_open(KEY, 0, record, N), CIB_EKEY);
        CHECK(memcmp(record + 2, ZEROS, N) == 0);
    }
    memcpy(record, whole, sizeof whole);
    SAME(cib_open(KEY, 1, record, N), CIB_EKEY);
    uint8_t other[32] = {1, 2, 2};
    memcpy(record, whole, sizeof whole);
    SAME(cib_open(other, 0, record, N), CIB_EKEY);
}

static void secrets_are_compared_and_wiped_whole(void)
{
    uint8_t a[16] = {0}, b[16] = {0};
    CHECK(cib_same(a, b, 16));
    for (size_t i = 0; i < 128; i++) {
        b[i / 8] = (uint8_t)(1u << i % 8);
        CHECK(!cib_same(a, b, 16));
        cib_wipe(b, sizeof b);
        CHECK(cib_same(a, b, 16));
    }
}

int main(void)
{
    RUN(sha_256_gives_the_examples_of_fips_180);
    RUN(hmac_gives_the_answers_of_rfc_4231);
    RUN(hmac_may_be_written_where_its_pieces_are);
    RUN(a_record_opens_to_what_was_sealed_at_every_length);
    RUN(every_bit_counts_and_nothing_is_left_of_what_does_not_verify);
    RUN(secrets_are_compared_and_wiped_whole);
    return report("crypto");
}
