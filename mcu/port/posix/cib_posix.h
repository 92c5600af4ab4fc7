/*
 * cib_posix.h: the port for Linux, macOS and whatever else has POSIX sockets: what cib_port asks of a board, from an
 * operating system. Read it as the model for a port of your own; it is all that a board has to bring.
 *
 *   static cib_posix net;
 *   cib_port port = cib_posix_port(&net);
 *   cib_posix_connect(&net, "box.local", "8081", 5000);     // then cib_link_start, cib_http_post, cib_mqtt_connect
 *   cib_posix_wait(&net, -1, 1000);                         // sleeps until bytes have come, or for a second
 */
#ifndef CIB_POSIX_H
#define CIB_POSIX_H

#include "cib.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One TCP connection at a time. */
typedef struct cib_posix {
    int fd; /* -1: none */
} cib_posix;

/* The callbacks for this connection; `net` must live as long as they are used. No connection yet. */
cib_port cib_posix_port(cib_posix *net);
/* Connects to the first address of the name that answers, and gives each timeout_ms for it. 0 or CIB_ELINE. A
 * connection of before is closed. Finding the name's addresses may take longer than that. */
int cib_posix_connect(cib_posix *net, const char *host, const char *port, int timeout_ms);
void cib_posix_close(cib_posix *net);

/* What cib_posix_wait found, as bits. */
enum {
    CIB_POSIX_LINE = 1, /* bytes on the connection, or its end */
    CIB_POSIX_OTHER = 2 /* the other file: a keyboard */
};
/* Waits until there is something to read, or timeout_ms have passed: 0 then. `other`: a file to wait for too, or -1. */
int cib_posix_wait(const cib_posix *net, int other, int timeout_ms);

/* Raises the boot counter in this file and puts it on the disk before it returns: 0 and the new count, from 1, or CIB_ELINE.
 * A file that is missing counts as 0; one that says anything else is left as it is: a repeated count would repeat keys. */
int cib_posix_boot(const char *file, uint32_t *boot);

#ifdef __cplusplus
}
#endif

#endif
