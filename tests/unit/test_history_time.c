/* SPDX-License-Identifier: MIT */
/* Moments and steps that history is asked about. */
#include "tests/unit/unit.h"

#include "daemon/history_time.h"
#include <errno.h>

static void test_time__moments(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } known[] = {
        {"0", 0},
        {"1764126000", 1764126000000},
        {"1764126000.5", 1764126000500},
        {"1764126000.0019", 1764126000001},
        {"2026-11-26T03:00:00Z", 1795662000000},
        {"2026-11-26T03:00:00.250Z", 1795662000250},
        {"2026-11-26T04:00:00+01:00", 1795662000000},
        {"2026-11-26T04:00:00 01:00", 1795662000000}, /* what HTTP makes of a plus */
        {"2026-11-25T21:30:00-05:30", 1795662000000},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        int64_t ms = -1;
        assert_int_equal(history_time_parse(known[i].text, &ms), 0);
        assert_int_equal(ms, known[i].ms);
    }
}

static void test_time__what_is_no_moment(void **state)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "-1",
                                        "x",
                                        "1.",
                                        "1.x",
                                        "1e9",
                                        "99999999999999999999999",
                                        "03:00",
                                        "now",
                                        "+1:00",
                                        "2026-11-26",
                                        "2026-11-26T03:00:00",
                                        "2026-11-26T03:00:00+25:00",
                                        "2026-13-26T03:00:00Z",
                                        "1970-01-01T00:00:00+01:00",
                                        "2026-11-26T03:00:00Z "};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        int64_t ms = 77;
        assert_int_equal(history_time_parse(texts[i], &ms), -EINVAL);
        assert_int_equal(ms, 77);
    }
}

static struct history_window planned(int64_t from_ms, int64_t to_ms, uint64_t step_s)
{
    struct history_window window;
    assert_int_equal(history_window_plan(from_ms, to_ms, step_s, &window), 0);
    return window;
}

static void test_window__covers_what_is_asked_in_whole_steps(void **state)
{
    struct history_window window = planned(1764126005000, 1764129605001, 60);
    (void)state;
    assert_int_equal(window.from_s, 1764126000);
    assert_int_equal(window.step_s, 60);
    assert_int_equal(window.count, 61);
    window = planned(1764126005000, 1764126005001, 1);
    assert_int_equal(window.count, 1);
}

static void test_window__steps_are_what_buckets_add_up_to(void **state)
{
    (void)state;
    assert_int_equal(planned(0, 1000, 3).step_s, 3);
    assert_int_equal(planned(0, 1000, 11).step_s, 20);
    assert_int_equal(planned(0, 1000, 61).step_s, 120);
    assert_int_equal(planned(0, 1000, 901).step_s, 1800);
}

static void test_window__without_a_step_there_are_not_too_many(void **state)
{
    (void)state;
    assert_int_equal(planned(0, 600000, 0).step_s, 10);
    for (int64_t range_s = 1; range_s < INT64_C(16000000000); range_s = range_s * 3 + 7) {
        struct history_window window = planned(1000, 1000 + range_s * 1000, 0);
        assert_in_range(window.count, 1, HISTORY_POINTS_USUAL + 2);
        assert_true(window.from_s + (int64_t)(window.step_s * window.count) >= 1 + range_s);
    }
}

static void test_window__refuses_what_is_too_much(void **state)
{
    struct history_window window;
    (void)state;
    assert_int_equal(history_window_plan(0, 5001000, 1, &window), -E2BIG);
    assert_int_equal(history_window_plan(0, 5000000, 1, &window), 0);
    assert_int_equal(history_window_plan(5000, 5000, 1, &window), -EINVAL);
    assert_int_equal(history_window_plan(-1, 5000, 1, &window), -EINVAL);
    assert_int_equal(history_window_plan(0, 5000, UINT64_MAX, &window), -EINVAL);
    assert_int_equal(history_window_plan(0, INT64_MAX, 0, &window), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_time__moments),
        TEST(test_time__what_is_no_moment),
        TEST(test_window__covers_what_is_asked_in_whole_steps),
        TEST(test_window__steps_are_what_buckets_add_up_to),
        TEST(test_window__without_a_step_there_are_not_too_many),
        TEST(test_window__refuses_what_is_too_much),
    };
    return cmocka_run_group_tests_name("history_time", tests, NULL, NULL);
}
