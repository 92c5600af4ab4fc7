/* Stand-in for ESP-IDF's lwip/netdb.h: that of the host. */
#pragma once
#include <netdb.h>
