/* told.c: CBOR to JSON and words to CBOR, through the library's own reader and writer, so that tests see what a device sees. */
#include "told.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Deepest value of the box's is 32; tests may recurse. */
#define HEX "0123456789abcdef"
/* Longest text or byte string in a word. */
#define WORD_BYTES (1u << 20)

void tell_hex(const uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%02x", at[i]);
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

/* Whole stretches at once: byte by byte megabytes take seconds under a sanitizer. */
void tell_text(cib_text text)
{
    (void)putchar('"');
    for (size_t i = 0; i < text.n; i++) {
        size_t n = 0;
        while (i + n < text.n && is_plain(text.at[i + n]))
            n++;
        if (n > 0)
            (void)fwrite(text.at + i, 1, n, stdout);
        i += n;
        if (i < text.n && text.at[i] < 0x20)
            printf("\\u%04x", text.at[i]);
        else if (i < text.n)
            printf("\\%c", text.at[i]);
    }
    (void)putchar('"');
}

/* ------------------------------------------------------------------ values */

static uint64_t big_endian(cib_reader *r, size_t n)
{
    uint64_t bits = 0;
    for (; n > 0 && r->at < r->end; n--)
        bits = bits << 8 | *r->at++;
    return bits;
}

/* false, true, null and floats: the library has a use for the first three only. */
static void tell_other(cib_reader *r)
{
    uint8_t head = *r->at;
    if (head >= 0xf4 && head <= 0xf6) {
        printf("%s", head == 0xf6 ? (cib_read_bool(r) ? "" : "null") : cib_read_bool(r) ? "true" : "false");
        return;
    }
    uint64_t bits;
    double value = 0;
    float single = 0;
    r->at++;
    bits = big_endian(r, head == 0xfb ? 8 : 4);
    uint32_t low = (uint32_t)bits;
    if (head == 0xfb)
        memcpy(&value, &bits, sizeof value);
    else
        memcpy(&single, &low, sizeof single);
    printf("%.17g", head == 0xfb ? value : (double)single);
}

/* A JSON object's keys are text. */
static void tell_key(cib_reader *r)
{
    if (cib_peek(r) == CIB_CBOR_UINT)
        printf("\"%" PRIu64 "\"", cib_read_uint(r));
    else
        tell_text(cib_read_text(r));
}

void tell_pairs(cib_reader *r, uint64_t pairs)
{
    (void)putchar('{');
    for (uint64_t i = 0; i < pairs && r->error == 0; i++) {
        if (i > 0)
            (void)putchar(',');
        tell_key(r);
        (void)putchar(':');
        tell_value(r);
    }
    (void)putchar('}');
}

static void tell_list(cib_reader *r)
{
    uint64_t count = cib_read_head(r, CIB_CBOR_ARRAY);
    (void)putchar('[');
    for (uint64_t i = 0; i < count && r->error == 0; i++) {
        if (i > 0)
            (void)putchar(',');
        tell_value(r);
    }
    (void)putchar(']');
}

void tell_value(cib_reader *r)
{
    switch (cib_peek(r)) {
    case CIB_CBOR_UINT: printf("%" PRIu64, cib_read_uint(r)); break;
    case CIB_CBOR_NEGATIVE: printf("-%" PRIu64, cib_read_head(r, CIB_CBOR_NEGATIVE) + 1u); break;
    case CIB_CBOR_TEXT: tell_text(cib_read_text(r)); break;
    case CIB_CBOR_BYTES: {
        cib_text bytes = cib_read_text(r);
        printf("{\"$bytes\":\"");
        tell_hex(bytes.at, bytes.n);
        printf("\"}");
        break;
    }
    case CIB_CBOR_ARRAY: tell_list(r); break;
    case CIB_CBOR_MAP: tell_pairs(r, cib_read_head(r, CIB_CBOR_MAP)); break;
    case CIB_CBOR_OTHER: tell_other(r); break;
    default: cib_skip(r); printf("\"$broken\""); break;
    }
}

/* ------------------------------------------------------------------ items */

void tell_frame(const cib_frame *frame, size_t bytes)
{
    cib_reader data = frame->data;
    printf("{\"frame\":[%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",\"", frame->type, frame->seq, frame->ts);
    tell_hex(frame->session, CIB_SESSION_BYTES);
    printf("\",");
    tell_pairs(&data, frame->pairs);
    printf("],\"last\":%s,\"bytes\":%zu", frame->last ? "true" : "false", bytes);
    printf(",\"error\":%d}\n", data.error);
}

static void tell_reply(const cib_reply *reply)
{
    cib_reader body = reply->body;
    printf("{\"reply\":");
    tell_pairs(&body, reply->pairs);
    printf(",\"ok\":%s,\"id\":%" PRIu32 ",\"name\":", reply->ok ? "true" : "false", reply->id);
    tell_text(reply->name);
    printf(",\"code\":");
    tell_text(reply->code);
    printf(",\"retryable\":%s}\n", reply->retryable ? "true" : "false");
}

void tell_item(const cib_item *item, size_t bytes)
{
    switch (item->kind) {
    case CIB_ITEM_FRAME: tell_frame(&item->frame, bytes); break;
    case CIB_ITEM_REPLY: tell_reply(&item->reply); break;
    case CIB_ITEM_GAP: printf("{\"gap\":[%" PRIu64 ",%" PRIu64 "]}\n", item->from, item->to); break;
    case CIB_ITEM_DETACHED: printf("{\"detached\":\"%s\"}\n", name_of_bye(item->reason)); break;
    case CIB_ITEM_BYE: printf("{\"bye\":\"%s\"}\n", name_of_bye(item->reason)); break;
    case CIB_ITEM_NEXT: printf("{\"next\":%zu}\n", item->token.n); break;
    default: printf("{\"other\":%zu}\n", bytes); break;
    }
}

const char *name_of_bye(enum cib_bye bye)
{
    static const char *const names[] = {"other", "rekey", "stopping", "too_far_behind", "superseded", "revoked", "expired",
                                        "bad_request", "detached", "max_frames", "wait_ms"};
    return (unsigned)bye < sizeof names / sizeof *names ? names[bye] : "other";
}

const char *name_of_error(int error)
{
    static const char *const names[] = {"ok", "line", "dead", "key", "format", "room", "busy", "bye", "refused", "random", "rekey"};
    return error <= 0 && (unsigned)-error < sizeof names / sizeof *names ? names[-error] : "unknown";
}

/* ------------------------------------------------------------------ words */

static int digit_of(char c)
{
    const char *at = c == 0 ? NULL : strchr(HEX, c);
    return at == NULL ? -1 : (int)(at - HEX);
}

int bytes_of_hex(const char *hex, uint8_t *bytes, size_t room)
{
    size_t n = 0;
    for (; *hex != 0 && *hex != ' '; hex += 2) {
        int high = digit_of(hex[0]);
        int low = high < 0 ? -1 : digit_of(hex[1]);
        if (low < 0 || n == room)
            return -1;
        bytes[n++] = (uint8_t)(high << 4 | low);
    }
    return (int)n;
}

static bool say_chunk(cib_writer *w, const char *word)
{
    static uint8_t bytes[WORD_BYTES];
    int n = bytes_of_hex(word + 1, bytes, sizeof bytes);
    cib_text text = {bytes, n < 0 ? 0 : (size_t)n};
    if (word[0] == 't')
        cib_write_text_n(w, text);
    else
        cib_write_bytes(w, text.at, text.n);
    return n >= 0;
}

const char *say_value(cib_writer *w, const char *words)
{
    uint64_t count = strtoull(words + (words[0] == 0 ? 0 : 1), NULL, 10);
    uint64_t inside = words[0] == '{' ? 2 * count : words[0] == '[' ? count : 0;
    switch (words[0]) {
    case 'u': cib_write_uint(w, count); break;
    case 'n': cib_write_head(w, CIB_CBOR_NEGATIVE, count); break;
    case 'T':
    case 'F': cib_write_bool(w, words[0] == 'T'); break;
    case 'N': cib_write_head(w, CIB_CBOR_OTHER, 22); break;
    case '[': cib_write_head(w, CIB_CBOR_ARRAY, count); break;
    case '{': cib_write_head(w, CIB_CBOR_MAP, count); break;
    case 't':
    case 'b':
        if (say_chunk(w, words))
            break;
        return NULL;
    default: return NULL;
    }
    words += strcspn(words, " ");
    words += strspn(words, " ");
    for (; inside > 0 && words != NULL; inside--)
        words = say_value(w, words);
    return words;
}
