/* lamp.c: three GPIOs with an LED each, high is lit. */
#include "lamp.h"

#include <stdbool.h>

#include <driver/gpio.h>
#include <sdkconfig.h>

#define LIGHTS 3
static const gpio_num_t PINS[LIGHTS] = {CONFIG_LAMP_WORKING_GPIO, CONFIG_LAMP_WAITING_GPIO, CONFIG_LAMP_DONE_GPIO};
static const enum lamp MEANINGS[LIGHTS] = {LAMP_WORKING, LAMP_WAITING, LAMP_DONE};

void lamp_start(void) {
    gpio_config_t pins = {.mode = GPIO_MODE_OUTPUT, .intr_type = GPIO_INTR_DISABLE};
    for (int i = 0; i < LIGHTS; i++) pins.pin_bit_mask |= UINT64_C(1) << PINS[i];
    ESP_ERROR_CHECK(gpio_config(&pins));
    lamp_show(LAMP_OFF);
}

void lamp_show(enum lamp lamp) {
    for (int i = 0; i < LIGHTS; i++) {
        bool lit = lamp == MEANINGS[i] || lamp == LAMP_FAULT;
        (void)gpio_set_level(PINS[i], lit ? 1 : 0);
    }
}
