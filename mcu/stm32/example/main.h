/* main.h: the part of CubeMX's main.h that the example needs: the HAL and the pins' names. Yours is made from your .ioc. */
#ifndef MAIN_H
#define MAIN_H

#include "stm32f4xx_hal.h"

void Error_Handler(void);

#define LAMP_WORKING_Pin GPIO_PIN_12
#define LAMP_WORKING_GPIO_Port GPIOD
#define LAMP_WAITING_Pin GPIO_PIN_13
#define LAMP_WAITING_GPIO_Port GPIOD
#define LAMP_DONE_Pin GPIO_PIN_14
#define LAMP_DONE_GPIO_Port GPIOD
#define APPROVE_Pin GPIO_PIN_0
#define APPROVE_GPIO_Port GPIOB
#define DENY_Pin GPIO_PIN_1
#define DENY_GPIO_Port GPIOB

#endif
