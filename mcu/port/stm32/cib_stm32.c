/* cib_stm32.c: the STM32 HAL's UART as a cib_port: a ring that the HAL fills and the client empties. */
#include "cib_stm32.h"

/* A transmission is cut into pieces, so that one piece's time-out is that of a dead line: 64 bytes take 67 ms at 9,600 baud. */
#define PIECE_BYTES 64u

static int send_bytes(void *user, const uint8_t *bytes, size_t n)
{
    cib_stm32 *s = user;
    const uint16_t piece = (uint16_t)(n < PIECE_BYTES ? n : PIECE_BYTES);
    switch (HAL_UART_Transmit(s->uart, bytes, piece, CIB_SEND_MS)) {
    case HAL_OK:
        return piece;
    case HAL_BUSY:
        return 0;
    default: /* how much of the piece went out is not known */
        return CIB_ELINE;
    }
}

/* Asks for the next stretch of free ring; while the ring is full none runs, and RTS holds the line back. */
static void receive_segment(cib_stm32 *s)
{
    const uint16_t to_end = (uint16_t)(s->room - s->at);
    const uint32_t unread = s->put - s->taken;
    const uint32_t free = s->room - unread;
    s->segment = (uint16_t)(free < to_end ? free : to_end);
    if (s->segment != 0 && HAL_UARTEx_ReceiveToIdle_IT(s->uart, s->ring + s->at, s->segment) != HAL_OK)
        s->segment = 0;
}

static int begin(cib_stm32 *s)
{
    if (s->mode == CIB_STM32_DMA)
        return HAL_UARTEx_ReceiveToIdle_DMA(s->uart, s->ring, s->room) == HAL_OK ? 0 : CIB_ELINE;
    receive_segment(s);
    return s->segment != 0 ? 0 : CIB_ELINE;
}

int cib_stm32_start(cib_stm32 *s, enum cib_stm32_mode mode)
{
    HAL_UART_AbortReceive(s->uart);
    s->mode = (uint8_t)mode;
    s->at = s->from = 0;
    s->put = s->taken = 0;
    s->broken = false;
    const int error = begin(s);
    if (error != 0)
        s->broken = true;
    return error;
}

/*
 * `size` is where in the ring the HAL stands: after half of it, all of it, or when the line fell idle. Where the idle line and
 * the ring's end come together, the later call may carry the earlier place, which looks like a step of nearly a whole ring. No
 * true step is longer than half a ring and what came while interrupts were off.
 */
static void dma_stands_at(cib_stm32 *s, uint16_t size)
{
    const uint16_t now = (uint16_t)(size % s->room);
    const uint16_t step = (uint16_t)((now + s->room - s->at) % s->room);
    if (step > s->room / 4u * 3u)
        return;
    s->at = now;
    s->put += step;
}

void cib_stm32_received(cib_stm32 *s, const UART_HandleTypeDef *uart, uint16_t size)
{
    if (uart != s->uart)
        return;
    if (s->mode == CIB_STM32_DMA) {
        dma_stands_at(s, size);
        return;
    }
    s->put += size;
    s->at = (uint16_t)((s->at + size) % s->room);
    receive_segment(s);
}

/* Whether the HAL has ended the reception depends on the error and its version; recv starts it anew in any case. */
void cib_stm32_failed(cib_stm32 *s, const UART_HandleTypeDef *uart)
{
    if (uart == s->uart)
        s->broken = true;
}

static int recv_bytes(void *user, uint8_t *bytes, size_t room)
{
    cib_stm32 *s = user;
    /* By DMA, what lies unread beyond half a ring may be written over while it is read. */
    const uint32_t most = s->mode == CIB_STM32_DMA ? s->room / 2u : s->room;
    if (s->broken || s->put - s->taken > most) {
        s->lost++;
        cib_stm32_start(s, (enum cib_stm32_mode)s->mode);
        return CIB_ELINE;
    }
    size_t n = 0;
    while (n < room && s->taken != s->put) {
        bytes[n++] = s->ring[s->from];
        s->from = (uint16_t)((s->from + 1u) % s->room);
        s->taken++;
    }
    if (s->mode == CIB_STM32_INTERRUPT && s->segment == 0)
        receive_segment(s);
    return (int)n;
}

static uint32_t milliseconds(void *user)
{
    (void)user;
    return HAL_GetTick();
}

static bool random_word(const cib_stm32 *s, uint32_t *word)
{
#ifdef HAL_RNG_MODULE_ENABLED
    return s->rng != NULL && HAL_RNG_GenerateRandomNumber(s->rng, word) == HAL_OK;
#else
    (void)s;
    (void)word;
    return false;
#endif
}

static int random_bytes(void *user, uint8_t *bytes, size_t n)
{
    const cib_stm32 *s = user;
    uint32_t word = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0 && !random_word(s, &word))
            return CIB_ERANDOM;
        bytes[i] = (uint8_t)(word >> 8 * (i % 4));
    }
    return 0;
}

void cib_stm32_init(cib_stm32 *s, UART_HandleTypeDef *uart, cib_stm32_rng *rng, uint8_t *ring, uint16_t room)
{
    *s = (cib_stm32){
        .port = {s, send_bytes, recv_bytes, milliseconds, random_bytes},
        .uart = uart,
        .rng = rng,
        .ring = ring,
        .room = room,
    };
}
