/*
 * board.h: the two parts that QEMU models, as far as the tests need them: an STM32F405 (netduinoplus2) and an
 * STM32F100 with 8 KB of RAM (stm32vldiscovery), on their reset clock. What is not modelled there is not used: clock setup, RNG,
 * DMA, transmit interrupts.
 *
 * USART2 is the serial bridge: it sends by polling and receives by interrupt. USART1 is the test's finger: a byte is a
 * button that goes down or up.
 */
#ifndef CIB_TEST_BOARD_H
#define CIB_TEST_BOARD_H

#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------ board.c */

/* Starts the tick of 1 ms, and both USARTs. */
void board_start(void);
uint32_t board_ms(void);
/* Until the next interrupt, at most 1 ms. */
void board_sleep(void);
/* What a button did: the next byte that came to USART1, or 0. */
uint8_t board_button(void);
void board_send(const uint8_t *bytes, size_t n);
/* A word of the command line, counted from 0; it ends the program where there is none. */
const char *board_argument(unsigned number);

/* Whoever receives from USART2 has these: the interrupt, and once a millisecond, in an interrupt too. */
void board_usart2_interrupt(void);
void board_usart2_tick(void);
/* The next byte that waits at USART2, or -1; and whether such a byte raises the interrupt. */
int board_take(void);
void board_listen(int on);

/* ------------------------------------------------------------------ hal_qemu.c */

/* Stands for a sector of flash, which QEMU does not program: erased at every start. */
extern const volatile uint32_t *const board_flash;

/* ------------------------------------------------------------------ ring.c: USART2 for programs without a HAL */

/* Bytes of the ring, a power of two. */
#define LINE_BYTES 64u
/* What has come, at most `room` bytes. */
size_t ring_receive(uint8_t *bytes, size_t room);

/* ------------------------------------------------------------------ startup.c */

/* Bytes of RAM that data, bss and the deepest stack so far have taken: all RAM was painted before main. */
uint32_t board_ram_used(void);
/* Of these, the stack's. */
uint32_t board_stack_used(void);

#endif
