/* SPDX-License-Identifier: MIT */
/* The snapshot: what a board becomes, that it stands alone, and that threads may share it. */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/fake_root.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>

static struct machine *machine;
static struct vram_snapshot *snapshot;

static int set_up(void **state)
{
    (void)state;
    machine = machine_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    snapshot = vram_snapshot_unref(snapshot);
    if (machine) {
        machine_free(machine);
    }
    return 0;
}

/* The snapshot of the machine as it stands, and its GPU at `position`. */
static const struct vram_gpu *take(uint32_t what, size_t position)
{
    (void)vram_snapshot_unref(snapshot);
    snapshot = machine_snapshot(machine, what);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, position);
    assert_non_null(gpu);
    return gpu;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void test_snapshot__of_no_gpu_is_empty(void **state)
{
    (void)state;
    snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    assert_int_equal(vram_snapshot_gpu_count(snapshot), 0);
    assert_null(vram_snapshot_gpu(snapshot, 0));
    assert_int_equal(vram_snapshot_problem_count(snapshot), 0);
    assert_null(vram_snapshot_problem(snapshot, 0));
    assert_int_equal(vram_snapshot_taken_at_ns(snapshot), MACHINE_CLOCK_NS);
    const struct vram_driver *driver = vram_snapshot_driver(snapshot);
    assert_string_equal(driver->kind, "sim");
    assert_string_equal(driver->version, "550.54.14");
    assert_string_equal(driver->cuda, "12.4");
    assert_string_equal(driver->library, "/lib/libtest.so");
}

static void test_snapshot__hands_figures_on_unchanged(void **state)
{
    (void)state;
    struct source_gpu *from = machine_card(machine, 25757220864, 419430401, 1059061763);
    from->temperature_c = 41;
    from->utilization_percent = 0;
    (void)machine_card(machine, 1, 0, 0);
    const struct vram_gpu *gpu = take(VRAM_TAKE_ALL, 0);
    assert_int_equal(gpu->index, 0);
    assert_int_equal(gpu->state, VRAM_GPU_OK);
    assert_int_equal(gpu->memory_kind, VRAM_MEMORY_DEDICATED);
    assert_string_equal(gpu->uuid, "GPU-00000000-1111-2222-3333-444444444444");
    assert_string_equal(gpu->name, "Test Card");
    assert_string_equal(gpu->pci, "0000:01:00.0");
    assert_null(gpu->parent_uuid);
    assert_int_equal(gpu->total_bytes, 25757220864);
    assert_int_equal(gpu->driver_reserved_bytes, 419430401);
    assert_int_equal(gpu->used_bytes, 1059061763);
    assert_int_equal(gpu->free_bytes, 24278728700);
    assert_int_equal(gpu->outstanding_bytes, VRAM_UNKNOWN);
    assert_int_equal(gpu->temperature_c, 41);
    assert_int_equal(gpu->utilization_percent, 0);
    assert_int_equal(gpu->age_ms, 250);
    assert_int_equal(vram_snapshot_gpu(snapshot, 1)->index, 1);
    assert_null(vram_snapshot_gpu(snapshot, 2));
    assert_null(vram_snapshot_gpu(snapshot, SIZE_MAX));
}

static void test_snapshot__keeps_unknown_unknown(void **state)
{
    (void)state;
    struct source_gpu *from = machine_gpu(machine);
    from->uuid[0] = from->name[0] = from->pci[0] = '\0';
    machine->board.identity = (struct source_identity){.kind = "nvml"};
    const struct vram_gpu *gpu = take(VRAM_TAKE_ALL, 0);
    assert_null(gpu->uuid);
    assert_null(gpu->name);
    assert_null(gpu->pci);
    assert_null(gpu->parent_uuid);
    const uint64_t figures[] = {
        gpu->total_bytes,           gpu->used_bytes,          gpu->free_bytes,
        gpu->driver_reserved_bytes, gpu->temperature_c,       gpu->utilization_percent,
        gpu->outstanding_bytes,     gpu->unattributed_bytes,  gpu->mig_index,
        gpu->gpu_instance_id,       gpu->compute_instance_id, gpu->age_ms,
    };
    for (size_t i = 0; i < ARRAY_LENGTH(figures); i++) {
        assert_int_equal(figures[i], VRAM_UNKNOWN);
    }
    assert_false(gpu->processes_known);
    assert_int_equal(gpu->process_count, 0);
    assert_null(vram_snapshot_driver(snapshot)->version);
    assert_null(vram_snapshot_driver(snapshot)->cuda);
}

