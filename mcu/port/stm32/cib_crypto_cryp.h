/* cib_crypto_cryp.h: which CRYP peripheral seals and opens. */
#ifndef CIB_CRYPTO_CRYP_H
#define CIB_CRYPTO_CRYP_H

#include "cib.h"
#include "cib_crypto.h"
#include "main.h" /* of your project */

/* Before the first link. */
void cib_crypto_cryp_use(CRYP_HandleTypeDef *handle);

#endif
