/* startup.c: from reset to main: the vector table, the sections, and paint over all RAM that nothing stands in yet. */
#include <stdint.h>

#include "board.h"
#include "semihost.h"

/* From the linker script. */
extern uint32_t data_source[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];

int main(void);
void board_tick(void);

#define PAINT UINT32_C(0x5ac0ffee)
#define EXIT_FAULT 90

static void fault(void)
{
    semihost_say("fault\n");
    semihost_exit(EXIT_FAULT);
}

void reset(void)
{
    const uint32_t *from = data_source;
    for (uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;
    /* `here` is in this function's own frame; what lies under it is free. */
    volatile uint32_t here = 0;
    for (volatile uint32_t *to = bss_end; to < &here; to++)
        *to = PAINT;
    semihost_exit((uint32_t)main());
}

uint32_t board_stack_used(void)
{
    const uint32_t *deepest = bss_end;
    while (deepest < stack_top && *deepest == PAINT)
        deepest++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)deepest);
}

uint32_t board_ram_used(void)
{
    return (uint32_t)((uintptr_t)bss_end - (uintptr_t)data_start) + board_stack_used();
}

/* Behind the 16 of the core; both parts have USART2 at 38. */
#define USART2_VECTOR (16 + 38)

typedef union vector {
    void (*handler)(void);
    const void *stack;
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[USART2_VECTOR + 1] = {
    [0] = {.stack = stack_top},
    [1] = {.handler = reset},
    [2] = {.handler = fault}, /* NMI */
    [3] = {.handler = fault}, /* hard fault */
    [4] = {.handler = fault}, /* memory */
    [5] = {.handler = fault}, /* bus */
    [6] = {.handler = fault}, /* usage */
    [15] = {.handler = board_tick},
    [USART2_VECTOR] = {.handler = board_usart2_interrupt},
};
