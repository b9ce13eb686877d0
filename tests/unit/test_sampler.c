/* SPDX-License-Identifier: MIT */
/*
 * The sampler's passes: what is asked once for many, what fails and is tried again, and what is kept when a
 * call never returns.
 */
#include "tests/unit/counted_threads.h"
#include "tests/unit/sampler_rig.h"
#include "tests/unit/still_clock.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Passes ---------------------------------------------------------------------------------- */

static void test_sampler__opens_at_the_first_question(void **state)
{
    (void)state;
    assert_int_equal(fake_counts().opens, 0);
    assert_int_equal(sample(VRAM_TAKE_HEALTH), 0);
    assert_int_equal(fake_counts().opens, 1);
    assert_int_equal(fake_counts().last_take, VRAM_TAKE_HEALTH);
    assert_string_equal(board.identity.kind, "fake");
    assert_int_equal(board.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pass_of(&board, i), 1);
        assert_false(board.entries[i].hung);
    }
    assert_int_equal(sample(0), 0);
    assert_int_equal(fake_counts().opens, 1); /* and stays open */
    assert_int_equal(pass_of(&board, 2), 2);
}

static void test_sampler__leaves_signals_to_the_program(void **state)
{
    (void)state;
    assert_int_equal(sample(0), 0);
    assert_true(fake_counts().signals_blocked);
}

static void test_sampler__keeps_a_board_as_it_was(void **state)
{
    struct board first = {0};
    (void)state;
    assert_int_equal(sampler_sample(sampler, 0, &first, &err), 0);
    assert_int_equal(sample(0), 0);
    assert_int_equal(pass_of(&first, 0), 1);
    assert_int_equal(pass_of(&board, 0), 2);
    board_done(&first);
}

/* Three ask while a pass is under way. They are not served by that one, which began before, but by one
 * more, which asks for what all want. */
static void test_sampler__serves_many_with_one_pass(void **state)
{
    struct caller first, others[3];
    (void)state;
    fake_hang(1);
    caller_start(&first, 0);
    fake_await_hanging(1);
    caller_start(&others[0], VRAM_TAKE_PROCESSES);
    caller_start(&others[1], 0);
    caller_start(&others[2], VRAM_TAKE_HEALTH);
    still_clock_await_waiters(4);
    fake_release(1);
    caller_join(&first);
    assert_int_equal(first.result, 0);
    for (size_t i = 0; i < 3; i++) {
        caller_join(&others[i]);
        assert_int_equal(others[i].result, 0);
        assert_int_equal(pass_of(&others[i].board, 0), 2);
        board_done(&others[i].board);
    }
    assert_int_equal(fake_counts().passes, 2);
    assert_int_equal(fake_counts().asked[1], 2);
    assert_int_equal(fake_counts().last_take, VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH);
    board_done(&first.board);
}

static void test_sampler__follows_the_number_of_devices(void **state)
{
    static const size_t counts[] = {3, 5, 0, 1, 8, 2};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
        fake_set_devices(counts[i]);
        assert_int_equal(sample(0), 0);
        assert_int_equal(board.count, counts[i]);
        for (size_t j = 0; j < board.count; j++) {
            assert_int_equal(pass_of(&board, j), i + 1);
        }
    }
}

/* ---- Failures -------------------------------------------------------------------------------- */

static void test_sampler__tries_a_failed_start_again(void **state)
{
    (void)state;
    fake_fail_open(-ENODEV, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sample(0), -ENODEV);
        assert_string_equal(err.code, "fake");
        assert_null(board.entries); /* untouched on failure */
    }
    assert_int_equal(sample(0), 0);
    assert_int_equal(fake_counts().opens, 3);
}

static void test_sampler__opens_anew_after_a_failure(void **state)
{
    (void)state;
    assert_int_equal(sample(0), 0);
    fake_fail_sample(-EIO, 1);
    assert_int_equal(sample(0), -EIO);
    assert_string_equal(err.code, "fake");
    assert_int_equal(fake_counts().closes, 1);
    assert_int_equal(sample(0), 0);
    assert_int_equal(fake_counts().opens, 2);
}