/* Two allocations would be one too many; none is left of what it was made of. */
static void test_snapshot__is_one_allocation_that_stands_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 2 * GIB);
        machine_process(from, 77, GIB, "driver's word");
        source_gpu_problem(from, "temperature", "not_supported", "no %s", "sensor");
    }
    (void)take(VRAM_TAKE_ALL, 0); /* the processes are known from here on */
    snapshot = vram_snapshot_unref(snapshot);
    alloc_fail_at(1);
    assert_int_equal(snapshot_build(&machine->board, machine->identities, VRAM_TAKE_ALL, 1,
                                    MACHINE_NOW_NS, &snapshot),
                     -ENOMEM);
    assert_null(snapshot);
    alloc_fail_at(2);
    snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    assert_false(alloc_fail_happened());
    alloc_fail_at(0);
    memset(machine->reports[0].gpus[0].processes[0].name, '#', 5);
    memset(machine->gpus[0][0].uuid, '#', sizeof(machine->gpus[0][0].uuid));
    machine_free(machine);
    machine = NULL;
    for (size_t i = 0; i < 3; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        assert_int_equal(strncmp(gpu->uuid, "GPU-0000000", 11), 0);
        assert_string_equal(gpu->processes[0].name, "driver's word");
        assert_string_equal(vram_snapshot_problem(snapshot, i)->message, "no sensor");
    }
    assert_string_equal(vram_snapshot_driver(snapshot)->kind, "sim");
}

/* ---- Processes ------------------------------------------------------------------------------- */

static void test_snapshot__puts_the_largest_process_first(void **state)
{
    static const uint32_t order[] = {5, 3, 9, 1, 2, 8};
    (void)state;
    struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 20 * GIB);
    machine_process(from, 8, VRAM_UNKNOWN, NULL);
    machine_process(from, 9, 2 * GIB, NULL);
    machine_process(from, 1, 0, NULL);
    machine_process(from, 5, 3 * GIB, NULL);
    machine_process(from, 2, VRAM_UNKNOWN, NULL);
    machine_process(from, 3, 2 * GIB, NULL);
    const struct vram_gpu *gpu = take(VRAM_TAKE_ALL, 0);
    assert_int_equal(gpu->process_count, ARRAY_LENGTH(order));
    for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
        assert_int_equal(gpu->processes[i].pid, order[i]);
    }
}

static void test_snapshot__lists_processes_where_asked_only(void **state)
{
    (void)state;
    struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 2 * GIB);
    machine_process(from, 77, GIB, NULL);
    const struct vram_gpu *gpu = take(VRAM_TAKE_HEALTH, 0);
    assert_false(gpu->processes_known);
    assert_int_equal(gpu->process_count, 0);
    assert_int_equal(gpu->unattributed_bytes, VRAM_UNKNOWN);
    gpu = take(VRAM_TAKE_PROCESSES, 0);
    assert_true(gpu->processes_known);
    assert_int_equal(gpu->process_count, 1);
}

static void test_snapshot__tells_an_empty_list_from_an_unread_one(void **state)
{
    (void)state;
    struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 2 * GIB);
    const struct vram_gpu *gpu = take(VRAM_TAKE_ALL, 0);
    assert_false(gpu->processes_known);
    from->processes_known = true;
    gpu = take(VRAM_TAKE_ALL, 0);
    assert_true(gpu->processes_known);
    assert_int_equal(gpu->process_count, 0);
    assert_int_equal(gpu->unattributed_bytes, 2 * GIB);
}

static void test_snapshot__never_sums_the_unknown(void **state)
{
    (void)state;
    struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 5 * GIB);
    machine_process(from, 1, GIB, NULL);
    machine_process(from, 2, VRAM_UNKNOWN, NULL);
    machine_process(from, 3, GIB, NULL);
    assert_int_equal(take(VRAM_TAKE_ALL, 0)->unattributed_bytes, 3 * GIB);
    from->used_bytes = VRAM_UNKNOWN;
    assert_int_equal(take(VRAM_TAKE_ALL, 0)->unattributed_bytes, VRAM_UNKNOWN);
}

