/*
 * buttons.c: buttons from GPIO to ground, with the chip's own pull-ups.
 *
 * An interrupt wakes the task below; the task waits until both pins have been quiet, and only then looks at them. So it sleeps
 * while no finger comes, contacts may bounce as they like, and a spike that is shorter than the quiet is no press.
 */
#include "buttons.h"

#include <stdbool.h>
#include <stdint.h>

#include <driver/gpio.h>
#include <esp_attr.h>
#include <freertos/FreeRTOS.h>
#include <freertos/queue.h>
#include <freertos/task.h>
#include <sdkconfig.h>

#define BUTTONS 2
/* Contacts of push buttons bounce for 1 to 10 ms, old ones longer; a finger notices nothing below 50 ms. */
#define QUIET_MS 30
#define EDGES 8
#define PRESSES 4
#define STACK_BYTES 2048
#define PRIORITY 5

static const gpio_num_t PINS[BUTTONS] = {CONFIG_BUTTON_ALLOW_GPIO, CONFIG_BUTTON_DENY_GPIO};
static const enum button MEANINGS[BUTTONS] = {BUTTON_ALLOW, BUTTON_DENY};

static QueueHandle_t edges, presses;

/* That something moved is all that matters: when the queue is full the task will look anyway. */
static void IRAM_ATTR on_edge(void *arg) {
    (void)arg;
    const uint8_t edge = 1;
    BaseType_t woken = pdFALSE;
    (void)xQueueSendFromISR(edges, &edge, &woken);
    portYIELD_FROM_ISR(woken);
}

static void watch(void *arg) {
    (void)arg;
    bool was_down[BUTTONS] = {false, false};
    uint8_t edge;
    for (;;) {
        (void)xQueueReceive(edges, &edge, portMAX_DELAY);
        while (xQueueReceive(edges, &edge, pdMS_TO_TICKS(QUIET_MS)) == pdTRUE) {
        }
        for (int i = 0; i < BUTTONS; i++) {
            bool down = gpio_get_level(PINS[i]) == 0;
            /* With the queue full nobody is answering: a press that is read minutes later would answer something else. */
            if (down && !was_down[i]) (void)xQueueSend(presses, &MEANINGS[i], 0);
            was_down[i] = down;
        }
    }
}

void buttons_start(void) {
    edges = xQueueCreate(EDGES, sizeof(uint8_t));
    presses = xQueueCreate(PRESSES, sizeof(enum button));
    gpio_config_t pins = {.mode = GPIO_MODE_INPUT, .pull_up_en = GPIO_PULLUP_ENABLE, .intr_type = GPIO_INTR_ANYEDGE};
    for (int i = 0; i < BUTTONS; i++) pins.pin_bit_mask |= UINT64_C(1) << PINS[i];
    ESP_ERROR_CHECK(gpio_config(&pins));
    ESP_ERROR_CHECK(gpio_install_isr_service(0));
    for (int i = 0; i < BUTTONS; i++) ESP_ERROR_CHECK(gpio_isr_handler_add(PINS[i], on_edge, NULL));
    ESP_ERROR_CHECK(xTaskCreate(watch, "buttons", STACK_BYTES, NULL, PRIORITY, NULL) == pdPASS ? ESP_OK : ESP_ERR_NO_MEM);
}

enum button buttons_take(void) {
    enum button button = BUTTON_NONE;
    (void)xQueueReceive(presses, &button, 0);
    return button;
}
