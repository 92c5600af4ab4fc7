/* cib_send.h: inside the library only: how every carrier sends what must go out whole. */
#ifndef CIB_SEND_H
#define CIB_SEND_H

#include "cib.h"

/* All n bytes, however few the port takes at a time. CIB_ELINE where it is dead or takes nothing for CIB_SEND_MS. */
int cib_send_all(const cib_port *port, const uint8_t *bytes, size_t n);

/* Something on its way that is made of small parts: collected, since a segment for each of them would cost more than this room. */
typedef struct cib_outgoing {
    const cib_port *port;
    int error; /* the first; after it nothing more is sent */
    size_t n;
    uint8_t bytes[64];
} cib_outgoing;

void cib_put(cib_outgoing *o, const void *bytes, size_t n);
/* Sends what is left; returns o->error. */
int cib_flush(cib_outgoing *o);

#endif
