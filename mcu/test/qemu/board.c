/* board.c: SysTick, USART1 and USART2 by their registers (RM0090 chapter 30, PM0214 chapter 4.5), for QEMU only. */
#include "board.h"

#include <string.h>

#include "semihost.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define SYST_CSR REGISTER(0xe000e010)
#define SYST_RVR REGISTER(0xe000e014)
#define SYST_CVR REGISTER(0xe000e018)
#define SYST_RUN 7u /* the core's clock, with interrupt */
#define NVIC_ISER1 REGISTER(0xe000e104)
#define USART2_INTERRUPT (UINT32_C(1) << (38 - 32))

/* QEMU's clocks are fixed, whatever RCC is told. */
#ifdef BOARD_F100
#define CORE_HZ 24000000u
#define USART1_AT 0x40013800u
#else
#define CORE_HZ 168000000u
#define USART1_AT 0x40011000u
#endif
#define USART2_AT 0x40004400u

typedef struct usart {
    volatile uint32_t SR, DR, BRR, CR1;
} usart;

#define USART1 ((usart *)(uintptr_t)USART1_AT)
#define USART2 ((usart *)(uintptr_t)USART2_AT)

#define SR_RXNE (1u << 5)
#define SR_TXE (1u << 7)
#define CR1_RE (1u << 2)
#define CR1_TE (1u << 3)
#define CR1_RXNEIE (1u << 5)
#define CR1_UE (1u << 13)

#define EXIT_ARGUMENTS 91

static volatile uint32_t ticks;

void board_start(void)
{
    SYST_RVR = CORE_HZ / 1000 - 1;
    SYST_CVR = 0;
    SYST_CSR = SYST_RUN;
    USART1->CR1 = CR1_UE | CR1_RE;
    USART2->CR1 = CR1_UE | CR1_RE | CR1_TE;
    NVIC_ISER1 = USART2_INTERRUPT;
}

void board_tick(void)
{
    ticks++;
    board_usart2_tick();
}

uint32_t board_ms(void)
{
    return ticks;
}

void board_sleep(void)
{
    __asm__ volatile("wfi" ::: "memory");
}

uint8_t board_button(void)
{
    return (USART1->SR & SR_RXNE) != 0 ? (uint8_t)USART1->DR : 0;
}

void board_listen(int on)
{
    if (on)
        USART2->CR1 |= CR1_RXNEIE;
    else
        USART2->CR1 &= ~CR1_RXNEIE;
}

int board_take(void)
{
    return (USART2->SR & SR_RXNE) != 0 ? (int)(USART2->DR & 0xffu) : -1;
}

void board_send(const uint8_t *bytes, size_t n)
{
    while (n-- > 0) {
        while (!(USART2->SR & SR_TXE))
            ;
        USART2->DR = *bytes++;
    }
}

const char *board_argument(unsigned number)
{
    static char words[240];
    static size_t n;
    if (n == 0) {
        if (semihost_arguments(words, sizeof words) < 0)
            semihost_exit(EXIT_ARGUMENTS);
        for (; words[n] != 0; n++)
            if (words[n] == ' ')
                words[n] = 0;
    }
    size_t at = 0;
    for (; number > 0 && at < n; number--)
        at += strlen(&words[at]) + 1;
    if (at >= n)
        semihost_exit(EXIT_ARGUMENTS);
    return &words[at];
}
