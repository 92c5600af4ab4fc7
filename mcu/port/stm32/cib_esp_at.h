/*
 * cib_esp_at.h: makes a transparent bridge of an ESP module with ESP-AT firmware: joins the Wi-Fi, connects to the box and
 * enters passthrough mode (AT+CIPMODE=1). From then on its serial line is the TCP connection, as any cib_port.
 *
 *   cib_esp_at_start(&at, &serial.port, &settings);
 *   while ((n = cib_esp_at_poll(&at)) == 0)
 *       ;                                   // or do something else meanwhile: poll never waits
 *   if (n > 0) cib_mqtt_connect(...);
 *
 * The module connects again by itself when the connection is lost, and tells nobody: half a packet may be left behind. MQTT's
 * keep-alive finds it out, and cib_mqtt_connect forgets the half. Only when several connections in a row come to nothing
 * is it time for cib_esp_at_start again: the module may have lost power, and its mode with it.
 */
#ifndef CIB_ESP_AT_H
#define CIB_ESP_AT_H

#include "cib.h"

typedef struct cib_esp_at_settings {
    const char *wifi;     /* the network's name; NULL: the module knows its network */
    const char *password;
    const char *box;      /* name or address */
    uint16_t port;
} cib_esp_at_settings;

/* What was being done, for the log; in the order of the dialogue. */
enum cib_esp_at_step {
    CIB_ESP_AT_QUIET,   /* a pause before +++, so that the module takes it for an escape */
    CIB_ESP_AT_ESCAPE,  /* +++ and a pause: out of passthrough mode, if it was in it */
    CIB_ESP_AT_HELLO,   /* AT, a few times: it may be starting */
    CIB_ESP_AT_ECHO,    /* ATE0 */
    CIB_ESP_AT_STORE,   /* AT+SYSSTORE=0: the password stays out of the module's flash; older firmware does not know it */
    CIB_ESP_AT_STATION, /* AT+CWMODE=1 */
    CIB_ESP_AT_JOIN,    /* AT+CWJAP: refused is a wrong name or password */
    CIB_ESP_AT_SINGLE,  /* AT+CIPMUX=0 */
    CIB_ESP_AT_CLOSE,   /* AT+CIPCLOSE: of a connection that an earlier start left; no connection is as good */
    CIB_ESP_AT_MODE,    /* AT+CIPMODE=1 */
    CIB_ESP_AT_CONNECT, /* AT+CIPSTART: refused is a box that is not there */
    CIB_ESP_AT_SEND,    /* AT+CIPSEND, and its ">" */
    CIB_ESP_AT_OPEN,
};

typedef struct cib_esp_at {
    const cib_port *port;
    const cib_esp_at_settings *settings;
    uint32_t since; /* ms of the beginning of this step */
    uint8_t step;   /* enum cib_esp_at_step */
    uint8_t tries;
    uint8_t n;      /* bytes of the line that is coming in, as far as they are kept */
    char line[18];
} cib_esp_at;

void cib_esp_at_start(cib_esp_at *at, const cib_port *port, const cib_esp_at_settings *settings);
/* 1 the line is open, 0 not yet, CIB_EREFUSED the module said no, CIB_EDEAD it said nothing, CIB_ELINE the port is dead.
 * After an error at->step tells where, and cib_esp_at_start begins anew: wait cib_backoff before. */
int cib_esp_at_poll(cib_esp_at *at);

#endif
