/*
 * cib_boot_flash.h: the boot counter that a key needs (docs/PROTOCOL.md, "Keys"): each start uses up one word of a sector of
 * flash. A power cut at any moment leaves a number that was not used before.
 *
 * For parts that program words (F0 to F4, F7). A sector of 16 KB is good for 4,096 starts. When it is full, have a new key made and erase
 * the sector: the same key may never count from the beginning again.
 */
#ifndef CIB_BOOT_FLASH_H
#define CIB_BOOT_FLASH_H

#include "cib.h"
#include "main.h" /* of your project */

/* Raises the counter and puts it into `boot`, from 1 on. 0; CIB_EROOM where the sector is full, CIB_ELINE where flash did not
 * take the word: then do not connect. sector: words that the program does not reach, erased before the first start. */
int cib_boot_flash(uint32_t *boot, const volatile uint32_t *sector, uint32_t words);

#endif
