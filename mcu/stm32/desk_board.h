/* desk_board.h: the box on the desk on your board: call these four from the USER CODE blocks of CubeMX's main.c. */
#ifndef DESK_BOARD_H
#define DESK_BOARD_H

#include "cib_stm32.h"

/* Once, behind the MX_..._Init calls. rng: NULL on a part without one; then the boot counter in flash stands in for it. */
void desk_board_start(UART_HandleTypeDef *uart, cib_stm32_rng *rng);
/* In the main loop, at least every 10 ms. */
void desk_board_step(void);
/* From HAL_UARTEx_RxEventCallback and HAL_UART_ErrorCallback. */
void desk_board_received(UART_HandleTypeDef *uart, uint16_t size);
void desk_board_failed(UART_HandleTypeDef *uart);

#endif
