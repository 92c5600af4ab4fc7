/* Stand-in for ESP-IDF's esp_err.h: the declared subset. */
#pragma once
#include <stdint.h>
#include <stdlib.h>

typedef int esp_err_t;
#define ESP_OK 0
#define ESP_FAIL (-1)
#define ESP_ERR_NO_MEM 0x101
#define ESP_ERR_INVALID_ARG 0x102
#define ESP_ERR_INVALID_STATE 0x103

const char *esp_err_to_name(esp_err_t code);
void shim_check(esp_err_t error, const char *what);
#define ESP_ERROR_CHECK(call) shim_check((call), #call)
