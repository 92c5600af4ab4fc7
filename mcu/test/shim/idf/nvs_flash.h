/* Stand-in for ESP-IDF's nvs_flash.h. */
#pragma once
#include "nvs.h"

esp_err_t nvs_flash_init(void);
