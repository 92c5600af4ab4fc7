/* cbor.c: CBOR as RFC 8949 writes it down, cut anywhere, filled to the last byte. */
#include "check.h"
#include "cib.h"

/* Examples of RFC 8949, appendix A, that this subset has. */
static const struct {
    uint64_t value;
    const char *hex;
} NUMBERS[] = {
    {0, "00"}, {1, "01"}, {10, "0a"}, {23, "17"}, {24, "1818"}, {25, "1819"}, {100, "1864"}, {255, "18ff"}, {256, "190100"},
    {1000, "1903e8"}, {65535, "19ffff"}, {65536, "1a00010000"}, {1000000, "1a000f4240"}, {4294967295u, "1affffffff"},
    {UINT64_C(4294967296), "1b0000000100000000"}, {UINT64_C(1000000000000), "1b000000e8d4a51000"},
    {UINT64_MAX, "1bffffffffffffffff"},
};

static void numbers_are_written_as_short_as_can_be_and_read_back(void)
{
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        uint8_t bytes[9];
        cib_writer w = cib_writer_of(bytes, sizeof bytes);
        cib_write_uint(&w, NUMBERS[i].value);
        SAME(cib_written(&w), strlen(NUMBERS[i].hex) / 2);
        SAME_HEX(bytes, NUMBERS[i].hex);
        cib_reader r = cib_reader_of(bytes, cib_written(&w));
        CHECK(cib_peek(&r) == CIB_CBOR_UINT);
        CHECK(cib_read_uint(&r) == NUMBERS[i].value);
        CHECK(cib_peek(&r) == CIB_CBOR_END && r.error == 0);
    }
}

static void every_kind_is_told_apart(void)
{
    static const struct {
        const char *hex;
        enum cib_cbor_kind kind;
    } KINDS[] = {
        {"05", CIB_CBOR_UINT}, {"20", CIB_CBOR_NEGATIVE}, {"40", CIB_CBOR_BYTES}, {"60", CIB_CBOR_TEXT}, {"80", CIB_CBOR_ARRAY},
        {"a0", CIB_CBOR_MAP}, {"c0", CIB_CBOR_TAG}, {"f6", CIB_CBOR_OTHER}, {"f93c00", CIB_CBOR_OTHER},
    };
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        uint8_t bytes[8];
        cib_reader r = cib_reader_of(bytes, hex(bytes, KINDS[i].hex));
        CHECK(cib_peek(&r) == KINDS[i].kind);
    }
}

static void text_and_bytes_lie_where_they_were_received(void)
{
    uint8_t bytes[] = {0x63, 'b', 'y', 'e', 0x42, 1, 2, 0x60};
    cib_reader r = cib_reader_of(bytes, sizeof bytes);
    cib_text text = cib_read_text(&r);
    CHECK(text.at == bytes + 1 && text.n == 3);
    CHECK(cib_text_is(text, "bye") && !cib_text_is(text, "by") && !cib_text_is(text, "byes"));
    text = cib_read_text(&r);
    CHECK(text.at == bytes + 5 && text.n == 2);
    text = cib_read_text(&r);
    CHECK(text.at != NULL && text.n == 0 && cib_text_is(text, ""));
    CHECK(r.error == 0);
    cib_text none = {NULL, 0};
    CHECK(!cib_text_is(none, ""));
}

static void truth_is_read_and_anything_else_is_an_error(void)
{
    uint8_t bytes[] = {0xf5, 0xf4, 0xf6, 0xf7};
    cib_reader r = cib_reader_of(bytes, sizeof bytes);
    CHECK(cib_read_bool(&r));
    CHECK(!cib_read_bool(&r));
    CHECK(!cib_read_bool(&r) && r.error == 0);
    CHECK(!cib_read_bool(&r) && r.error == CIB_EFORMAT);
    /* Half a float that holds true's number is not true. */
    uint8_t half[] = {0xf9, 0x00, 0x15};
    r = cib_reader_of(half, sizeof half);
    CHECK(!cib_read_bool(&r) && r.error == CIB_EFORMAT);
}

