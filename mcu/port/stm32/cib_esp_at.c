/* cib_esp_at.c: the dialogue with ESP-AT (ESP-AT User Guide, "AT Command Set"), one command after the other. */
#include "cib_esp_at.h"

#include <string.h>

#include "../../src/cib_send.h"

/* Silence around +++ [TCP/IP AT commands, "+++"]: at least one second after it, 20 ms before it. */
#define QUIET_MS 50u
#define ESCAPED_MS 1100u
/* A module that starts takes up to a second until it listens. */
#define HELLO_MS 500u
#define HELLOS 6u
/* Joining takes 3 to 10 s, and the module itself gives up after 15; a connection that does not come about, after some 10. */
#define JOIN_MS 20000u
#define CONNECT_MS 15000u
#define COMMAND_MS 2000u

static uint32_t now(const cib_esp_at *at)
{
    return at->port->ms(at->port->user);
}

static int say(const cib_esp_at *at, const char *text)
{
    return cib_send_all(at->port, (const uint8_t *)text, strlen(text));
}

/* A text in quotation marks; ESP-AT wants a backslash before these three. */
static int say_quoted(const cib_esp_at *at, const char *text)
{
    int error = say(at, "\"");
    for (; *text != 0 && error == 0; text++) {
        if (strchr("\",\\", *text) != NULL)
            error = say(at, "\\");
        if (error == 0)
            error = cib_send_all(at->port, (const uint8_t *)text, 1);
    }
    return error == 0 ? say(at, "\"") : error;
}

static int say_two(const cib_esp_at *at, const char *command, const char *first, const char *second, const char *rest)
{
    int error = say(at, command);
    if (error == 0)
        error = say_quoted(at, first);
    if (error == 0)
        error = say(at, ",");
    if (error == 0)
        error = say_quoted(at, second);
    if (error == 0)
        error = say(at, rest);
    return error;
}

static int say_connect(const cib_esp_at *at)
{
    char rest[] = ",65535\r\n";
    char *digit = rest + 6;
    uint16_t number = at->settings->port;
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    *--digit = ',';
    return say_two(at, "AT+CIPSTART=", "TCP", at->settings->box, digit);
}

/* Says what this step has to say. */
static int begin(cib_esp_at *at)
{
    static const char *const COMMANDS[] = {
        [CIB_ESP_AT_QUIET] = "",
        [CIB_ESP_AT_ESCAPE] = "+++",
        [CIB_ESP_AT_HELLO] = "AT\r\n",
        [CIB_ESP_AT_ECHO] = "ATE0\r\n",
        [CIB_ESP_AT_STORE] = "AT+SYSSTORE=0\r\n",
        [CIB_ESP_AT_STATION] = "AT+CWMODE=1\r\n",
        [CIB_ESP_AT_JOIN] = NULL,
        [CIB_ESP_AT_SINGLE] = "AT+CIPMUX=0\r\n",
        [CIB_ESP_AT_CLOSE] = "AT+CIPCLOSE\r\n",
        [CIB_ESP_AT_MODE] = "AT+CIPMODE=1\r\n",
        [CIB_ESP_AT_CONNECT] = NULL,
        [CIB_ESP_AT_SEND] = "AT+CIPSEND\r\n",
    };
    at->since = now(at);
    at->n = 0;
    if (at->step == CIB_ESP_AT_JOIN)
        return say_two(at, "AT+CWJAP=", at->settings->wifi, at->settings->password, "\r\n");
    if (at->step == CIB_ESP_AT_CONNECT)
        return say_connect(at);
    return at->step == CIB_ESP_AT_OPEN ? 0 : say(at, COMMANDS[at->step]);
}

static int next(cib_esp_at *at)
{
    at->step++;
    if (at->settings->wifi == NULL && at->step == CIB_ESP_AT_STORE)
        at->step = CIB_ESP_AT_SINGLE;
    return begin(at);
}

void cib_esp_at_start(cib_esp_at *at, const cib_port *port, const cib_esp_at_settings *settings)
{
    memset(at, 0, sizeof *at);
    at->port = port;
    at->settings = settings;
    at->since = now(at);
}

static bool line_is(const cib_esp_at *at, const char *word)
{
    return strlen(word) == at->n && memcmp(at->line, word, at->n) == 0;
}

/* What a whole line means for this step; everything else ("WIFI GOT IP", echoes, what a starting module prints) is passed over. */
static int take_line(cib_esp_at *at)
{
    const bool yes = line_is(at, "OK") || line_is(at, "ALREADY CONNECTED");
    const bool no = line_is(at, "ERROR") || line_is(at, "FAIL");
    if (at->step < CIB_ESP_AT_HELLO || (at->step == CIB_ESP_AT_SEND && yes))
        return 0;
    if (yes || (no && (at->step == CIB_ESP_AT_STORE || at->step == CIB_ESP_AT_CLOSE)))
        return next(at);
    /* "AT" may be the end of something that stood in the module's buffer. */
    return no && at->step != CIB_ESP_AT_HELLO ? CIB_EREFUSED : 0;
}

static int take_byte(cib_esp_at *at, uint8_t byte)
{
    if (at->step == CIB_ESP_AT_SEND && byte == '>')
        return next(at);
    if (byte == '\n') {
        const int error = take_line(at);
        at->n = 0;
        return error;
    }
    if (byte != '\r' && at->n < sizeof at->line)
        at->line[at->n++] = (char)byte;
    return 0;
}

/* The pauses, and the time that an answer may take. */
static int wait(cib_esp_at *at)
{
    const uint32_t waited = now(at) - at->since;
    switch (at->step) {
    case CIB_ESP_AT_QUIET:
        return waited < QUIET_MS ? 0 : next(at);
    case CIB_ESP_AT_ESCAPE:
        return waited < ESCAPED_MS ? 0 : next(at);
    case CIB_ESP_AT_HELLO:
        if (waited < HELLO_MS)
            return 0;
        return ++at->tries < HELLOS ? begin(at) : CIB_EDEAD;
    case CIB_ESP_AT_JOIN:
        return waited < JOIN_MS ? 0 : CIB_EDEAD;
    case CIB_ESP_AT_CONNECT:
        return waited < CONNECT_MS ? 0 : CIB_EDEAD;
    default:
        return waited < COMMAND_MS ? 0 : CIB_EDEAD;
    }
}

int cib_esp_at_poll(cib_esp_at *at)
{
    uint8_t byte;
    int n = 0;
    /* One by one: what stands behind ">" is not ours. */
    while (at->step != CIB_ESP_AT_OPEN && (n = at->port->recv(at->port->user, &byte, 1)) > 0)
        if ((n = take_byte(at, byte)) < 0)
            return n;
    if (n < 0)
        return CIB_ELINE;
    if (at->step == CIB_ESP_AT_OPEN)
        return 1;
    n = wait(at);
    return n < 0 ? n : 0;
}
