/* flash.c: NVS in one file, CIB_SHIM_FLASH: a line for each value, "<namespace>.<key>=<hex>". A commit is on the disk when it returns. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nvs.h"
#include "nvs_flash.h"

#define VALUES 16
#define NAME_ROOM 40
#define VALUE_BYTES 64

static struct value {
    char name[NAME_ROOM];
    size_t n;
    unsigned char bytes[VALUE_BYTES];
} values[VALUES];
static bool is_read;
static char opened[NAME_ROOM];

static const char *file_name(void) {
    const char *name = getenv("CIB_SHIM_FLASH");
    return name == NULL ? "/dev/null" : name;
}

/* The value of that name; a free place where there is none and `make`; else NULL. */
static struct value *find(const char *name, bool make) {
    for (size_t i = 0; i < VALUES; i++) {
        if (values[i].name[0] == 0 && make) (void)snprintf(values[i].name, NAME_ROOM, "%s", name);
        if (strcmp(values[i].name, name) == 0) return &values[i];
    }
    return NULL;
}

esp_err_t nvs_flash_init(void) {
    char line[NAME_ROOM + 2 * VALUE_BYTES + 3];
    FILE *file = fopen(file_name(), "r");
    is_read = true;
    if (file == NULL) return ESP_OK;
    while (fgets(line, sizeof line, file) != NULL) {
        char *hex = strchr(line, '=');
        if (hex == NULL) continue;
        *hex++ = 0;
        struct value *value = find(line, true);
        if (value == NULL) continue;
        unsigned byte;
        for (value->n = 0; value->n < VALUE_BYTES && sscanf(hex, "%2x", &byte) == 1; hex += 2) value->bytes[value->n++] = (unsigned char)byte;
    }
    (void)fclose(file);
    return ESP_OK;
}

/* One namespace at a time is enough for these examples. */
esp_err_t nvs_open(const char *name, nvs_open_mode_t open_mode, nvs_handle_t *out_handle) {
    (void)open_mode;
    if (!is_read) return ESP_ERR_NVS_NOT_INITIALIZED;
    (void)snprintf(opened, sizeof opened, "%.15s", name);
    *out_handle = 1;
    return ESP_OK;
}

static void full_name(char name[NAME_ROOM], const char *key) {
    (void)snprintf(name, NAME_ROOM, "%.15s.%.15s", opened, key);
}

esp_err_t nvs_get_blob(nvs_handle_t handle, const char *key, void *out_value, size_t *length) {
    (void)handle;
    char name[NAME_ROOM];
    full_name(name, key);
    const struct value *value = find(name, false);
    if (value == NULL) return ESP_ERR_NVS_NOT_FOUND;
    if (value->n > *length) return ESP_ERR_NVS_INVALID_LENGTH;
    memcpy(out_value, value->bytes, value->n);
    *length = value->n;
    return ESP_OK;
}

esp_err_t nvs_set_blob(nvs_handle_t handle, const char *key, const void *bytes, size_t length) {
    (void)handle;
    char name[NAME_ROOM];
    full_name(name, key);
    struct value *value = find(name, true);
    if (value == NULL || length > VALUE_BYTES) return ESP_ERR_NO_MEM;
    memcpy(value->bytes, bytes, length);
    value->n = length;
    return ESP_OK;
}

esp_err_t nvs_get_u32(nvs_handle_t handle, const char *key, uint32_t *out_value) {
    size_t size = sizeof *out_value;
    return nvs_get_blob(handle, key, out_value, &size);
}

esp_err_t nvs_set_u32(nvs_handle_t handle, const char *key, uint32_t value) {
    return nvs_set_blob(handle, key, &value, sizeof value);
}

esp_err_t nvs_commit(nvs_handle_t handle) {
    (void)handle;
    FILE *file = fopen(file_name(), "w");
    if (file == NULL) return ESP_FAIL;
    for (size_t i = 0; i < VALUES && values[i].name[0] != 0; i++) {
        (void)fprintf(file, "%s=", values[i].name);
        for (size_t at = 0; at < values[i].n; at++) (void)fprintf(file, "%02x", values[i].bytes[at]);
        (void)fputc('\n', file);
    }
    bool good = fflush(file) == 0 && fsync(fileno(file)) == 0;
    return fclose(file) == 0 && good ? ESP_OK : ESP_FAIL;
}

void nvs_close(nvs_handle_t handle) {
    (void)handle;
    opened[0] = 0;
}
