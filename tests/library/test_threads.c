/* SPDX-License-Identifier: MIT */
/* One handle, many threads and forks. */
#include "tests/library/machine.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8

static struct vram *shared;

static void *take_many(void *failures)
{
    for (int i = 0; i < 50; i++) {
        struct vram_snapshot *snapshot;
        uint32_t what = i % 2 ? VRAM_TAKE_ALL : 0;
        if (vram_snapshot_take(shared, what, &snapshot) < 0) {
            ++*(int *)failures;
            continue;
        }
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 0);
        *(int *)failures += gpu->total_bytes != 24564 * MIB || (i % 2 && !gpu->processes_known);
        vram_snapshot_unref(snapshot);
    }
    return NULL;
}

static void test_threads__share_a_handle(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    int failures[THREADS] = {0};
    shared = machine_open("sim:rtx4090", 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &failures[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(failures[i], 0);
    }
    vram_close(shared);
}

static void *fail_once(void *own)
{
    struct vram_snapshot *snapshot;
    bool right = vram_snapshot_take(shared, 0, &snapshot) == -EPROTO;
    *(bool *)own = right && strcmp(vram_error_code(shared), "version_mismatch") == 0;
    return NULL;
}

static void test_threads__each_has_its_own_error(void **state)
{
    (void)state;
    struct vram_snapshot *snapshot;
    pthread_t thread;
    bool right = false;
    shared = machine_open(machine_write("driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB\n"
                                        "fail nvmlInit* ret=9 times=1\n"
                                        "fail nvmlInit* ret=18 times=1 after=1\n"),
                          0);
    assert_int_equal(vram_snapshot_take(shared, 0, &snapshot), -ENODEV);
    assert_int_equal(pthread_create(&thread, NULL, fail_once, &right), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(right);
    assert_string_equal(vram_error_code(shared), "driver_not_loaded"); /* not the other thread's */
    assert_int_equal(vram_snapshot_take(shared, 0, &snapshot), 0);
    vram_snapshot_unref(snapshot);
    vram_close(shared);
}

/* Children that fork children, while the parent's threads are asking. */
static void test_threads__fork_in_the_middle(void **state)
{
    (void)state;
    pthread_t threads[2];
    int failures[2] = {0};
    shared = machine_open("sim:rtx4090", 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &failures[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct vram_snapshot *snapshot;
            int r = vram_snapshot_take(shared, VRAM_TAKE_ALL, &snapshot);
            _exit(r == 0 && vram_snapshot_gpu_count(snapshot) == 1 ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(failures[i], 0);
    }
    vram_close(shared);
}

static void *take_once(void *vram)
{
    struct vram_snapshot *snapshot;
    return vram_snapshot_take(vram, 0, &snapshot) < 0 ? NULL : vram;
}

/* A child has the whole of a library that another thread loads, or nothing. */
static void test_threads__no_fork_falls_into_loading(void **state)
{
    (void)state;
    pthread_t thread;
    char driver[4096], fd[16], word = ' ';
    int ends[2], status;
    void *result;
    assert_int_equal(pipe(ends), 0);
    (void)snprintf(fd, sizeof(fd), "%d", ends[1]);
    (void)snprintf(driver, sizeof(driver), "nvml:%s", getenv("SLOW_LIBRARY"));
    (void)setenv("SLOW_LIBRARY_SAYS", fd, 1);
    struct vram *vram = machine_open(driver, 0);
    assert_int_equal(pthread_create(&thread, NULL, take_once, vram), 0);
    assert_int_equal(read(ends[0], &word, 1), 1);
    assert_int_equal(word, 'a');
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct vram_snapshot *snapshot;
        bool loads = vram_snapshot_take(vram, 0, &snapshot) == -ENODEV &&
                     strcmp(vram_error_code(vram), "library_broken") == 0;
        _exit(loads ? 0 : 1);
    }
    struct pollfd said = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&said, 1, 0), 1);
    assert_int_equal(read(ends[0], &word, 1), 1);
    assert_int_equal(word, 'z');
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result); /* it is no driver's library */
    vram_close(vram);
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)unsetenv("SLOW_LIBRARY_SAYS");
}

static void test_threads__many_handles_leak_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct vram *vram = machine_open("sim:8xh100", 0);
        vram_snapshot_unref(machine_take(vram));
        vram_close(vram);
    }
    vram_close(machine_open("sim:8xh100", 0)); /* never used */
    assert_null(vram_close(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads__share_a_handle),
        cmocka_unit_test(test_threads__each_has_its_own_error),
        cmocka_unit_test(test_threads__fork_in_the_middle),
        cmocka_unit_test(test_threads__no_fork_falls_into_loading),
        cmocka_unit_test(test_threads__many_handles_leak_nothing),
    };
    return cmocka_run_group_tests_name("threads", tests, machine_set_up, machine_tear_down);
}
