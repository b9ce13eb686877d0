/* SPDX-License-Identifier: MIT */
/* Sizes, margins and durations: the grammar as a table, and amounts as people read them. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <locale.h>

#define TIB (GIB << 10)
#define UNTOUCHED 0x5A5A5A5A5A5A5A5Aull

struct size_case {
    const char *text;
    int result;
    uint64_t bytes;
    bool bare;
};

static void check_size(const struct size_case *c)
{
    uint64_t bytes = UNTOUCHED;
    bool bare = !c->bare;
    int r = size_parse(c->text, &bytes, &bare);
    if (r != c->result || bytes != (r == 0 ? c->bytes : UNTOUCHED)) {
        fail_msg("'%s': result %d, %ju bytes; expected %d, %ju", c->text, r, (uintmax_t)bytes,
                 c->result, (uintmax_t)c->bytes);
    }
    assert_int_equal(bare, r == 0 ? c->bare : !c->bare);
    if (r == 0) {
        assert_int_equal(size_parse(c->text, &bytes, NULL), 0);
    }
}

static void test_size__reads_every_unit(void **state)
{
    static const struct size_case cases[] = {
        {"1B", 0, 1, false},         {"1b", 0, 1, false},          {"1K", 0, KIB, false},
        {"1k", 0, KIB, false},       {"1KB", 0, KIB, false},       {"1kb", 0, KIB, false},
        {"1KiB", 0, KIB, false},     {"1kib", 0, KIB, false},      {"1KIB", 0, KIB, false},
        {"1kIb", 0, KIB, false},     {"1M", 0, MIB, false},        {"310MiB", 0, 310 * MIB, false},
        {"12G", 0, 12 * GIB, false}, {"24GB", 0, 24 * GIB, false}, {"24gib", 0, 24 * GIB, false},
        {"2T", 0, 2 * TIB, false},   {"2TiB", 0, 2 * TIB, false},  {"007G", 0, 7 * GIB, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        check_size(&cases[i]);
    }
}

static void test_size__takes_a_bare_number_for_mib(void **state)
{
    static const struct size_case cases[] = {
        {"1", 0, MIB, true},
        {"24", 0, 24 * MIB, true},
        {"20000", 0, 20000 * MIB, true},
        {"0.5", 0, MIB / 2, true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        check_size(&cases[i]);
    }
}

static void test_size__rounds_decimals_up(void **state)
{
    static const struct size_case cases[] = {
        {"1.5G", 0, GIB + GIB / 2, false},
        {"1.5B", 0, 2, false},
        {"0.1B", 0, 1, false},
        {"0.001K", 0, 2, false},        /* 1.024 */
        {"0.0009765625K", 0, 1, false}, /* exactly a byte */
        {"0.00097656250000000000000000000000K", 0, 1, false},
        {"0.00097656250000000000000000000001K", 0, 2, false}, /* beyond what 64 bits hold */
        {"1.0B", 0, 1, false},
        {"0.3G", 0, 322122548, false}, /* 322122547.2 */
        {"0.000000000000000000000000000000000001T", 0, 1, false},
        {"0.9999999999999999999999B", 0, 1, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        check_size(&cases[i]);
    }
}

static void test_size__refuses_what_is_none(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "12Q",
        "-1",
        "+1",
        "1e400",
        "1e3",
        "1E3G",
        "0x10",
        "G",
        ".5G",
        "1.",
        "1.G",
        "1..5G",
        "1,5G",
        "1.5.5",
        " 1G",
        "1G ",
        "1 G",
        "1 GiB",
        "1GG",
        "1iB",
        "1i",
        "1Ki",
        "1Bi",
        "1BB",
        "1BiB",
        "1GiBs",
        "1P",
        "1E",
        "1GiB\n",
        "1\tG",
        "inf",
        "nan",
        "1/2G",
        "1G1",
        "1_000",
        "\xC2\xB5",
        "1\xE2\x82\xAC",
        "-0",
        "--1",
        "1%",
        "1G%",
        "\x01",
        "1\x0B",
        "1@",
        "0",
        "0B",
        "0G",
        "0.0",
        "0.000T",
        "00000000000000000000000000000000",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        struct size_case c = {texts[i], -EINVAL, 0, false};
        check_size(&c);
    }
}

