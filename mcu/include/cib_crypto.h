/*
 * cib_crypto.h: the four operations that links and envelopes need. Link one implementation:
 *
 *   src/cib_crypto_soft.c    AES-256-GCM, SHA-256 and HMAC in 2 KB of flash, for parts without hardware for it
 *   port/psa/cib_crypto_psa.c    PSA Crypto: ESP-IDF 5 and 6, Mbed TLS 2.28 and newer
 *   yours                    for a CRYP peripheral: port/stm32 has one
 *
 * All return 0, or negative when the operation failed; then nothing that was written may be used.
 */
#ifndef CIB_CRYPTO_H
#define CIB_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A piece of a message that is hashed as if its pieces were joined. */
typedef struct cib_piece {
    const void *at;
    size_t n;
} cib_piece;

/* HMAC-SHA-256 (RFC 2104) under a key of 32 bytes. out may overlap the key and the pieces: they are read before it is written. */
int cib_hmac(uint8_t out[32], const uint8_t key[32], const cib_piece *pieces, size_t count);
/* SHA-256 (FIPS 180-4). Envelopes only. */
int cib_sha256(uint8_t out[32], const cib_piece *pieces, size_t count);

/*
 * AES-256-GCM (NIST SP 800-38D) of one record, in place, as CIB1 and envelopes use it:
 * record = 2 bytes of additional data | n bytes of text | 16 bytes of tag; nonce = 8 zero bytes | counter, big-endian.
 */
int cib_seal(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n);
/* Opens it; CIB_EKEY where the tag is wrong (compared in constant time), with the text wiped. */
int cib_open(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n);

#ifdef __cplusplus
}
#endif

#endif
