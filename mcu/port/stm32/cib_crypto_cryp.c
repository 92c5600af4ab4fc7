/*
 * cib_crypto_cryp.c: AES-256-GCM by the CRYP peripheral of an STM32F437, F439 or F479; SHA-256 and HMAC stay in software.
 *
 * Build src/cib_crypto_soft.c with -DCIB_CRYPTO_NO_AES beside it, and give your handle (MX_CRYP_Init with any key) to
 * cib_crypto_cryp_use before the first link. The peripheral is one for all: links of several tasks need a lock around it.
 */
#include "cib_crypto_cryp.h"

#include <string.h>

#include "../../src/cib_secret.h"

enum { KEY_WORDS = 8, BLOCK_WORDS = 4, HEAD_BYTES = 2, TAG_BYTES = 16 };

/* Many times what the longest record needs: what takes longer has stopped. */
#define CRYP_MS 100u

static CRYP_HandleTypeDef *cryp;

void cib_crypto_cryp_use(CRYP_HandleTypeDef *handle)
{
    cryp = handle;
}

/* The peripheral takes key and counter as numbers, most significant byte first. */
static uint32_t number_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int set_up(uint32_t words[KEY_WORDS], uint32_t first[BLOCK_WORDS], uint32_t *head, const uint8_t key[32], uint32_t counter,
                  const uint8_t *record)
{
    for (unsigned i = 0; i < KEY_WORDS; i++)
        words[i] = number_at(key + 4 * i);
    /* Nonce of 96 bits, and 2: 1 is the tag's block (SP 800-38D, 7.1). */
    first[0] = first[1] = 0;
    first[2] = counter;
    first[3] = 2;
    *head = 0;
    memcpy(head, record, HEAD_BYTES);
    CRYP_ConfigTypeDef config = {
        .DataType = CRYP_DATATYPE_8B,
        .KeySize = CRYP_KEYSIZE_256B,
        .pKey = words,
        .pInitVect = first,
        .Algorithm = CRYP_AES_GCM,
        .Header = head,
        .HeaderSize = HEAD_BYTES,
        .DataWidthUnit = CRYP_DATAWIDTHUNIT_BYTE,
        .HeaderWidthUnit = CRYP_HEADERWIDTHUNIT_BYTE,
        .KeyIVConfigSkip = CRYP_KEYIVCONFIG_ALWAYS,
    };
    return cryp != NULL && HAL_CRYP_SetConfig(cryp, &config) == HAL_OK ? 0 : CIB_ERANDOM;
}

/*
 * Runs the text through the peripheral and makes the tag. The HAL moves whole words, and a record's text stands two bytes behind
 * its start: it is moved up to the next word meanwhile. At most 3 bytes, and the last word's 3: the tag's 16 are behind it.
 */
static int run(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n, uint32_t tag[BLOCK_WORDS], bool sealing)
{
    uint32_t words[KEY_WORDS], first[BLOCK_WORDS], head;
    uint8_t *text = record + HEAD_BYTES;
    uint8_t *aligned = text + (-(uintptr_t)text & 3u);
    int error = set_up(words, first, &head, key, counter, record);
    if (error == 0) {
        memmove(aligned, text, n);
        uint32_t *at = (uint32_t *)(void *)aligned;
        const HAL_StatusTypeDef status = sealing ? HAL_CRYP_Encrypt(cryp, at, (uint16_t)n, at, CRYP_MS)
                                                 : HAL_CRYP_Decrypt(cryp, at, (uint16_t)n, at, CRYP_MS);
        if (status != HAL_OK || HAL_CRYPEx_AESGCM_GenerateAuthTAG(cryp, tag, CRYP_MS) != HAL_OK)
            error = CIB_ERANDOM;
        memmove(text, aligned, n);
    }
    cib_wipe(words, sizeof words);
    return error;
}

int cib_seal(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n)
{
    uint32_t tag[BLOCK_WORDS];
    const int error = run(key, counter, record, n, tag, true);
    if (error == 0)
        memcpy(record + HEAD_BYTES + n, tag, TAG_BYTES);
    return error;
}

int cib_open(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n)
{
    uint32_t tag[BLOCK_WORDS];
    uint8_t came[TAG_BYTES];
    memcpy(came, record + HEAD_BYTES + n, TAG_BYTES);
    int error = run(key, counter, record, n, tag, false);
    if (error == 0 && !cib_same((const uint8_t *)tag, came, TAG_BYTES))
        error = CIB_EKEY;
    if (error != 0)
        cib_wipe(record + HEAD_BYTES, n);
    return error;
}
