/* SPDX-License-Identifier: MIT */
/* UTF-8: every character there is, and everything that only looks like one. */
#include "tests/unit/unit.h"

#include "common/utf8.h"

/* The textbook encoder, the other way round than what it tests. */
static size_t encode(uint32_t c, char *text)
{
    size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length; i-- > 1; c >>= 6) {
        text[i] = (char)(0x80 | (c & 0x3F));
    }
    text[0] = (char)(lead[length] | c);
    text[length] = '\0';
    return length;
}

static void test_utf8__reads_every_character(void **state)
{
    (void)state;
    for (uint32_t c = 1; c <= 0x10FFFF; c++) {
        char text[8];
        uint32_t found = 0;
        size_t length = encode(c, text);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        size_t taken = utf8_next(text, &found);
        if (taken != (surrogate ? 1 : length) || found != (surrogate ? UTF8_INVALID : c)) {
            fail_msg("U+%04X: %zu bytes, %X", c, taken, found);
        }
    }
}

/* A character that is cut off by the end of the text, at each place. The text is an exact allocation, so that a
 * step over its end is seen by the sanitizers and valgrind. */
static void test_utf8__stops_at_the_end(void **state)
{
    static const char *const texts[] = {"\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        for (size_t cut = 1; cut < strlen(texts[i]); cut++) {
            uint32_t c = 0;
            char *text = malloc(cut + 1);
            assert_non_null(text);
            memcpy(text, texts[i], cut);
            text[cut] = '\0';
            assert_int_equal(utf8_next(text, &c), 1);
            assert_int_equal(c, UTF8_INVALID);
            free(text);
        }
    }
}

static void test_utf8__refuses_what_is_malformed(void **state)
{
    static const char *const texts[] = {
        "\x80", /* a continuation without a beginning */
        "\xBF",
        "\xC0\x80", /* NUL in two bytes */
        "\xC1\xBF",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF", /* overlong */
        "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF",
        "\xED\xA0\x80", /* surrogates */
        "\xED\xBF\xBF",
        "\xF4\x90\x80\x80", /* beyond U+10FFFF */
        "\xF7\xBF\xBF\xBF",
        "\xF8\x88\x80\x80\x80",
        "\xFE",
        "\xFF",
        "\xC3(", /* broken off by another character */
        "\xE2\x82(",
        "\xE2(\xAC",
        "\xF0\x9F\x98(",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        uint32_t c = 0;
        assert_int_equal(utf8_next(texts[i], &c), 1);
        assert_int_equal(c, UTF8_INVALID);
    }
}

static void test_utf8__goes_on_behind_a_broken_character(void **state)
{
    static const uint32_t expected[] = {'a', UTF8_INVALID, UTF8_INVALID, 'b', 0xE4};
    const char *text = "a\xE2\x82"
                       "b\xC3\xA4";
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(expected); i++) {
        uint32_t c = 0;
        text += utf8_next(text, &c);
        assert_int_equal(c, expected[i]);
    }
    assert_int_equal(*text, '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_utf8__reads_every_character),
        TEST(test_utf8__stops_at_the_end),
        TEST(test_utf8__refuses_what_is_malformed),
        TEST(test_utf8__goes_on_behind_a_broken_character),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
