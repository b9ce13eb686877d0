/* SPDX-License-Identifier: MIT */
/* The sampler's describing, forking and ending, also while calls never return: nothing is left behind. */
#include "tests/unit/counted_threads.h"
#include "tests/unit/sampler_rig.h"
#include "tests/unit/still_clock.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void count_fact(void *data, const char *name, const char *value)
{
    (void)name;
    (void)value;
    ++*(unsigned *)data;
}

static void test_sampler__describes_an_open_source_only(void **state)
{
    struct caller caller;
    unsigned facts = 0;
    (void)state;
    sampler_describe(sampler, count_fact, &facts);
    assert_int_equal(facts, 0);
    assert_int_equal(sample(0), 0);
    sampler_describe(sampler, count_fact, &facts);
    assert_int_equal(facts, 1);
    ask_into_hang(&caller, 0, 1);
    board_done(&caller.board);
    sampler_describe(sampler, count_fact, &facts);
    assert_int_equal(facts, 1); /* somebody is stuck in it */
    fake_release(0);
}

static int abandon_in_child(void)
{
    int status = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sampler_abandon(sampler);
        _exit((int)(fake_counts().abandons * 2 + fake_counts().closes));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_sampler__is_abandoned_in_a_forked_child(void **state)
{
    struct caller caller;
    (void)state;
    assert_int_equal(abandon_in_child(), 0); /* nothing was open */
    assert_int_equal(sample(0), 0);
    /* Abandoned, not closed: the connection is the parent's. A thread that has just answered is inside for a moment
     * still, and a child of that moment must leave all as it is. */
    int left = 0;
    for (int tries = 0; left == 0 && tries < 1000; tries++) {
        left = abandon_in_child();
    }
    assert_int_equal(left, 2);
    ask_into_hang(&caller, 0, 1);
    board_done(&caller.board);
    assert_int_equal(abandon_in_child(),
                     0); /* the driver's locks are held by a thread that is not there */
    fake_release(0);
    sampler_abandon(NULL);
}

static void test_sampler__ends_without_having_begun(void **state)
{
    (void)state;
    sampler_free(sampler);
    sampler_free(NULL);
    sampler = NULL;
    assert_int_equal(fake_counts().opens, 0);
}

static void test_sampler__ends_while_a_thread_is_stuck(void **state)
{
    struct caller caller;
    (void)state;
    ask_into_hang(&caller, 1, 1);
    board_done(&caller.board);
    sampler_free(sampler); /* at once: the worker is idle, the clock stands still */
    sampler = NULL;
    assert_int_equal(fake_counts().closes, 0); /* not under the feet of the stuck one */
    fake_release(1);
    fake_await_closes(1); /* the last one out closes, and frees what there is */
    threads_await(0);
}

/* The thread that would have closed the source was given up, came back and is gone. */
static void test_sampler__ends_with_nobody_left_to_close(void **state)
{
    struct caller caller;
    (void)state;
    ask_into_hang(&caller, FAKE_BEGIN, 1);
    assert_int_equal(caller.result, -ETIMEDOUT);
    fake_release(FAKE_BEGIN);
    threads_await(0);
    assert_int_equal(fake_counts().closes, 0); /* it is still good */
    sampler_free(sampler);
    sampler = NULL;
    assert_int_equal(fake_counts().closes, 1);
}

static void *end_sampler(void *data)
{
    sampler_free(sampler);
    return data;
}

static void test_sampler__does_not_wait_for_a_close_that_hangs(void **state)
{
    pthread_t ender;
    (void)state;
    assert_int_equal(sample(0), 0);
    fake_hang(FAKE_CLOSE);
    assert_int_equal(pthread_create(&ender, NULL, end_sampler, NULL), 0);
    fake_await_hanging(1);
    still_clock_await_waiters(1);
    still_clock_advance(LIMIT_NS);
    assert_int_equal(pthread_join(ender, NULL), 0);
    sampler = NULL;
    fake_release(FAKE_CLOSE);
    fake_await_closes(1);
    threads_await(0);
}

static void test_sampler__ends_while_start_is_stuck(void **state)
{
    struct caller caller;
    (void)state;
    fake_disobey();
    ask_into_hang(&caller, FAKE_OPEN, 1);
    sampler_free(sampler);
    sampler = NULL;
    fake_release(FAKE_OPEN);
    fake_await_closes(1);
    threads_await(0);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, sampler_set_up, sampler_tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_sampler__describes_an_open_source_only),
        MADE(test_sampler__is_abandoned_in_a_forked_child),
        MADE(test_sampler__ends_without_having_begun),
        MADE(test_sampler__ends_while_a_thread_is_stuck),
        MADE(test_sampler__ends_with_nobody_left_to_close),
        MADE(test_sampler__does_not_wait_for_a_close_that_hangs),
        MADE(test_sampler__ends_while_start_is_stuck),
    };
    return cmocka_run_group_tests_name("sampler_ends", tests, NULL, NULL);
}
