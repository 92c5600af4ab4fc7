/* boot.c: a counter in flash gives each start a number of its own, whatever was cut off before. */
#include "check.h"
#include "cib_boot_flash.h"

enum { WORDS = 8 };

static uint32_t sector[WORDS];
static HAL_StatusTypeDef answer;
static uint32_t stuck; /* bits that do not take a zero */
static int unlocked;

HAL_StatusTypeDef HAL_FLASH_Unlock(void)
{
    unlocked++;
    return HAL_OK;
}

HAL_StatusTypeDef HAL_FLASH_Lock(void)
{
    unlocked--;
    return HAL_OK;
}

/* Addresses have 32 bits there: here they are told apart by their low ones. */
HAL_StatusTypeDef HAL_FLASH_Program(uint32_t TypeProgram, uint32_t Address, uint64_t Data)
{
    const uint32_t at = (Address - (uint32_t)(uintptr_t)sector) / 4;
    CHECK(TypeProgram == FLASH_TYPEPROGRAM_WORD && unlocked == 1 && at < WORDS);
    if (answer == HAL_OK)
        sector[at] &= (uint32_t)Data | stuck;
    return answer;
}

static void erase(void)
{
    memset(sector, 0xff, sizeof sector);
    answer = HAL_OK;
    stuck = 0;
}

static void every_start_has_the_next_number(void)
{
    uint32_t boot;
    erase();
    for (uint32_t start = 1; start <= WORDS; start++) {
        SAME(cib_boot_flash(&boot, sector, WORDS), 0);
        SAME(boot, start);
        SAME(unlocked, 0);
    }
}

static void a_full_sector_gives_none(void)
{
    uint32_t boot = 0;
    SAME(cib_boot_flash(&boot, sector, WORDS), CIB_EROOM);
    SAME(boot, 0);
}

static void a_word_that_a_power_cut_left_half_written_is_used_up(void)
{
    uint32_t boot;
    erase();
    sector[0] = 0;
    sector[1] = 0xffff0ff0;
    SAME(cib_boot_flash(&boot, sector, WORDS), 0);
    SAME(boot, 3);
}

static void flash_that_takes_nothing_is_told(void)
{
    uint32_t boot = 0;
    erase();
    answer = HAL_ERROR;
    SAME(cib_boot_flash(&boot, sector, WORDS), CIB_ELINE);
    answer = HAL_OK;
    stuck = UINT32_MAX;
    SAME(cib_boot_flash(&boot, sector, WORDS), CIB_ELINE);
    SAME(boot, 0);
    SAME(unlocked, 0);
}

int main(void)
{
    RUN(every_start_has_the_next_number);
    RUN(a_full_sector_gives_none);
    RUN(a_word_that_a_power_cut_left_half_written_is_used_up);
    RUN(flash_that_takes_nothing_is_told);
    return report("boot");
}
