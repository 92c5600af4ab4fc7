/*
 * approve_button.c: a box on the desk. Three lights say whether Claude works, waits for you, or is done; two buttons allow or
 * deny the tool that it asks for. Over one encrypted TCP connection, no TLS.
 */
#include <inttypes.h>
#include <string.h>

#include <cib.h>
#include <cib_esp.h>
#include <esp_log.h>
#include <esp_random.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <nvs_flash.h>
#include <sdkconfig.h>

#include "buttons.h"
#include "desk.h"
#include "lamp.h"
#include "pick.h"
#include "station.h"

static const char TAG[] = "desk";

/* Longest plaintext taken: a question with its summary is about 300 bytes, what a list says of one session about 600. */
#define TAKES_BYTES 1000
/* Longest command: an attach with four types, 150 bytes. */
#define SENDS_BYTES 192
#define CONNECT_MS 5000u
/* How long a press may take to be noticed. Bytes from the box are noticed at once. */
#define LOOK_MS 50u
/* What the box could not take now is sent again after this. */
#define AGAIN_MS 1000u
/* A place is kept in flash when nothing has come for so long: once a turn, not once a frame of an old session. */
#define SETTLED_MS 2000u

static struct {
    /* The line. */
    uint8_t rx[CIB_RECORD_ROOM(TAKES_BYTES)], tx[CIB_RECORD_ROOM(SENDS_BYTES)], kept[SENDS_BYTES];
    cib_esp net;
    cib_port port;
    cib_key key;
    cib_link link;
    cib_outbox outbox; /* a decision, until the box has answered */
    bool was_refused;  /* it, for now */
    uint32_t refused_at;
    uint32_t commands; /* with an id, since the start */
    uint32_t tries;    /* since the last connection that worked */
    bool leaves;       /* this connection is of no more use */
    bool stops;        /* coming back would not help */
    /* The session. */
    cib_follow follow;
    desk desk;
    bool follows;      /* on this connection: what is shown is true */
    uint32_t heard_at; /* when its last frame came */
    uint64_t saved;    /* seq of its place in flash */
    /* Which session, where menuconfig names none. */
    bool picks;
    pick pick;
    bool has_session;
    bool leaves_session;
    uint8_t left[CIB_SESSION_BYTES];
    /* The person. */
    char shown[ASK_ID_ROOM]; /* id of the question that is on show, or "" */
    uint32_t shown_at;
} my;

static uint32_t now(void) {
    return my.port.ms(my.port.user);
}

/* ------------------------------------------------------------------ what is shown */

/* The lamp, and the question that the buttons are for. */
static void show(void) {
    if (!my.follows) return;
    lamp_show(desk_lamp(&my.desk));
    const ask *question = desk_question(&my.desk);
    const char *id = question == NULL ? "" : question->id;
    if (strcmp(my.shown, id) == 0) return;
    memcpy(my.shown, id, strlen(id) + 1);
    my.shown_at = now();
    if (question == NULL) ESP_LOGI(TAG, "no question is open");
    else if (question->is_permission) ESP_LOGI(TAG, "allow %s? %s", question->tool, question->summary);
    else ESP_LOGI(TAG, "Claude asks, answer elsewhere: %s", question->summary);
}

/* Where nothing is open, nothing has to be read again after a power cut. */
static void save_place(void) {
    if (!my.has_session || desk_lamp(&my.desk) != LAMP_DONE || my.follow.seq == my.saved || now() - my.heard_at < SETTLED_MS) return;
    if (cib_esp_keep_place(&my.follow) != ESP_OK) ESP_LOGW(TAG, "the place in the session could not be kept");
    my.saved = my.follow.seq;
}

/* ------------------------------------------------------------------ what comes */

static void take_frame(const cib_frame *frame) {
    my.heard_at = now();
    if (desk_take(&my.desk, frame) == DESK_CROWDED) ESP_LOGW(TAG, "one more question waits; answer it elsewhere");
}

static void log_refusal(const char *what, const cib_reply *reply) {
    ESP_LOGW(TAG, "%s was refused: %.*s", what, (int)reply->code.n, (const char *)reply->code.at);
}

/* The box's word on a decision. That it was settled is told by an ask.answer frame, too. */
static void take_verdict(const cib_reply *reply) {
    my.was_refused = !reply->ok && reply->retryable;
    my.refused_at = now();
    if (reply->ok) return;
    log_refusal("the decision", reply);
    ask *question = desk_question(&my.desk);
    if (question == NULL || !question->is_answered || reply->retryable) return;
    question->is_answered = false;
    /* Its answer is in frames that retention has pruned: the desk would wait for them for ever. */
    if (cib_text_is(reply->code, "ask_settled") || cib_text_is(reply->code, "not_found")) {
        cib_text id = {(const uint8_t *)question->id, strlen(question->id)};
        desk_settle(&my.desk, id);
    }
}

