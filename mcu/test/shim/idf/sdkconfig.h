/* Stand-in for the sdkconfig.h that menuconfig makes: words from the environment, so that one build serves every test. */
#pragma once
#include <stdlib.h>

/* The value of CIB_SHIM_CONFIG_<name>, or "". */
const char *shim_config(const char *name);

#define CONFIG_STATION_SSID shim_config("STATION_SSID")
#define CONFIG_STATION_PASSWORD shim_config("STATION_PASSWORD")
#define CONFIG_BOX_HOST shim_config("BOX_HOST")
#define CONFIG_BOX_PORT shim_config("BOX_PORT")
#define CONFIG_BOX_DEVICE_KEY shim_config("BOX_DEVICE_KEY")
#define CONFIG_BOX_SESSION shim_config("BOX_SESSION")
#define CONFIG_DESK_PICK_MS 100
#define CONFIG_DESK_SEEN_MS atoi(shim_config("DESK_SEEN_MS"))
#define CONFIG_LAMP_WORKING_GPIO 6
#define CONFIG_LAMP_WAITING_GPIO 7
#define CONFIG_LAMP_DONE_GPIO 10
#define CONFIG_BUTTON_ALLOW_GPIO 1
#define CONFIG_BUTTON_DENY_GPIO 4
