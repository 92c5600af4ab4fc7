/* cib_link.h: inside the library only: what the carriers of a link share with it. */
#ifndef CIB_LINK_H
#define CIB_LINK_H

#include "cib.h"

/* cib_link.state. Leaving: the goodbye was read, and is told at the next poll. */
enum { CIB_LINK_CLOSED = 0, CIB_LINK_GREETING = 1, CIB_LINK_LIVE = 2, CIB_LINK_LEAVING = 3 };

/* A record is its length, the ciphertext and a tag of 16 bytes. */
enum { CIB_LENGTH_BYTES = 2, CIB_RECORD_MORE = CIB_RECORD_ROOM(0) };

/* Counters 0 to 16,777,214 are a link's. */
#define CIB_LINK_RECORDS ((UINT32_C(1) << 24) - 1)

/* What of the n bytes at l->plain is to be given out: all of them, or those before a goodbye; CIB_EBYE where nothing is before it. */
int cib_link_before_bye(cib_link *l, int n);

#endif
