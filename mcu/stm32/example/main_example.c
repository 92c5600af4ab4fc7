/*
 * main_example.c: where the calls go in CubeMX's main.c. What stands between USER CODE marks is yours and survives that the
 * project is made anew; the rest is as CubeMX writes it, shortened. Settings: README.md, "The .ioc".
 */
/* Includes ------------------------------------------------------------------*/
#include "main.h"

/* USER CODE BEGIN Includes */
#include "desk_board.h"
/* USER CODE END Includes */

/* Private variables ---------------------------------------------------------*/
RNG_HandleTypeDef hrng;
UART_HandleTypeDef huart2;

/* Private function prototypes -----------------------------------------------*/
void SystemClock_Config(void);
void MX_GPIO_Init(void);
void MX_DMA_Init(void);
void MX_USART2_UART_Init(void);
void MX_RNG_Init(void);

int main(void)
{
    HAL_Init();
    SystemClock_Config();
    MX_GPIO_Init();
    MX_DMA_Init();
    MX_USART2_UART_Init();
    MX_RNG_Init();
    /* USER CODE BEGIN 2 */
    desk_board_start(&huart2, &hrng);
    /* USER CODE END 2 */

    /* Infinite loop */
    /* USER CODE BEGIN WHILE */
    while (1) {
        desk_board_step();
        /* USER CODE END WHILE */

        /* USER CODE BEGIN 3 */
        HAL_Delay(1);
    }
    /* USER CODE END 3 */
}

/* USER CODE BEGIN 4 */
void HAL_UARTEx_RxEventCallback(UART_HandleTypeDef *huart, uint16_t Size)
{
    desk_board_received(huart, Size);
}

void HAL_UART_ErrorCallback(UART_HandleTypeDef *huart)
{
    desk_board_failed(huart);
}
/* USER CODE END 4 */
