/* cib_topic.c: names as text: topics, sessions, and the hex digits in both. */
#include <string.h>

#include "cib.h"
#include "cib_text.h"

/* Bytes of a session's id before each of its dashes, as bits: 4, 6, 8 and 10. */
#define DASHES (1u << 4 | 1u << 6 | 1u << 8 | 1u << 10)

char *cib_hex(char *out, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    return out;
}

int cib_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int cib_topic(char *out, size_t room, const char *a, const char *b, const char *c)
{
    const char *parts[] = { a, b, c };
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t more = parts[i] ? strlen(parts[i]) : 0;
        if (n + more >= room)
            return CIB_EROOM;
        if (more > 0)
            memcpy(out + n, parts[i], more);
        n += more;
    }
    out[n] = '\0';
    return (int)n;
}

void cib_session_text(char out[37], const uint8_t session[CIB_SESSION_BYTES])
{
    for (unsigned i = 0; i < CIB_SESSION_BYTES; i++) {
        if (DASHES >> i & 1u)
            *out++ = '-';
        out = cib_hex(out, session + i, 1);
    }
    *out = '\0';
}

int cib_session_parse(uint8_t session[CIB_SESSION_BYTES], const char *text)
{
    for (unsigned i = 0; i < CIB_SESSION_BYTES; i++) {
        if ((DASHES >> i & 1u) && *text++ != '-')
            return CIB_EFORMAT;
        /* One digit after the other: the text may end at each. */
        int high = cib_digit(*text);
        int low = high < 0 ? -1 : cib_digit(text[1]);
        if (low < 0)
            return CIB_EFORMAT;
        session[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return *text == '\0' ? CIB_OK : CIB_EFORMAT;
}
