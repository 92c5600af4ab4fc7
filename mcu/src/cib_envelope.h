/* cib_envelope.h: inside the library only: the bytes of sealed requests, and the key of their responses (docs/AES-TRANSPORT.md). */
#ifndef CIB_ENVELOPE_H
#define CIB_ENVELOPE_H

#include "cib.h"

#define CIB_ENVELOPE_HEADER 48u
#define CIB_TOKEN_BYTES 16u
/* The length's bit that only the last record has. */
#define CIB_LAST_RECORD 0x8000u
/* Records of one request: this client sends one, the known answers have two. */
#define CIB_ENVELOPE_RECORDS 2u

/* Seals a request of n bytes in place: 48 bytes for the header, then records with their lengths and plaintexts where they belong. `line` is
 * "POST\n/aes\n"; prk will open the response. Counts key->uses up. CIB_ERANDOM, CIB_EFORMAT where n is not where a record ends. */
int cib_envelope_seal(cib_key *key, const cib_port *port, const char *line, const uint8_t token[CIB_TOKEN_BYTES], uint8_t *body, size_t n,
                      uint8_t prk[32]);
/* From that prk the key of the response's records, in its place, by the 16 bytes that the response begins with. */
int cib_envelope_response(uint8_t key[32], const uint8_t rs[16]);

#endif
