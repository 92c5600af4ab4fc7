/*
 * cib-lamp: the box on the desk, in a terminal. It shows whether Claude is working, waiting or done, prints what it asks,
 * and two keys answer: a approves, d denies.
 *
 *   CIB_DEVICE_KEY=<id>:<secret> cib-lamp tcp box:8081 [session]
 *   CIB_DEVICE_KEY=<id>:<secret> cib-lamp http box:8080 [session]
 *   CIB_DEVICE_KEY=<id>:<secret> cib-lamp mqtt-sealed box:1883 [session]
 *   CIB_TOKEN=<token>            cib-lamp mqtt box:1883 [session]
 *
 * Without a session it takes the one that waits for you, or else works, or else is the newest. The boot counter stands
 * in $CIB_STATE, or in ~/.cib-lamp. Exit codes: 0 ended with q or ctrl-C, 1 the box does not let us in, 2 the command
 * line was wrong.
 */
#define _POSIX_C_SOURCE 200809L
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Questions that may wait at once, and the longest id of one: "toolu_" + 24 + "/0", and then some. */
#define MAX_ASKS 4
#define ASK_ROOM 80
#define LINE_ROOM 240
/* As a terminal without its own line editing sends them. */
#define CTRL_C 3
#define CTRL_D 4

typedef struct ask {
    char id[ASK_ROOM];
    char line[LINE_ROOM]; /* what a person is shown */
} ask;

typedef struct lamp {
    const char *shows; /* "working" */
    ask asks[MAX_ASKS]; /* open questions, the oldest first */
    int count;
    bool changed;
    uint32_t boot, presses;
} lamp;

/* ------------------------------------------------------------------ what the frames say */

static void take_status(lamp *l, const cib_frame *frame)
{
    cib_text state = cib_field_text(frame, CIB_KEY_STATUS_STATE);
    l->shows = cib_text_is(state, CIB_STATUS_STATE_WORKING) ? "working"
               : cib_text_is(state, CIB_STATUS_STATE_WAITING_FOR_INPUT) ? "waiting"
               : cib_text_is(state, CIB_STATUS_STATE_STOPPED) ? "stopped" : "done";
}

static void take_question(lamp *l, const cib_frame *frame)
{
    cib_text id = cib_field_text(frame, CIB_KEY_ASK_QUESTION_ID);
    cib_text prompt = cib_field_text(frame, CIB_KEY_ASK_QUESTION_PROMPT);
    cib_text summary = cib_field_text(frame, CIB_KEY_ASK_QUESTION_SUMMARY);
    if (l->count == MAX_ASKS || id.n >= ASK_ROOM)
        return; /* somebody with a larger screen will answer it */
    ask *a = &l->asks[l->count++];
    (void)snprintf(a->id, sizeof a->id, "%.*s", (int)id.n, (const char *)id.at);
    const char *more = summary.n > 0 ? (const char *)summary.at : "";
    (void)snprintf(a->line, sizeof a->line, "%.*s %.*s", (int)prompt.n, (const char *)prompt.at, (int)summary.n, more);
}

/* Answered, by us or by anybody else. */
static void take_answer(lamp *l, const cib_frame *frame)
{
    cib_text id = cib_field_text(frame, CIB_KEY_ASK_ANSWER_ID);
    int i = 0;
    while (i < l->count && !cib_text_is(id, l->asks[i].id))
        i++;
    if (i == l->count)
        return;
    memmove(&l->asks[i], &l->asks[i + 1], (size_t)(l->count - i - 1) * sizeof *l->asks);
    l->count--;
}

static void take_frame(lamp *l, const cib_frame *frame)
{
    if (frame->type == CIB_FRAME_STATUS)
        take_status(l, frame);
    else if (frame->type == CIB_FRAME_ASK_QUESTION)
        take_question(l, frame);
    else if (frame->type == CIB_FRAME_ASK_ANSWER)
        take_answer(l, frame);
    else
        return;
    l->changed = true;
}

static void take_item(lamp *l, const device *d)
{
    if (d->taken == CIB_NEW)
        take_frame(l, &d->item.frame);
    if (d->taken == CIB_GAP)
        printf("  (older frames are gone)\n");
    if (d->taken == CIB_UNFOLLOWED && d->item.kind == CIB_ITEM_REPLY)
        printf("  this session cannot be followed: %.*s\n", (int)d->item.reply.code.n, (const char *)d->item.reply.code.at);
    if (d->settled && !d->item.reply.ok)
        printf("  not taken: %.*s\n", (int)d->item.reply.code.n, (const char *)d->item.reply.code.at);
}

/* ------------------------------------------------------------------ what a person sees and does */

static void show(lamp *l)
{
    if (!l->changed)
        return;
    l->changed = false;
    printf("* %s\n", l->shows);
    if (l->count > 0)
        printf("  %s\n  a = approve, d = deny\n", l->asks[0].line);
    (void)fflush(stdout);
}

