/* ring.c: what comes to USART2, until the program takes it. */
#include "board.h"

static volatile uint32_t put, taken;
static uint8_t ring[LINE_BYTES];

/* A full ring stops listening until there is room again: the line's RTS, for QEMU's baud rate is endless. */
void board_usart2_interrupt(void)
{
    int byte;
    while (put - taken < LINE_BYTES && (byte = board_take()) >= 0) {
        ring[put % LINE_BYTES] = (uint8_t)byte;
        put++;
    }
    if (put - taken == LINE_BYTES)
        board_listen(0);
}

void board_usart2_tick(void)
{
}

size_t ring_receive(uint8_t *bytes, size_t room)
{
    size_t n = 0;
    while (n < room && taken != put) {
        bytes[n++] = ring[taken % LINE_BYTES];
        taken++;
    }
    board_listen(1);
    return n;
}
