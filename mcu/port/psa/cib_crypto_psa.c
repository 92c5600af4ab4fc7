/*
 * cib_crypto_psa.c: cib_crypto.h by PSA Crypto, so that an ESP32 uses its AES and SHA hardware. The same file builds with
 * ESP-IDF 5 and 6 (Mbed TLS 3 and 4) and, for tests on a host, with Mbed TLS 2.28.
 *
 * PSA keeps keys in slots of its own, on its own heap. A key is here for the length of one call, so that a link holds no slot
 * while it sleeps, and cib_link_wipe leaves nothing behind.
 */
#include "cib.h"
#include "cib_crypto.h"

#include <string.h>

#include <psa/crypto.h>

#include "../../src/cib_secret.h"

/*
 * Largest plaintext of a record, in bytes. PSA does not promise that input and output may be the same bytes
 * (PSA Crypto API 1.1, "Overlap between parameters"), so a record passes through a second buffer on the stack.
 */
#ifndef CIB_PSA_RECORD
#define CIB_PSA_RECORD 1024
#endif

#define KEY_BYTES 32u
#define TAG_BYTES 16u
#define NONCE_BYTES 12u
#define LENGTH_BYTES 2u

/* May be called any number of times: only the first one does anything. */
static bool ready(void) {
    return psa_crypto_init() == PSA_SUCCESS;
}

static psa_status_t import(psa_key_id_t *id, const uint8_t key[KEY_BYTES], psa_key_type_t type, psa_algorithm_t algorithm,
                           psa_key_usage_t usage) {
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_type(&attributes, type);
    psa_set_key_algorithm(&attributes, algorithm);
    psa_set_key_usage_flags(&attributes, usage);
    return psa_import_key(&attributes, key, KEY_BYTES, id);
}

int cib_hmac(uint8_t out[32], const uint8_t key[32], const cib_piece *pieces, size_t count) {
    psa_key_id_t id;
    if (!ready() || import(&id, key, PSA_KEY_TYPE_HMAC, PSA_ALG_HMAC(PSA_ALG_SHA_256), PSA_KEY_USAGE_SIGN_MESSAGE) != PSA_SUCCESS)
        return CIB_ERANDOM;
    psa_mac_operation_t mac = PSA_MAC_OPERATION_INIT;
    psa_status_t status = psa_mac_sign_setup(&mac, id, PSA_ALG_HMAC(PSA_ALG_SHA_256));
    for (size_t i = 0; i < count && status == PSA_SUCCESS; i++)
        status = psa_mac_update(&mac, pieces[i].at, pieces[i].n);
    size_t made = 0;
    if (status == PSA_SUCCESS)
        status = psa_mac_sign_finish(&mac, out, 32, &made);
    if (status != PSA_SUCCESS)
        (void)psa_mac_abort(&mac);
    if (psa_destroy_key(id) != PSA_SUCCESS || status != PSA_SUCCESS || made != 32)
        return CIB_ERANDOM;
    return CIB_OK;
}

int cib_sha256(uint8_t out[32], const cib_piece *pieces, size_t count) {
    if (!ready())
        return CIB_ERANDOM;
    psa_hash_operation_t hash = PSA_HASH_OPERATION_INIT;
    psa_status_t status = psa_hash_setup(&hash, PSA_ALG_SHA_256);
    for (size_t i = 0; i < count && status == PSA_SUCCESS; i++)
        status = psa_hash_update(&hash, pieces[i].at, pieces[i].n);
    size_t made = 0;
    if (status == PSA_SUCCESS)
        status = psa_hash_finish(&hash, out, 32, &made);
    if (status != PSA_SUCCESS)
        (void)psa_hash_abort(&hash);
    return status == PSA_SUCCESS && made == 32 ? CIB_OK : CIB_ERANDOM;
}

static void nonce_of(uint8_t nonce[NONCE_BYTES], uint32_t counter) {
    memset(nonce, 0, NONCE_BYTES);
    nonce[8] = (uint8_t)(counter >> 24);
    nonce[9] = (uint8_t)(counter >> 16);
    nonce[10] = (uint8_t)(counter >> 8);
    nonce[11] = (uint8_t)counter;
}

int cib_seal(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n) {
    if (n > CIB_PSA_RECORD)
        return CIB_EROOM;
    psa_key_id_t id;
    if (!ready() || import(&id, key, PSA_KEY_TYPE_AES, PSA_ALG_GCM, PSA_KEY_USAGE_ENCRYPT) != PSA_SUCCESS)
        return CIB_ERANDOM;
    uint8_t nonce[NONCE_BYTES];
    nonce_of(nonce, counter);
    uint8_t sealed[CIB_PSA_RECORD + TAG_BYTES];
    size_t made = 0;
    psa_status_t status = psa_aead_encrypt(id, PSA_ALG_GCM, nonce, sizeof nonce, record, LENGTH_BYTES, record + LENGTH_BYTES, n,
                                           sealed, sizeof sealed, &made);
    if (psa_destroy_key(id) != PSA_SUCCESS || status != PSA_SUCCESS || made != n + TAG_BYTES)
        return CIB_ERANDOM;
    memcpy(record + LENGTH_BYTES, sealed, made);
    return CIB_OK;
}

int cib_open(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n) {
    int result = CIB_ERANDOM;
    psa_key_id_t id;
    if (n <= CIB_PSA_RECORD && ready() &&
        import(&id, key, PSA_KEY_TYPE_AES, PSA_ALG_GCM, PSA_KEY_USAGE_DECRYPT) == PSA_SUCCESS) {
        uint8_t nonce[NONCE_BYTES];
        nonce_of(nonce, counter);
        uint8_t text[CIB_PSA_RECORD + 1]; /* one more: an array of none is no C */
        size_t made = 0;
        psa_status_t status = psa_aead_decrypt(id, PSA_ALG_GCM, nonce, sizeof nonce, record, LENGTH_BYTES,
                                               record + LENGTH_BYTES, n + TAG_BYTES, text, sizeof text, &made);
        if (psa_destroy_key(id) != PSA_SUCCESS)
            status = PSA_ERROR_GENERIC_ERROR;
        if (status == PSA_SUCCESS && made == n) {
            memcpy(record + LENGTH_BYTES, text, n);
            result = CIB_OK;
        } else if (status == PSA_ERROR_INVALID_SIGNATURE) {
            result = CIB_EKEY;
        }
        cib_wipe(text, sizeof text);
    } else if (n > CIB_PSA_RECORD) {
        result = CIB_EROOM;
    }
    if (result != CIB_OK)
        cib_wipe(record + LENGTH_BYTES, n);
    return result;
}
