/* SPDX-License-Identifier: MIT */
/* Moments as people say them. */
#include "tests/unit/unit.h"

#include "cli/moments.h"
#include <errno.h>
#include <time.h>

#define NOW_MS INT64_C(1795662030000) /* 2026-11-26T03:00:30Z */

static int begin_zone(void **state)
{
    (void)state;
    tzset();
    return setenv("TZ", "UTC-1", 1); /* an hour ahead of UTC: it is 04:00:30 */
}

static void test_moment__is_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } known[] = {
        {"2h", NOW_MS - 7200000},
        {"-2h", NOW_MS - 7200000},
        {"2h ago", NOW_MS - 7200000},
        {"now", NOW_MS},
        {"90", NOW_MS - 90000},
        {"0s", NOW_MS},
        {"04:00", NOW_MS - 30000},
        {"04:00:30", NOW_MS},
        {"04:01", NOW_MS + 30000 - 86400000}, /* not today yet */
        {"23:59", INT64_C(1795647540000)},
        {"2026-11-26", INT64_C(1795647600000)},
        {"2026-11-26 04:00", NOW_MS - 30000},
        {"2026-11-26T04:00:30", NOW_MS},
        {"2026-11-26T03:00:30Z", NOW_MS},
        {"@1795662030", NOW_MS},
        {"36500d", 0}, /* before there were moments */
    };
    (void)state;
    tzset();
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        int64_t ms = -1;
        assert_int_equal(moment_parse(known[i].text, NOW_MS, &ms), 0);
        assert_int_equal(ms, known[i].ms);
    }
}

static void test_moment__is_none(void **state)
{
    static const char *const texts[] = {
        "",           "-",         "@",       "@1x",        "@999999999999", "x",
        "25:00",      "yesterday", "03:00Z",  "2026-13-01", "2026-11-26 04", "03:00 ",
        "1900-01-01", "--2h",      "-2h ago", "ago",        " ago",          "2h  ago"};
    (void)state;
    tzset();
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        int64_t ms = 77;
        assert_int_equal(moment_parse(texts[i], NOW_MS, &ms), -EINVAL);
        assert_int_equal(ms, 77);
    }
}

static void test_moment__is_told(void **state)
{
    char text[MOMENT_MAX];
    (void)state;
    tzset();
    assert_string_equal(moment_text(NOW_MS, text), "2026-11-26 04:00:30");
    assert_string_equal(moment_short(NOW_MS, NOW_MS, false, text), "04:00");
    assert_string_equal(moment_short(NOW_MS, NOW_MS, true, text), "04:00:30");
    assert_string_equal(moment_short(NOW_MS - 86400000, NOW_MS, false, text), "2026-11-25 04:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_moment__is_read),
        TEST(test_moment__is_none),
        TEST(test_moment__is_told),
    };
    return cmocka_run_group_tests_name("moments", tests, begin_zone, NULL);
}
