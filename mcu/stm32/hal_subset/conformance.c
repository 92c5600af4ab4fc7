/*
 * conformance.c: ST's own headers and our prototypes in one file: where they differ, the compiler refuses it ("conflicting
 * types"). Compiled only where CUBE_F4 names a copy of STM32CubeF4 (see Makefile); makes no code.
 */
#include <stm32f4xx_hal.h>

#ifdef CIB_HAL_SUBSET_TYPES
#error "these are not ST's headers but the subset: CUBE_F4 must name a copy of STM32CubeF4"
#endif

#include "prototypes.h"

/* Fields that the CRYP port fills in, with the types that it relies on. */
void cib_hal_conformance(CRYP_ConfigTypeDef *c);
void cib_hal_conformance(CRYP_ConfigTypeDef *c)
{
    uint32_t **const pointers[] = {&c->pKey, &c->pInitVect, &c->Header, &c->B0};
    uint32_t *const numbers[] = {&c->DataType, &c->KeySize, &c->Algorithm, &c->HeaderSize,
                                 &c->DataWidthUnit, &c->HeaderWidthUnit, &c->KeyIVConfigSkip};
    (void)pointers;
    (void)numbers;
}
