/*
 * client.c: the client that the tests drive: commands come in as lines, everything that happens goes out as lines of JSON.
 *
 *   client watch CARRIER HOST:PORT SESSION [FROM]   follows a session through every break (posix/device.c, as the lamp does)
 *   client call CARRIER HOST:PORT                   one connection, and any command on it
 *
 * watch takes:  say <id> <hex of the text>   input, until it is answered
 *               allow <id>, deny <id>        the question that came last
 *               later <ms>                   its clock goes on by so much at once
 *               end
 * call takes:   run <command id: u<number> or t<hex>> <cmd> <session in hex or -> <pairs> <words, told.h>
 *               session <hex>   whose frames an attach will ask for
 *               stall, resume   reads nothing meanwhile
 *               end
 * Environment: CIB_DEVICE_KEY or CIB_TOKEN, CIB_STATE (the boot counter's file), CIB_NAME (of the MQTT client), CIB_TYPES (bits),
 * CIB_MAX_BYTES. Exit codes: 0 ended by itself or as told, 1 the box does not let it in, 2 the command line was wrong.
 */
#define _POSIX_C_SOURCE 200809L
#include "device.h"
#include "lines.h"
#include "told.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORD_ROOM 128

/* ------------------------------------------------------------------ a clock that can be put forward */

/* The tests' programs have globals; the library has none. */
static uint32_t forward;
static uint32_t (*real_ms)(void *user);

static uint32_t test_ms(void *user)
{
    return real_ms(user) + forward;
}

static void take_over_clock(cib_port *port)
{
    real_ms = port->ms;
    port->ms = test_ms;
}

/* ------------------------------------------------------------------ watch */

typedef struct watcher {
    device *d;
    lines in;
    char ask[WORD_ROOM]; /* the question that came last */
} watcher;

static void keep(watcher *v, cib_writer *w, const char *id)
{
    printf("{\"kept\":\"%s\",\"error\":\"%s\"}\n", id, name_of_error(cib_outbox_keep(&v->d->outbox, w)));
}

/* false: it is to end. */
static bool obey_watcher(watcher *v, char *line)
{
    char id[WORD_ROOM] = "";
    int at = 0;
    cib_writer w = cib_outbox_writer(&v->d->outbox);
    const uint8_t *session = v->d->follow.session;
    cib_text ask = {(const uint8_t *)v->ask, strlen(v->ask)};
    if (strncmp(line, "later ", 6) == 0) {
        forward += (uint32_t)strtoul(line + 6, NULL, 10);
        return true;
    }
    if (sscanf(line, "say %127s %n", id, &at) == 1) {
        static char text[WORD_ROOM * 64];
        int n = bytes_of_hex(line + at, (uint8_t *)text, sizeof text - 1);
        text[n < 0 ? 0 : n] = 0;
        cib_cmd_input(&w, id, session, text);
    } else if (sscanf(line, "allow %127s", id) == 1)
        cib_cmd_decide(&w, id, session, ask, true);
    else if (sscanf(line, "deny %127s", id) == 1)
        cib_cmd_decide(&w, id, session, ask, false);
    else
        return strcmp(line, "end") != 0;
    keep(v, &w, id);
    return true;
}

static void tell_taken(watcher *v)
{
    static const char *const names[] = {"old", "new", "gap", "ahead", "followed", "unfollowed"};
    const device *d = v->d;
    if (d->taken == CIB_NEW && d->item.frame.type == CIB_FRAME_ASK_QUESTION) {
        cib_text id = cib_field_text(&d->item.frame, CIB_KEY_ASK_QUESTION_ID);
        (void)snprintf(v->ask, sizeof v->ask, "%.*s", (int)id.n, (const char *)id.at);
    }
    if (d->taken == CIB_NEW || d->settled)
        tell_item(&d->item, 0);
    else if (d->taken == CIB_UNFOLLOWED && d->item.kind == CIB_ITEM_REPLY)
        tell_item(&d->item, 0);
    if (d->settled)
        printf("{\"settled\":true,\"again\":%s}\n", cib_outbox_due(&d->outbox) ? "true" : "false");
    else if (d->taken != CIB_NEW && d->taken != CIB_OLD)
        printf("{\"taken\":\"%s\",\"seq\":%" PRIu64 ",\"epoch\":%" PRIu32 "}\n", names[d->taken], d->follow.seq, d->follow.epoch);
}

