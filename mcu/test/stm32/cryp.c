/* cryp.c: what CRYP seals is what the software seals, at every length and alignment; what fails leaves nothing behind. */
#include "check.h"
#include "cib_crypto_cryp.h"
#include "fake_cryp.h"

static const uint8_t KEY[32] = {1, 2, 3, 250, 251, 252, 253, 254, 255};

/* Room for any alignment, and a mark behind the record that nobody may touch. */
static uint32_t words[160];

static uint8_t *record_at(unsigned shift, unsigned n)
{
    uint8_t *record = (uint8_t *)words + shift;
    memset(words, 0xa5, sizeof words);
    record[0] = (uint8_t)(n >> 8);
    record[1] = (uint8_t)n;
    for (unsigned i = 0; i < n; i++)
        record[2 + i] = (uint8_t)(i * 7 + n);
    return record;
}

static void it_seals_and_opens_as_the_software_does(void)
{
    uint8_t expected[2 + 512 + 16], plain[2 + 512];
    for (unsigned shift = 0; shift < 4; shift++)
        for (unsigned n = 0; n <= 512; n += n < 70 ? 1 : 17) {
            uint8_t *record = record_at(shift, n);
            memcpy(plain, record, 2 + n);
            memcpy(expected, record, 2 + n);
            soft_seal(KEY, 0x01020304 + n, expected, n);
            SAME(cib_seal(KEY, 0x01020304 + n, record, n), 0);
            CHECK(memcmp(record, expected, n + 18) == 0);
            SAME(record[n + 18], 0xa5);
            SAME(cib_open(KEY, 0x01020304 + n, record, n), 0);
            CHECK(memcmp(record, plain, n + 2) == 0);
            SAME(record[n + 18], 0xa5);
        }
}

static void wiped(const uint8_t *record, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        SAME(record[2 + i], 0);
}

static void a_wrong_bit_opens_nothing(void)
{
    for (unsigned at = 0; at < 2 + 30 + 16; at++) {
        uint8_t *record = record_at(1, 30);
        SAME(cib_seal(KEY, 5, record, 30), 0);
        record[at] ^= 0x10;
        SAME(cib_open(KEY, 5, record, 30), CIB_EKEY);
        wiped(record, 30);
    }
}

static void a_peripheral_that_fails_leaves_nothing(void)
{
    uint8_t *record = record_at(0, 30);
    SAME(cib_seal(KEY, 5, record, 30), 0);
    fake_cryp_answer = HAL_TIMEOUT;
    SAME(cib_open(KEY, 5, record, 30), CIB_ERANDOM);
    wiped(record, 30);
    SAME(cib_seal(KEY, 5, record, 30), CIB_ERANDOM);
    fake_cryp_answer = HAL_OK;
}

static void without_a_handle_nothing_is_sealed(void)
{
    uint8_t *record = record_at(0, 30);
    cib_crypto_cryp_use(NULL);
    SAME(cib_seal(KEY, 5, record, 30), CIB_ERANDOM);
}

int main(void)
{
    static CRYP_HandleTypeDef handle;
    cib_crypto_cryp_use(&handle);
    RUN(it_seals_and_opens_as_the_software_does);
    RUN(a_wrong_bit_opens_nothing);
    RUN(a_peripheral_that_fails_leaves_nothing);
    RUN(without_a_handle_nothing_is_sealed);
    return report("cryp");
}
