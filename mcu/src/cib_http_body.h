/* cib_http_body.h: inside the library only: the body of an HTTP/1.1 response, as it comes. */
#ifndef CIB_HTTP_BODY_H
#define CIB_HTTP_BODY_H

#include "cib.h"

/* A line's first bytes are kept in buf: enough for a status, a length and "transfer-encoding: chunked". */
#define CIB_HTTP_LINE 48u

/* A request is out: what comes now is the response to it. */
void cib_body_expect(cib_http *h);
/* Are the first `want` (at least 1) bytes since h->got was 0 at h->buf? 1; 0 not yet; CIB_HTTP_END where the body has ended before; or
 * CIB_ELINE, CIB_EFORMAT, CIB_EREFUSED for any status but 200. Takes no byte beyond them. */
int cib_body(cib_http *h, size_t want);
/* Does nothing but the end of the connection end this body? */
bool cib_body_endless(const cib_http *h);

#endif