static void tell_end(const char *what, const device *d)
{
    printf("{\"%s\":\"%s\",\"bye\":\"%s\",\"wait\":%" PRIu32 "}\n", what, name_of_error(d->why), name_of_bye(d->bye), d->wait_ms);
}

static int watch(watcher *v)
{
    device *d = v->d;
    for (;;) {
        switch (device_next(d, v->in.over ? -1 : STDIN_FILENO)) {
        case DEVICE_UP: printf("{\"up\":true}\n"); break;
        case DEVICE_ITEM: tell_taken(v); break;
        case DEVICE_QUIET: printf("{\"quiet\":%" PRIu64 "}\n", d->follow.seq); break;
        case DEVICE_DOWN: tell_end("down", d); break;
        case DEVICE_OVER: tell_end("over", d); return 1;
        case DEVICE_INPUT:
            lines_read(&v->in);
            for (char *line = lines_next(&v->in); line != NULL; line = lines_next(&v->in)) {
                if (obey_watcher(v, line))
                    continue;
                carrier_end(&d->carrier);
                return 0;
            }
            break;
        }
        (void)fflush(stdout);
    }
}

/* ------------------------------------------------------------------ call */

typedef struct caller {
    carrier *c;
    lines in;
    bool up, stalled, over;
    enum cib_bye bye;
    bool has_bye;
} caller;

/* run <id> <cmd> <session or -> <pairs> <words> */
static int run_command(caller *a, const char *line)
{
    static uint8_t id[WORD_ROOM];
    char name[2 * WORD_ROOM], cmd[WORD_ROOM], in[WORD_ROOM];
    uint8_t session[CIB_SESSION_BYTES];
    unsigned pairs = 0;
    int at = 0;
    if (sscanf(line, "run %255s %127s %127s %u %n", name, cmd, in, &pairs, &at) != 4)
        return CIB_EFORMAT;
    bool has_session = in[0] != '-';
    if (has_session && bytes_of_hex(in, session, sizeof session) != CIB_SESSION_BYTES)
        return CIB_EFORMAT;
    int n = name[0] == 't' ? bytes_of_hex(name + 1, id, sizeof id - 1) : 0;
    if (n < 0)
        return CIB_EFORMAT;
    id[n] = 0;
    cib_writer w = carrier_writer(a->c);
    uint32_t number = (uint32_t)strtoul(name + 1, NULL, 10);
    cib_cmd_begin(&w, cmd, name[0] == 't' ? (const char *)id : NULL, number, has_session ? session : NULL, pairs);
    const char *words = line + at;
    for (unsigned i = 0; i < 2 * pairs && words != NULL; i++)
        words = say_value(&w, words);
    return words == NULL ? CIB_EFORMAT : carrier_send(a->c, &w);
}

static int obey_caller(caller *a, const char *line)
{
    uint8_t session[CIB_SESSION_BYTES];
    a->over = a->over || strcmp(line, "end") == 0;
    a->stalled = strcmp(line, "stall") == 0 || (a->stalled && strcmp(line, "resume") != 0);
    if (strncmp(line, "session ", 8) == 0 && bytes_of_hex(line + 8, session, sizeof session) == CIB_SESSION_BYTES)
        carrier_session(a->c, session);
    return strncmp(line, "run ", 4) == 0 ? run_command(a, line) : 0;
}

static int tell_all(caller *a, size_t n)
{
    cib_reader r = cib_reader_of(a->c->plain, n);
    cib_item item;
    const uint8_t *before = r.at;
    int more = 0;
    while ((more = cib_next(&r, &item)) > 0) {
        tell_item(&item, (size_t)(r.at - before));
        before = r.at;
        if (item.kind != CIB_ITEM_BYE)
            continue;
        a->bye = item.reason;
        a->has_bye = true;
    }
    return more;
}

