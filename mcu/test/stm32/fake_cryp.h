/* fake_cryp.h: the software cipher under other names, and what the fake peripheral answers. */
#ifndef FAKE_CRYP_H
#define FAKE_CRYP_H

#include "main.h"

extern HAL_StatusTypeDef fake_cryp_answer;

int soft_seal(const uint8_t key[32], uint32_t counter, uint8_t *record, size_t n);

#endif