static void test_sampler__stays_open_when_memory_is_short(void **state)
{
    (void)state;
    assert_int_equal(sample(0), 0);
    fake_fail_sample(-ENOMEM, 1);
    assert_int_equal(sample(0), -ENOMEM);
    assert_int_equal(sample(0), 0);
    assert_int_equal(fake_counts().opens, 1);
}

/* The driver was restarted underneath: that is mended within the question. */
static void test_sampler__starts_again_with_the_driver(void **state)
{
    (void)state;
    assert_int_equal(sample(0), 0);
    fake_fail_sample(-EAGAIN, 1);
    assert_int_equal(sample(0), 0);
    assert_int_equal(fake_counts().opens, 2);
    assert_int_equal(fake_counts().closes, 1);
    assert_int_equal(pass_of(&board, 0), 3);
}

static void test_sampler__starts_again_once_only(void **state)
{
    (void)state;
    fake_fail_sample(-EAGAIN, 2);
    assert_int_equal(sample(0), -EIO); /* -EAGAIN is between source and sampler */
    assert_int_equal(fake_counts().opens, 2);
    assert_int_equal(fake_counts().closes, 2);
    assert_int_equal(sample(0), 0);
    assert_int_equal(fake_counts().opens, 3);
}

static void test_sampler__says_where_no_thread_is_to_be_had(void **state)
{
    (void)state;
    threads_refuse(1);
    assert_int_equal(sample(0), -ENOMEM);
    assert_string_equal(err.code, "out_of_memory");
    assert_int_equal(sample(0), 0);
    assert_int_equal(pass_of(&board, 0), 1);
}

/* ---- One device hangs ------------------------------------------------------------------------ */

static void test_sampler__keeps_the_others_fresh(void **state)
{
    struct caller caller;
    (void)state;
    assert_int_equal(sample(VRAM_TAKE_ALL), 0);
    ask_into_hang(&caller, 1, 1);
    assert_int_equal(caller.result, 0);
    const struct board_entry *entries = caller.board.entries;
    assert_int_equal(caller.board.count, 3);
    assert_false(entries[0].hung);
    assert_true(entries[1].hung);
    assert_false(entries[2].hung);
    assert_string_equal(entries[1].hung_call, "fake_ask");
    assert_int_equal(pass_of(&caller.board, 0), 2);
    assert_int_equal(pass_of(&caller.board, 1), 1); /* its last figures, as old as they are */
    assert_true(pass_of(&caller.board, 2) > 1);
    assert_int_equal(fake_counts().asked[0], 2); /* the second thread goes on, and not over again */
    assert_true(entries[1].report->taken_ns < entries[2].report->taken_ns);
    assert_int_equal(entries[2].report->taken_ns - entries[1].hung_since_ns, LIMIT_NS);
    board_done(&caller.board);
    fake_release(1);
}

static void test_sampler__shows_a_device_that_never_answered(void **state)
{
    struct caller caller;
    (void)state;
    ask_into_hang(&caller, 0, 1);
    assert_int_equal(caller.result, 0);
    assert_int_equal(caller.board.count, 3);
    assert_true(caller.board.entries[0].hung);
    assert_null(caller.board.entries[0].report);
    assert_int_equal(pass_of(&caller.board, 2), 2);
    board_done(&caller.board);
    fake_release(0);
}

static void test_sampler__leaves_a_hung_device_alone(void **state)
{
    struct caller caller;
    (void)state;
    ask_into_hang(&caller, 1, 1);
    board_done(&caller.board);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(sample(VRAM_TAKE_ALL), 0); /* at once: the clock stands still */
        assert_true(board.entries[1].hung);
        assert_int_equal(pass_of(&board, 0), 3 + i);
    }
    assert_int_equal(fake_counts().asked[1], 1);
    assert_int_equal(fake_counts().opens, 1);
    fake_release(1);
}