/* Lines are obeyed one by one, and only while a command may be sent; a line that ends a stall is always read. */
static int turn(caller *a)
{
    int n = a->stalled ? 0 : carrier_poll(a->c);
    if (n > 0)
        return tell_all(a, (size_t)n);
    /* What a 401 has turned away is not said again here, as a device would: the test wants to know. */
    if (n == CIB_HTTP_END)
        n = a->has_bye ? CIB_EBYE : a->c->refused > 0 ? CIB_EREFUSED : 0;
    if (n < 0)
        return n;
    bool ready = a->stalled || carrier_ready(a->c);
    if (ready && !a->up)
        printf("{\"up\":true}\n");
    a->up = a->up || ready;
    (void)fflush(stdout);
    char *line = ready || a->c->kind == CARRIER_HTTP ? lines_next(&a->in) : NULL;
    if (line != NULL)
        return obey_caller(a, line);
    a->over = a->over || (ready && a->in.over);
    static const cib_posix nothing = {-1};
    if (cib_posix_wait(a->stalled ? &nothing : &a->c->net, a->in.over ? -1 : STDIN_FILENO, DEVICE_TICK_MS) & CIB_POSIX_OTHER)
        lines_read(&a->in);
    return 0;
}

static int call(caller *a)
{
    int error = carrier_open(a->c);
    while (error >= 0 && !a->over)
        error = turn(a);
    if (error == CIB_EBYE && !a->has_bye)
        a->bye = carrier_bye(a->c);
    bool bye = a->has_bye || error == CIB_EBYE;
    printf("{\"end\":\"%s\",\"error\":\"%s\"}\n", bye ? name_of_bye(a->bye) : "cut", name_of_error(error));
    if (error >= 0)
        carrier_end(a->c);
    else
        carrier_close(a->c);
    return error < 0 && !a->up ? 1 : 0;
}

/* ------------------------------------------------------------------ beginning */

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value == NULL ? otherwise : value;
}

static int usage(const char *what)
{
    (void)fprintf(stderr, "client: %s\n", what);
    return 2;
}

static int begin(carrier *c, char **argv)
{
    uint32_t boot = 0;
    if (carrier_init(c, argv[2], argv[3]) < 0)
        return usage("CARRIER HOST:PORT");
    if (cib_posix_boot(setting("CIB_STATE", ""), &boot) < 0)
        return usage("CIB_STATE");
    take_over_clock(&c->port);
    bool plain = c->kind == CARRIER_MQTT;
    const char *secret = setting(plain ? "CIB_TOKEN" : "CIB_DEVICE_KEY", "");
    int error = plain ? carrier_token(c, secret) : carrier_key(c, secret, boot);
    if (error < 0 || carrier_name(c, setting("CIB_NAME", "client")) < 0)
        return usage("CIB_TOKEN or CIB_DEVICE_KEY");
    return 0;
}

int main(int argc, char **argv)
{
    static device d;
    static watcher v = {.d = &d};
    static caller a = {.c = &d.carrier};
    uint8_t session[CIB_SESSION_BYTES];
    if (argc < 4)
        return usage("watch or call, CARRIER, HOST:PORT");
    if (begin(&d.carrier, argv) != 0)
        return 2;
    if (strcmp(argv[1], "call") == 0)
        return call(&a);
    bool one = argc > 4 && strcmp(argv[4], "-") != 0;
    if (one && cib_session_parse(session, argv[4]) < 0)
        return usage("SESSION");
    device_init(&d, one ? session : NULL);
    d.types = (uint32_t)strtoul(setting("CIB_TYPES", "0"), NULL, 10);
    d.max_bytes = (uint32_t)strtoul(setting("CIB_MAX_BYTES", "0"), NULL, 10);
    if (argc > 5 && strcmp(argv[5], "now") == 0)
        cib_follow_from_now(&d.follow);
    else if (argc > 5)
        d.follow.seq = strtoull(argv[5], NULL, 10) - 1;
    return watch(&v);
}