/* [1, "ab", h'0102', {0: [true, null], "k": -1.5}, 18446744073709551615] */
#define NESTED "85016261624201" "02a20082f5f6616bf9be001bffffffffffffffff"

static void skip_goes_over_one_whole_item(void)
{
    uint8_t bytes[64];
    size_t n = hex(bytes, NESTED);
    bytes[n] = 0x07;
    cib_reader r = cib_reader_of(bytes, n + 1);
    cib_skip(&r);
    CHECK(r.at == bytes + n);
    CHECK(cib_read_uint(&r) == 7 && r.error == 0);
}

static void an_item_that_is_cut_anywhere_is_an_error(void)
{
    uint8_t bytes[64];
    size_t n = hex(bytes, NESTED);
    for (size_t cut = 0; cut < n; cut++) {
        /* Of its own, for the sanitizer to see a byte too far. */
        uint8_t *copy = malloc(cut + 1);
        CHECK(copy != NULL);
        memcpy(copy, bytes, cut);
        cib_reader r = cib_reader_of(copy, cut);
        cib_skip(&r);
        SAME(r.error, CIB_EFORMAT);
        CHECK(r.at == r.end && cib_read_uint(&r) == 0 && cib_read_text(&r).at == NULL && !cib_read_bool(&r));
        free(copy);
    }
}

static void lengths_that_cannot_be_are_errors(void)
{
    static const char *const WRONG[] = {
        "5bffffffffffffffff", "7affffffff00", "9b0000000100000000", "bb8000000000000001", /* more than there is */
        "9affffffff9affffffff9affffffff", "5f4100ff", "9fff", "bfff", "ff",              /* indefinite */
        "c000", "d81800",                                                               /* tags */
        "1c", "1d", "1e", "3c", "fc",                                                   /* lengths of no meaning */
        "18", "19ff", "1a000000", "1b00000000000000", "61", "4201", "81", "a100",        /* cut */
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        uint8_t bytes[32];
        cib_reader r = cib_reader_of(bytes, hex(bytes, WRONG[i]));
        cib_skip(&r);
        SAME(r.error, CIB_EFORMAT);
    }
}

static void depth_costs_no_stack(void)
{
    static uint8_t deep[65535];
    memset(deep, 0x81, sizeof deep); /* an array of one, in which an array of one, … */
    cib_reader r = cib_reader_of(deep, sizeof deep);
    cib_skip(&r);
    SAME(r.error, CIB_EFORMAT);
    deep[sizeof deep - 1] = 0;
    r = cib_reader_of(deep, sizeof deep);
    cib_skip(&r);
    CHECK(r.error == 0 && r.at == r.end);
}

static void what_does_not_fit_writes_nothing_from_then_on(void)
{
    for (size_t room = 0; room <= 24; room++) {
        uint8_t *bytes = malloc(room + 1);
        CHECK(bytes != NULL);
        cib_writer w = cib_writer_of(bytes, room);
        cib_write_head(&w, CIB_CBOR_MAP, 1);
        cib_write_text(&w, "0123456789");
        cib_write_bytes(&w, (const uint8_t *)"abc", 3);
        cib_write_bool(&w, true);
        cib_write_uint(&w, 70000);
        CHECK(cib_written(&w) <= room);
        CHECK(w.full == (room < 1 + 11 + 4 + 1 + 5));
        free(bytes);
    }
}

int main(void)
{
    RUN(numbers_are_written_as_short_as_can_be_and_read_back);
    RUN(every_kind_is_told_apart);
    RUN(text_and_bytes_lie_where_they_were_received);
    RUN(truth_is_read_and_anything_else_is_an_error);
    RUN(skip_goes_over_one_whole_item);
    RUN(an_item_that_is_cut_anywhere_is_an_error);
    RUN(lengths_that_cannot_be_are_errors);
    RUN(depth_costs_no_stack);
    RUN(what_does_not_fit_writes_nothing_from_then_on);
    return report("cbor");
}
