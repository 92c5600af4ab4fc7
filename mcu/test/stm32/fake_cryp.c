/*
 * fake_cryp.c: the CRYP peripheral as ST's HAL hands it out, over the software cipher: key and counter as numbers, words
 * that must be aligned, and a last word that is written whole.
 */
#define cib_seal soft_seal
#define cib_open soft_open
#define cib_hmac soft_hmac
#define cib_sha256 soft_sha256
#include "../../src/cib_crypto_soft.c"
#undef cib_seal

#include "check.h"
#include "fake_cryp.h"

HAL_StatusTypeDef fake_cryp_answer;

static CRYP_ConfigTypeDef config;
static uint8_t tag[16];

static void bytes_of(uint8_t *out, const uint32_t *numbers, unsigned count)
{
    for (unsigned i = 0; i < 4 * count; i++)
        out[i] = (uint8_t)(numbers[i / 4] >> (24 - 8 * (i % 4)));
}

HAL_StatusTypeDef HAL_CRYP_SetConfig(CRYP_HandleTypeDef *hcryp, CRYP_ConfigTypeDef *pConf)
{
    CHECK(hcryp != NULL);
    config = *pConf;
    CHECK(config.DataType == CRYP_DATATYPE_8B && config.KeySize == CRYP_KEYSIZE_256B && config.Algorithm == CRYP_AES_GCM);
    CHECK(config.DataWidthUnit == CRYP_DATAWIDTHUNIT_BYTE && config.HeaderWidthUnit == CRYP_HEADERWIDTHUNIT_BYTE);
    CHECK(config.KeyIVConfigSkip == CRYP_KEYIVCONFIG_ALWAYS && config.HeaderSize == 2);
    CHECK(config.pInitVect[0] == 0 && config.pInitVect[1] == 0 && config.pInitVect[3] == 2);
    return HAL_OK;
}

/* In counter mode both ways are one; the tag is that of the ciphertext. */
static HAL_StatusTypeDef cross(uint32_t *Input, uint16_t Size, uint32_t *Output, bool opening)
{
    uint8_t key[32], record[2 + 600 + 16], again[sizeof record];
    CHECK(((uintptr_t)Input & 3u) == 0 && ((uintptr_t)Output & 3u) == 0 && Size <= 600);
    bytes_of(key, config.pKey, 8);
    memcpy(record, config.Header, 2);
    memcpy(record + 2, Input, Size);
    soft_seal(key, config.pInitVect[2], record, Size);
    memcpy(again, record, sizeof again);
    if (opening)
        soft_seal(key, config.pInitVect[2], again, Size);
    memcpy(tag, again + 2 + Size, sizeof tag);
    memcpy(Output, record + 2, Size);
    memset((uint8_t *)Output + Size, 0xee, (4u - Size % 4u) % 4u);
    return fake_cryp_answer;
}

HAL_StatusTypeDef HAL_CRYP_Encrypt(CRYP_HandleTypeDef *hcryp, uint32_t *Input, uint16_t Size, uint32_t *Output, uint32_t Timeout)
{
    (void)hcryp;
    (void)Timeout;
    return cross(Input, Size, Output, false);
}

HAL_StatusTypeDef HAL_CRYP_Decrypt(CRYP_HandleTypeDef *hcryp, uint32_t *Input, uint16_t Size, uint32_t *Output, uint32_t Timeout)
{
    (void)hcryp;
    (void)Timeout;
    return cross(Input, Size, Output, true);
}

HAL_StatusTypeDef HAL_CRYPEx_AESGCM_GenerateAuthTAG(CRYP_HandleTypeDef *hcryp, uint32_t *AuthTag, uint32_t Timeout)
{
    (void)hcryp;
    (void)Timeout;
    memcpy(AuthTag, tag, sizeof tag);
    return HAL_OK;
}
