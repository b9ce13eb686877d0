/* SPDX-License-Identifier: MIT */
/* Moments as documents write them, there and back. */
#include "common/utc.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>

#define SECOND ((uint64_t)1000000000)

static void test_utc__known_moments(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } known[] = {
        {"1970-01-01T00:00:00.000000Z", 0},
        {"2000-02-29T23:59:59.999999Z", 951868799 * SECOND + 999999000},
        {"2026-01-31T12:00:00.123456Z", 1769860800 * SECOND + 123456000},
        {"2100-03-01T00:00:00.000001Z", 4107542400 * SECOND + 1000},
    };
    char text[UTC_TEXT_MAX];
    uint64_t ns;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        assert_string_equal(utc_format(known[i].ns, text), known[i].text);
        assert_int_equal(utc_parse(known[i].text, &ns), 0);
        assert_int_equal(ns, known[i].ns);
    }
}

static void test_utc__there_and_back(void **state)
{
    (void)state;
    for (uint64_t seconds = 0; seconds < 16725225600; seconds += 86400 * 7 + 12345) {
        char text[UTC_TEXT_MAX];
        uint64_t ns = seconds * SECOND + seconds % 1000000 * 1000, back;
        assert_int_equal(utc_parse(utc_format(ns, text), &back), 0);
        assert_int_equal(back, ns);
    }
}

static void test_utc__decimals_are_free(void **state)
{
    uint64_t ns;
    (void)state;
    assert_int_equal(utc_parse("1970-01-01T00:00:01Z", &ns), 0);
    assert_int_equal(ns, SECOND);
    assert_int_equal(utc_parse("1970-01-01T00:00:01.5Z", &ns), 0);
    assert_int_equal(ns, SECOND + SECOND / 2);
    assert_int_equal(utc_parse("1970-01-01T00:00:01.1234567899999Z", &ns), 0);
    assert_int_equal(ns, SECOND + 123456789);
}

static void test_utc__what_is_no_moment(void **state)
{
    static const char *const texts[] = {
        "",
        "now",
        "2026",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00.1",
        "2026-01-31T12:00:00.1ZZ",
        "2026-01-31T12:00:00Z ",
        "2026-01-31 12:00:00Z",
        "2026-13-31T12:00:00Z",
        "2026-00-31T12:00:00Z",
        "2026-01-32T12:00:00Z",
        "2026-01-00T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z",
        "1969-12-31T23:59:59Z",
        "2501-01-01T00:00:00Z",
        "-026-01-31T12:00:00Z",
        "2026-01-31T12:00:00+01:00",
    };
    uint64_t ns = 5;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        if (utc_parse(texts[i], &ns) != -EINVAL) {
            fail_msg("'%s' is a moment", texts[i]);
        }
    }
    assert_int_equal(ns, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utc__known_moments),
        cmocka_unit_test(test_utc__there_and_back),
        cmocka_unit_test(test_utc__decimals_are_free),
        cmocka_unit_test(test_utc__what_is_no_moment),
    };
    return cmocka_run_group_tests_name("utc", tests, NULL, NULL);
}