/* The attach was refused, or ended. What the box calls retryable may work on a later connection. */
static void unfollowed(const cib_item *item) {
    if (item->kind != CIB_ITEM_BYE) my.leaves = !cib_follow_due(&my.follow);
    if (item->kind != CIB_ITEM_REPLY) return;
    log_refusal("the session", &item->reply);
    my.stops = !item->reply.retryable && !my.picks;
    my.has_session = !my.picks;
}

/* From the beginning, or from where it was left before the power was cut. */
static void follow(const uint8_t session[CIB_SESSION_BYTES]) {
    char text[37];
    cib_session_text(text, session);
    ESP_LOGI(TAG, "session %s", text);
    cib_follow_init(&my.follow, session);
    my.saved = cib_esp_find_place(&my.follow) == ESP_OK ? my.follow.seq : 0;
    my.has_session = true;
    my.follows = false;
    desk_init(&my.desk);
}

/* Another session needs a person more. Not while a decision for this one is under way. */
static void turn_to(const uint8_t session[CIB_SESSION_BYTES]) {
    if (my.has_session && (my.outbox.n != 0 || memcmp(session, my.follow.session, CIB_SESSION_BYTES) == 0)) return;
    memcpy(my.left, my.follow.session, sizeof my.left);
    my.leaves_session = my.has_session;
    follow(session);
}

static void take(const cib_item *item) {
    uint8_t session[CIB_SESSION_BYTES];
    if (my.picks && pick_take(&my.pick, item, session)) turn_to(session);
    if (!my.has_session) return;
    enum cib_taken taken = cib_follow_take(&my.follow, item);
    if (taken == CIB_FOLLOWED || taken == CIB_GAP || taken == CIB_AHEAD) {
        my.follows = true;
        my.tries = 0;
    }
    switch (taken) {
    case CIB_NEW:
        take_frame(&item->frame);
        break;
    case CIB_GAP:
        ESP_LOGW(TAG, "frames are gone from the box's log; what waits may have been settled");
        break;
    case CIB_AHEAD:
        desk_forget(&my.desk, my.follow.seq + 1);
        ESP_LOGW(TAG, "the box lost frames: going on from %" PRIu64, my.follow.seq + 1);
        break;
    case CIB_FOLLOWED:
        ESP_LOGI(TAG, "following from %" PRIu64, my.follow.seq + 1);
        break;
    case CIB_UNFOLLOWED:
        unfollowed(item);
        break;
    default:
        break;
    }
    if (cib_outbox_take(&my.outbox, item)) take_verdict(&item->reply);
}

static int take_all(size_t n) {
    cib_reader reader = cib_reader_of(my.link.plain, n);
    cib_item item;
    int more;
    while ((more = cib_next(&reader, &item)) > 0) take(&item);
    return more;
}

/* ------------------------------------------------------------------ what goes */

/* Keeps the decision in the outbox: it is sent until the box has answered, and happens once. */
static void decide(ask *question, bool allow) {
    char id[CIB_ID_ROOM];
    cib_id(id, my.key.boot, ++my.commands);
    cib_text asked = {(const uint8_t *)question->id, strlen(question->id)};
    cib_writer w = cib_outbox_writer(&my.outbox);
    cib_cmd_decide(&w, id, my.follow.session, asked, allow);
    if (cib_outbox_keep(&my.outbox, &w) != CIB_OK) return;
    question->is_answered = true;
    ESP_LOGI(TAG, "%s %s", allow ? "allowing" : "denying", question->tool);
}

/* A press is for the question that the person has read: not for one that has just taken its place. */
static void take_press(enum button button) {
    ask *question = desk_question(&my.desk);
    if (!my.follows) ESP_LOGI(TAG, "a press, but the box was not there to hear it");
    else if (question == NULL || !question->is_permission) ESP_LOGI(TAG, "a press, but nothing to allow or deny");
    else if (question->is_answered) ESP_LOGI(TAG, "a press, but this is on its way");
    else if (now() - my.shown_at < (uint32_t)CONFIG_DESK_SEEN_MS) ESP_LOGI(TAG, "a press too soon: read it, then press again");
    else decide(question, button == BUTTON_ALLOW);
}

/* Everything that came has been read: what is on show now, and what a press answers, is the latest. */
static void settle(void) {
    enum button button;
    show();
    while ((button = buttons_take()) != BUTTON_NONE) take_press(button);
    save_place();
}

