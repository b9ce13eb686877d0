/* SPDX-License-Identifier: MIT */
/* Text for terminals: escaping, widths, cutting, wrapping; and the command line's parser. */
#include "cli/arguments.h"
#include "cli/text.h"

#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* needs the others before it */

struct pair {
    const char *text, *expected;
};

static void test_text__safe(void **state)
{
    static const struct pair pairs[] = {
        {"python3", "python3"},
        {"grün 模型", "grün 模型"},
        {"\033[2J", "\\x1b[2J"},
        {"a\tb\nc\r", "a\\x09b\\x0ac\\x0d"},
        {"\x7f", "\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m"}, /* a C1 control: CSI in one character */
        {"\xe2\x80\xae"
         "fdp",
         "\\u202efdp"},                                   /* right-to-left override */
        {"\xe2\x81\xa6x\xe2\x81\xa9", "\\u2066x\\u2069"}, /* isolates */
        {"a\xe2\x80\xa8"
         "b",
         "a\\u2028b"}, /* line separator */
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xc0\x80", "\\xc0\\x80"},          /* an overlong NUL */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* a surrogate */
        {"\xe2\x82", "\\xe2\\x82"},          /* cut off */
        {"\xf3\xa0\x80\xa1", "\\U000e0021"}, /* a tag character */
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
        struct buf buf = BUF_INIT;
        text_safe(&buf, pairs[i].text, true);
        buf_add(&buf, "", 0);
        assert_string_equal(buf.data, pairs[i].expected);
        buf_done(&buf);
    }
}

static void test_text__safe_ascii(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT;
    text_safe(&buf, "gr\xc3\xbcn", false);
    assert_string_equal(buf.data, "gr\\u00fcn");
    buf_done(&buf);
}

static void test_text__quote(void **state)
{
    (void)state;
    char quoted[TEXT_QUOTED_MAX], longest[4000];
    assert_string_equal(text_quote("12Q", quoted), "'12Q'");
    assert_string_equal(text_quote("", quoted), "''");
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    (void)text_quote(longest, quoted);
    assert_true(strlen(quoted) < TEXT_QUOTED_MAX);
    assert_string_equal(quoted + strlen(quoted) - 4, "...'");
    /* A character is never cut in two. */
    for (size_t pad = 0; pad < 4; pad++) {
        char text[200] = "";
        struct buf safe = BUF_INIT;
        memset(text, 'x', pad);
        for (size_t i = 0; i < 40; i++) {
            memcpy(text + pad + 3 * i, "\xe2\x82\xac", 4);
        }
        text_safe(&safe, text_quote(text, quoted), true);
        assert_null(strstr(safe.data, "\\x"));
        buf_done(&safe);
    }
}

