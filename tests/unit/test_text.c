/* SPDX-License-Identifier: MIT */
/* Copies into arrays of fixed size. */
#include "tests/unit/unit.h"

#include "common/text.h"

static void test_text__copies_what_fits(void **state)
{
    char to[8];
    (void)state;
    assert_int_equal(text_copy(to, sizeof(to), ""), 0);
    assert_string_equal(to, "");
    assert_int_equal(text_copy(to, sizeof(to), "1234567"), 7);
    assert_string_equal(to, "1234567");
    assert_int_equal(text_copy(to, sizeof(to), "12345678"), 7);
    assert_string_equal(to, "1234567");
    assert_int_equal(text_copy(to, 1, "1"), 0);
    assert_string_equal(to, "");
}

/* The source is an exact allocation, so that a read behind it is seen by the sanitizers and valgrind. */
static void test_text__needs_no_nul(void **state)
{
    char to[8], *from = malloc(4);
    (void)state;
    assert_non_null(from);
    memcpy(from, "abcd", 4);
    assert_int_equal(text_copy_n(to, sizeof(to), from, 4), 4);
    assert_string_equal(to, "abcd");
    assert_int_equal(text_copy_n(to, 4, from, 4), 3);
    assert_string_equal(to, "abc");
    assert_int_equal(text_copy_n(to, sizeof(to), from, 2), 2);
    assert_string_equal(to, "ab");
    assert_int_equal(text_copy_n(to, sizeof(to), from, 0), 0);
    assert_string_equal(to, "");
    from[1] = '\0';
    assert_int_equal(text_copy_n(to, sizeof(to), from, 4), 1);
    assert_string_equal(to, "a");
    free(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_text__copies_what_fits),
        TEST(test_text__needs_no_nul),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