/* Lists and memory are two calls, between which a program may have grown. */
static void test_snapshot__has_no_negative_rest(void **state)
{
    (void)state;
    struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 2 * GIB);
    machine_process(from, 1, 2 * GIB, NULL);
    assert_int_equal(take(VRAM_TAKE_ALL, 0)->unattributed_bytes, 0);
    machine_process(from, 2, GIB, NULL);
    assert_int_equal(take(VRAM_TAKE_ALL, 0)->unattributed_bytes, 0);
    machine_process(from, 3, UINT64_MAX - 1, NULL);
    machine_process(from, 4, UINT64_MAX - 1, NULL);
    assert_int_equal(take(VRAM_TAKE_ALL, 0)->unattributed_bytes, 0);
}

static void test_snapshot__names_who_cannot_be_seen(void **state)
{
    (void)state;
    struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 4 * GIB);
    machine_process(from, 4194304, 3 * GIB, NULL);
    machine_process(from, 78, GIB, "Xorg");
    const struct vram_gpu *gpu = take(VRAM_TAKE_ALL, 0);
    assert_int_equal(gpu->unattributed_bytes, 0); /* counted all the same */
    assert_string_equal(gpu->processes[0].name, "pid_4194304");
    assert_string_equal(gpu->processes[1].name, "Xorg");
    for (size_t i = 0; i < 2; i++) {
        const struct vram_process *process = &gpu->processes[i];
        assert_false(process->visible);
        assert_int_equal(process->start_time, VRAM_UNKNOWN);
        assert_null(process->user);
        assert_null(process->command);
        assert_null(process->container);
        assert_null(process->unit);
        assert_null(process->lease);
    }
}

static int set_up_root(void **state)
{
    const char *root = fake_root_make();
    fake_root_process(root, 77, "python3", 4711, 1000);
    fake_root_write(root, "/proc/77/cmdline", "python3\0train.py", 16);
    fake_root_text(root, "/proc/77/cgroup", "0::/system.slice/comfy.service\n");
    fake_root_process(root, 78, "", 1, 1000);
    machine = machine_new(root);
    *state = (void *)(uintptr_t)root;
    return 0;
}

static int tear_down_root(void **state)
{
    (void)tear_down(NULL);
    fake_root_remove(*state);
    return 0;
}

static void test_snapshot__names_who_can_be_seen(void **state)
{
    (void)state;
    struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 4 * GIB);
    machine_process(from, 77, 3 * GIB, "driver's word");
    machine_process(from, 78, GIB, NULL);
    const struct vram_process *process = &take(VRAM_TAKE_ALL, 0)->processes[0];
    assert_true(process->visible);
    assert_string_equal(process->name, "python3"); /* /proc knows better than the driver */
    assert_int_equal(process->start_time, 4711);
    assert_string_equal(process->command, "python3 train.py");
    assert_string_equal(process->unit, "comfy.service");
    assert_non_null(process->user);
    assert_string_equal(process[1].name, "pid_78"); /* a name may be empty */
    process = &take(VRAM_TAKE_PROCESSES, 0)->processes[0];
    assert_null(process->command); /* not asked for, this time */
    assert_string_equal(process->name, "python3");
}

/* Where the driver speaks of another PID namespace, our /proc has another 77. */
static void test_snapshot__takes_nobody_for_a_foreign_process(void **state)
{
    (void)state;
    struct source_gpu *from = machine_card(machine, 24 * GIB, 0, 4 * GIB);
    machine_process(from, 77, 3 * GIB, "ollama");
    from->pids_are_foreign = true;
    const struct vram_process *process = &take(VRAM_TAKE_ALL, 0)->processes[0];
    assert_false(process->visible);
    assert_string_equal(process->name, "ollama");
    assert_null(process->command);
    assert_null(process->unit);
}

/* ---- Pools, hangs, problems ------------------------------------------------------------------ */

