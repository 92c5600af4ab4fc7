/*
 * oracle.c: the cipher and the hashes on a pipe, for a test that compares them with another implementation. A line in, a line out,
 * bytes as hex digits ("-" for none):
 *
 *   seal <key> <counter> <plaintext>        the record
 *   open <key> <counter> <record>           the plaintext, or "no"
 *   hmac <key> <message> <message>          HMAC-SHA-256 of both, joined
 *   sha256 <message>
 */
#include "check.h"
#include "cib.h"
#include "cib_crypto.h"

enum { MOST = 70000 };

static void say(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%02x", bytes[i]);
    printf(n == 0 ? "-\n" : "\n");
    fflush(stdout);
}

int main(void)
{
    static char line[4 * MOST];
    static uint8_t record[MOST], other[MOST];
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint8_t key[32], out[32];
        const char *what = strtok(line, " \n");
        CHECK(what != NULL);
        bool sha = strcmp(what, "sha256") == 0;
        if (!sha)
            CHECK(hex(key, strtok(NULL, " \n")) == sizeof key);
        if (sha || strcmp(what, "hmac") == 0) {
            cib_piece pieces[2] = {{record, hex(record, strtok(NULL, " \n"))}, {other, 0}};
            if (!sha)
                pieces[1].n = hex(other, strtok(NULL, " \n"));
            SAME(sha ? cib_sha256(out, pieces, 1) : cib_hmac(out, key, pieces, 2), 0);
            say(out, sizeof out);
            continue;
        }
        uint32_t counter = (uint32_t)strtoul(strtok(NULL, " \n"), NULL, 10);
        const char *bytes = strtok(NULL, " \n");
        if (strcmp(what, "seal") == 0) {
            size_t n = hex(record + 2, bytes);
            record[0] = (uint8_t)(n >> 8);
            record[1] = (uint8_t)n;
            SAME(cib_seal(key, counter, record, n), 0);
            say(record, CIB_RECORD_ROOM(n));
        } else {
            size_t n = hex(record, bytes) - CIB_RECORD_ROOM(0);
            if (cib_open(key, counter, record, n) == 0) {
                say(record + 2, n);
            } else {
                printf("no\n");
                fflush(stdout);
            }
        }
    }
    return 0;
}
