/* lines.c: see lines.h. */
#define _POSIX_C_SOURCE 200809L
#include "lines.h"

#include <string.h>
#include <unistd.h>

void lines_read(lines *l)
{
    memmove(l->bytes, l->bytes + l->told, l->got - l->told);
    l->got -= l->told;
    l->told = 0;
    ssize_t n = read(STDIN_FILENO, l->bytes + l->got, sizeof l->bytes - l->got);
    if (n > 0)
        l->got += (size_t)n;
    else
        l->over = true;
}

char *lines_next(lines *l)
{
    char *line = l->bytes + l->told;
    char *end = memchr(line, '\n', l->got - l->told);
    if (end == NULL)
        return NULL;
    *end = 0;
    l->told = (size_t)(end + 1 - l->bytes);
    return line;
}