static void test_text__cut(void **state)
{
    static const struct {
        const char *text;
        size_t width;
        const char *expected;
    } cases[] = {
        {"python3", 7, "python3"},   {"python3", 6, "pytho…"},  {"python3", 1, "…"},
        {"模型模型", 8, "模型模型"}, {"模型模型", 6, "模型… "}, {"模型模型", 7, "模型模…"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct buf buf = BUF_INIT;
        text_cut(&buf, cases[i].text, cases[i].width, "…");
        assert_string_equal(buf.data, cases[i].expected);
        assert_true(text_width(buf.data) <= cases[i].width);
        buf_done(&buf);
    }
}

static void test_text__wrap(void **state)
{
    static const struct {
        const char *text;
        size_t at, indent, width;
        const char *expected;
    } cases[] = {
        {"one two three", 0, 0, 80, "one two three\n"},
        {"one two three", 0, 2, 8, "one two\n  three\n"},
        {"one two three", 4, 2, 8, "one\n  two\n  three\n"},
        {"extraordinarily long", 0, 0, 5, "extraordinarily\nlong\n"},
        {"one\n\ntwo", 0, 2, 80, "one\n\n  two\n"},
        {"one\n  two", 0, 0, 80, "one\n  two\n"},
        {"", 0, 0, 80, "\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct buf buf = BUF_INIT;
        text_wrap(&buf, cases[i].text, cases[i].at, cases[i].indent, cases[i].width);
        assert_string_equal(buf.data, cases[i].expected);
        buf_done(&buf);
    }
}

static void test_text__number(void **state)
{
    char text[TEXT_NUMBER_MAX];
    (void)state;
    assert_string_equal(text_number(0, text), "0");
    assert_string_equal(text_number(999, text), "999");
    assert_string_equal(text_number(22844, text), "22,844");
    assert_string_equal(text_number(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

static void test_text__distance(void **state)
{
    (void)state;
    assert_int_equal(text_distance("status", "status"), 0);
    assert_int_equal(text_distance("stats", "status"), 1);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
    assert_int_equal(text_distance("", "ps"), 2);
    assert_int_equal(text_distance("a word that is far longer than any command", "ps"), 255);
}

/* ---- The command line ------------------------------------------------------------------------ */

static const struct option global[] = {
    {"gpu", 0, "SEL", ""}, {"json", 0, NULL, ""}, {"help", 'h', NULL, ""}, {NULL, 0, NULL, NULL}};
static const struct option own[] = {{"margin", 0, "M", ""}, {NULL, 0, NULL, NULL}};

static int parse(struct arguments *arguments, struct usage_error *error, const char *const *words)
{
    size_t count = 0, position = 1;
    while (words[count]) {
        count++;
    }
    assert_int_equal(arguments_init(arguments, (int)count), 0);
    return arguments_parse(arguments, (char **)(uintptr_t)words, &position, global, own, false,
                           error);
}

static void test_arguments__values_and_words(void **state)
{
    struct arguments arguments;
    struct usage_error error;
    size_t at = 0;
    (void)state;
    const char *const words[] = {"vram", "--gpu=0", "4G",       "--gpu", "1",  "--margin", "5%",
                                 "-1",   "--json",  "--margin", "1G",    "--", "--help",   NULL};
    assert_int_equal(parse(&arguments, &error, words), 0);
    assert_string_equal(arguments_next(&arguments, "gpu", &at), "0");
    assert_string_equal(arguments_next(&arguments, "gpu", &at), "1");
    assert_null(arguments_next(&arguments, "gpu", &at));
    assert_string_equal(arguments_value(&arguments, "margin"), "1G");
    assert_true(arguments_has(&arguments, "json"));
    assert_false(arguments_has(&arguments, "help"));
    assert_int_equal(arguments.word_count, 3);
    assert_string_equal(arguments.words[1], "-1");
    assert_string_equal(arguments.words[2], "--help");
    arguments_done(&arguments);
}

static void test_arguments__errors(void **state)
{
    static const struct {
        const char *word, *message, *hint;
    } cases[] = {
        {"--jsn", "unknown option '--jsn'", "did you mean --json?"},
        {"--marg=1G", "unknown option '--marg=1G'", "did you mean --margin?"},
        {"--xyzzy", "unknown option '--xyzzy'", ""},
        {"-x", "unknown option '-x'", ""},
        {"-hh", "unknown option '-hh'", ""},
        {"--json=yes", "--json takes no value, but '--json=yes' gives it one", ""},
        {"--gpu", "--gpu needs a value: --gpu SEL", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct arguments arguments;
        struct usage_error error;
        const char *const words[] = {"vram", cases[i].word, NULL};
        assert_int_equal(parse(&arguments, &error, words), -EINVAL);
        assert_string_equal(error.message, cases[i].message);
        assert_string_equal(error.hint, cases[i].hint);
        arguments_done(&arguments);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text__safe),
        cmocka_unit_test(test_text__safe_ascii),
        cmocka_unit_test(test_text__quote),
        cmocka_unit_test(test_text__cut),
        cmocka_unit_test(test_text__wrap),
        cmocka_unit_test(test_text__number),
        cmocka_unit_test(test_text__distance),
        cmocka_unit_test(test_arguments__values_and_words),
        cmocka_unit_test(test_arguments__errors),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
