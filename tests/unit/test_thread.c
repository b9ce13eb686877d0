/* SPDX-License-Identifier: MIT */
/* The library's threads: where they run, and that they leave the program's signals and CPUs alone. */
#include "tests/unit/unit.h"

#include "lib/thread.h"
#include <signal.h>

struct child {
    struct thread_home home;
    int cpus_at_first, cpus_roaming;
    bool signals_blocked;
};

static int cpus(void)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    return CPU_COUNT(&set);
}

static void *live(void *data)
{
    struct child *child = data;
    sigset_t blocked;
    child->cpus_at_first = cpus();
    thread_roam(&child->home);
    child->cpus_roaming = cpus();
    child->signals_blocked = pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 &&
                             sigismember(&blocked, SIGTERM) == 1 &&
                             sigismember(&blocked, SIGCHLD) == 1;
    return NULL;
}

static void test_thread__begins_beside_its_maker_and_then_roams(void **state)
{
    struct child child = {0};
    pthread_t thread;
    int before = cpus();
    (void)state;
    assert_int_equal(thread_start(&thread, live, &child, &child.home), 0);
    assert_int_equal(cpus(), before); /* the maker's own CPUs are as they were */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(child.cpus_at_first, 1);
    assert_int_equal(child.cpus_roaming, before);
}

static void test_thread__leaves_signals_to_the_program(void **state)
{
    struct child child = {0};
    pthread_t thread;
    sigset_t blocked;
    (void)state;
    assert_int_equal(thread_start(&thread, live, &child, &child.home), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(child.signals_blocked);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    assert_int_equal(sigismember(&blocked, SIGTERM), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread__begins_beside_its_maker_and_then_roams),
        cmocka_unit_test(test_thread__leaves_signals_to_the_program),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