static void test_snapshot__sees_which_instances_share_memory(void **state)
{
    static const uint32_t pools[] = {0, 0, 2, 3, 4, 5};
    (void)state;
    for (int card = 0; card < 2; card++) {
        (void)machine_card(machine, 80 * GIB, 0, 0);
        (void)machine_instance(machine, 1, 0, 40 * GIB, GIB);
        if (card == 0) {
            (void)machine_instance(machine, 1, 1, 40 * GIB,
                                   GIB); /* the same instance, divided again */
        }
        (void)machine_instance(machine, 2, 0, 40 * GIB, GIB);
    }
    (void)machine_card(machine, 24 * GIB, 0, 0);
    (void)take(VRAM_TAKE_ALL, 0);
    assert_int_equal(vram_snapshot_gpu_count(snapshot), ARRAY_LENGTH(pools));
    for (size_t i = 0; i < ARRAY_LENGTH(pools); i++) {
        assert_int_equal(vram_snapshot_gpu(snapshot, i)->pool, pools[i]);
    }
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 4); /* the second card's second */
    assert_int_equal(gpu->index, 1);
    assert_int_equal(gpu->mig_index, 1);
    assert_int_equal(gpu->gpu_instance_id, 2);
    assert_string_equal(gpu->parent_uuid, "GPU-00000001-1111-2222-3333-444444444444");
    assert_int_equal(gpu->memory_kind, VRAM_MEMORY_MIG);
}

static void test_snapshot__takes_unnamed_instances_for_separate(void **state)
{
    (void)state;
    (void)machine_card(machine, 80 * GIB, 0, 0);
    (void)machine_instance(machine, VRAM_UNKNOWN, 0, 40 * GIB, GIB);
    (void)machine_instance(machine, VRAM_UNKNOWN, 0, 40 * GIB, GIB);
    uint32_t first = take(VRAM_TAKE_ALL, 0)->pool;
    assert_int_not_equal(first, vram_snapshot_gpu(snapshot, 1)->pool);
}

static void test_snapshot__shows_a_hung_gpu_as_it_was(void **state)
{
    (void)state;
    (void)machine_card(machine, 24 * GIB, 0, GIB);
    struct source_gpu *stuck = machine_card(machine, 24 * GIB, 0, 2 * GIB);
    machine_process(stuck, 77, GIB, NULL);
    machine->reports[1].taken_ns = MACHINE_NOW_NS - 60000000000;
    machine_hang(machine, true, "nvmlDeviceGetMemoryInfo");
    const struct vram_gpu *gpu = take(VRAM_TAKE_ALL, 1);
    assert_int_equal(gpu->state, VRAM_GPU_HUNG);
    assert_int_equal(gpu->used_bytes, 2 * GIB);
    assert_int_equal(gpu->process_count, 1);
    assert_int_equal(gpu->age_ms, 60000);
    assert_int_equal(vram_snapshot_gpu(snapshot, 0)->state, VRAM_GPU_OK);
    assert_int_equal(vram_snapshot_gpu(snapshot, 0)->age_ms, 250);
    assert_int_equal(vram_snapshot_problem_count(snapshot), 1);
    const struct vram_problem *problem = vram_snapshot_problem(snapshot, 0);
    assert_string_equal(problem->gpu, gpu->uuid);
    assert_string_equal(problem->code, "driver_hung");
    assert_string_equal(problem->message, "nvmlDeviceGetMemoryInfo has not returned for 0.2 s");
}

static void test_snapshot__shows_a_gpu_that_never_answered(void **state)
{
    (void)state;
    (void)machine_card(machine, 24 * GIB, 0, GIB);
    machine_hang(machine, false, NULL);
    const struct vram_gpu *gpu = take(VRAM_TAKE_ALL, 1);
    assert_int_equal(gpu->state, VRAM_GPU_HUNG);
    assert_int_equal(gpu->index, 1);
    assert_null(gpu->uuid);
    assert_int_equal(gpu->total_bytes, VRAM_UNKNOWN);
    assert_int_equal(gpu->age_ms, VRAM_UNKNOWN);
    assert_false(gpu->processes_known);
    assert_string_equal(vram_snapshot_problem(snapshot, 0)->gpu, "1");
    assert_string_equal(vram_snapshot_problem(snapshot, 0)->message,
                        "a driver call has not returned for 0.2 s");
}

