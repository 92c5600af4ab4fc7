/* cib_envelope.c: makes a sealed request: its header, its keys, its records, as docs/AES-TRANSPORT.md has them. */
#include "cib_envelope.h"

#include <string.h>

#include "cib_bytes.h"
#include "cib_crypto.h"
#include "cib_secret.h"

/* Labels of HMACs under PRK0 and PRK. */
enum { REQUEST_KEY = 0x10, RESPONSE_KEY = 0x11, REQUEST_RC = 0x20, REQUEST_PRK = 0x21 };

enum { KEY_ID_AT = 8, RC_AT = 16, TOKEN_AT = 32, RC_BYTES = 16, RANDOM_BYTES = 16 };

/* Bytes of plaintext of the record at `record`. */
static size_t length_of(const uint8_t *record) { return cib_get16(record) & (CIB_LAST_RECORD - 1u); }

/* Rc binds what is said, so that one that comes again, for lack of randomness and counters, can only say the same again. */
static int make_rc(cib_key *key, const cib_port *port, uint8_t *body, size_t n)
{
    uint8_t made[1 + 4 + 4 + RANDOM_BYTES], rc[32];
    cib_piece pieces[2 + CIB_ENVELOPE_RECORDS] = { { made, sizeof made }, { body + TOKEN_AT, CIB_TOKEN_BYTES } };
    size_t count = 2;
    for (size_t at = CIB_ENVELOPE_HEADER; at < n; at += CIB_RECORD_ROOM(length_of(body + at))) {
        if (count == sizeof pieces / sizeof *pieces)
            return CIB_EFORMAT;
        cib_piece record = { body + at, 2u + length_of(body + at) };
        pieces[count++] = record;
    }
    made[0] = REQUEST_RC;
    cib_put32(made + 1, key->boot);
    cib_put32(made + 5, key->uses++);
    if (port->random == NULL || port->random(port->user, made + 9, RANDOM_BYTES) < 0 || cib_hmac(rc, key->prk0, pieces, count) < 0)
        return CIB_ERANDOM;
    memcpy(body + RC_AT, rc, RC_BYTES);
    return CIB_OK;
}

static int make_prk(const cib_key *key, const char *line, const uint8_t *body, uint8_t prk[32])
{
    static const uint8_t label = REQUEST_PRK;
    uint8_t hash[32];
    const cib_piece request[] = { { line, strlen(line) }, { body, CIB_ENVELOPE_HEADER } };
    const cib_piece pieces[] = { { &label, 1 }, { hash, sizeof hash } };
    return cib_sha256(hash, request, 2) < 0 || cib_hmac(prk, key->prk0, pieces, 2) < 0 ? CIB_ERANDOM : CIB_OK;
}

static int seal_records(uint8_t *body, size_t n, const uint8_t prk[32])
{
    static const uint8_t label = REQUEST_KEY;
    const cib_piece piece = { &label, 1 };
    uint8_t key[32];
    int error = cib_hmac(key, prk, &piece, 1);
    uint32_t counter = 0;
    for (size_t at = CIB_ENVELOPE_HEADER; error >= 0 && at < n; counter++) {
        size_t length = length_of(body + at);
        error = cib_seal(key, counter, body + at, length);
        at += CIB_RECORD_ROOM(length);
    }
    cib_wipe(key, sizeof key);
    return error < 0 ? CIB_ERANDOM : CIB_OK;
}

int cib_envelope_seal(cib_key *key, const cib_port *port, const char *line, const uint8_t token[CIB_TOKEN_BYTES], uint8_t *body, size_t n,
                      uint8_t prk[32])
{
    /* Flags 0, suite 1, two zero bytes. */
    static const uint8_t magic[KEY_ID_AT] = { 'C', 'I', 'B', 'H', 0, 1, 0, 0 };
    memcpy(body, magic, sizeof magic);
    memcpy(body + KEY_ID_AT, key->id, CIB_KEY_ID_BYTES);
    memcpy(body + TOKEN_AT, token, CIB_TOKEN_BYTES);
    int error = make_rc(key, port, body, n);
    if (error == 0)
        error = make_prk(key, line, body, prk);
    return error == 0 ? seal_records(body, n, prk) : error;
}

int cib_envelope_response(uint8_t key[32], const uint8_t rs[16])
{
    static const uint8_t label = RESPONSE_KEY;
    const cib_piece pieces[] = { { &label, 1 }, { rs, 16 } };
    return cib_hmac(key, key, pieces, 2) < 0 ? CIB_ERANDOM : CIB_OK;
}