static void test_size__ends_below_the_unknown_amount(void **state)
{
    static const struct size_case cases[] = {
        {"18446744073709551614B", 0, UINT64_MAX - 1, false},
        {"18446744073709551615B", -ERANGE, 0, false}, /* 2^64 - 1 means unknown */
        {"18446744073709551616B", -ERANGE, 0, false}, /* 2^64 */
        {"18446744073709551614.1B", -ERANGE, 0, false},
        {"16777215T", 0, 16777215 * TIB, false},
        {"16777216T", -ERANGE, 0, false}, /* 2^64 again */
        {"17592186044415", 0, 17592186044415 * MIB, true},
        {"17592186044416", -ERANGE, 0, true},
        {"18446744073709551615T", -ERANGE, 0, false},
        {"99999999999999999999999999999999999999999999999999", -ERANGE, 0, true},
        {"36893488147419103232B", -ERANGE, 0, false}, /* 2^65: a wrap would make it 0 */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        check_size(&cases[i]);
    }
}

/* Where the program has chosen one: some, such as Turkish, pair I with another small letter than i. */
static void test_size__is_the_same_in_every_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_ALL, "tr_TR.UTF-8") && !setlocale(LC_ALL, "tr_TR") &&
        !setlocale(LC_ALL, "tr_TR.ISO-8859-9")) {
        print_message("no Turkish locale here\n");
        skip();
    }
    struct size_case c = {"1KIB", 0, KIB, false};
    check_size(&c);
    struct size_case point = {"1.5K", 0, KIB + KIB / 2, false};
    check_size(&point);
    assert_non_null(setlocale(LC_ALL, "C"));
}

/* ---- Margins --------------------------------------------------------------------------------- */

static void test_size__reads_margins(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t bytes;
        uint32_t millipercent;
    } cases[] = {
        {"0", 0, 0, 0},
        {"0G", 0, 0, 0},
        {"1024", 0, GIB, 0},
        {"512MiB", 0, 512 * MIB, 0},
        {"1.5K", 0, 1536, 0},
        {"5%", 0, 0, 5000},
        {"0%", 0, 0, 0},
        {"2.5%", 0, 0, 2500},
        {"0.0001%", 0, 0, 1}, /* rounded up */
        {"99.9999%", 0, 0, 100000},
        {"100%", 0, 0, 100000},
        {"100.00000%", 0, 0, 100000},
        {"100.001%", -ERANGE, 0, 0},
        {"100.000000000000000000000000001%", -ERANGE, 0, 0},
        {"101%", -ERANGE, 0, 0},
        {"18446744073709551616%", -ERANGE, 0, 0},
        {"42949672960%", -ERANGE, 0, 0}, /* wraps in 32 bits */
        {"18446744073709551615B", -ERANGE, 0, 0},
        {"%", -EINVAL, 0, 0},
        {"-1%", -EINVAL, 0, 0},
        {"5%%", -EINVAL, 0, 0},
        {"5 %", -EINVAL, 0, 0},
        {"5G%", -EINVAL, 0, 0},
        {".5%", -EINVAL, 0, 0},
        {"", -EINVAL, 0, 0},
        {"12Q", -EINVAL, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        uint64_t bytes = UNTOUCHED;
        uint32_t millipercent = 77;
        int r = margin_parse(cases[i].text, &bytes, &millipercent);
        bool right = r == cases[i].result && bytes == (r ? UNTOUCHED : cases[i].bytes) &&
                     millipercent == (r ? 77 : cases[i].millipercent);
        if (!right) {
            fail_msg("'%s': result %d, %ju bytes, %u thousandths", cases[i].text, r,
                     (uintmax_t)bytes, millipercent);
        }
    }
}

