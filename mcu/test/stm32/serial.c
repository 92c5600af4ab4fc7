/* serial.c: the ring of the HAL port: nothing lost, nothing twice, and a loss always told. */
#include "check.h"
#include "cib_stm32.h"
#include "fake_hal.h"

enum { ROOM = 64 };

static uint8_t ring[ROOM];
static cib_stm32 serial;
static RNG_HandleTypeDef rng;

void HAL_UARTEx_RxEventCallback(UART_HandleTypeDef *huart, uint16_t Size)
{
    cib_stm32_received(&serial, huart, Size);
}

void HAL_UART_ErrorCallback(UART_HandleTypeDef *huart)
{
    cib_stm32_failed(&serial, huart);
}

static void start(enum cib_stm32_mode mode)
{
    fake_reset();
    cib_stm32_init(&serial, &wired, &rng, ring, ROOM);
    SAME(cib_stm32_start(&serial, mode), 0);
}

static int receive(uint8_t *bytes, size_t room)
{
    return serial.port.recv(serial.port.user, bytes, room);
}

/* So many bytes that count up from `first`, and the line falls idle. */
static void come(uint8_t first, unsigned n)
{
    while (n-- > 0)
        CHECK(fake_byte(first++));
    fake_idle();
}

static unsigned dice(unsigned below)
{
    static unsigned state = 20261124;
    return random_of(&state) % below;
}

static void bytes_come_in_order_round_and_round(enum cib_stm32_mode mode)
{
    start(mode);
    uint8_t bytes[ROOM], next = 0, expected = 0;
    unsigned unread = 0;
    for (unsigned round = 0; round < 20000; round++) {
        /* By DMA half a ring may lie unread, and what no event has told of yet comes on top. */
        const unsigned most = mode == CIB_STM32_DMA ? ROOM / 2 : ROOM;
        for (unsigned n = dice(most - unread + 1); n > 0; n--, unread++)
            CHECK(fake_byte(next++));
        if (dice(3) > 0)
            fake_idle();
        const int n = receive(bytes, dice(ROOM + 1));
        CHECK(n >= 0);
        unread -= (unsigned)n;
        for (int i = 0; i < n; i++)
            SAME(bytes[i], expected++);
    }
    CHECK(expected != next || unread == 0);
    SAME(serial.lost, 0);
}

static void by_dma_bytes_come_in_order(void)
{
    bytes_come_in_order_round_and_round(CIB_STM32_DMA);
    SAME(hal.starts, 1); /* the circle never stops */
}

static void by_interrupt_bytes_come_in_order(void)
{
    bytes_come_in_order_round_and_round(CIB_STM32_INTERRUPT);
}

static void bytes_are_there_as_soon_as_the_line_is_idle(void)
{
    uint8_t bytes[ROOM];
    start(CIB_STM32_DMA);
    CHECK(fake_byte(7));
    SAME(receive(bytes, ROOM), 0);
    fake_idle();
    SAME(receive(bytes, ROOM), 1);
    SAME(bytes[0], 7);
}

static void an_event_that_was_overtaken_changes_nothing(void)
{
    uint8_t bytes[ROOM];
    start(CIB_STM32_DMA);
    come(0, 20);
    SAME(receive(bytes, ROOM), 20);
    come(20, 20);
    SAME(receive(bytes, ROOM), 20);
    /* The ring's end and three bytes behind it; the idle line is told first, the end afterwards. */
    for (unsigned i = 40; i < ROOM + 3; i++)
        ring[i % ROOM] = (uint8_t)i;
    cib_stm32_received(&serial, &wired, 3);
    cib_stm32_received(&serial, &wired, ROOM);
    cib_stm32_received(&serial, &wired, 3);
    SAME(receive(bytes, ROOM), 27);
    SAME(bytes[0], 40);
    SAME(bytes[26], 66);
    SAME(receive(bytes, ROOM), 0);
}

static void too_much_unread_is_a_lost_line_once(void)
{
    uint8_t bytes[ROOM];
    start(CIB_STM32_DMA);
    come(0, ROOM / 2 + 1);
    SAME(receive(bytes, ROOM), CIB_ELINE);
    SAME(serial.lost, 1);
    SAME(receive(bytes, ROOM), 0);
    come(100, 5);
    SAME(receive(bytes, ROOM), 5);
    SAME(bytes[0], 100);
}

