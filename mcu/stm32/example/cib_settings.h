/* cib_settings.h: what your box needs to be told: the only file to edit. Copy it into your project, beside main.h. */
#ifndef CIB_SETTINGS_H
#define CIB_SETTINGS_H

/* The session to watch: `cib ls` on the box, or the web page's address. */
#define CIB_SETTING_SESSION "00000000-0000-0000-0000-000000000000"

/* A device's key, "<16 hex digits>:<64>": then everything is encrypted, over raw TCP (CIB_SETTING_BOX_PORT 8081). Without one
 * the token below is used, over MQTT (1883), which anybody on the way can read.
#define CIB_SETTING_KEY "0000000000000000:..."
 */
/* For a key: words of flash that the program does not reach, erased before the first start. Here the last sector of 1 MB. */
#define CIB_SETTING_BOOT_SECTOR ((const volatile uint32_t *)0x080e0000)
#define CIB_SETTING_BOOT_WORDS 4096u

/* A token with sessions:read and sessions:answer: its id and its text. */
#define CIB_SETTING_TOKEN_ID "000000000000"
#define CIB_SETTING_TOKEN "cib_000000000000_"
/* Begins with the token's id and a dash; of its own for each device. */
#define CIB_SETTING_CLIENT_ID CIB_SETTING_TOKEN_ID "-desk"

/* How often a line is asked whether it lives, in seconds; one that went silent is found after 1.5 times this. */
#define CIB_SETTING_KEEPALIVE_S 20
/* Of frames: DESK_TYPES are enough for lamps and buttons, 0 is all of them. */
#define CIB_SETTING_TYPES DESK_TYPES

/* The Wi-Fi and the box, for an ESP-AT module. With another transparent bridge (a modem, an Ethernet converter): 0. */
#define CIB_SETTING_ESP_AT 1
#define CIB_SETTING_WIFI_NAME "name"
#define CIB_SETTING_WIFI_PASSWORD "password"
#define CIB_SETTING_BOX "192.168.1.5"
#define CIB_SETTING_BOX_PORT 1883

/* How bytes come in: CIB_STM32_DMA needs the circular DMA stream of the README's table, CIB_STM32_INTERRUPT nothing. */
#define CIB_SETTING_RECEPTION CIB_STM32_DMA

#endif
