/* semihost.h: what a board in QEMU has instead of a debugger: a log, arguments, random bytes and an exit code. */
#ifndef CIB_TEST_SEMIHOST_H
#define CIB_TEST_SEMIHOST_H

#include <stddef.h>
#include <stdint.h>

/* A line of the log, to QEMU's standard error; its end is the caller's. */
void semihost_say(const char *text);
/* The same for a number, in decimal. */
void semihost_say_number(uint32_t number);
/* "<word> <number>\n". */
void semihost_tell(const char *word, uint32_t number);
/* What stands after `-semihosting-config arg=`, joined by spaces; 0, or negative where it does not fit. */
int semihost_arguments(char *text, size_t room);
/* Bytes of the host's /dev/urandom: these boards' own source is not modelled. 0, or negative. */
int semihost_random(uint8_t *bytes, size_t n);
void semihost_exit(uint32_t code) __attribute__((noreturn));

#endif
