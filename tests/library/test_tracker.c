/* SPDX-License-Identifier: MIT */
/* The convenience tracker as a program uses it. */
#include "tests/library/machine.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void use(const char *driver)
{
    assert_int_equal(setenv("VRAM_DRIVER", driver, 1), 0);
}

static uint64_t total_of(uint32_t index)
{
    struct vram_snapshot *snapshot;
    size_t position;
    assert_int_equal(vram_tracker_status(vram_tracker_get(index), &snapshot, &position), 0);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, position);
    assert_int_equal(gpu->index, index);
    uint64_t total = gpu->total_bytes;
    vram_snapshot_unref(snapshot);
    return total;
}

static void test_tracker__fit_at_the_boundary(void **state)
{
    (void)state;
    use("sim:rtx4090");
    struct vram_tracker *tracker = vram_tracker_get(0);
    uint64_t free_bytes = (24564 - 400 - 310 - 1010) * MIB;
    assert_int_equal(vram_tracker_can_fit(tracker, free_bytes - 1024 * MIB, 1024 * MIB), 1);
    assert_int_equal(vram_tracker_can_fit(tracker, free_bytes - 1024 * MIB + 1, 1024 * MIB), 0);
    assert_int_equal(vram_tracker_can_fit(tracker, free_bytes, 0), 1);
    vram_tracker_shutdown(tracker);
}

static void test_tracker__finds_a_process_in_any_case(void **state)
{
    (void)state;
    use("sim:rtx4090");
    struct vram_tracker *tracker = vram_tracker_get(0);
    struct vram_snapshot *snapshot;
    const struct vram_process *process;
    assert_int_equal(vram_tracker_find_process(tracker, "PYTHON", &snapshot, &process), 1);
    assert_string_equal(process->name, "python3");
    assert_int_equal(process->used_bytes, 1010 * MIB);
    vram_snapshot_unref(snapshot);
    assert_int_equal(vram_tracker_find_process(tracker, "nobody", &snapshot, &process), 0);
    vram_tracker_shutdown(tracker);
}

static void test_tracker__two_indexes_are_two_gpus(void **state)
{
    (void)state;
    use(machine_write("driver 550.54.14\n"
                      "gpu 0 uuid=GPU-0 name=\"Small\" total=8GiB reserved=0MiB\n"
                      "gpu 1 uuid=GPU-1 name=\"Large\" total=48GiB reserved=0MiB\n"));
    assert_int_equal(total_of(0), 8192 * MIB);
    assert_int_equal(total_of(1), 49152 * MIB);
    vram_tracker_shutdown(vram_tracker_get(0));
    assert_int_equal(total_of(1), 49152 * MIB); /* the other's shutdown is not this one's */
    vram_tracker_shutdown(vram_tracker_get(1));
}

static void test_tracker__starts_anew_after_shutdown(void **state)
{
    (void)state;
    use("sim:rtx4090");
    assert_int_equal(total_of(0), 24564 * MIB);
    vram_tracker_shutdown(vram_tracker_get(0));
    vram_tracker_shutdown(vram_tracker_get(0));
    use("sim:8xh100");
    assert_true(total_of(7) > 24564 * MIB);
    vram_tracker_shutdown(vram_tracker_get(7));
}

static void test_tracker__no_such_gpu_is_told(void **state)
{
    (void)state;
    use("sim:rtx4090");
    struct vram_tracker *tracker = vram_tracker_get(5);
    assert_int_equal(vram_tracker_can_fit(tracker, MIB, 0), -ENODEV);
    assert_non_null(strstr(vram_tracker_error(tracker), "GPU 5"));
    vram_tracker_shutdown(tracker);
}

static void test_tracker__a_failed_start_is_not_remembered(void **state)
{
    (void)state;
    struct vram_tracker *tracker = vram_tracker_get(0);
    use("sim:no-such-machine");
    assert_true(vram_tracker_can_fit(tracker, MIB, 0) < 0);
    assert_true(strlen(vram_tracker_error(tracker)) > 0);
    vram_tracker_shutdown(tracker);
    use(machine_write(
        "driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB\nfail nvmlInit_v2 ret=18 times=1\n"));
    assert_int_equal(vram_tracker_can_fit(tracker, MIB, 0), -EPROTO);
    assert_int_equal(vram_tracker_can_fit(tracker, MIB, 0), 1);
    vram_tracker_shutdown(tracker);
}

static void *first_use(void *result)
{
    struct vram_tracker *tracker = vram_tracker_get(0);
    *(int *)result = vram_tracker_can_fit(tracker, 4000 * MIB, 1024 * MIB);
    return NULL;
}

static void test_tracker__threads_at_first_use(void **state)
{
    (void)state;
    use("sim:rtx4090");
    for (int round = 0; round < 20; round++) {
        pthread_t threads[8];
        int results[8];
        for (int i = 0; i < 8; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, first_use, &results[i]), 0);
        }
        for (int i = 0; i < 8; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(results[i], 1);
        }
        vram_tracker_shutdown(vram_tracker_get(0));
    }
}

static void test_tracker__works_in_a_forked_child_and_its_parent(void **state)
{
    const char *watched_by = getenv("SANITIZED");
    (void)state;
    if (watched_by && strcmp(watched_by, "thread") == 0) {
        skip(); /* ThreadSanitizer cannot follow a child that starts threads */
    }
    use("sim:rtx4090");
    assert_int_equal(total_of(0), 24564 * MIB);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int r = vram_tracker_can_fit(vram_tracker_get(0), 20000 * MIB, 1024 * MIB);
        vram_tracker_shutdown(vram_tracker_get(0));
        _exit(r == 1 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(total_of(0), 24564 * MIB);
    vram_tracker_shutdown(vram_tracker_get(0));
}

static void test_tracker__unknown_is_neither_yes_nor_no(void **state)
{
    (void)state;
    use(machine_write("driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB\n"
                      "fail nvmlDeviceGetMemoryInfo* ret=999\n"));
    struct vram_tracker *tracker = vram_tracker_get(0);
    assert_int_equal(vram_tracker_can_fit(tracker, MIB, 0), -ENODATA);
    vram_tracker_shutdown(tracker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tracker__fit_at_the_boundary),
        cmocka_unit_test(test_tracker__finds_a_process_in_any_case),
        cmocka_unit_test(test_tracker__two_indexes_are_two_gpus),
        cmocka_unit_test(test_tracker__starts_anew_after_shutdown),
        cmocka_unit_test(test_tracker__no_such_gpu_is_told),
        cmocka_unit_test(test_tracker__a_failed_start_is_not_remembered),
        cmocka_unit_test(test_tracker__threads_at_first_use),
        cmocka_unit_test(test_tracker__works_in_a_forked_child_and_its_parent),
        cmocka_unit_test(test_tracker__unknown_is_neither_yes_nor_no),
    };
    return cmocka_run_group_tests_name("tracker", tests, machine_set_up, machine_tear_down);
}
