/* fake_port.h: a port without a line: what comes in is given as the test wants it, what goes out is kept, and time stands still. */
#ifndef FAKE_PORT_H
#define FAKE_PORT_H

#include <string.h>

#include "cib.h"

typedef struct fake {
    const uint8_t *in;
    size_t in_n;    /* what has come so far */
    size_t in_at;
    size_t in_each; /* most bytes a call, and nothing at every second one; 0: as many as are asked for */
    uint8_t out[70000];
    size_t out_n;
    size_t out_each; /* as in_each */
    bool in_second, out_second;
    bool in_dead, out_dead;
    int claims; /* more than was asked for */
    uint32_t ms;
    uint32_t ms_each; /* passes with every look at the clock */
    const uint8_t *random; /* 16 bytes; NULL: none */
    cib_port port;
} fake;

static inline int fake_send(void *user, const uint8_t *bytes, size_t n)
{
    fake *f = user;
    if (f->out_dead)
        return -1;
    if (f->claims)
        return (int)n + f->claims;
    f->out_second = !f->out_second;
    if (f->out_each > 0 && f->out_second)
        return 0;
    if (f->out_each > 0 && n > f->out_each)
        n = f->out_each;
    if (n > sizeof f->out - f->out_n)
        n = sizeof f->out - f->out_n;
    memcpy(f->out + f->out_n, bytes, n);
    f->out_n += n;
    return (int)n;
}

static inline int fake_recv(void *user, uint8_t *bytes, size_t room)
{
    fake *f = user;
    size_t n = f->in_n - f->in_at;
    if (f->claims)
        return (int)room + f->claims;
    if (n == 0)
        return f->in_dead ? -1 : 0;
    f->in_second = !f->in_second;
    if (f->in_each > 0 && f->in_second)
        return 0;
    if (f->in_each > 0 && n > f->in_each)
        n = f->in_each;
    if (n > room)
        n = room;
    memcpy(bytes, f->in + f->in_at, n);
    f->in_at += n;
    return (int)n;
}

static inline uint32_t fake_ms(void *user)
{
    fake *f = user;
    return f->ms += f->ms_each;
}

static inline int fake_random(void *user, uint8_t *bytes, size_t n)
{
    fake *f = user;
    if (f->random == NULL || n != 16)
        return -1;
    memcpy(bytes, f->random, n);
    return 0;
}

static inline void fake_init(fake *f)
{
    memset(f, 0, sizeof *f);
    f->ms = 1000000; /* so that a time that was never taken is long ago */
    f->port.user = f;
    f->port.send = fake_send;
    f->port.recv = fake_recv;
    f->port.ms = fake_ms;
    f->port.random = fake_random;
}

/* From now on these bytes come. */
static inline void fake_give(fake *f, const void *bytes, size_t n)
{
    f->in = bytes;
    f->in_n = n;
    f->in_at = 0;
}

#endif
