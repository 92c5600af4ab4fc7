/* fake_hal.c: events and positions as stm32f4xx_hal_uart.c tells them: half, end, idle; by DMA in a circle, else once. */
#include "fake_hal.h"

#include <string.h>

fake_hal hal;
UART_HandleTypeDef wired, other;
GPIO_TypeDef cib_hal_subset_gpio_b, cib_hal_subset_gpio_d;

void fake_reset(void)
{
    memset(&hal, 0, sizeof hal);
    hal.random = 0x04030201;
}

static HAL_StatusTypeDef receive(uint8_t *buffer, uint16_t size, bool circular)
{
    if (hal.refuses || hal.size != 0)
        return HAL_BUSY;
    hal.buffer = buffer;
    hal.size = size;
    hal.at = 0;
    hal.circular = circular;
    hal.starts++;
    return HAL_OK;
}

HAL_StatusTypeDef HAL_UARTEx_ReceiveToIdle_IT(UART_HandleTypeDef *huart, uint8_t *pData, uint16_t Size)
{
    return huart == &wired ? receive(pData, Size, false) : HAL_ERROR;
}

HAL_StatusTypeDef HAL_UARTEx_ReceiveToIdle_DMA(UART_HandleTypeDef *huart, uint8_t *pData, uint16_t Size)
{
    return huart == &wired ? receive(pData, Size, true) : HAL_ERROR;
}

HAL_StatusTypeDef HAL_UART_AbortReceive(UART_HandleTypeDef *huart)
{
    (void)huart;
    hal.size = 0;
    hal.aborts++;
    return HAL_OK;
}

bool fake_byte(uint8_t byte)
{
    if (hal.size == 0)
        return false;
    hal.buffer[hal.at++] = byte;
    if (hal.circular && hal.at == hal.size / 2)
        HAL_UARTEx_RxEventCallback(&wired, hal.at);
    if (hal.at == hal.size) {
        const uint16_t size = hal.size;
        hal.at = 0;
        if (!hal.circular)
            hal.size = 0;
        HAL_UARTEx_RxEventCallback(&wired, size);
    }
    return true;
}

void fake_idle(void)
{
    const uint16_t at = hal.at;
    if (hal.size == 0 || at == 0)
        return;
    if (!hal.circular)
        hal.size = 0;
    HAL_UARTEx_RxEventCallback(&wired, at);
}

void fake_error(void)
{
    hal.size = 0;
    HAL_UART_ErrorCallback(&wired);
}

HAL_StatusTypeDef HAL_UART_Transmit(UART_HandleTypeDef *huart, const uint8_t *pData, uint16_t Size, uint32_t Timeout)
{
    (void)huart;
    (void)Timeout;
    if (hal.transmit == HAL_OK && hal.n + Size <= sizeof hal.sent) {
        memcpy(hal.sent + hal.n, pData, Size);
        hal.n += Size;
    }
    return hal.transmit;
}

uint32_t HAL_GetTick(void)
{
    return hal.ms;
}

HAL_StatusTypeDef HAL_RNG_GenerateRandomNumber(RNG_HandleTypeDef *hrng, uint32_t *random32bit)
{
    (void)hrng;
    *random32bit = hal.random;
    hal.random += 0x04040404;
    return HAL_OK;
}
