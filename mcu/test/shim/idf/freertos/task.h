/* Stand-in for FreeRTOS's task.h: threads. */
#pragma once
#include "freertos/FreeRTOS.h"

typedef struct shim_task *TaskHandle_t;
typedef void (*TaskFunction_t)(void *arg);

BaseType_t xTaskCreate(TaskFunction_t code, const char *name, uint32_t stack, void *arg, UBaseType_t priority, TaskHandle_t *task);
void vTaskDelay(TickType_t ticks);