static void test_size__takes_a_part_of_the_total(void **state)
{
    (void)state;
    assert_int_equal(margin_of(0, 5000), 0);
    assert_int_equal(margin_of(24564 * MIB, 0), 0);
    assert_int_equal(margin_of(100, 5000), 5);
    assert_int_equal(margin_of(101, 5000), 6); /* up to a byte */
    assert_int_equal(margin_of(1, 1), 1);
    assert_int_equal(margin_of(24564 * MIB, 100000), 24564 * MIB);
    assert_int_equal(margin_of(UINT64_MAX - 1, 100000), UINT64_MAX - 1);
    assert_int_equal(margin_of(UINT64_MAX - 1, 50000), UINT64_MAX / 2);
    assert_int_equal(margin_of(1000, UINT32_MAX), 1000); /* never more than the total */
}

/* ---- Durations ------------------------------------------------------------------------------- */

static void test_size__reads_durations(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t ns;
    } cases[] = {
        {"0", 0, 0},
        {"1", 0, 1000000000},
        {"1s", 0, 1000000000},
        {"1S", 0, 1000000000},
        {"1.5s", 0, 1500000000},
        {"50ms", 0, 50000000},
        {"50MS", 0, 50000000},
        {"0.5ms", 0, 500000},
        {"0.0000001ms", 0, 1},
        {"2m", 0, 120000000000},
        {"1h", 0, 3600000000000},
        {"1d", 0, 86400000000000},
        {"9223372036s", 0, 9223372036000000000},
        {"9223372036.854775807s", 0, INT64_MAX},
        {"9223372036.8547758071s", -ERANGE, 0},
        {"9223372037s", -ERANGE, 0},
        {"106752d", -ERANGE, 0},
        {"18446744073709551616d", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"1us", -EINVAL, 0},
        {"1ns", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1s ", -EINVAL, 0},
        {"1sec", -EINVAL, 0},
        {"1m30s", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {".5s", -EINVAL, 0},
        {"forever", -EINVAL, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        uint64_t ns = UNTOUCHED;
        int r = duration_parse(cases[i].text, &ns);
        if (r != cases[i].result || ns != (r ? UNTOUCHED : cases[i].ns)) {
            fail_msg("'%s': result %d, %ju ns", cases[i].text, r, (uintmax_t)ns);
        }
    }
}

/* ---- Amounts for people ---------------------------------------------------------------------- */

static void test_size__writes_amounts(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1, "1 B"},
        {1023, "1023 B"},
        {1024, "1 KiB"},
        {1535, "1 KiB"},
        {1536, "2 KiB"}, /* to the nearest */
        {MIB - 513, "1023 KiB"},
        {MIB - 512, "1 MiB"}, /* never "1024 KiB" */
        {MIB, "1 MiB"},
        {310 * MIB, "310 MiB"},
        {1023 * MIB, "1023 MiB"},
        {GIB - MIB / 2 - 1, "1023 MiB"},
        {GIB - MIB / 2, "1.0 GiB"},
        {GIB, "1.0 GiB"},
        {GIB + GIB / 20 - 1, "1.0 GiB"},
        {GIB + GIB / 20 + 1, "1.1 GiB"},
        {22835 * MIB, "22.3 GiB"},
        {24564 * MIB, "24.0 GiB"},
        {80 * GIB, "80.0 GiB"},
        {1023 * GIB, "1023.0 GiB"},
        {TIB - GIB / 20 - 1, "1023.9 GiB"},
        {TIB - GIB / 20 + 1, "1.0 TiB"},
        {TIB, "1.0 TiB"},
        {5000 * TIB, "5000.0 TiB"},
        {UINT64_MAX - 1, "16777216.0 TiB"},
        {UINT64_MAX, "16777216.0 TiB"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[SIZE_TEXT_MAX];
        assert_ptr_equal(size_format(cases[i].bytes, text), text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_size__reads_every_unit),
        TEST(test_size__takes_a_bare_number_for_mib),
        TEST(test_size__rounds_decimals_up),
        TEST(test_size__refuses_what_is_none),
        TEST(test_size__ends_below_the_unknown_amount),
        TEST(test_size__is_the_same_in_every_locale),
        TEST(test_size__reads_margins),
        TEST(test_size__takes_a_part_of_the_total),
        TEST(test_size__reads_durations),
        TEST(test_size__writes_amounts),
    };
    return cmocka_run_group_tests_name("size", tests, NULL, NULL);
}
