/*
 * cib_stm32.h: a cib_port over one UART of the STM32 HAL. Reception runs by itself into a ring of yours, by DMA or by
 * interrupt; sending blocks, at most CIB_SEND_MS.
 *
 *   static uint8_t ring[1024];
 *   static cib_stm32 serial;
 *
 *   cib_stm32_init(&serial, &huart2, &hrng, ring, sizeof ring);
 *   cib_stm32_start(&serial, CIB_STM32_DMA);
 *   cib_link_init(&link, &key, &serial.port, ...);       // or cib_mqtt_init
 *
 *   void HAL_UARTEx_RxEventCallback(UART_HandleTypeDef *huart, uint16_t size) { cib_stm32_received(&serial, huart, size); }
 *   void HAL_UART_ErrorCallback(UART_HandleTypeDef *huart) { cib_stm32_failed(&serial, huart); }
 *
 * By DMA (the receive stream must be circular) a byte costs no interrupt. The HAL tells only now and then how far it is, so
 * half the ring is the most that may lie unread: 1,024 bytes are 44 ms at 115,200 baud. By interrupt the whole ring counts, and a
 * line with RTS is held back while it is full.
 * Bytes that were lost all the same (overrun, noise) are never passed over: recv says once that the connection is dead.
 */
#ifndef CIB_STM32_H
#define CIB_STM32_H

#include "cib.h"
#include "main.h" /* of your project: it includes the HAL of your part */

/* The HAL has an RNG only where the part has one and CubeMX has switched it on. */
#ifdef HAL_RNG_MODULE_ENABLED
typedef RNG_HandleTypeDef cib_stm32_rng;
#else
typedef void cib_stm32_rng;
#endif

enum cib_stm32_mode { CIB_STM32_INTERRUPT, CIB_STM32_DMA };

typedef struct cib_stm32 {
    cib_port port;
    UART_HandleTypeDef *uart;
    cib_stm32_rng *rng;
    uint8_t *ring;
    uint16_t room;
    volatile uint16_t segment; /* bytes that the running interrupt reception was asked for, 0: none runs */
    uint16_t from;         /* where in the ring the next unread byte is */
    volatile uint16_t at;  /* where in the ring the HAL writes next, as it said last */
    volatile uint32_t put, taken; /* bytes that came, and of these read: they count on and wrap */
    uint32_t lost;         /* times that bytes were lost: for your eyes */
    volatile bool broken;  /* bytes were lost, and recv has not said so yet */
    uint8_t mode;
} cib_stm32;

/* rng may be NULL: then there are no random bytes, and only MQTT without a link works, unless you give port.random a function of
 * yours. The ring: of 64 bytes at least, at best 1,024. */
void cib_stm32_init(cib_stm32 *s, UART_HandleTypeDef *uart, cib_stm32_rng *rng, uint8_t *ring, uint16_t room);
/* Begins to receive; also drops everything that came before. 0, or CIB_ELINE where the HAL refuses. */
int cib_stm32_start(cib_stm32 *s, enum cib_stm32_mode mode);
/* From the HAL's callbacks of the same names; those of other UARTs are ignored. */
void cib_stm32_received(cib_stm32 *s, const UART_HandleTypeDef *uart, uint16_t size);
void cib_stm32_failed(cib_stm32 *s, const UART_HandleTypeDef *uart);

#endif
