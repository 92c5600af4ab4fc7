/* station.c: a Wi-Fi station that never gives up. */
#include "station.h"

#include <stdio.h>
#include <string.h>

#include <esp_event.h>
#include <esp_log.h>
#include <esp_netif.h>
#include <esp_wifi.h>
#include <freertos/FreeRTOS.h>
#include <freertos/event_groups.h>
#include <sdkconfig.h>

static const char TAG[] = "station";
#define HAS_ADDRESS BIT0

static EventGroupHandle_t states;

/* Runs in the task of the event loop, so nothing here may wait: a try to connect takes seconds by itself. */
static void on_event(void *arg, esp_event_base_t base, int32_t id, void *data) {
    (void)arg;
    if (base == IP_EVENT && id == IP_EVENT_STA_GOT_IP) {
        ESP_LOGI(TAG, "connected");
        (void)xEventGroupSetBits(states, HAS_ADDRESS);
        return;
    }
    if (base != WIFI_EVENT || (id != WIFI_EVENT_STA_START && id != WIFI_EVENT_STA_DISCONNECTED)) return;
    if (id == WIFI_EVENT_STA_DISCONNECTED) {
        const wifi_event_sta_disconnected_t *why = data;
        (void)xEventGroupClearBits(states, HAS_ADDRESS);
        ESP_LOGW(TAG, "no network (reason %d), trying again", why->reason);
    }
    (void)esp_wifi_connect();
}

/* A name of 32 bytes fills its field: it has no end mark there. */
static void copy(uint8_t *field, size_t room, const char *text) {
    size_t n = strlen(text);
    memcpy(field, text, n < room ? n : room);
}

void station_start(void) {
    states = xEventGroupCreate();
    ESP_ERROR_CHECK(esp_netif_init());
    ESP_ERROR_CHECK(esp_event_loop_create_default());
    (void)esp_netif_create_default_wifi_sta();
    wifi_init_config_t radio = WIFI_INIT_CONFIG_DEFAULT();
    ESP_ERROR_CHECK(esp_wifi_init(&radio));
    ESP_ERROR_CHECK(esp_event_handler_instance_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_event, NULL, NULL));
    ESP_ERROR_CHECK(esp_event_handler_instance_register(IP_EVENT, IP_EVENT_STA_GOT_IP, on_event, NULL, NULL));
    wifi_config_t network;
    memset(&network, 0, sizeof network);
    copy(network.sta.ssid, sizeof network.sta.ssid, CONFIG_STATION_SSID);
    copy(network.sta.password, sizeof network.sta.password, CONFIG_STATION_PASSWORD);
    ESP_ERROR_CHECK(esp_wifi_set_mode(WIFI_MODE_STA));
    ESP_ERROR_CHECK(esp_wifi_set_config(WIFI_IF_STA, &network));
    ESP_ERROR_CHECK(esp_wifi_start());
}

void station_wait(void) {
    (void)xEventGroupWaitBits(states, HAS_ADDRESS, pdFALSE, pdTRUE, portMAX_DELAY);
}
