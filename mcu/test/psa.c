/* psa.c: what port/psa/cib_crypto_psa.c does beyond the known answers: its limit, and what it leaves behind when it fails. */
#include "check.h"
#include "cib.h"
#include "cib_crypto.h"

#include <psa/crypto.h>

#ifndef CIB_PSA_RECORD
#error "build this with the CIB_PSA_RECORD that the implementation has"
#endif

static const uint8_t KEY[32] = {7};

static void the_longest_record_comes_back_and_a_longer_one_is_refused_untouched(void) {
    static uint8_t record[CIB_RECORD_ROOM(CIB_PSA_RECORD + 1)], before[sizeof record];
    for (size_t i = 0; i < sizeof record; i++) before[i] = record[i] = (uint8_t)i;
    SAME(cib_seal(KEY, 3, record, CIB_PSA_RECORD), CIB_OK);
    CHECK(memcmp(record + 2, before + 2, CIB_PSA_RECORD) != 0);
    SAME(cib_open(KEY, 3, record, CIB_PSA_RECORD), CIB_OK);
    CHECK(memcmp(record, before, 2 + CIB_PSA_RECORD) == 0);
    memcpy(record, before, sizeof record);
    SAME(cib_seal(KEY, 3, record, CIB_PSA_RECORD + 1), CIB_EROOM);
    CHECK(memcmp(record, before, sizeof record) == 0);
    SAME(cib_open(KEY, 3, record, CIB_PSA_RECORD + 1), CIB_EROOM);
}

static void an_empty_record_is_a_tag_and_opens(void) {
    uint8_t record[CIB_RECORD_ROOM(0)] = {0};
    SAME(cib_seal(KEY, 0, record, 0), CIB_OK);
    SAME(cib_open(KEY, 0, record, 0), CIB_OK);
}

/* One bit anywhere, another counter, another key: CIB_EKEY, and nothing of the text is left to read. */
static void what_was_changed_is_refused_and_wiped(void) {
    enum { N = 40 };
    const uint8_t zeros[N] = {0};
    uint8_t sealed[CIB_RECORD_ROOM(N)] = {0, N};
    memset(sealed + 2, 'x', N);
    SAME(cib_seal(KEY, 9, sealed, N), CIB_OK);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        uint8_t record[sizeof sealed];
        memcpy(record, sealed, sizeof sealed);
        record[bit / 8] = (uint8_t)(record[bit / 8] ^ 1u << bit % 8);
        SAME(cib_open(KEY, 9, record, N), CIB_EKEY);
        CHECK(memcmp(record + 2, zeros, N) == 0);
    }
    uint8_t record[sizeof sealed];
    memcpy(record, sealed, sizeof sealed);
    SAME(cib_open(KEY, 10, record, N), CIB_EKEY);
    memcpy(record, sealed, sizeof sealed);
    const uint8_t other[32] = {8};
    SAME(cib_open(other, 9, record, N), CIB_EKEY);
}

/* PSA's slots are few (32 in Mbed TLS 2.28): a thousand calls of each kind do not use them up. */
static void keys_are_given_back(void) {
    uint8_t record[CIB_RECORD_ROOM(16)] = {0}, out[32];
    const cib_piece piece = {record, sizeof record};
    for (uint32_t i = 0; i < 1000; i++) {
        SAME(cib_seal(KEY, i, record, 16), CIB_OK);
        SAME(cib_open(KEY, i, record, 16), CIB_OK);
        SAME(cib_open(KEY, i + 1, record, 16), CIB_EKEY);
        SAME(cib_hmac(out, KEY, &piece, 1), CIB_OK);
        SAME(cib_sha256(out, &piece, 1), CIB_OK);
    }
}

static void an_hmac_may_overwrite_its_key_and_its_message(void) {
    const cib_piece piece = {"abc", 3};
    uint8_t out[32], key[32];
    memcpy(key, KEY, sizeof key);
    SAME(cib_hmac(out, KEY, &piece, 1), CIB_OK);
    SAME(cib_hmac(key, key, &piece, 1), CIB_OK);
    CHECK(memcmp(out, key, sizeof out) == 0);
    uint8_t text[32] = {1, 2, 3};
    const cib_piece itself = {text, 3};
    SAME(cib_hmac(out, KEY, &itself, 1), CIB_OK);
    SAME(cib_hmac(text, KEY, &itself, 1), CIB_OK);
    CHECK(memcmp(out, text, sizeof out) == 0);
}

int main(void) {
    RUN(the_longest_record_comes_back_and_a_longer_one_is_refused_untouched);
    RUN(an_empty_record_is_a_tag_and_opens);
    RUN(what_was_changed_is_refused_and_wiped);
    RUN(keys_are_given_back);
    RUN(an_hmac_may_overwrite_its_key_and_its_message);
    mbedtls_psa_crypto_free();
    return report("psa");
}
