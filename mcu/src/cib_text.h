/* cib_text.h: inside the library only: bytes as hex digits and back: key ids in topics, sessions, tokens. */
#ifndef CIB_TEXT_H
#define CIB_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* n bytes as 2n digits and no end mark; returns where they end. */
char *cib_hex(char *out, const uint8_t *bytes, size_t n);
/* The value of a digit, upper or lower case; -1 for what is none. */
int cib_digit(char c);

#endif
