/* desk_main.c: what CubeMX would have made around main_example.c, and a line of the log for each frame. */
#include "desk.h"
#include "semihost.h"

void SystemClock_Config(void);
void MX_GPIO_Init(void);
void MX_DMA_Init(void);
void MX_USART2_UART_Init(void);
void MX_RNG_Init(void);

/* HAL_Init of hal_qemu.c has set up all there is. */
void SystemClock_Config(void) {}
void MX_GPIO_Init(void) {}
void MX_DMA_Init(void) {}
void MX_USART2_UART_Init(void) {}
void MX_RNG_Init(void) {}

void desk_frame(const cib_frame *frame)
{
    semihost_tell("frame", (uint32_t)frame->seq);
}
