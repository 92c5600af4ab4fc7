/* fake_hal.h: a HAL for the host, as far as the port sees it: it fills the ring and calls back where ST's does. */
#ifndef FAKE_HAL_H
#define FAKE_HAL_H

#include <stdbool.h>

#include "main.h"

typedef struct fake_hal {
    uint8_t *buffer;
    uint16_t size, at; /* of the reception that runs; size 0: none */
    bool circular;
    bool refuses;      /* to receive */
    unsigned starts, aborts;
    HAL_StatusTypeDef transmit; /* what HAL_UART_Transmit answers */
    uint8_t sent[512];
    size_t n;
    uint32_t ms;
    uint32_t random;
} fake_hal;

extern fake_hal hal;
extern UART_HandleTypeDef wired, other;

void fake_reset(void);
/* One byte from the line, with the events that ST's HAL tells at half and at the end. false: nobody received it. */
bool fake_byte(uint8_t byte);
/* The line falls idle. */
void fake_idle(void);
/* Overrun or noise: the reception ends, as ST's HAL does it. */
void fake_error(void);

#endif
