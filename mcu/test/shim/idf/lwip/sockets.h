/* Stand-in for ESP-IDF's lwip/sockets.h: the sockets of the host. */
#pragma once
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/select.h>
#include <sys/socket.h>
