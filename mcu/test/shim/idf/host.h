/* host.h: what the parts of the stand-in know of each other. */
#pragma once

/* A line of output, whole, whichever thread says it. */
void shim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Takes the lines of a test; the whole program ends with its input. */
void shim_gpio_line(int pin, int level);
void shim_wifi_down(void);
