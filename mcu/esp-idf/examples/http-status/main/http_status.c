/*
 * http_status.c: prints what Claude is doing, by sealed requests over plain HTTP. For networks where only HTTP gets through, and
 * for boards that would rather sleep between two looks than keep a connection.
 *
 * Each request asks for what is new and waits at the box for up to 20 s until there is something: news come at once, and an idle
 * session costs three requests a minute.
 */
#include <inttypes.h>
#include <stdio.h>

#include <cib.h>
#include <cib_esp.h>
#include <esp_log.h>
#include <esp_random.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <nvs_flash.h>
#include <sdkconfig.h>

#include "station.h"

static const char TAG[] = "status";

/* Largest record of an answer: the box splits and shortens what is longer. */
#define TAKES_BYTES 512u
#define WAIT_MS 20000u
#define FRAMES 20u
#define CONNECT_MS 5000u
#define LOOK_MS 1000u
#define HTTP_DENIED 401
#define MAX_DENIED 2u
#define TYPES (CIB_TYPE(CIB_FRAME_STATUS) | CIB_TYPE(CIB_FRAME_TOOL_USE_START) | CIB_TYPE(CIB_FRAME_ASK_QUESTION) | CIB_TYPE(CIB_FRAME_STOP))

static struct {
    uint8_t buf[CIB_HTTP_ROOM(TAKES_BYTES)];
    char host[80]; /* of the Host header */
    cib_esp net;
    cib_port port;
    cib_key key;
    cib_http http;
    cib_follow follow;
    bool refused; /* the session, by the last answer */
    bool stops;   /* asking again would not help */
} my;

static void print(const char *what, cib_text text) {
    ESP_LOGI(TAG, "%s %.*s", what, (int)text.n, text.n == 0 ? "" : (const char *)text.at);
}

static void take_frame(const cib_frame *frame) {
    switch (frame->type) {
    case CIB_FRAME_STATUS:
        print("Claude is", cib_field_text(frame, CIB_KEY_STATUS_STATE));
        break;
    case CIB_FRAME_TOOL_USE_START:
        print("it uses", cib_field_text(frame, CIB_KEY_TOOL_USE_START_TOOL));
        break;
    case CIB_FRAME_ASK_QUESTION:
        print("it asks:", cib_field_text(frame, CIB_KEY_ASK_QUESTION_PROMPT));
        break;
    case CIB_FRAME_STOP:
        print("the turn ended:", cib_field_text(frame, CIB_KEY_STOP_REASON));
        break;
    default:
        break;
    }
}

static void take(const cib_item *item) {
    switch (cib_follow_take(&my.follow, item)) {
    case CIB_NEW:
        take_frame(&item->frame);
        break;
    case CIB_GAP:
        ESP_LOGW(TAG, "frames are gone from the box's log");
        break;
    case CIB_AHEAD:
        ESP_LOGW(TAG, "the box lost frames: going on from %" PRIu64, my.follow.seq + 1);
        break;
    case CIB_UNFOLLOWED:
        if (item->kind != CIB_ITEM_REPLY) break;
        print("the session was refused:", item->reply.code);
        my.refused = true;
        my.stops = !item->reply.retryable;
        break;
    default:
        break;
    }
}

/* To the end of the response: CIB_HTTP_END, or what went wrong. */
static int read_response(void) {
    for (;;) {
        int n = cib_http_poll(&my.http);
        if (n < 0) return n;
        if (n == 0) {
            (void)cib_esp_wait(&my.net, LOOK_MS);
            continue;
        }
        cib_reader reader = cib_reader_of(my.http.plain, (size_t)n);
        cib_item item;
        int more;
        while ((more = cib_next(&reader, &item)) > 0) take(&item);
        if (more < 0) return more;
    }
}

/* One request on a connection of its own: for a token, or for what is new. */
static int exchange(bool for_token) {
    my.refused = false;
    if (cib_esp_connect(&my.net, CONFIG_BOX_HOST, CONFIG_BOX_PORT, CONNECT_MS) != CIB_OK) return CIB_ELINE;
    int n;
    if (for_token) {
        n = cib_http_get_token(&my.http);
    } else {
        cib_writer w = cib_http_writer(&my.http);
        cib_cmd_attach_for(&w, &my.follow, TYPES, FRAMES, WAIT_MS, TAKES_BYTES);
        n = cib_http_post(&my.http, &w);
    }
    if (n >= 0) n = read_response();
    cib_esp_close(&my.net);
    if (!for_token) cib_follow_lost(&my.follow);
    if (n == CIB_HTTP_END) n = my.refused ? CIB_EBUSY : CIB_OK;
    return n;
}

static bool start(void) {
    uint32_t boot;
    uint8_t session[CIB_SESSION_BYTES];
    /* An erased flash would begin the boot counter again, so nothing is erased here that cannot be read. */
    ESP_ERROR_CHECK(nvs_flash_init());
    ESP_ERROR_CHECK(cib_esp_boot(&boot));
    my.port = cib_esp_port(&my.net);
    if (cib_key_parse(&my.key, CONFIG_BOX_DEVICE_KEY, boot) != CIB_OK || cib_session_parse(session, CONFIG_BOX_SESSION) != CIB_OK) {
        ESP_LOGE(TAG, "the key is 16 hex digits, a colon and 64 hex digits; the session 36 characters: idf.py menuconfig");
        return false;
    }
    ESP_LOGI(TAG, "start number %" PRIu32, boot);
    (void)snprintf(my.host, sizeof my.host, "%s:%s", CONFIG_BOX_HOST, CONFIG_BOX_PORT);
    cib_http_init(&my.http, &my.key, &my.port, my.host, my.buf, sizeof my.buf);
    cib_follow_init(&my.follow, session);
    station_start();
    return true;
}

/* Some seconds at most; then the caller tries again. */
static void wait_after(uint32_t tries) {
    vTaskDelay(pdMS_TO_TICKS(cib_backoff(tries, esp_random())));
}

void app_main(void) {
    uint32_t tries = 0;
    uint32_t denied = 0; /* requests with 401 since the last one that was answered */
    if (!start()) return;
    while (!my.stops) {
        station_wait();
        bool for_token = cib_http_needs_token(&my.http);
        int n = exchange(for_token);
        if (n == CIB_OK) {
            tries = 0;
            if (!for_token) denied = 0;
            continue;
        }
        ESP_LOGW(TAG, "a request failed (%d, HTTP %d)", n, (int)my.http.status);
        /* The first may mean a token that is too old, or of a box that was started again since. */
        if (n == CIB_EREFUSED && my.http.status == HTTP_DENIED && ++denied == MAX_DENIED) break;
        wait_after(tries++);
    }
    ESP_LOGE(TAG, "stopped: %s", my.stops ? "the session is not for this key" : "the key is not good, or no more");
}
