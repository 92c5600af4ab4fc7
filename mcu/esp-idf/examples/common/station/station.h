/* station.h: Wi-Fi for the examples: joins the network of menuconfig, and joins again whenever it is lost. */
#ifndef STATION_H
#define STATION_H

/* Once, after nvs_flash_init. The radio is on when it returns, which is what makes esp_random truly random. */
void station_start(void);
/* Sleeps until there is an address. */
void station_wait(void);

#endif
