/* key.c: a device's key as a person enters it. */
#include "check.h"
#include "cib.h"

#define ID "a0a1a2a3a4a5a6a7"
#define SECRET "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void a_key_is_read_as_the_box_prints_it(void)
{
    cib_key key;
    SAME(cib_key_parse(&key, ID ":" SECRET, 7), 0);
    SAME_HEX(key.id, ID);
    SAME_HEX(key.prk0, "a9855c73b6e7da045159df4a6f585bc61adeb2a02476db5a4d2892c6916979cb");
    SAME(key.boot, 7);
    SAME(key.uses, 0);
    cib_key upper;
    SAME(cib_key_parse(&upper, "A0A1A2A3A4A5A6A7:000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", 7), 0);
    CHECK(memcmp(&upper, &key, sizeof key) == 0);
}

static void anything_else_is_refused(void)
{
    static const char *const WRONG[] = {
        "", ":", ID, ID ":", ID SECRET, ID "-" SECRET, ID ":" SECRET "0", ID ":" SECRET "\n", " " ID ":" SECRET,
        "g0a1a2a3a4a5a6a7:" SECRET, "a0a1a2a3a4a5a6a:" SECRET, "CIB_DEVICE_KEY=" ID ":" SECRET,
    };
    cib_key key;
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++)
        SAME(cib_key_parse(&key, WRONG[i], 0), CIB_EFORMAT);
}

static void a_key_that_is_cut_anywhere_is_refused(void)
{
    static const char WHOLE[] = ID ":" SECRET;
    for (size_t n = 0; n < sizeof WHOLE - 1; n++) {
        cib_key key;
        char *text = malloc(n + 1); /* of its own, so that reading on is found */
        CHECK(text != NULL);
        memcpy(text, WHOLE, n);
        text[n] = 0;
        SAME(cib_key_parse(&key, text, 0), CIB_EFORMAT);
        free(text);
    }
}

int main(void)
{
    RUN(a_key_is_read_as_the_box_prints_it);
    RUN(anything_else_is_refused);
    RUN(a_key_that_is_cut_anywhere_is_refused);
    return report("key");
}
