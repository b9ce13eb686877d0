/* SPDX-License-Identifier: MIT */
/* The text formats: heads once, escapes, and names that nobody meant well. */
#include "common/exposition.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static const struct exposition_family gauge = {"t_used_bytes", EXPOSITION_GAUGE, "Used."},
                                      counter = {"t_cpu_seconds_total", EXPOSITION_COUNTER, "CPU."},
                                      info = {"t_info", EXPOSITION_INFO, "Facts."};
static struct buf buf;

static struct exposition writer(enum exposition_format format)
{
    buf_done(&buf);
    return (struct exposition)EXPOSITION_INIT(&buf, format);
}

static int tear_down(void **state)
{
    (void)state;
    buf_done(&buf);
    return 0;
}

static void test_exposition__prometheus(void **state)
{
    struct exposition out = writer(EXPOSITION_PROMETHEUS);
    const struct exposition_label labels[] = {{"gpu", "0"}, {"uuid", NULL}};
    (void)state;
    exposition_begin(&out, &gauge);
    exposition_number(&out, labels, 2, 7);
    exposition_signed(&out, labels, 1, -5);
    exposition_begin(&out, &counter);
    exposition_nanoseconds(&out, NULL, 0, 1500000001);
    exposition_begin(&out, &info);
    exposition_number(&out, labels, 1, 1);
    exposition_finish(&out);
    assert_string_equal(buf.data,
                        "# HELP t_used_bytes Used.\n# TYPE t_used_bytes gauge\n"
                        "t_used_bytes{gpu=\"0\",uuid=\"\"} 7\nt_used_bytes{gpu=\"0\"} -5\n"
                        "# HELP t_cpu_seconds_total CPU.\n"
                        "# TYPE t_cpu_seconds_total counter\n"
                        "t_cpu_seconds_total 1.500000001\n"
                        "# HELP t_info Facts.\n# TYPE t_info gauge\nt_info{gpu=\"0\"} 1\n");
}

static void test_exposition__openmetrics(void **state)
{
    struct exposition out = writer(EXPOSITION_OPENMETRICS);
    const struct exposition_label labels[] = {{"gpu", "0"}};
    (void)state;
    exposition_begin(&out, &gauge);
    exposition_percent(&out, labels, 1, 97);
    exposition_percent(&out, labels, 1, 107);
    exposition_begin(&out, &counter);
    exposition_number(&out, NULL, 0, 3);
    exposition_begin(&out, &info);
    exposition_number(&out, labels, 1, 1);
    exposition_finish(&out);
    assert_string_equal(buf.data, "# HELP t_used_bytes Used.\n# TYPE t_used_bytes gauge\n"
                                  "# UNIT t_used_bytes bytes\n"
                                  "t_used_bytes{gpu=\"0\"} 0.97\nt_used_bytes{gpu=\"0\"} 1.07\n"
                                  "# HELP t_cpu_seconds CPU.\n# TYPE t_cpu_seconds counter\n"
                                  "# UNIT t_cpu_seconds seconds\nt_cpu_seconds_total 3\n"
                                  "# HELP t Facts.\n# TYPE t info\nt_info{gpu=\"0\"} 1\n# EOF\n");
}

static void test_exposition__unknown_is_no_sample(void **state)
{
    struct exposition out = writer(EXPOSITION_PROMETHEUS);
    (void)state;
    exposition_begin(&out, &gauge);
    exposition_number(&out, NULL, 0, EXPOSITION_UNKNOWN);
    exposition_nanoseconds(&out, NULL, 0, EXPOSITION_UNKNOWN);
    exposition_percent(&out, NULL, 0, EXPOSITION_UNKNOWN);
    exposition_finish(&out);
    assert_null(buf.data);
}

static void test_exposition__values_are_escaped_and_cleaned(void **state)
{
    static const struct {
        const char *value, *written;
    } cases[] = {
        {"a\"b", "a\\\"b"},
        {"a\\b", "a\\\\b"},
        {"a\nb\r\tc\x7f", "abc"},
        {"\x01\x1b[31m", "[31m"},
        {"bad\xff\xc0\xafx", "bad\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDx"},
        {"cut\xE2\x82", "cut\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* a surrogate */
        {"\xE2\x80\xAE"
         "evil\xE2\x81\xA6\xEF\xBB\xBF\xC2\x85",
         "evil"},
        {"gr\xC3\xBC\xC3\x9F \xE2\x82\xAC", "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC"},
        {"\\", "\\\\"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char wanted[256];
        struct exposition out = writer(EXPOSITION_PROMETHEUS);
        const struct exposition_label label = {"name", cases[i].value};
        (void)snprintf(wanted, sizeof(wanted),
                       "# HELP t_info Facts.\n# TYPE t_info gauge\nt_info{name=\"%s\"} 1\n",
                       cases[i].written);
        exposition_begin(&out, &info);
        exposition_number(&out, &label, 1, 1);
        assert_string_equal(buf.data, wanted);
    }
}

static void test_exposition__values_are_cut_between_characters(void **state)
{
    char value[EXPOSITION_VALUE_MAX * 2] = "x", small[6];
    (void)state;
    for (size_t i = 1; i + 2 < sizeof(value); i += 2) {
        memcpy(value + i, "\xC3\xBC", 3);
    }
    struct exposition out = writer(EXPOSITION_PROMETHEUS);
    const struct exposition_label label = {"name", value};
    exposition_begin(&out, &info);
    exposition_number(&out, &label, 1, 1);
    const char *from = strstr(buf.data, "=\"") + 2, *to = strrchr(buf.data, '"');
    assert_int_equal(to - from, EXPOSITION_VALUE_MAX - 1);
    assert_memory_equal(from, value, (size_t)(to - from));
    assert_string_equal(exposition_clean(small, sizeof(small), "abcd\xC3\xBC"), "abcd");
    assert_string_equal(exposition_clean(small, sizeof(small), "abc\xC3\xBC"), "abc\xC3\xBC");
    assert_string_equal(exposition_clean(small, 1, "abc"), "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_exposition__prometheus),
        TEST(test_exposition__openmetrics),
        TEST(test_exposition__unknown_is_no_sample),
        TEST(test_exposition__values_are_escaped_and_cleaned),
        TEST(test_exposition__values_are_cut_between_characters),
    };
    return cmocka_run_group_tests_name("exposition", tests, NULL, tear_down);
}