static void an_error_of_the_line_is_told_once_and_reception_goes_on(enum cib_stm32_mode mode)
{
    uint8_t bytes[ROOM];
    start(mode);
    come(0, 9);
    fake_error();
    SAME(receive(bytes, ROOM), CIB_ELINE);
    SAME(receive(bytes, ROOM), 0);
    come(50, 10);
    SAME(receive(bytes, ROOM), 10);
    SAME(bytes[9], 59);
}

static void an_error_is_told_once(void)
{
    an_error_of_the_line_is_told_once_and_reception_goes_on(CIB_STM32_DMA);
    an_error_of_the_line_is_told_once_and_reception_goes_on(CIB_STM32_INTERRUPT);
}

static void while_the_hal_refuses_the_line_is_dead(void)
{
    uint8_t bytes[ROOM];
    start(CIB_STM32_INTERRUPT);
    hal.refuses = true;
    fake_error();
    SAME(receive(bytes, ROOM), CIB_ELINE);
    SAME(receive(bytes, ROOM), CIB_ELINE);
    hal.refuses = false;
    SAME(receive(bytes, ROOM), CIB_ELINE); /* this one started it */
    SAME(receive(bytes, ROOM), 0);
    come(1, 1);
    SAME(receive(bytes, ROOM), 1);
}

static void by_interrupt_a_full_ring_waits_until_it_is_read(void)
{
    uint8_t bytes[ROOM];
    start(CIB_STM32_INTERRUPT);
    come(0, 20);
    come(20, ROOM - 20);
    CHECK(!fake_byte(99)); /* RTS would hold it back */
    SAME(receive(bytes, 10), 10);
    come(ROOM, 10);
    CHECK(!fake_byte(99));
    SAME(receive(bytes, ROOM), ROOM);
    SAME(bytes[0], 10);
    SAME(bytes[ROOM - 1], ROOM + 9);
    SAME(serial.lost, 0);
}

static void another_uart_is_nobodys_business(void)
{
    uint8_t bytes[ROOM];
    start(CIB_STM32_DMA);
    cib_stm32_received(&serial, &other, 10);
    cib_stm32_failed(&serial, &other);
    SAME(receive(bytes, ROOM), 0);
}

static void sending_goes_in_pieces(void)
{
    uint8_t bytes[200] = {0};
    start(CIB_STM32_DMA);
    SAME(serial.port.send(serial.port.user, bytes, sizeof bytes), 64);
    SAME(serial.port.send(serial.port.user, bytes, 5), 5);
    SAME(hal.n, 69);
    hal.transmit = HAL_BUSY;
    SAME(serial.port.send(serial.port.user, bytes, 5), 0);
    hal.transmit = HAL_TIMEOUT;
    SAME(serial.port.send(serial.port.user, bytes, 5), CIB_ELINE);
}

static void random_bytes_come_from_the_generator(void)
{
    uint8_t bytes[6];
    start(CIB_STM32_DMA);
    SAME(serial.port.random(serial.port.user, bytes, sizeof bytes), 0);
    SAME_HEX(bytes, "010203040506");
    serial.rng = NULL;
    SAME(serial.port.random(serial.port.user, bytes, sizeof bytes), CIB_ERANDOM);
}

int main(void)
{
    RUN(by_dma_bytes_come_in_order);
    RUN(by_interrupt_bytes_come_in_order);
    RUN(bytes_are_there_as_soon_as_the_line_is_idle);
    RUN(an_event_that_was_overtaken_changes_nothing);
    RUN(too_much_unread_is_a_lost_line_once);
    RUN(an_error_is_told_once);
    RUN(while_the_hal_refuses_the_line_is_dead);
    RUN(by_interrupt_a_full_ring_waits_until_it_is_read);
    RUN(another_uart_is_nobodys_business);
    RUN(sending_goes_in_pieces);
    RUN(random_bytes_come_from_the_generator);
    return report("serial");
}
