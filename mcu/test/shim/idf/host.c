/* host.c: the program around an example's app_main: log, settings, clock, randomness, and the lines that a test says. */
#include "host.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "esp_err.h"
#include "esp_log.h"
#include "esp_random.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "sdkconfig.h"

#define LINE_ROOM 128

void app_main(void);

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *format, va_list values) {
    (void)vprintf(format, values);
    (void)putchar('\n');
    (void)fflush(stdout);
}

void shim_say(const char *format, ...) {
    va_list values;
    va_start(values, format);
    (void)pthread_mutex_lock(&output);
    say(format, values);
    (void)pthread_mutex_unlock(&output);
    va_end(values);
}

void shim_log(char level, const char *tag, const char *format, ...) {
    va_list values;
    va_start(values, format);
    (void)pthread_mutex_lock(&output);
    (void)printf("%c %s: ", level, tag);
    say(format, values);
    (void)pthread_mutex_unlock(&output);
    va_end(values);
}

const char *esp_err_to_name(esp_err_t code) {
    return code == ESP_OK ? "ESP_OK" : "an error";
}

/* As on the board: an error here stops everything. */
void shim_check(esp_err_t error, const char *what) {
    if (error == ESP_OK) return;
    shim_say("E esp_err: 0x%x in %s", (unsigned)error, what);
    abort();
}

const char *shim_config(const char *name) {
    char variable[LINE_ROOM];
    (void)snprintf(variable, sizeof variable, "CIB_SHIM_CONFIG_%s", name);
    const char *value = getenv(variable);
    return value == NULL ? "" : value;
}

uint32_t esp_random(void) {
    uint32_t value;
    esp_fill_random(&value, sizeof value);
    return value;
}

void esp_fill_random(void *buf, size_t len) {
    if (getrandom(buf, len, 0) != (ssize_t)len) abort();
}

int64_t esp_timer_get_time(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void main_task(void *arg) {
    (void)arg;
    app_main();
    shim_say("app_main returned");
}

int main(void) {
    char line[LINE_ROOM];
    int pin;
    int level;
    if (xTaskCreate(main_task, "main", 8192, NULL, 1, NULL) != pdPASS) return 1;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "gpio %d %d", &pin, &level) == 2) shim_gpio_line(pin, level);
        else if (strcmp(line, "wifi down\n") == 0) shim_wifi_down();
        else shim_say("not understood: %s", line);
    }
    /* The power goes: no thread is waited for, and nothing is put away. */
    _exit(0);
}
