/* SPDX-License-Identifier: MIT */
/* Promises put into a snapshot: all of it stays, and what a daemon knows is added. */
#include "common/size.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include <errno.h>

static struct machine *machine;
static struct vram_snapshot *snapshot, *promised;

static int set_up(void **state)
{
    (void)state;
    machine = machine_new(NULL);
    struct source_gpu *first = machine_card(machine, 24 * GIB, 0, 3 * GIB);
    machine_process(first, 7, GIB, "small");
    machine_process(first, 8, 2 * GIB, "large");
    struct source_gpu *second = machine_card(machine, 24 * GIB, 0, GIB);
    machine_process(second, 8, GIB, "large");
    source_gpu_problem(second, "temperature", "not_supported", "no sensor");
    snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    snapshot = vram_snapshot_unref(snapshot);
    promised = vram_snapshot_unref(promised);
    machine_free(machine);
    return 0;
}

static const struct vram_gpu *gpu_at(size_t position)
{
    return vram_snapshot_gpu(promised, position);
}

static void test_promise__without_any_all_stays_as_it_was(void **state)
{
    struct vram_promises promises = VRAM_PROMISES_INIT;
    char *before, *after;
    (void)state;
    assert_int_equal(vram_snapshot_promise(snapshot, &promises, &promised), 0);
    assert_int_equal(vram_snapshot_json(snapshot, NULL, 0, &before), 0);
    assert_int_equal(vram_snapshot_json(promised, NULL, 0, &after), 0);
    assert_string_equal(before, after);
    assert_int_equal(vram_snapshot_waiters(promised), VRAM_UNKNOWN);
    assert_int_equal(vram_snapshot_epoch(promised), 0);
    free(before);
    free(after);
}

static void test_promise__fills_in_each_gpus_figures(void **state)
{
    const uint64_t outstanding[] = {5 * GIB, VRAM_UNKNOWN}, own[] = {0, GIB};
    struct vram_promises promises = VRAM_PROMISES_INIT;
    (void)state;
    promises.outstanding_bytes = outstanding;
    promises.own_outstanding_bytes = own;
    promises.ceiling_bytes = own;
    promises.waiters = 4;
    promises.epoch = UINT64_MAX;
    assert_int_equal(vram_snapshot_promise(snapshot, &promises, &promised), 0);
    assert_int_equal(gpu_at(0)->outstanding_bytes, 5 * GIB);
    assert_int_equal(gpu_at(0)->own_outstanding_bytes, 0);
    assert_int_equal(gpu_at(1)->outstanding_bytes, VRAM_UNKNOWN);
    assert_int_equal(gpu_at(1)->own_outstanding_bytes, GIB);
    assert_int_equal(gpu_at(1)->ceiling_bytes, GIB);
    assert_int_equal(vram_snapshot_waiters(promised), 4);
    assert_int_equal(vram_snapshot_epoch(promised), UINT64_MAX);
    assert_int_equal(vram_snapshot_gpu(snapshot, 0)->outstanding_bytes, VRAM_UNKNOWN);
}

static const char *lease_of(void *data, size_t gpu, size_t process)
{
    assert_ptr_equal(data, &promised);
    assert_true(gpu < 2 && process < (gpu ? 1 : 2));
    return gpu == 0 && process == 1 ? "8f14e45fceea167a" : NULL;
}

static void test_promise__names_the_process_at_its_position(void **state)
{
    struct vram_promises promises = VRAM_PROMISES_INIT;
    (void)state;
    promises.lease = lease_of;
    promises.data = &promised;
    assert_int_equal(vram_snapshot_promise(snapshot, &promises, &promised), 0);
    assert_int_equal(gpu_at(0)->processes[1].pid, 7); /* the largest first */
    assert_string_equal(gpu_at(0)->processes[1].lease, "8f14e45fceea167a");
    assert_null(gpu_at(0)->processes[0].lease);
    assert_null(gpu_at(1)->processes[0].lease);
    snapshot = vram_snapshot_unref(snapshot); /* the copy stands alone */
    assert_string_equal(gpu_at(0)->processes[1].name, "small");
}

static bool hide_all_but_the_first(void *data, size_t gpu, size_t process)
{
    (void)data;
    return gpu > 0 || process > 0;
}

static void test_promise__hides_command_lines(void **state)
{
    struct vram_promises promises = VRAM_PROMISES_INIT;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        for (size_t j = 0; j < gpu->process_count; j++) {
            ((struct vram_process *)(uintptr_t)gpu->processes)[j].command = "python3 secret.py";
        }
    }
    promises.hide_command = hide_all_but_the_first;
    assert_int_equal(vram_snapshot_promise(snapshot, &promises, &promised), 0);
    assert_string_equal(gpu_at(0)->processes[0].command, "python3 secret.py");
    assert_null(gpu_at(0)->processes[1].command);
    assert_null(gpu_at(1)->processes[0].command);
}

static const char *user_of_the_second(void *data, size_t gpu, size_t process)
{
    (void)data;
    return gpu == 0 && process == 1 ? "ada" : NULL;
}

static void test_promise__another_user(void **state)
{
    struct vram_promises promises = VRAM_PROMISES_INIT;
    (void)state;
    for (size_t j = 0; j < 2; j++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 0);
        ((struct vram_process *)(uintptr_t)gpu->processes)[j].user = "root";
    }
    promises.user = user_of_the_second;
    assert_int_equal(vram_snapshot_promise(snapshot, &promises, &promised), 0);
    assert_string_equal(gpu_at(0)->processes[0].user, "root");
    assert_string_equal(gpu_at(0)->processes[1].user, "ada");
}

/* A program built against a shorter structure has no more in it than its size says. */
static void test_promise__reads_no_further_than_the_size(void **state)
{
    const uint64_t outstanding[] = {GIB, GIB};
    struct vram_promises promises = {
        .size = offsetof(struct vram_promises, own_outstanding_bytes),
        .outstanding_bytes = outstanding,
        .own_outstanding_bytes = (const uint64_t *)(uintptr_t)1,
        .waiters = 5,
    };
    (void)state;
    assert_int_equal(vram_snapshot_promise(snapshot, &promises, &promised), 0);
    assert_int_equal(gpu_at(0)->outstanding_bytes, GIB);
    assert_int_equal(gpu_at(0)->own_outstanding_bytes, VRAM_UNKNOWN);
    assert_int_equal(vram_snapshot_waiters(promised), VRAM_UNKNOWN);
    promised = vram_snapshot_unref(promised);
    promises.size = sizeof(size_t) - 1;
    assert_int_equal(vram_snapshot_promise(snapshot, &promises, &promised), -EINVAL);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_promise__without_any_all_stays_as_it_was),
        MADE(test_promise__fills_in_each_gpus_figures),
        MADE(test_promise__names_the_process_at_its_position),
        MADE(test_promise__hides_command_lines),
        MADE(test_promise__another_user),
        MADE(test_promise__reads_no_further_than_the_size),
    };
    return cmocka_run_group_tests_name("promise", tests, NULL, NULL);
}
