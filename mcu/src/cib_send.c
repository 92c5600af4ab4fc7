/* cib_send.c: the one place that waits: a port takes what it can, a packet must go out whole. */
#include "cib_send.h"

int cib_send_all(const cib_port *port, const uint8_t *bytes, size_t n)
{
    uint32_t moved = port->ms(port->user);
    while (n > 0) {
        int took = port->send(port->user, bytes, n);
        /* A port that claims more than it was given is broken, and would send us past the end. */
        if (took < 0 || (size_t)took > n)
            return CIB_ELINE;
        uint32_t now = port->ms(port->user);
        if (took > 0)
            moved = now;
        else if (now - moved >= CIB_SEND_MS)
            return CIB_ELINE;
        bytes += took;
        n -= (size_t)took;
    }
    return CIB_OK;
}

int cib_flush(cib_outgoing *o)
{
    if (o->error == 0)
        o->error = cib_send_all(o->port, o->bytes, o->n);
    o->n = 0;
    return o->error;
}

void cib_put(cib_outgoing *o, const void *bytes, size_t n)
{
    for (const uint8_t *at = bytes; n > 0 && o->error == 0; n--) {
        if (o->n == sizeof o->bytes)
            cib_flush(o);
        o->bytes[o->n++] = *at++;
    }
}
