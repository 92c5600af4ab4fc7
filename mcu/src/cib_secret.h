/* cib_secret.h: inside the library only: how secrets are compared, and how they end. */
#ifndef CIB_SECRET_H
#define CIB_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Are n bytes the same? Takes as long wherever they differ. */
bool cib_same(const uint8_t *a, const uint8_t *b, size_t n);
/* Zeros over n bytes, which no compiler may leave out. */
void cib_wipe(void *secret, size_t n);

#endif
