/* semihost.c: calls to the host, by the breakpoint that ARM reserved for them ("Semihosting for AArch32 and AArch64"). */
#include "semihost.h"

enum operation {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_READ = 0x06,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20,
};

#define OPEN_FOR_BYTES 1u /* "rb" */
#define APPLICATION_EXIT 0x20026u

static uint32_t call(enum operation operation, const void *block)
{
    register uint32_t r0 __asm__("r0") = (uint32_t)operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void semihost_say(const char *text)
{
    call(SYS_WRITE0, text);
}

void semihost_say_number(uint32_t number)
{
    char digits[11];
    char *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    semihost_say(at);
}

void semihost_tell(const char *word, uint32_t number)
{
    semihost_say(word);
    semihost_say(" ");
    semihost_say_number(number);
    semihost_say("\n");
}

int semihost_arguments(char *text, size_t room)
{
    uint32_t block[2] = {(uint32_t)text, (uint32_t)room};
    return (int)call(SYS_GET_CMDLINE, block);
}

int semihost_random(uint8_t *bytes, size_t n)
{
    static const char path[] = "/dev/urandom";
    const uint32_t open[3] = {(uint32_t)path, OPEN_FOR_BYTES, sizeof path - 1};
    const uint32_t file = call(SYS_OPEN, open);
    if (file == UINT32_MAX)
        return -1;
    const uint32_t read[3] = {file, (uint32_t)bytes, (uint32_t)n};
    const uint32_t missing = call(SYS_READ, read);
    call(SYS_CLOSE, &file);
    return missing == 0 ? 0 : -1;
}

void semihost_exit(uint32_t code)
{
    const uint32_t block[2] = {APPLICATION_EXIT, code};
    call(SYS_EXIT_EXTENDED, block);
    for (;;)
        ;
}
