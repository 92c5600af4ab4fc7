/* board.c: pins that a test reads and sets, and a Wi-Fi that is there at once and can be lost. */
#include <pthread.h>
#include <stdbool.h>

#include "driver/gpio.h"
#include "esp_event.h"
#include "esp_netif.h"
#include "esp_wifi.h"
#include "host.h"

#define PINS 64
#define HANDLERS 8

/* ------------------------------------------------------------------ pins */

static struct {
    bool is_output, pulled_up;
    gpio_int_type_t edges;
    int level;
    gpio_isr_t handler;
    void *arg;
} pins[PINS];
static pthread_mutex_t wires = PTHREAD_MUTEX_INITIALIZER;

static bool is_pin(int pin) {
    return pin >= 0 && pin < PINS;
}

esp_err_t gpio_config(const gpio_config_t *config) {
    (void)pthread_mutex_lock(&wires);
    for (int pin = 0; pin < PINS; pin++) {
        if ((config->pin_bit_mask >> pin & 1) == 0) continue;
        pins[pin].is_output = config->mode == GPIO_MODE_OUTPUT;
        pins[pin].pulled_up = config->pull_up_en == GPIO_PULLUP_ENABLE;
        pins[pin].level = pins[pin].pulled_up ? 1 : 0;
        pins[pin].edges = config->intr_type;
    }
    (void)pthread_mutex_unlock(&wires);
    return ESP_OK;
}

esp_err_t gpio_set_level(gpio_num_t pin, uint32_t level) {
    if (!is_pin(pin)) return ESP_ERR_INVALID_ARG;
    (void)pthread_mutex_lock(&wires);
    bool changes = pins[pin].is_output && pins[pin].level != (level != 0);
    if (changes) pins[pin].level = level != 0;
    (void)pthread_mutex_unlock(&wires);
    if (changes) shim_say("gpio %d %d", pin, level != 0);
    return ESP_OK;
}

int gpio_get_level(gpio_num_t pin) {
    (void)pthread_mutex_lock(&wires);
    int level = is_pin(pin) ? pins[pin].level : 0;
    (void)pthread_mutex_unlock(&wires);
    return level;
}

esp_err_t gpio_install_isr_service(int intr_alloc_flags) {
    (void)intr_alloc_flags;
    return ESP_OK;
}

esp_err_t gpio_isr_handler_add(gpio_num_t pin, gpio_isr_t handler, void *arg) {
    if (!is_pin(pin)) return ESP_ERR_INVALID_ARG;
    (void)pthread_mutex_lock(&wires);
    pins[pin].handler = handler;
    pins[pin].arg = arg;
    (void)pthread_mutex_unlock(&wires);
    return ESP_OK;
}

/* The test moves a wire: an interrupt, where the pin was set up for this edge. */
void shim_gpio_line(int pin, int level) {
    if (!is_pin(pin)) return;
    (void)pthread_mutex_lock(&wires);
    bool rises = level != 0;
    bool edge = !pins[pin].is_output && pins[pin].level != rises;
    bool heard = pins[pin].edges == GPIO_INTR_ANYEDGE || pins[pin].edges == (rises ? GPIO_INTR_POSEDGE : GPIO_INTR_NEGEDGE);
    gpio_isr_t handler = edge && heard ? pins[pin].handler : NULL;
    void *arg = pins[pin].arg;
    if (edge) pins[pin].level = rises;
    (void)pthread_mutex_unlock(&wires);
    if (handler != NULL) handler(arg);
}

/* ------------------------------------------------------------------ events and Wi-Fi */

static char const wifi_base[] = "WIFI_EVENT";
static char const ip_base[] = "IP_EVENT";
esp_event_base_t const WIFI_EVENT = wifi_base;
esp_event_base_t const IP_EVENT = ip_base;

static struct {
    esp_event_base_t base;
    int32_t id;
    esp_event_handler_t handler;
    void *arg;
} handlers[HANDLERS];
static int registered;

esp_err_t esp_event_loop_create_default(void) {
    return ESP_OK;
}

esp_err_t esp_event_handler_instance_register(esp_event_base_t base, int32_t id, esp_event_handler_t handler, void *arg,
                                              esp_event_handler_instance_t *instance) {
    (void)instance;
    if (registered == HANDLERS) return ESP_ERR_NO_MEM;
    handlers[registered].base = base;
    handlers[registered].id = id;
    handlers[registered].handler = handler;
    handlers[registered++].arg = arg;
    return ESP_OK;
}

static void post(esp_event_base_t base, int32_t id, void *data) {
    for (int i = 0; i < registered; i++)
        if (handlers[i].base == base && (handlers[i].id == id || handlers[i].id == ESP_EVENT_ANY_ID))
            handlers[i].handler(handlers[i].arg, base, id, data);
}

esp_err_t esp_netif_init(void) {
    return ESP_OK;
}

esp_netif_t *esp_netif_create_default_wifi_sta(void) {
    /* Nobody looks into it. */
    return (esp_netif_t *)&registered;
}

esp_err_t esp_wifi_init(const wifi_init_config_t *config) {
    (void)config;
    return ESP_OK;
}

esp_err_t esp_wifi_set_mode(wifi_mode_t mode) {
    return mode == WIFI_MODE_STA ? ESP_OK : ESP_ERR_INVALID_ARG;
}

esp_err_t esp_wifi_set_config(wifi_interface_t interface, wifi_config_t *conf) {
    (void)interface;
    shim_say("wifi network %.32s", (const char *)conf->sta.ssid);
    return ESP_OK;
}

esp_err_t esp_wifi_start(void) {
    post(WIFI_EVENT, WIFI_EVENT_STA_START, NULL);
    return ESP_OK;
}

esp_err_t esp_wifi_connect(void) {
    shim_say("wifi connect");
    post(IP_EVENT, IP_EVENT_STA_GOT_IP, NULL);
    return ESP_OK;
}

void shim_wifi_down(void) {
    wifi_event_sta_disconnected_t why = {.reason = 200};
    post(WIFI_EVENT, WIFI_EVENT_STA_DISCONNECTED, &why);
}
