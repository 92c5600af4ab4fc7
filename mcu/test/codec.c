/*
 * codec.c: the corpus from both sides, for tests: what TypeScript encoded is told as the library reads it, and what the library
 * writes is given back as bytes. A line in, a line out.
 *
 *   decode <hex>                                    items: a line for each, then {"done":<how cib_next ended>}
 *   skip <hex>                                      {"left":<bytes behind one item>,"error":...}
 *   field <key> <hex of a frame>                    {"field":<its value>} or {"field":null}
 *   encode <words, told.h>                          {"bytes":"<hex>"}
 *   attach <session> <seq> <epoch> <types> <max_frames> <wait_ms> <max_bytes>, attach-now <session> <types>
 *   allow|deny <id> <session> <ask in hex>, choose <id> <session> <ask in hex> <choice>, input <id> <session> <text in hex>
 *   begin <cmd> <id or -> <number> <session or -> <pairs> <words>
 *                                                   {"bytes":"<hex>"}
 *   room <n> <words>                                the same in n bytes: {"full":true} where it does not fit
 */
#include "lines.h"
#include "told.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES (2u << 20)
#define WORD_ROOM 700

static void tell_written(const cib_writer *w)
{
    if (w->full)
        printf("{\"full\":true,\"written\":%zu}\n", cib_written(w));
    else {
        printf("{\"bytes\":\"");
        tell_hex(w->start, cib_written(w));
        printf("\"}\n");
    }
}

/* Bytes of exactly their length on the heap, so that reading past them is seen. */
static uint8_t *exact(const char *hex, size_t *n)
{
    static uint8_t bytes[MOST_BYTES];
    int got = bytes_of_hex(hex, bytes, sizeof bytes);
    *n = got < 0 ? 0 : (size_t)got;
    uint8_t *copy = malloc(*n == 0 ? 1 : *n);
    if (copy != NULL)
        memcpy(copy, bytes, *n);
    return copy;
}

static void decode(cib_reader r)
{
    cib_item item;
    int more;
    const uint8_t *before = r.at;
    while ((more = cib_next(&r, &item)) > 0) {
        tell_item(&item, (size_t)(r.at - before));
        before = r.at;
    }
    printf("{\"done\":%d}\n", more);
}

static void tell_field(cib_reader r, uint32_t key)
{
    cib_item item;
    cib_reader value;
    printf("{\"field\":");
    if (cib_next(&r, &item) == 1 && item.kind == CIB_ITEM_FRAME && cib_field(&item.frame, key, &value))
        tell_value(&value);
    else
        printf("null");
    printf("}\n");
}

/* The commands that read. */
static bool read_command(const char *line)
{
    uint32_t key = 0;
    int at = 0;
    size_t n = 0;
    if (strncmp(line, "decode ", 7) == 0)
        at = 7;
    else if (strncmp(line, "skip ", 5) == 0)
        at = 5;
    else if (sscanf(line, "field %" SCNu32 " %n", &key, &at) != 1)
        return false;
    uint8_t *bytes = exact(line + at, &n);
    if (bytes == NULL)
        return false;
    cib_reader r = cib_reader_of(bytes, n);
    if (line[0] == 'd')
        decode(r);
    else if (line[0] == 'f')
        tell_field(r, key);
    else {
        cib_skip(&r);
        printf("{\"left\":%zu,\"error\":%d}\n", (size_t)(r.end - r.at), r.error);
    }
    free(bytes);
    return true;
}

static bool write_attach(const char *line, cib_writer *w)
{
    char in[WORD_ROOM];
    uint8_t session[CIB_SESSION_BYTES];
    uint64_t seq = 0;
    uint32_t epoch = 0, types = 0, frames = 0, ms = 0, bytes = 0;
    int n = sscanf(line, "attach %699s %" SCNu64 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32, in, &seq, &epoch,
                   &types, &frames, &ms, &bytes);
    bool from_now = n != 7 && sscanf(line, "attach-now %699s %" SCNu32, in, &types) == 2;
    if ((n != 7 && !from_now) || bytes_of_hex(in, session, sizeof session) != CIB_SESSION_BYTES)
        return false;
    cib_follow follow;
    cib_follow_init(&follow, session);
    follow.seq = seq;
    follow.epoch = epoch;
    if (from_now)
        cib_follow_from_now(&follow);
    if (frames + ms + bytes > 0)
        cib_cmd_attach_for(w, &follow, types, frames, ms, bytes);
    else
        cib_cmd_attach(w, &follow, types);
    return true;
}

static bool write_about_session(const char *line, cib_writer *w)
{
    char cmd[WORD_ROOM], id[WORD_ROOM], in[WORD_ROOM], hex[WORD_ROOM];
    uint8_t session[CIB_SESSION_BYTES], bytes[WORD_ROOM];
    uint32_t choice = 0;
    int got = sscanf(line, "%699s %699s %699s %699s %" SCNu32, cmd, id, in, hex, &choice);
    if (got < 4 || bytes_of_hex(in, session, sizeof session) != CIB_SESSION_BYTES)
        return false;
    int n = bytes_of_hex(hex, bytes, sizeof bytes - 1);
    if (n < 0)
        return false;
    bytes[n] = 0;
    cib_text ask = {bytes, (size_t)n};
    if (strcmp(cmd, "input") == 0)
        cib_cmd_input(w, id, session, (const char *)bytes);
    else if (strcmp(cmd, "choose") == 0)
        cib_cmd_choose(w, id, session, ask, choice);
    else if (strcmp(cmd, "allow") == 0 || strcmp(cmd, "deny") == 0)
        cib_cmd_decide(w, id, session, ask, cmd[0] == 'a');
    else
        return false;
    return true;
}

static bool write_any(const char *line, cib_writer *w)
{
    char cmd[WORD_ROOM], id[WORD_ROOM], in[WORD_ROOM];
    uint8_t session[CIB_SESSION_BYTES];
    uint32_t number = 0, pairs = 0;
    int at = 0;
    if (sscanf(line, "begin %699s %699s %" SCNu32 " %699s %" SCNu32 " %n", cmd, id, &number, in, &pairs, &at) != 5)
        return false;
    bool has_session = bytes_of_hex(in, session, sizeof session) == CIB_SESSION_BYTES;
    cib_cmd_begin(w, cmd, id[0] == '-' ? NULL : id, number, has_session ? session : NULL, pairs);
    const char *words = line + at;
    for (uint32_t i = 0; i < 2 * pairs && words != NULL; i++)
        words = say_value(w, words);
    return words != NULL;
}

static bool write_command(const char *line)
{
    static uint8_t room[MOST_BYTES];
    cib_writer w = cib_writer_of(room, sizeof room);
    size_t n = 0;
    int at = 0;
    bool good;
    if (strncmp(line, "encode ", 7) == 0)
        good = say_value(&w, line + 7) != NULL;
    else if (sscanf(line, "room %zu %n", &n, &at) == 1) {
        w = cib_writer_of(room, n < sizeof room ? n : sizeof room);
        good = say_value(&w, line + at) != NULL;
    } else
        good = write_attach(line, &w) || write_any(line, &w) || write_about_session(line, &w);
    if (good)
        tell_written(&w);
    return good;
}

int main(void)
{
    static lines in;
    while (!in.over) {
        lines_read(&in);
        for (char *line = lines_next(&in); line != NULL; line = lines_next(&in)) {
            if (!read_command(line) && !write_command(line))
                printf("{\"wrong\":true}\n");
            (void)fflush(stdout);
        }
    }
    return 0;
}
