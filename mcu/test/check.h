/* check.h: what every unit test here is written with: a test is a function, its name a sentence; the first failure ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* Two numbers that should be the same. */
#define SAME(actual, expected)                                                          \
    do {                                                                                \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);     \
        if (actual_ != expected_) {                                                     \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #actual, actual_, expected_); \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* Bytes that should be those of a text of hex digits. */
#define SAME_HEX(bytes, hex_text) same_hex(bytes, hex_text, __FILE__, __LINE__)

#define RUN(test) (test(), checked++)

static unsigned checked;

/* Bytes of hex digits into `out`; how many. */
static inline size_t hex(unsigned char *out, const char *text)
{
    size_t n = 0;
    unsigned byte;
    for (; sscanf(text, "%2x", &byte) == 1; text += 2)
        out[n++] = (unsigned char)byte;
    return n;
}

static inline void same_hex(const void *bytes, const char *text, const char *file, int line)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; text[2 * i] != 0; i++) {
        unsigned byte = 0;
        sscanf(text + 2 * i, "%2x", &byte);
        if (at[i] != byte) {
            fprintf(stderr, "%s:%d: byte %zu is %02x, expected %02x\n", file, line, i, at[i], byte);
            exit(1);
        }
    }
}

/* xorshift32: the same numbers in every run. */
static inline unsigned random_of(unsigned *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static inline int report(const char *what)
{
    printf("ok %s: %u\n", what, checked);
    return 0;
}

#endif
