/* SPDX-License-Identifier: MIT */
/* What a program needs, learned from its runs. */
#include "daemon/history_need.h"
#include "include/vram.h"
#include "tests/unit/unit.h"

#define RUN(peak)                                                                                  \
    {                                                                                              \
        (peak) * MIB, VRAM_UNKNOWN, VRAM_UNKNOWN, true                                             \
    }
#define OF(peak, room, total)                                                                      \
    {                                                                                              \
        (peak) * MIB, (room)*MIB, (total)*MIB, true                                                \
    }
#define STARVED(peak)                                                                              \
    {                                                                                              \
        (peak) * MIB, VRAM_UNKNOWN, VRAM_UNKNOWN, false                                            \
    }

static void test_need__the_most_and_some(void **state)
{
    static const struct {
        struct need_run runs[3];
        size_t count, whole;
        uint64_t mib;
        uint32_t percent;
        bool starved;
    } cases[] = {
        {{RUN(10000)}, 1, 1, 11500, 15, false},
        {{RUN(10000), RUN(9990)}, 2, 2, 10300, 3, false},
        {{RUN(9000), RUN(10000), RUN(8000)},
         3,
         3,
         10300,
         3,
         false},                            /* a small one lowers nothing */
        {{RUN(100)}, 1, 1, 228, 15, false}, /* 128 MiB at least */
        {{RUN(1000), RUN(1000)}, 2, 2, 1128, 3, false},
        {{STARVED(10000)}, 1, 0, 13800, 15, true},          /* a fifth more, and 15 % */
        {{RUN(1000), STARVED(1000)}, 2, 1, 1739, 15, true}, /* 512 MiB more, and 15 % */
        {{RUN(20000), RUN(20000), STARVED(10000)}, 3, 2, 20600, 3, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct need need = need_of(cases[i].runs, cases[i].count);
        assert_int_equal(need.verdict, NEED_KNOWN);
        assert_int_equal((need.bytes + MIB / 2) / MIB, cases[i].mib);
        assert_int_equal(need.runs, cases[i].whole);
        assert_int_equal(need.percent, cases[i].percent);
        assert_int_equal(need.starved, cases[i].starved);
    }
    assert_int_equal(need_of(cases[0].runs, 0).verdict, NEED_UNKNOWN);
}

static void test_need__what_takes_what_it_finds(void **state)
{
    static const struct {
        struct need_run runs[3];
        size_t count;
        uint32_t verdict;
    } cases[] = {
        {{OF(21000, 23000, 24564)}, 1, NEED_ELASTIC}, /* the card, but for the rest */
        {{OF(20000, 23000, 24564)}, 1, NEED_KNOWN},
        {{OF(18000, 20000, 24564), OF(9000, 10000, 24564)},
         2,
         NEED_ELASTIC}, /* nine tenths each time */
        {{OF(9000, 20000, 24564), OF(9100, 10000, 24564)}, 2, NEED_KNOWN},  /* as much each time */
        {{OF(9000, 20000, 24564), OF(12000, 20000, 24564)}, 2, NEED_KNOWN}, /* less of as much */
        {{RUN(9000), RUN(12000)}, 2, NEED_KNOWN},
        {{OF(9000, 20000, 24564), OF(21000, 23000, 24564)},
         2,
         NEED_KNOWN}, /* it was another once */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_int_equal(need_of(cases[i].runs, cases[i].count).verdict, cases[i].verdict);
    }
}

static void test_need__is_said(void **state)
{
    static const struct need_run one[] = {RUN(6144)}, two[] = {RUN(6144), RUN(6144)},
                                 full[] = {OF(21000, 23000, 24564)}, starved[] = {STARVED(6144)};
    static const struct {
        const struct need_run *runs;
        size_t count;
        const char *text;
    } cases[] = {
        {one, 0, "nothing is known of what x needs"},
        {one, 1, "x needs 6.9 GiB: 6.0 GiB, the most of one run, and 15 %"},
        {two, 2, "x needs 6.2 GiB: 6.0 GiB, the most of 2 runs, and 3 %"},
        {full, 1,
         "x takes what it finds, 20.5 GiB the last time: there is no telling what it needs"},
        {starved, 1, "x needs 8.3 GiB: more than the 6.0 GiB with which it ran out of memory"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[256];
        struct need need = need_of(cases[i].runs, cases[i].count);
        need_say(&need, "x", text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_need__the_most_and_some),
        TEST(test_need__what_takes_what_it_finds),
        TEST(test_need__is_said),
    };
    return cmocka_run_group_tests_name("need", tests, NULL, NULL);
}
