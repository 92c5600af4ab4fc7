/* esp_at.c: the dialogue with an ESP-AT module: in the right order, with the right pauses, and with a clear end when it fails. */
#include "check.h"
#include "cib_esp_at.h"

/* A module: what it was told, and what it will say. */
typedef struct module {
    char heard[600];
    size_t n;
    char says[200];
    size_t at, end;
    uint32_t ms;
} module;

static module m;
static cib_esp_at at;
static const cib_esp_at_settings SETTINGS = {"my, \"net\"", "back\\slash", "box.local", 1883};

static int hear(void *user, const uint8_t *bytes, size_t n)
{
    (void)user;
    CHECK(m.n + n < sizeof m.heard);
    memcpy(m.heard + m.n, bytes, n);
    m.n += n;
    m.heard[m.n] = 0;
    return (int)n;
}

static int speak(void *user, uint8_t *bytes, size_t room)
{
    (void)user;
    size_t n = m.end - m.at < room ? m.end - m.at : room;
    memcpy(bytes, m.says + m.at, n);
    m.at += n;
    return (int)n;
}

static uint32_t clock(void *user)
{
    (void)user;
    return m.ms;
}

static const cib_port PORT = {NULL, hear, speak, clock, NULL};

static void say(const char *text)
{
    m.at = 0;
    m.end = strlen(text);
    CHECK(m.end <= sizeof m.says);
    memcpy(m.says, text, m.end);
}

static void begin(const cib_esp_at_settings *settings)
{
    memset(&m, 0, sizeof m);
    cib_esp_at_start(&at, &PORT, settings);
}

/* The module was told exactly this since the last time. */
static void told(const char *text)
{
    if (strcmp(m.heard, text) != 0) {
        fprintf(stderr, "told \"%s\", expected \"%s\"\n", m.heard, text);
        exit(1);
    }
    m.n = 0;
    m.heard[0] = 0;
}

/* It answers; then this is the next that it is told. */
static void answers(const char *answer, const char *then)
{
    say(answer);
    SAME(cib_esp_at_poll(&at), 0);
    told(then);
}

/* To where the module is asked whether it listens. */
static void escape(void)
{
    m.ms += 50;
    SAME(cib_esp_at_poll(&at), 0);
    told("+++");
    m.ms += 1000;
    SAME(cib_esp_at_poll(&at), 0);
    told("");
    m.ms += 100;
    SAME(cib_esp_at_poll(&at), 0);
    told("AT\r\n");
}

static void to_connect(void)
{
    escape();
    answers("\r\nOK\r\n", "ATE0\r\n");
    answers("ATE0\r\r\n\r\nOK\r\n", "AT+SYSSTORE=0\r\n");
    answers("\r\nERROR\r\n", "AT+CWMODE=1\r\n");
    answers("\r\nOK\r\n", "AT+CWJAP=\"my\\, \\\"net\\\"\",\"back\\\\slash\"\r\n");
    answers("WIFI DISCONNECT\r\nWIFI CONNECTED\r\nWIFI GOT IP\r\n", "");
    answers("\r\nOK\r\n", "AT+CIPMUX=0\r\n");
    answers("\r\nOK\r\n", "AT+CIPCLOSE\r\n");
    answers("\r\nERROR\r\n", "AT+CIPMODE=1\r\n");
    answers("\r\nOK\r\n", "AT+CIPSTART=\"TCP\",\"box.local\",1883\r\n");
}

static void the_whole_dialogue_opens_the_line_and_takes_no_byte_of_it(void)
{
    uint8_t bytes[8];
    begin(&SETTINGS);
    to_connect();
    answers("CONNECT\r\n\r\nOK\r\n", "AT+CIPSEND\r\n");
    answers("\r\nOK\r\n\r\n", "");
    say(">first");
    SAME(cib_esp_at_poll(&at), 1);
    told("");
    SAME(speak(NULL, bytes, sizeof bytes), 5);
    SAME(cib_esp_at_poll(&at), 1);
}

static void the_answer_may_come_byte_by_byte(void)
{
    begin(&SETTINGS);
    escape();
    for (const char *rest = "\r\nOK\r"; *rest; rest++) {
        say((char[]){*rest, 0});
        SAME(cib_esp_at_poll(&at), 0);
    }
    told("");
    answers("\n", "ATE0\r\n");
}

static void a_module_that_starts_is_asked_again(void)
{
    begin(&SETTINGS);
    escape();
    answers("\x80\xff rst cause:2, a line that is much too long for the place that lines have\r\n\r\nERROR\r\nready\r\n", "");
    m.ms += 500;
    SAME(cib_esp_at_poll(&at), 0);
    told("AT\r\n");
    answers("\r\nOK\r\n", "ATE0\r\n");
}

static void silence_is_told(void)
{
    begin(&SETTINGS);
    escape();
    int n = 0;
    unsigned asked = 1;
    while ((m.ms += 500), (n = cib_esp_at_poll(&at)) == 0)
        asked++;
    SAME(n, CIB_EDEAD);
    SAME(asked, 6);
    SAME(at.step, CIB_ESP_AT_HELLO);
}

static void a_wrong_password_is_told(void)
{
    begin(&SETTINGS);
    escape();
    for (int step = CIB_ESP_AT_HELLO; step < CIB_ESP_AT_JOIN; step++) {
        SAME(at.step, step);
        say("\r\nOK\r\n");
        SAME(cib_esp_at_poll(&at), 0);
    }
    say("+CWJAP:2\r\nFAIL\r\n");
    SAME(cib_esp_at_poll(&at), CIB_EREFUSED);
    SAME(at.step, CIB_ESP_AT_JOIN);
}

static void a_box_that_is_not_there_is_told(void)
{
    begin(&SETTINGS);
    to_connect();
    say("\r\nERROR\r\nCLOSED\r\n");
    SAME(cib_esp_at_poll(&at), CIB_EREFUSED);
    SAME(at.step, CIB_ESP_AT_CONNECT);
    begin(&SETTINGS);
    to_connect();
    m.ms += 14999;
    SAME(cib_esp_at_poll(&at), 0);
    m.ms += 1;
    SAME(cib_esp_at_poll(&at), CIB_EDEAD);
}

static void a_known_network_is_not_joined_again(void)
{
    const cib_esp_at_settings known = {NULL, NULL, "10.0.0.2", 8081};
    begin(&known);
    escape();
    answers("\r\nOK\r\n", "ATE0\r\n");
    answers("\r\nOK\r\n", "AT+CIPMUX=0\r\n");
}

int main(void)
{
    RUN(the_whole_dialogue_opens_the_line_and_takes_no_byte_of_it);
    RUN(the_answer_may_come_byte_by_byte);
    RUN(a_module_that_starts_is_asked_again);
    RUN(silence_is_told);
    RUN(a_wrong_password_is_told);
    RUN(a_box_that_is_not_there_is_told);
    RUN(a_known_network_is_not_joined_again);
    return report("esp_at");
}
