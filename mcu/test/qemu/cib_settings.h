/* cib_settings.h: the example's settings in QEMU: words of the command line, for each test has a box of its own. */
#ifndef CIB_SETTINGS_H
#define CIB_SETTINGS_H

#include "board.h"

#define CIB_SETTING_SESSION board_argument(0)
#ifdef DESK_WITH_KEY
#define CIB_SETTING_KEY board_argument(1)
#endif
#define CIB_SETTING_BOOT_SECTOR board_flash
#define CIB_SETTING_BOOT_WORDS 4u
#define CIB_SETTING_TOKEN_ID board_argument(1)
#define CIB_SETTING_TOKEN board_argument(2)
#define CIB_SETTING_CLIENT_ID board_argument(3)
/* The bridge comes back in silence: the sooner that is found out, the sooner the test ends. */
#define CIB_SETTING_KEEPALIVE_S 2
#define CIB_SETTING_TYPES 0
#define CIB_SETTING_ESP_AT 1
#define CIB_SETTING_WIFI_NAME "a \"quoted\" name"
#define CIB_SETTING_WIFI_PASSWORD "p,w\\d"
#define CIB_SETTING_BOX "192.0.2.1"
#define CIB_SETTING_BOX_PORT 1883
#define CIB_SETTING_RECEPTION CIB_STM32_INTERRUPT

#endif