static void test_sampler__welcomes_a_thread_that_comes_back(void **state)
{
    struct caller caller;
    (void)state;
    ask_into_hang(&caller, 1, 1);
    board_done(&caller.board);
    fake_release(1);
    threads_await(1); /* the one that was stuck is gone, the other stays */
    assert_int_equal(sample(0), 0);
    assert_false(board.entries[1].hung);
    assert_int_equal(pass_of(&board, 1), 3);
    ask_into_hang(&caller, 1, 1); /* and all of it again */
    assert_true(caller.board.entries[1].hung);
    assert_int_equal(pass_of(&caller.board, 1), 3);
    board_done(&caller.board);
    fake_release(1);
    threads_await(1);
    assert_int_equal(sample(0), 0);
    assert_false(board.entries[1].hung);
}

static void test_sampler__hears_nothing_from_a_thread_it_gave_up(void **state)
{
    struct caller caller;
    (void)state;
    fake_disobey();
    ask_into_hang(&caller, 1, 1);
    board_done(&caller.board);
    fake_release(1);
    threads_await(1);
    assert_int_equal(fake_counts().believed, 0);
    assert_int_equal(sample(0), 0);
    assert_int_equal(board.count, 3);
    assert_string_equal(board.identity.kind, "fake");
    assert_int_equal(pass_of(&board, 1), 3);
}

/* Several wait: the one whose patience ends first gives the call up for all. */
static void test_sampler__gives_up_once_for_all_who_wait(void **state)
{
    struct caller callers[4];
    (void)state;
    fake_hang(2);
    caller_start(&callers[0], 0);
    fake_await_hanging(1);
    for (size_t i = 1; i < 4; i++) {
        caller_start(&callers[i], 0);
    }
    still_clock_await_waiters(4);
    still_clock_advance(LIMIT_NS);
    for (size_t i = 0; i < 4; i++) {
        caller_join(&callers[i]);
        assert_int_equal(callers[i].result, 0);
        assert_true(callers[i].board.entries[2].hung);
        assert_true(pass_of(&callers[i].board, 0) > 0);
        board_done(&callers[i].board);
    }
    assert_int_equal(fake_counts().asked[2], 1);
    fake_release(2);
}

/* ---- The driver hangs ------------------------------------------------------------------------ */

static void test_sampler__takes_a_second_hang_for_the_driver(void **state)
{
    struct caller caller;
    (void)state;
    assert_int_equal(sample(0), 0);
    ask_into_hang(&caller, 1, 1);
    board_done(&caller.board);
    ask_into_hang(&caller, 2, 2);
    assert_int_equal(caller.result, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(caller.board.entries[i].hung);
        assert_true(pass_of(&caller.board, i) > 0);
    }
    board_done(&caller.board);
    unsigned passes = fake_counts().passes;
    assert_int_equal(sample(0), 0); /* the last figures, at once, and no third thread after them */
    assert_true(board.entries[0].hung);
    assert_int_equal(fake_counts().passes, passes);
    fake_release(1);
    threads_await(1);
    assert_int_equal(sample(0), 0);
    assert_false(board.entries[0].hung);
    assert_false(board.entries[1].hung);
    assert_true(board.entries[2].hung);
    fake_release(2);
    threads_await(1);
    assert_int_equal(sample(0), 0);
    assert_false(board.entries[2].hung);
}

/* The thread that was to go on with the others is not to be had: then nobody can tell of any. */
static void test_sampler__takes_no_thread_for_the_driver(void **state)
{
    struct caller caller;
    (void)state;
    assert_int_equal(sample(0), 0);
    fake_hang(0);
    caller_start(&caller, 0);
    fake_await_hanging(1);
    threads_refuse(1);
    still_clock_advance(LIMIT_NS);
    caller_join(&caller);
    assert_int_equal(caller.result, 0);
    assert_true(caller.board.entries[0].hung);
    assert_true(caller.board.entries[2].hung);
    board_done(&caller.board);
    fake_release(0);
    threads_await(0);
    assert_int_equal(sample(0), 0);
    assert_false(board.entries[0].hung);
    assert_true(pass_of(&board, 2) > 2);
}

