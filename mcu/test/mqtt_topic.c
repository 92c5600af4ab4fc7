/* mqtt_topic.c: names as text and back. */
#include "check.h"
#include "cib.h"

static const uint8_t SESSION[16] = { 0x01, 0x90, 0xf0, 0xc2, 0x7a, 0x11, 0x7c, 0x33, 0x9a, 0x55, 0x12, 0x34, 0x56, 0x78, 0x90, 0xab };
static const char TEXT[] = "0190f0c2-7a11-7c33-9a55-1234567890ab";

static void topics_are_joined_where_they_fit(void)
{
    char out[8];
    SAME(cib_topic(out, sizeof out, "ab", "cd", "efg"), 7);
    CHECK(strcmp(out, "abcdefg") == 0);
    SAME(cib_topic(out, sizeof out, "ab", NULL, "c"), 3);
    CHECK(strcmp(out, "abc") == 0);
    SAME(cib_topic(out, sizeof out, NULL, NULL, NULL), 0);
    SAME(cib_topic(out, sizeof out, "ab", "cd", "efgh"), CIB_EROOM);
    SAME(cib_topic(out, 0, NULL, NULL, NULL), CIB_EROOM);
}

static void a_session_is_36_characters(void)
{
    char out[37];
    uint8_t back[16];
    cib_session_text(out, SESSION);
    CHECK(strcmp(out, TEXT) == 0);
    SAME(cib_session_parse(back, TEXT), 0);
    CHECK(memcmp(back, SESSION, 16) == 0);
    SAME(cib_session_parse(back, "0190F0C2-7A11-7C33-9A55-1234567890AB"), 0);
    CHECK(memcmp(back, SESSION, 16) == 0);
}

/* Each copy ends where the text does, so that a read behind it is seen. */
static void what_is_no_session_is_refused(void)
{
    uint8_t back[16];
    for (size_t n = 0; n < sizeof TEXT - 1; n++) {
        char *text = calloc(n + 1, 1);
        memcpy(text, TEXT, n);
        SAME(cib_session_parse(back, text), CIB_EFORMAT);
        free(text);
    }
    for (size_t i = 0; i < sizeof TEXT - 1; i++) {
        char text[sizeof TEXT + 1] = { 0 };
        memcpy(text, TEXT, sizeof TEXT);
        text[i] = TEXT[i] == '-' ? '0' : 'g';
        SAME(cib_session_parse(back, text), CIB_EFORMAT);
    }
    SAME(cib_session_parse(back, "0190f0c2-7a11-7c33-9a55-1234567890ab0"), CIB_EFORMAT);
    SAME(cib_session_parse(back, "0190f0c27a117c339a551234567890ab"), CIB_EFORMAT);
}

int main(void)
{
    RUN(topics_are_joined_where_they_fit);
    RUN(a_session_is_36_characters);
    RUN(what_is_no_session_is_refused);
    return report("mqtt_topic");
}
