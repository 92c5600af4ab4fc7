/*
 * hal_qemu.c: the part of the HAL that the example calls, over the registers that QEMU models, so that main_example.c and the port
 * run on the emulated STM32F405 as they would on the part. Reception by interrupt, as HAL_UARTEx_ReceiveToIdle_IT does
 * it; QEMU knows no idle line, so a millisecond without a byte is one.
 */
#include "board.h"
#include "main.h"
#include "semihost.h"

#define EXIT_ERROR_HANDLER 92

GPIO_TypeDef cib_hal_subset_gpio_b, cib_hal_subset_gpio_d;

static UART_HandleTypeDef *receiver;
static uint8_t *buffer;
static uint16_t wanted, got, got_at_tick; /* wanted 0: no reception runs */
static uint16_t down;                     /* pins of buttons */
static uint16_t lit;                      /* pins of lamps */

HAL_StatusTypeDef HAL_Init(void)
{
    board_start();
    return HAL_OK;
}

uint32_t HAL_GetTick(void)
{
    return board_ms();
}

void HAL_Delay(uint32_t Delay)
{
    for (const uint32_t since = board_ms(); board_ms() - since < Delay;)
        board_sleep();
}

static void finish_reception(void)
{
    const uint16_t n = got;
    wanted = got = got_at_tick = 0;
    board_listen(0);
    HAL_UARTEx_RxEventCallback(receiver, n);
}

void board_usart2_interrupt(void)
{
    int byte;
    while (wanted != 0 && (byte = board_take()) >= 0) {
        buffer[got++] = (uint8_t)byte;
        if (got == wanted)
            finish_reception();
    }
}

void board_usart2_tick(void)
{
    if (wanted != 0 && got != 0 && got == got_at_tick)
        finish_reception();
    got_at_tick = got;
}

HAL_StatusTypeDef HAL_UARTEx_ReceiveToIdle_IT(UART_HandleTypeDef *huart, uint8_t *pData, uint16_t Size)
{
    if (wanted != 0)
        return HAL_BUSY;
    receiver = huart;
    buffer = pData;
    got = got_at_tick = 0;
    wanted = Size;
    board_listen(1);
    return HAL_OK;
}

HAL_StatusTypeDef HAL_UARTEx_ReceiveToIdle_DMA(UART_HandleTypeDef *huart, uint8_t *pData, uint16_t Size)
{
    (void)huart;
    (void)pData;
    (void)Size;
    return HAL_ERROR;
}

HAL_StatusTypeDef HAL_UART_AbortReceive(UART_HandleTypeDef *huart)
{
    (void)huart;
    board_listen(0);
    wanted = 0;
    return HAL_OK;
}

HAL_StatusTypeDef HAL_UART_Transmit(UART_HandleTypeDef *huart, const uint8_t *pData, uint16_t Size, uint32_t Timeout)
{
    (void)huart;
    (void)Timeout;
    board_send(pData, Size);
    return HAL_OK;
}

HAL_StatusTypeDef HAL_RNG_GenerateRandomNumber(RNG_HandleTypeDef *hrng, uint32_t *random32bit)
{
    (void)hrng;
    return semihost_random((uint8_t *)random32bit, sizeof *random32bit) == 0 ? HAL_OK : HAL_ERROR;
}

static uint32_t flash[4] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
const volatile uint32_t *const board_flash = flash;

HAL_StatusTypeDef HAL_FLASH_Unlock(void)
{
    return HAL_OK;
}

HAL_StatusTypeDef HAL_FLASH_Lock(void)
{
    return HAL_OK;
}

HAL_StatusTypeDef HAL_FLASH_Program(uint32_t TypeProgram, uint32_t Address, uint64_t Data)
{
    (void)TypeProgram;
    flash[(Address - (uint32_t)flash) / sizeof flash[0]] &= (uint32_t)Data;
    return HAL_OK;
}

/* Capital letters press, small ones let go; "q" ends the program. */
static void feel_buttons(void)
{
    switch (board_button()) {
    case 'A':
        down |= APPROVE_Pin;
        break;
    case 'a':
        down &= (uint16_t)~APPROVE_Pin;
        break;
    case 'D':
        down |= DENY_Pin;
        break;
    case 'd':
        down &= (uint16_t)~DENY_Pin;
        break;
    case 'q':
        semihost_tell("ram", board_ram_used());
        semihost_exit(0);
    default:
        break;
    }
}

GPIO_PinState HAL_GPIO_ReadPin(GPIO_TypeDef *GPIOx, uint16_t GPIO_Pin)
{
    (void)GPIOx;
    feel_buttons();
    return (down & GPIO_Pin) != 0 ? GPIO_PIN_RESET : GPIO_PIN_SET;
}

void HAL_GPIO_WritePin(GPIO_TypeDef *GPIOx, uint16_t GPIO_Pin, GPIO_PinState PinState)
{
    const uint16_t now = (uint16_t)(PinState == GPIO_PIN_SET ? lit | GPIO_Pin : lit & ~GPIO_Pin);
    (void)GPIOx;
    if (now != lit) {
        semihost_say(PinState == GPIO_PIN_SET ? "lit " : "dark ");
        semihost_say(GPIO_Pin == LAMP_WORKING_Pin ? "working\n" : GPIO_Pin == LAMP_WAITING_Pin ? "waiting\n" : "done\n");
    }
    lit = now;
}

void Error_Handler(void)
{
    semihost_exit(EXIT_ERROR_HANDLER);
}