static void test_sampler__serves_old_figures_when_all_hangs(void **state)
{
    struct caller caller;
    (void)state;
    assert_int_equal(sample(0), 0);
    ask_into_hang(&caller, FAKE_BEGIN, 1);
    assert_int_equal(caller.result, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(caller.board.entries[i].hung);
        assert_string_equal(caller.board.entries[i].hung_call, "fake_begin");
        assert_int_equal(pass_of(&caller.board, i), 1);
    }
    board_done(&caller.board);
    fake_release(FAKE_BEGIN);
}

static void test_sampler__does_not_wait_twice_for_a_start_that_hangs(void **state)
{
    struct caller caller;
    (void)state;
    ask_into_hang(&caller, FAKE_OPEN, 1);
    assert_int_equal(caller.result, -ETIMEDOUT);
    assert_string_equal(caller.err.code, "driver_hung");
    assert_non_null(strstr(caller.err.message, "fake_open"));
    assert_null(caller.board.entries);
    assert_int_equal(sample(0), -ETIMEDOUT); /* the clock stands still */
    assert_int_equal(fake_counts().opens, 1);
    fake_release(FAKE_OPEN);
    threads_await(0);
    assert_int_equal(sample(0), 0);
    assert_int_equal(pass_of(&board, 0), 1);
    assert_int_equal(fake_counts().opens, 2);
}

/* It came back after it was given up, and with a source: that one must be closed. */
static void test_sampler__closes_what_was_opened_too_late(void **state)
{
    struct caller caller;
    (void)state;
    fake_disobey();
    ask_into_hang(&caller, FAKE_OPEN, 1);
    assert_int_equal(caller.result, -ETIMEDOUT);
    fake_release(FAKE_OPEN);
    fake_await_closes(1);
}

/* Two wait, the first to wake gives the driver up, and before the second has looked the driver is back: nobody
 * is left who would work for the second one but itself. */
static void test_sampler__forgets_nobody_when_the_driver_comes_back(void **state)
{
    struct caller callers[2];
    (void)state;
    fake_hang(FAKE_OPEN);
    caller_start(&callers[0], 0);
    fake_await_hanging(1);
    caller_start(&callers[1], 0);
    still_clock_await_waiters(2);
    still_clock_detain_one();
    still_clock_advance(LIMIT_NS);
    threads_await(2); /* of stuck, detained and done the last is gone */
    fake_release(FAKE_OPEN);
    threads_await(1); /* the detained one alone */
    still_clock_let_go();
    int served = 0;
    for (size_t i = 0; i < 2; i++) {
        caller_join(&callers[i]);
        served += callers[i].result == 0;
        assert_true(callers[i].result == 0 || callers[i].result == -ETIMEDOUT);
        board_done(&callers[i].board);
    }
    assert_int_equal(served, 1);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, sampler_set_up, sampler_tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_sampler__opens_at_the_first_question),
        MADE(test_sampler__leaves_signals_to_the_program),
        MADE(test_sampler__keeps_a_board_as_it_was),
        MADE(test_sampler__serves_many_with_one_pass),
        MADE(test_sampler__follows_the_number_of_devices),
        MADE(test_sampler__tries_a_failed_start_again),
        MADE(test_sampler__opens_anew_after_a_failure),
        MADE(test_sampler__stays_open_when_memory_is_short),
        MADE(test_sampler__starts_again_with_the_driver),
        MADE(test_sampler__starts_again_once_only),
        MADE(test_sampler__says_where_no_thread_is_to_be_had),
        MADE(test_sampler__keeps_the_others_fresh),
        MADE(test_sampler__shows_a_device_that_never_answered),
        MADE(test_sampler__leaves_a_hung_device_alone),
        MADE(test_sampler__welcomes_a_thread_that_comes_back),
        MADE(test_sampler__hears_nothing_from_a_thread_it_gave_up),
        MADE(test_sampler__gives_up_once_for_all_who_wait),
        MADE(test_sampler__takes_a_second_hang_for_the_driver),
        MADE(test_sampler__takes_no_thread_for_the_driver),
        MADE(test_sampler__serves_old_figures_when_all_hangs),
        MADE(test_sampler__does_not_wait_twice_for_a_start_that_hangs),
        MADE(test_sampler__closes_what_was_opened_too_late),
        MADE(test_sampler__forgets_nobody_when_the_driver_comes_back),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
