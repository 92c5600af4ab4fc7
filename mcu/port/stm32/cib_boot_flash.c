/* cib_boot_flash.c: counting in flash without erasing. */
#include "cib_boot_flash.h"

#define ERASED UINT32_MAX

int cib_boot_flash(uint32_t *boot, const volatile uint32_t *sector, uint32_t words)
{
    uint32_t used = 0;
    while (used < words && sector[used] != ERASED)
        used++;
    if (used == words)
        return CIB_EROOM;
    HAL_FLASH_Unlock();
    const HAL_StatusTypeDef status = HAL_FLASH_Program(FLASH_TYPEPROGRAM_WORD, (uint32_t)(uintptr_t)&sector[used], 0);
    HAL_FLASH_Lock();
    if (status != HAL_OK || sector[used] == ERASED)
        return CIB_ELINE;
    *boot = used + 1;
    return CIB_OK;
}