/* One thing after the other. While a session waits, no other is looked for. */
static void write_due(cib_writer *w) {
    if (my.leaves_session) {
        my.leaves_session = false;
        cib_cmd_begin(w, "detach", NULL, 0, my.left, 0);
    } else if (my.has_session && cib_follow_due(&my.follow)) {
        cib_cmd_attach(w, &my.follow, DESK_TYPES);
    } else if (my.picks && (!my.has_session || desk_lamp(&my.desk) != LAMP_WAITING) && pick_is_due(&my.pick, now())) {
        pick_ask(&my.pick, w, now());
    }
}

static int send_due(void) {
    if (!cib_link_ready(&my.link)) return 0;
    cib_writer w = cib_link_writer(&my.link);
    write_due(&w);
    if (cib_written(&w) > 0) return cib_link_send(&my.link, &w);
    if (!cib_outbox_due(&my.outbox) || (my.was_refused && now() - my.refused_at < AGAIN_MS)) return 0;
    my.outbox.sent = true;
    return cib_link_send_bytes(&my.link, my.outbox.bytes, my.outbox.n);
}

/* ------------------------------------------------------------------ one connection after the other */

/* From hello to the end of the connection: says what ended it. */
static int converse(void) {
    my.follows = false;
    my.leaves = false;
    my.leaves_session = false;
    pick_restart(&my.pick, now());
    int n = cib_link_start(&my.link);
    while (n >= 0 && !my.leaves) {
        n = cib_link_poll(&my.link);
        bool is_quiet = n == 0;
        if (n > 0) n = take_all((size_t)n);
        if (is_quiet) settle();
        if (n >= 0) n = send_due();
        if (n >= 0 && is_quiet) (void)cib_esp_wait(&my.net, LOOK_MS);
    }
    return n;
}

/* What the box says at the end may mean: do not come back (docs/PROTOCOL.md, "Keeping alive, ending, coming back"). */
static bool is_final(int why) {
    enum cib_bye bye = my.link.bye;
    return why == CIB_EBYE && (bye == CIB_BYE_SUPERSEDED || bye == CIB_BYE_REVOKED || bye == CIB_BYE_EXPIRED || bye == CIB_BYE_BAD_REQUEST);
}

static void connect_once(void) {
    station_wait();
    if (cib_esp_connect(&my.net, CONFIG_BOX_HOST, CONFIG_BOX_PORT, CONNECT_MS) != CIB_OK) {
        ESP_LOGW(TAG, "no connection to %s:%s", CONFIG_BOX_HOST, CONFIG_BOX_PORT);
        return;
    }
    int why = converse();
    cib_esp_close(&my.net);
    if (my.has_session) cib_follow_lost(&my.follow);
    cib_outbox_lost(&my.outbox);
    my.stops = my.stops || is_final(why);
    if (why == CIB_EBYE) ESP_LOGW(TAG, "the box said goodbye (%d)", (int)my.link.bye);
    else ESP_LOGW(TAG, "the connection ended (%d)%s", why, my.tries > 0 ? ": is the key right?" : "");
}

static void start(void) {
    uint32_t boot;
    uint8_t session[CIB_SESSION_BYTES];
    /* An erased flash would begin the boot counter again, so nothing is erased here that cannot be read. */
    ESP_ERROR_CHECK(nvs_flash_init());
    ESP_ERROR_CHECK(cib_esp_boot(&boot));
    my.port = cib_esp_port(&my.net);
    my.picks = strlen(CONFIG_BOX_SESSION) == 0;
    if (cib_key_parse(&my.key, CONFIG_BOX_DEVICE_KEY, boot) != CIB_OK ||
        (!my.picks && cib_session_parse(session, CONFIG_BOX_SESSION) != CIB_OK)) {
        ESP_LOGE(TAG, "the key is 16 hex digits, a colon and 64 hex digits; a session 36 characters: idf.py menuconfig");
        my.stops = true;
        return;
    }
    ESP_LOGI(TAG, "start number %" PRIu32, boot);
    cib_link_init(&my.link, &my.key, &my.port, my.rx, sizeof my.rx, my.tx, sizeof my.tx);
    cib_outbox_init(&my.outbox, my.kept, sizeof my.kept);
    if (!my.picks) follow(session);
    station_start();
}

void app_main(void) {
    lamp_start();
    buttons_start();
    start();
    while (!my.stops) {
        connect_once();
        if (my.stops) break;
        lamp_show(LAMP_OFF);
        vTaskDelay(pdMS_TO_TICKS(cib_backoff(my.tries++, esp_random())));
    }
    lamp_show(LAMP_FAULT);
    ESP_LOGE(TAG, "stopped: coming back would not help; see the lines above");
}
