/*
 * cib_crypto_soft.c: SHA-256, HMAC and AES-256-GCM in as little flash as they take, for parts without hardware for them.
 *
 * Nothing branches on a secret. The one thing that a secret chooses is a place in SBOX: where constants are read through a cache,
 * that of a flash accelerator included, the time it takes says a little about it to somebody who can measure single blocks. Where
 * that matters use the part's own AES, or cib_crypto_psa.c.
 */
#include "cib.h"
#include "cib_bytes.h"
#include "cib_crypto.h"
#include "cib_secret.h"

#include <string.h>

/* ------------------------------------------------------------------ SHA-256 (FIPS 180-4) */

enum { SHA_BLOCK = 64, SHA_BYTES = 32, LENGTH_AT = 56 };

typedef struct sha256 {
    uint32_t state[8];
    uint8_t block[SHA_BLOCK];
    uint32_t n; /* bytes so far: of a request at most, so 32 bits do */
} sha256;

static const uint32_t SHA_START[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t SHA_ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn_right(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static void sha_block(sha256 *s)
{
    uint32_t w[16]; /* the schedule's last 16 words */
    uint32_t v[8];  /* a to h; each round moves them on by one */
    memcpy(v, s->state, sizeof v);
    for (unsigned i = 0; i < 16; i++)
        w[i] = cib_get32(s->block + 4 * i);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t *now = &w[i & 15];
        if (i >= 16) {
            uint32_t before = w[(i + 14) & 15];
            uint32_t first = w[(i + 1) & 15];
            *now += (turn_right(before, 17) ^ turn_right(before, 19) ^ before >> 10) + w[(i + 9) & 15]
                + (turn_right(first, 7) ^ turn_right(first, 18) ^ first >> 3);
        }
        uint32_t a = v[0];
        uint32_t e = v[4];
        uint32_t one = v[7] + (turn_right(e, 6) ^ turn_right(e, 11) ^ turn_right(e, 25)) + ((e & v[5]) ^ (~e & v[6]))
            + SHA_ROUND[i] + *now;
        uint32_t two = (turn_right(a, 2) ^ turn_right(a, 13) ^ turn_right(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += one;
        v[0] = one + two;
    }
    for (unsigned i = 0; i < 8; i++)
        s->state[i] += v[i];
    cib_wipe(w, sizeof w);
    cib_wipe(v, sizeof v);
}

static void sha_start(sha256 *s)
{
    memcpy(s->state, SHA_START, sizeof s->state);
    s->n = 0;
}

static void sha_add(sha256 *s, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    for (; n > 0; n--) {
        s->block[s->n++ % SHA_BLOCK] = *at++;
        if (s->n % SHA_BLOCK == 0)
            sha_block(s);
    }
}

static void sha_add_pieces(sha256 *s, const cib_piece *pieces, size_t count)
{
    for (; count > 0; count--, pieces++)
        sha_add(s, pieces->at, pieces->n);
}

/* A one bit, zeros, and the length in bits as the last 8 bytes of a block. */
static void sha_end(sha256 *s, uint8_t out[SHA_BYTES])
{
    uint8_t pad = 0x80;
    uint8_t length[8] = {0};
    cib_put32(length, s->n >> 29);
    cib_put32(length + 4, s->n << 3);
    do {
        sha_add(s, &pad, 1);
        pad = 0;
    } while (s->n % SHA_BLOCK != LENGTH_AT);
    sha_add(s, length, sizeof length);
    for (unsigned i = 0; i < 8; i++)
        cib_put32(out + 4 * i, s->state[i]);
    cib_wipe(s, sizeof *s);
}

int cib_sha256(uint8_t out[32], const cib_piece *pieces, size_t count)
{
    sha256 s;
    sha_start(&s);
    sha_add_pieces(&s, pieces, count);
    sha_end(&s, out);
    return CIB_OK;
}

/* ------------------------------------------------------------------ HMAC (RFC 2104) */

/* Begins a hash with the key's block. */
static void hmac_start(sha256 *s, const uint8_t key[32], uint8_t pad)
{
    sha_start(s);
    for (unsigned i = 0; i < SHA_BLOCK; i++) {
        uint8_t byte = (uint8_t)((i < 32 ? key[i] : 0) ^ pad);
        sha_add(s, &byte, 1);
    }
}

int cib_hmac(uint8_t out[32], const uint8_t key[32], const cib_piece *pieces, size_t count)
{
    sha256 s;
    uint8_t inner[SHA_BYTES];
    hmac_start(&s, key, 0x36);
    sha_add_pieces(&s, pieces, count);
    sha_end(&s, inner);
    hmac_start(&s, key, 0x5c);
    sha_add(&s, inner, sizeof inner);
    sha_end(&s, out);
    return CIB_OK;
}

#ifndef CIB_CRYPTO_NO_AES /* where a peripheral seals and opens: port/stm32/cib_crypto_cryp.c */

/* ------------------------------------------------------------------ AES-256, enciphering only (FIPS 197) */

enum { AES_BLOCK = 16, AES_ROUNDS = 14, AES_KEY_BYTES = 32, AES_KEYS = AES_BLOCK * (AES_ROUNDS + 1) };

static const uint8_t SBOX[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
    0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
    0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
    0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
    0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
    0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
    0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
    0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
    0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
    0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
    0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
    0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
    0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};

/* Times x in GF(2^8). */
static uint8_t twice(uint8_t a)
{
    return (uint8_t)(a << 1 ^ (0x1b & -(a >> 7)));
}

/* Every round's key: words that each come from the one before and the one eight before. */
static void aes_keys(uint8_t keys[AES_KEYS], const uint8_t key[AES_KEY_BYTES])
{
    uint8_t round = 1;
    memcpy(keys, key, AES_KEY_BYTES);
    for (unsigned at = AES_KEY_BYTES; at < AES_KEYS; at++) {
        uint8_t byte = keys[at - 4];
        if (at % 32 < 4) { /* each eighth word turned by a byte, substituted, and marked with its number */
            byte = SBOX[keys[at % 4 == 3 ? at - 7 : at - 3]];
            if (at % 4 == 0) {
                byte ^= round;
                round = twice(round);
            }
        } else if (at % 32 / 4 == 4) {
            byte = SBOX[byte];
        }
        keys[at] = keys[at - AES_KEY_BYTES] ^ byte;
    }
}

static void add(uint8_t block[AES_BLOCK], const uint8_t other[AES_BLOCK])
{
    for (unsigned i = 0; i < AES_BLOCK; i++)
        block[i] ^= other[i];
}

static void aes_block(const uint8_t keys[AES_KEYS], uint8_t block[AES_BLOCK])
{
    uint8_t moved[AES_BLOCK];
    add(block, keys);
    for (unsigned round = 1;; round++) {
        for (unsigned i = 0; i < AES_BLOCK; i++) /* SubBytes and ShiftRows: row i % 4 comes from so many columns on */
            moved[i] = SBOX[block[(5 * i) % AES_BLOCK]];
        keys += AES_BLOCK;
        if (round == AES_ROUNDS)
            break;
        for (unsigned i = 0; i < AES_BLOCK; i++) { /* MixColumns: 2 a + 3 b + c + d of each column */
            const uint8_t *column = moved + (i & ~3u);
            uint8_t all = column[0] ^ column[1] ^ column[2] ^ column[3];
            uint8_t own = column[i & 3u];
            block[i] = (uint8_t)(own ^ all ^ twice(own ^ column[(i + 1) & 3u]));
        }
        add(block, keys);
    }
    memcpy(block, moved, AES_BLOCK);
    add(block, keys);
    cib_wipe(moved, sizeof moved);
}

/* ------------------------------------------------------------------ GCM (NIST SP 800-38D) */

typedef struct gcm {
    uint8_t keys[AES_KEYS];
    uint8_t h[AES_BLOCK];   /* what the hash multiplies by: zeros, enciphered */
    uint8_t sum[AES_BLOCK]; /* the hash so far */
    uint8_t counter[AES_BLOCK];
    uint8_t stream[AES_BLOCK]; /* counter, enciphered */
} gcm;

/* sum = sum * h in GF(2^128), a bit at a time; bit 0 is the first byte's highest. */
static void multiply(gcm *g)
{
    uint32_t z[4] = {0};
    uint32_t v[4];
    for (unsigned i = 0; i < 4; i++)
        v[i] = cib_get32(g->h + 4 * i);
    for (unsigned bit = 0; bit < 128; bit++) {
        uint32_t add_it = 0u - (uint32_t)(g->sum[bit / 8] >> (7 - bit % 8) & 1);
        uint32_t carry = 0xe1000000u & (0u - (v[3] & 1u));
        for (unsigned i = 4; i-- > 0;) {
            z[i] ^= v[i] & add_it;
            v[i] = v[i] >> 1 | (i > 0 ? v[i - 1] << 31 : 0);
        }
        v[0] ^= carry;
    }
    for (unsigned i = 0; i < 4; i++)
        cib_put32(g->sum + 4 * i, z[i]);
    cib_wipe(v, sizeof v);
}

static void encipher_counter(gcm *g, uint32_t block)
{
    cib_put32(g->counter + 12, block);
    memcpy(g->stream, g->counter, AES_BLOCK);
    aes_block(g->keys, g->stream);
}

/* Turns the text over in place; the tag comes to stand in g->sum. */
static void run(gcm *g, const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n, bool opening)
{
    uint8_t *text = record + 2;
    memset(g, 0, sizeof *g);
    aes_keys(g->keys, key);
    aes_block(g->keys, g->h);
    cib_put32(g->counter + 8, counter);
    memcpy(g->sum, record, 2);
    multiply(g);
    for (size_t i = 0; i < n; i++) {
        size_t in_block = i % AES_BLOCK;
        if (in_block == 0)
            encipher_counter(g, (uint32_t)(i / AES_BLOCK) + 2);
        uint8_t before = text[i];
        text[i] = before ^ g->stream[in_block];
        g->sum[in_block] ^= opening ? before : text[i];
        if (in_block == AES_BLOCK - 1 || i == n - 1)
            multiply(g);
    }
    g->sum[7] ^= 2 * 8; /* the lengths in bits of additional data and text, 64 bits each */
    g->sum[11] ^= (uint8_t)(n >> 29);
    uint8_t bits[4];
    cib_put32(bits, (uint32_t)n << 3);
    for (unsigned i = 0; i < 4; i++)
        g->sum[12 + i] ^= bits[i];
    multiply(g);
    encipher_counter(g, 1);
    add(g->sum, g->stream);
}

int cib_seal(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n)
{
    gcm g;
    run(&g, key, counter, record, n, false);
    memcpy(record + 2 + n, g.sum, AES_BLOCK);
    cib_wipe(&g, sizeof g);
    return CIB_OK;
}

int cib_open(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n)
{
    gcm g;
    run(&g, key, counter, record, n, true);
    bool genuine = cib_same(g.sum, record + 2 + n, AES_BLOCK);
    cib_wipe(&g, sizeof g);
    if (!genuine)
        cib_wipe(record + 2, n);
    return genuine ? CIB_OK : CIB_EKEY;
}

#endif