/* A press happens once, whatever becomes of the line: it has an id of its own, and the outbox repeats it until the box
 * has replied. */
static void press(lamp *l, device *d, bool allow)
{
    if (l->count == 0)
        return;
    char id[CIB_ID_ROOM];
    cib_text about = {(const uint8_t *)l->asks[0].id, strlen(l->asks[0].id)};
    cib_id(id, l->boot, l->presses++);
    cib_writer w = cib_outbox_writer(&d->outbox);
    cib_cmd_decide(&w, id, d->follow.session, about, allow);
    if (cib_outbox_keep(&d->outbox, &w) == CIB_OK)
        printf("  %s ...\n", allow ? "approved" : "denied");
    else
        printf("  one moment: the last answer is still on its way\n");
    (void)fflush(stdout);
}

/* false: no more keys will come. */
static bool read_key(lamp *l, device *d)
{
    char key = 0;
    if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == CTRL_C || key == CTRL_D)
        return false;
    if (key == 'a' || key == 'd')
        press(l, d, key == 'a');
    return true;
}

static int run(lamp *l, device *d)
{
    for (;;) {
        switch (device_next(d, STDIN_FILENO)) {
        case DEVICE_UP: printf("  connected\n"); break;
        case DEVICE_ITEM: take_item(l, d); break;
        case DEVICE_QUIET: show(l); break;
        case DEVICE_DOWN:
            if (d->tries == 1)
                printf("  no connection; trying again until there is\n");
            break;
        case DEVICE_INPUT:
            if (read_key(l, d))
                break;
            carrier_end(&d->carrier);
            return 0;
        case DEVICE_OVER:
            (void)fprintf(stderr, "cib-lamp: the box does not let this key in (any more)\n");
            return 1;
        }
        (void)fflush(stdout);
    }
}

/* ------------------------------------------------------------------ beginning */

static int usage(const char *what)
{
    (void)fprintf(stderr, "cib-lamp: %s\ncib-lamp tcp|http|mqtt|mqtt-sealed HOST:PORT [session]\n", what);
    return 2;
}

/* Raised and on the disk before the first connection: a count that repeats would repeat keys. */
static bool raise_boot_counter(uint32_t *boot)
{
    char file[512];
    const char *state = getenv("CIB_STATE");
    const char *home = getenv("HOME");
    if (state != NULL)
        (void)snprintf(file, sizeof file, "%s", state);
    else
        (void)snprintf(file, sizeof file, "%s/.cib-lamp", home != NULL ? home : ".");
    return cib_posix_boot(file, boot) == CIB_OK;
}

/* One key press at a time, without Enter; false where this is no terminal. */
static bool without_enter(struct termios *before)
{
    if (tcgetattr(STDIN_FILENO, before) != 0)
        return false;
    struct termios keys = *before;
    keys.c_lflag &= (tcflag_t) ~(tcflag_t)(ICANON | ECHO | ISIG);
    return tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0;
}

int main(int argc, char **argv)
{
    static device d;
    static lamp l = {.shows = "unknown"};
    uint8_t session[CIB_SESSION_BYTES];
    if (argc < 3 || argc > 4)
        return usage("a carrier and the box's address");
    if (carrier_init(&d.carrier, argv[1], argv[2]) < 0)
        return usage("that is no carrier, or no HOST:PORT");
    if (argc == 4 && cib_session_parse(session, argv[3]) < 0)
        return usage("a session is a UUID");
    bool plain = d.carrier.kind == CARRIER_MQTT;
    const char *secret = getenv(plain ? "CIB_TOKEN" : "CIB_DEVICE_KEY");
    if (secret == NULL)
        return usage(plain ? "CIB_TOKEN is not set" : "CIB_DEVICE_KEY is not set");
    if (!raise_boot_counter(&l.boot))
        return usage("the boot counter cannot be raised: see $CIB_STATE or ~/.cib-lamp");
    if ((plain ? carrier_token(&d.carrier, secret) : carrier_key(&d.carrier, secret, l.boot)) < 0)
        return usage("the key is <16 hex digits>:<64 hex digits>");
    if (carrier_name(&d.carrier, "lamp") < 0)
        return usage("the token is too long");
    device_init(&d, argc == 4 ? session : NULL);
    /* From the beginning of the session, but little of it: so the lamp knows what is open before it says anything. */
    d.types = CIB_TYPE(CIB_FRAME_STATUS) | CIB_TYPE(CIB_FRAME_ASK_QUESTION) | CIB_TYPE(CIB_FRAME_ASK_ANSWER);
    struct termios before;
    bool terminal = without_enter(&before);
    int code = run(&l, &d);
    if (terminal)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return code;
}
