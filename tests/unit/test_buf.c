/* SPDX-License-Identifier: MIT */
/* The growing buffer: growth, formats, and failure that sticks. */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/unit.h"

#include "common/buf.h"

static void test_buf__hands_out_what_was_added(void **state)
{
    struct buf buf = BUF_INIT;
    size_t length = 0;
    (void)state;
    buf_text(&buf, "one");
    buf_char(&buf, ' ');
    buf_format(&buf, "%d %s", 2, "three");
    buf_add(&buf, "a\0b", 3);
    assert_int_equal(buf.length, 14);
    assert_int_equal(buf.data[buf.length], '\0');
    char *text = buf_steal(&buf, &length);
    assert_int_equal(length, 14);
    assert_memory_equal(text, "one 2 threea\0b", 15);
    assert_null(buf.data);
    assert_int_equal(buf.length, 0);
    free(text);
}

static void test_buf__gives_an_empty_text_not_null(void **state)
{
    struct buf buf = BUF_INIT;
    (void)state;
    char *text = buf_steal(&buf, NULL);
    assert_string_equal(text, "");
    free(text);
    buf_add(&buf, NULL, 0);
    assert_int_equal(buf.length, 0);
    buf_done(&buf);
}

/* Additions of each length around the first capacities: the NUL must have room in each. */
static void test_buf__grows_at_every_boundary(void **state)
{
    char block[1100];
    (void)state;
    memset(block, 'x', sizeof(block));
    for (size_t first = 0; first < 600; first++) {
        struct buf buf = BUF_INIT;
        buf_add(&buf, block, first);
        buf_char(&buf, 'y');
        buf_format(&buf, "%.*s", (int)first, block);
        buf_add(&buf, block, sizeof(block));
        assert_false(buf.failed);
        assert_int_equal(buf.length, 2 * first + 1 + sizeof(block));
        assert_true(buf.length < buf.capacity);
        assert_int_equal(strlen(buf.data), buf.length);
        assert_int_equal(buf.data[first], 'y');
        buf_done(&buf);
    }
}

static void test_buf__can_be_used_again(void **state)
{
    struct buf buf = BUF_INIT;
    (void)state;
    buf_text(&buf, "first");
    buf_clear(&buf);
    assert_string_equal(buf.data, "");
    buf_text(&buf, "second");
    assert_string_equal(buf.data, "second");
    buf_done(&buf);
    assert_null(buf.data);
    buf_text(&buf, "third");
    assert_string_equal(buf.data, "third");
    buf_done(&buf);
}

static void test_buf__failure_sticks(void **state)
{
    struct buf buf = BUF_INIT;
    char block[300];
    (void)state;
    memset(block, 'x', sizeof(block));
    buf_text(&buf, "kept");
    alloc_fail_at(1);
    buf_add(&buf, block, sizeof(block));
    assert_true(alloc_fail_happened());
    assert_true(buf.failed);
    assert_string_equal(buf.data, "kept");
    buf_text(&buf, "x"); /* there would be room, but a gap must not be hidden */
    buf_format(&buf, "%d", 1);
    assert_string_equal(buf.data, "kept");
    assert_null(buf_steal(&buf, NULL));
    assert_null(buf.data);
    buf_text(&buf, "anew");
    assert_false(buf.failed);
    buf_done(&buf);
}

/* More than memory has: must be refused, not wrapped. */
static void test_buf__refuses_absurd_lengths(void **state)
{
    struct buf buf = BUF_INIT;
    (void)state;
    buf_text(&buf, "kept");
    alloc_fail_at(1); /* whatever it asks for, it does not get */
    buf_add(&buf, "", SIZE_MAX - 2);
    assert_true(buf.failed);
    alloc_fail_at(0);
    assert_string_equal(buf.data, "kept");
    buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_buf__hands_out_what_was_added), TEST(test_buf__gives_an_empty_text_not_null),
        TEST(test_buf__grows_at_every_boundary),  TEST(test_buf__can_be_used_again),
        TEST(test_buf__failure_sticks),           TEST(test_buf__refuses_absurd_lengths),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