static void test_snapshot__passes_problems_on(void **state)
{
    (void)state;
    (void)machine_card(machine, 24 * GIB, 0, GIB);
    struct source_gpu *second = machine_card(machine, 24 * GIB, 0, GIB);
    source_gpu_problem(second, "processes", "no_permission", "%s failed: %d", "a list", 4);
    source_gpu_problem(second, "temperature", "not_supported", "%0300d", 0); /* cut, not refused */
    struct source_gpu *lost = machine_gpu(machine);
    lost->state = VRAM_GPU_LOST;
    lost->uuid[0] = '\0';
    source_gpu_problem(lost, "device", "gpu_is_lost", "gone");
    assert_int_equal(take(VRAM_TAKE_ALL, 2)->state, VRAM_GPU_LOST);
    assert_int_equal(vram_snapshot_problem_count(snapshot), 3);
    const struct vram_problem *problem = vram_snapshot_problem(snapshot, 0);
    assert_string_equal(problem->gpu, vram_snapshot_gpu(snapshot, 1)->uuid);
    assert_string_equal(problem->what, "processes");
    assert_string_equal(problem->code, "no_permission");
    assert_string_equal(problem->message, "a list failed: 4");
    assert_int_equal(strlen(vram_snapshot_problem(snapshot, 1)->message), 191);
    assert_string_equal(vram_snapshot_problem(snapshot, 2)->gpu, "2");
    assert_null(vram_snapshot_problem(snapshot, 3));
}

/* ---- References ------------------------------------------------------------------------------ */

static void test_snapshot__accepts_null(void **state)
{
    (void)state;
    assert_null(vram_snapshot_ref(NULL));
    assert_null(vram_snapshot_unref(NULL));
}

static void *share(void *data)
{
    struct vram_snapshot *own = data;
    uint64_t sum = 0;
    for (int i = 0; i < 5000; i++) {
        struct vram_snapshot *again = vram_snapshot_ref(own);
        sum += vram_snapshot_gpu(again, 0)->used_bytes;
        assert_null(vram_snapshot_unref(again));
    }
    (void)vram_snapshot_unref(own);
    return sum == 5000 * GIB ? data : NULL;
}

/* Who is last frees it: a second free, or none, is seen by the sanitizers and valgrind. */
static void test_snapshot__is_shared_by_threads(void **state)
{
    pthread_t threads[4];
    (void)state;
    (void)machine_card(machine, 24 * GIB, 0, GIB);
    (void)take(VRAM_TAKE_ALL, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, share, vram_snapshot_ref(snapshot)), 0);
    }
    struct vram_snapshot *expected = snapshot;
    snapshot = vram_snapshot_unref(snapshot);
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, expected);
    }
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define ROOTED(function) cmocka_unit_test_setup_teardown(function, set_up_root, tear_down_root)
    const struct CMUnitTest tests[] = {
        MADE(test_snapshot__of_no_gpu_is_empty),
        MADE(test_snapshot__hands_figures_on_unchanged),
        MADE(test_snapshot__keeps_unknown_unknown),
        MADE(test_snapshot__is_one_allocation_that_stands_alone),
        MADE(test_snapshot__puts_the_largest_process_first),
        MADE(test_snapshot__lists_processes_where_asked_only),
        MADE(test_snapshot__tells_an_empty_list_from_an_unread_one),
        MADE(test_snapshot__never_sums_the_unknown),
        MADE(test_snapshot__has_no_negative_rest),
        MADE(test_snapshot__names_who_cannot_be_seen),
        ROOTED(test_snapshot__names_who_can_be_seen),
        ROOTED(test_snapshot__takes_nobody_for_a_foreign_process),
        MADE(test_snapshot__sees_which_instances_share_memory),
        MADE(test_snapshot__takes_unnamed_instances_for_separate),
        MADE(test_snapshot__shows_a_hung_gpu_as_it_was),
        MADE(test_snapshot__shows_a_gpu_that_never_answered),
        MADE(test_snapshot__passes_problems_on),
        MADE(test_snapshot__accepts_null),
        MADE(test_snapshot__is_shared_by_threads),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
