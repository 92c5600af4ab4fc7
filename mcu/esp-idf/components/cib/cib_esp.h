/*
 * cib_esp.h: the port for ESP-IDF 5 and 6: lwIP sockets, esp_timer, the radio's random numbers, and flash (NVS) for what must
 * outlive a power cut.
 *
 *   static cib_esp net;
 *   static cib_port port;
 *   port = cib_esp_port(&net);
 *   uint32_t boot;
 *   ESP_ERROR_CHECK(cib_esp_boot(&boot));                  // once after every start, before the first connection
 *   cib_esp_connect(&net, "box.local", "8081", 5000);      // then cib_link_start, cib_http_post, cib_mqtt_connect
 *   cib_esp_wait(&net, 100);                               // sleeps until bytes have come, or for 100 ms
 *
 * Random numbers: esp_fill_random gives true ones only while Wi-Fi or Bluetooth is on. Start the radio before the first
 * connection; cib_key mixes the boot counter in besides, so that keys differ even where it was not.
 */
#ifndef CIB_ESP_H
#define CIB_ESP_H

#include <esp_err.h>

#include "cib.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One TCP connection at a time. */
typedef struct cib_esp {
    int fd; /* -1: none */
} cib_esp;

/* The callbacks for this connection; `net` must live as long as they are used. No connection yet. */
cib_port cib_esp_port(cib_esp *net);
/* Connects to the first address of the name that answers, and gives each timeout_ms for it. 0 or CIB_ELINE. A connection of
 * before is closed. Finding the name's addresses may take some seconds more. */
int cib_esp_connect(cib_esp *net, const char *host, const char *port, uint32_t timeout_ms);
void cib_esp_close(cib_esp *net);
/* Sleeps until there is something to read (or the end of the connection), or timeout_ms have passed: false then. */
bool cib_esp_wait(const cib_esp *net, uint32_t timeout_ms);

/* Raises the boot counter in NVS (namespace "cib", key "boot") and commits it before it returns: the new count, from 1.
 * nvs_flash_init must have been called. On an error do not connect: a repeated count can repeat keys. After the flash was
 * erased have a new key made (docs/PROTOCOL.md, "Keys"), for the counter begins again. */
esp_err_t cib_esp_boot(uint32_t *boot);

/* Keeps where a client stands in its session (key "place"), and puts it back after cib_follow_init. Of another session:
 * ESP_ERR_NVS_NOT_FOUND, and `f` stays at the beginning. Flash wears: once a turn is well, once a frame is not. */
esp_err_t cib_esp_keep_place(const cib_follow *f);
esp_err_t cib_esp_find_place(cib_follow *f);

#ifdef __cplusplus
}
#endif

#endif
