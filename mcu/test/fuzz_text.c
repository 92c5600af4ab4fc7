/* fuzz_text.c: any text where a person enters one: a device's key, a session's id. What is taken must come back the same. */
#include "cib.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cib_key key;
    uint8_t session[CIB_SESSION_BYTES];
    char *text = malloc(size + 1);
    if (text == NULL)
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    int result = cib_key_parse(&key, text, 0);
    if (result != 0 && result != CIB_EFORMAT)
        abort();
    if (result == 0 && strlen(text) != 16 + 1 + 64)
        abort();
    if (cib_session_parse(session, text) == 0) {
        char again[37];
        cib_session_text(again, session);
        for (size_t i = 0; i < sizeof again; i++)
            if (tolower((unsigned char)text[i]) != again[i])
                abort();
    }
    free(text);
    return 0;
}
