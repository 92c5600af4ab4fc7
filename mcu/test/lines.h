/* lines.h: lines of standard input, one at a time, for programs that wait for other things meanwhile. */
#ifndef LINES_H
#define LINES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct lines {
    char bytes[4u << 20]; /* a corpus frame of 1 MiB and more, in hex */
    size_t got, told;   /* bytes in the buffer; those of lines that were handed out */
    bool over;          /* nothing more will come */
} lines;

/* Reads once what standard input has; waits where it has nothing. */
void lines_read(lines *l);
/* The next whole line, without its end; NULL where none is there yet. Good until the next call. */
char *lines_next(lines *l);

#endif
