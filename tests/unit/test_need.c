/* SPDX-License-Identifier: MIT */
/* What a program needs, learned from its runs. */
#include "daemon/history_need.h"
#include "daemon/history_steady.h"
#include "include/vram.h"
#include "tests/unit/unit.h"

#define RUN(peak)                                                                                  \
    {                                                                                              \
        (peak) * MIB, VRAM_UNKNOWN, VRAM_UNKNOWN, true, VRAM_UNKNOWN                               \
    }
#define OF(peak, room, total)                                                                      \
    {                                                                                              \
        (peak) * MIB, (room)*MIB, (total)*MIB, true, VRAM_UNKNOWN                                  \
    }
#define STARVED(peak)                                                                              \
    {                                                                                              \
        (peak) * MIB, VRAM_UNKNOWN, VRAM_UNKNOWN, false, VRAM_UNKNOWN                              \
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

/* ---- Once it has started --------------------------------------------------------------------- */

static void test_need__steady_is_the_most_of_whole_runs(void **state)
{
    struct need_run runs[] = {RUN(9000), RUN(10000), STARVED(8000)};
    (void)state;
    assert_int_equal(need_of(runs, 3).steady_bytes, VRAM_UNKNOWN);
    runs[0].steady_bytes = 6000 * MIB;
    runs[2].steady_bytes = 8000 * MIB; /* it ended before it had started, for all that is known */
    assert_int_equal(need_of(runs, 3).steady_bytes, 6000 * MIB);
    runs[1].steady_bytes = 5000 * MIB;
    assert_int_equal(need_of(runs, 3).steady_bytes, 6000 * MIB);
    assert_int_equal((need_of(runs, 2).bytes + MIB / 2) / MIB, 10300); /* and asks for no less */
}

/* A run: so much until then, with a look each `every_ms`. */
struct phase {
    uint64_t until_ms, mib;
};

static uint64_t steady_of(const struct phase *phases, uint64_t from_ms, uint64_t every_ms)
{
    struct steady steady = {0};
    for (uint64_t at_ms = 0; phases->until_ms; phases++) {
        for (; at_ms < phases->until_ms; at_ms += every_ms) {
            if (phases->mib) {
                steady_look(&steady, from_ms + at_ms, phases->mib * MIB);
            }
        }
    }
    return steady_bytes(&steady) / MIB;
}

static void test_steady__the_median_of_the_last_half(void **state)
{
    static const struct {
        struct phase phases[6];
        uint64_t mib;
    } cases[] = {
        {{{1000, 700}}, 700},
        {{{10000, 900}, {100000, 600}}, 600},               /* it needs more to start */
        {{{49000, 900}, {100000, 600}}, 600},               /* for nearly half of it */
        {{{80000, 900}, {100000, 600}}, 900},               /* that was no start */
        {{{80000, 600}, {82000, 900}, {100000, 600}}, 600}, /* a peak is none */
        {{{10000, 100}, {20000, 900}, {60000, 500}, {90000, 600}, {100000, 500}}, 600},
        {{{10000, 900}, {40000, 0}, {100000, 600}}, 600}, /* nobody looked for a while */
        {{{50000, 100}, {100000, 800}}, 800},             /* it grows */
    };
    static const uint64_t rates_ms[] = {10, 250, 1000};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        for (size_t j = 0; j < ARRAY_LENGTH(rates_ms); j++) {
            assert_int_equal(steady_of(cases[i].phases, UINT64_C(1) << 40, rates_ms[j]),
                             cases[i].mib);
        }
    }
}

/* Who waits for something has it looked at more often for a while, and that is no longer time. */
static void test_steady__looks_that_come_in_crowds_count_as_the_time_they_take(void **state)
{
    struct steady steady = {0};
    (void)state;
    for (uint64_t at_ms = 0; at_ms < 100000; at_ms += at_ms / 1000 == 70 ? 1 : 1000) {
        steady_look(&steady, at_ms, (at_ms / 1000 == 70 ? 900 : 600) * MIB);
    }
    assert_int_equal(steady_bytes(&steady), 600 * MIB);
}

static void test_steady__ends_of_what_there_is(void **state)
{
    struct steady steady = {0};
    (void)state;
    assert_int_equal(steady_bytes(&steady), VRAM_UNKNOWN);
    steady_look(&steady, 5, 7);
    assert_int_equal(steady_bytes(&steady), 7);
    steady_look(&steady, 4, 9); /* a clock that went back: as if it had stood */
    assert_int_equal(steady_bytes(&steady), 9);
    steady_look(&steady, UINT64_C(1) << 50, 3); /* so many years later */
    assert_int_equal(steady_bytes(&steady), 3);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_need__the_most_and_some),
        TEST(test_need__what_takes_what_it_finds),
        TEST(test_need__is_said),
        TEST(test_need__steady_is_the_most_of_whole_runs),
        TEST(test_steady__the_median_of_the_last_half),
        TEST(test_steady__looks_that_come_in_crowds_count_as_the_time_they_take),
        TEST(test_steady__ends_of_what_there_is),
    };
    return cmocka_run_group_tests_name("need", tests, NULL, NULL);
}
