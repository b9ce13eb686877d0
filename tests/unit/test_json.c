/* SPDX-License-Identifier: MIT */
/* The JSON writer: any bytes become a valid text, commas stand where they belong. */
#include "tests/unit/unit.h"

#include "common/json.h"
#include "tests/unit/json_check.h"

static char *written;

static int free_written(void **state)
{
    (void)state;
    free(written);
    written = NULL;
    return 0;
}

/* The finished text; freed after the test, which so may fail in between. */
static const char *finish(struct buf *buf)
{
    size_t length = 0;
    free(written);
    written = buf_steal(buf, &length);
    assert_non_null(written);
    assert_int_equal(strlen(written), length);
    if (!json_check(written, length)) {
        fail_msg("not JSON at byte %zu: %s", json_check_stopped_at(), written);
    }
    return written;
}

static const char *text_as_json(const char *text)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_text(&json, NULL, text);
    return finish(&buf);
}

static void test_json__writes_values(void **state)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    (void)state;
    json_object(&json, NULL);
    json_text(&json, "text", "a");
    json_text(&json, "no_text", NULL);
    json_number(&json, "most", UINT64_MAX);
    json_number(&json, "least", 0);
    json_signed(&json, "minus", INT64_MIN);
    json_signed(&json, "plus", INT64_MAX);
    json_bool(&json, "yes", true);
    json_bool(&json, "no", false);
    json_null(&json, "nothing");
    json_end_object(&json);
    assert_string_equal(finish(&buf),
                        "{\"text\":\"a\",\"no_text\":null,\"most\":18446744073709551615,"
                        "\"least\":0,\"minus\":-9223372036854775808,"
                        "\"plus\":9223372036854775807,\"yes\":true,\"no\":false,"
                        "\"nothing\":null}");
}

static void test_json__puts_commas_between_values_only(void **state)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    (void)state;
    json_array(&json, NULL);
    json_object(&json, NULL);
    json_end_object(&json);
    json_array(&json, NULL);
    json_end_array(&json);
    json_array(&json, NULL);
    json_number(&json, NULL, 1);
    json_object(&json, NULL);
    json_array(&json, "a");
    json_end_array(&json);
    json_object(&json, "b");
    json_null(&json, "c");
    json_end_object(&json);
    json_bool(&json, "d", true);
    json_end_object(&json);
    json_end_array(&json);
    json_text(&json, NULL, "");
    json_end_array(&json);
    assert_string_equal(finish(&buf), "[{},[],[1,{\"a\":[],\"b\":{\"c\":null},\"d\":true}],\"\"]");
}

static void test_json__escapes_what_it_must(void **state)
{
    (void)state;
    assert_string_equal(text_as_json("\"\\/"), "\"\\\"\\\\/\"");
    assert_string_equal(text_as_json("a\tb\nc\x1b[31m"), "\"a\\u0009b\\u000ac\\u001b[31m\"");
    assert_string_equal(text_as_json("\x7f\xC2\x80\xC2\x9F"), "\"\\u007f\\u0080\\u009f\"");
    assert_string_equal(text_as_json("\xC2\xA0\xE2\x82\xAC"), "\"\xC2\xA0\xE2\x82\xAC\"");
    assert_string_equal(text_as_json("a\xFF\xC3"), "\"a\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_string_equal(text_as_json(""), "\"\"");
}

/* Each byte alone, between others, and each pair of bytes. */
static void test_json__makes_any_bytes_valid(void **state)
{
    (void)state;
    for (int first = 1; first < 256; first++) {
        const char between[] = {'a', (char)first, 'z', '\0'};
        (void)text_as_json(between);
        for (int second = 0; second < 256; second++) {
            const char pair[] = {(char)first, (char)second, '\0'};
            (void)text_as_json(pair);
        }
    }
    assert_string_equal(text_as_json(""), "\"\""); /* byte 0 ends a text */
}

/* ---- The judge itself ------------------------------------------------------------------------ */

static void test_json__the_judge_accepts_json(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "10",
        "1.5",
        "-1.5e+10",
        "1E5",
        "true",
        "false",
        "null",
        "\"\"",
        "{}",
        "[]",
        " [ ] ",
        "[1,2]",
        "{\"a\":1}",
        "{\"a\":{\"a\":[1,{}]}}",
        "\t\r\n1 ",
        "\"\\u00e4\\n\\\"\\/\"",
        "\"\xF0\x9F\x98\x80\"",
        "{\"\":\"\"}",
        "\"\x7F\"",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        if (!json_check(texts[i], strlen(texts[i]))) {
            fail_msg("refused: %s", texts[i]);
        }
    }
}

static void test_json__the_judge_refuses_the_rest(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "True",
        "nul",
        "nulll",
        "1 2",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[",
        "]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{,}",
        "{1:2}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,\"a\":2}",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u123g\"",
        "\"\n\"",
        "\"\t\"",
        "\"\x01\"",
        "\"\xFF\"",
        "\"\xC0\x80\"",
        "\"\xED\xA0\x80\"",
        "\"\xF4\x90\x80\x80\"",
        "[1}",
        "{\"a\":1]",
        "[[]",
        "[]]",
        "\xEF\xBB\xBF\x31",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        if (json_check(texts[i], strlen(texts[i]))) {
            fail_msg("accepted: %s", texts[i]);
        }
    }
    assert_false(json_check("1\0", 2));
    assert_false(json_check("\"\0\"", 3));
    char deep[201];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    assert_false(json_check(deep, 200));
    assert_true(json_check(deep + 40, 120));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_json__writes_values, free_written),
        cmocka_unit_test_teardown(test_json__puts_commas_between_values_only, free_written),
        cmocka_unit_test_teardown(test_json__escapes_what_it_must, free_written),
        cmocka_unit_test_teardown(test_json__makes_any_bytes_valid, free_written),
        TEST(test_json__the_judge_accepts_json),
        TEST(test_json__the_judge_refuses_the_rest),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
