/* Stand-in for ESP-IDF's esp_attr.h. */
#pragma once
#define IRAM_ATTR
