/* cib_secret.c: comparing secrets without telling by time, and leaving none of them behind. */
#include "cib_secret.h"

bool cib_same(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint8_t differ = 0;
    while (n-- > 0)
        differ = (uint8_t)(differ | (*a++ ^ *b++));
    return differ == 0;
}

void cib_wipe(void *secret, size_t n)
{
    volatile uint8_t *at = secret;
    while (n-- > 0)
        *at++ = 0;
}
