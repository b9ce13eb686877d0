/* SPDX-License-Identifier: MIT */
/* What becomes of samples: changes, buckets, intervals, events and gaps. */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/unit.h"

#include "daemon/history_core.h"
#include "include/vram.h"
#include <errno.h>

#define SECOND UINT64_C(1000000000)
#define TOTAL (24 * GIB)
#define RESERVED (400 * MIB)
#define START_MS INT64_C(1795748400000) /* at a whole quarter of an hour */
#define UUID "GPU-00000000-0000-0000-0000-000000000001"

/* A core, its clocks, and one GPU with its processes. */
struct scene {
    struct history_core *core;
    uint64_t now_ns;
    int64_t wall_ms;
    struct vram_gpu gpu;
    struct vram_process processes[8];
};

static const char *no_lease(void *data, const struct vram_process *process, const char **ret_name)
{
    (void)data;
    *ret_name = process->lease;
    return process->lease;
}

static int begin_scene(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    scene->core = history_core_new(no_lease, NULL);
    scene->now_ns = 5 * SECOND;
    scene->wall_ms = START_MS;
    scene->gpu = (struct vram_gpu){.uuid = UUID,
                                   .name = "One",
                                   .pci = "0000:01:00.0",
                                   .total_bytes = TOTAL,
                                   .driver_reserved_bytes = RESERVED};
    *state = scene;
    return scene->core ? 0 : -1;
}

static int end_scene(void **state)
{
    struct scene *scene = *state;
    scene->core = history_core_free(scene->core);
    free(scene);
    return 0;
}

/* A second later; the GPU uses so much. */
static void sample(struct scene *scene, uint64_t used_bytes)
{
    scene->gpu.used_bytes = used_bytes;
    scene->gpu.free_bytes =
        used_bytes == VRAM_UNKNOWN ? VRAM_UNKNOWN : TOTAL - RESERVED - used_bytes;
    scene->gpu.processes = scene->processes;
    history_core_begin(scene->core, scene->now_ns, scene->wall_ms);
    history_core_gpu(scene->core, &scene->gpu);
    history_core_end(scene->core);
    scene->now_ns += SECOND;
    scene->wall_ms += 1000;
}

static void process(struct scene *scene, uint32_t pid, const char *name, uint64_t used_bytes)
{
    scene->gpu.processes_known = true;
    scene->processes[scene->gpu.process_count++] = (struct vram_process){.pid = pid,
                                                                         .start_time = pid * 10,
                                                                         .name = name,
                                                                         .user = "ada",
                                                                         .used_bytes = used_bytes,
                                                                         .visible = true};
}

static struct history_batch *batch_of(struct scene *scene)
{
    history_core_complete(scene->core);
    return history_core_batch(scene->core);
}

static size_t count_events(const struct history_batch *batch, uint32_t kind)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->events.count; i++) {
        count += batch->events.rows[i].kind == kind;
    }
    return count;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void test_core__a_change_is_a_row_and_what_trembles_is_none(void **state)
{
    struct scene *scene = *state;
    sample(scene, GIB);
    sample(scene, GIB + 15 * MIB);
    sample(scene, GIB - 15 * MIB);
    sample(scene, GIB + 16 * MIB);
    sample(scene, GIB + 16 * MIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->changes.count, 2);
    assert_int_equal(batch->changes.rows[0].at_ms, START_MS);
    assert_int_equal(batch->changes.rows[0].used_bytes, GIB);
    assert_int_equal(batch->changes.rows[1].at_ms, START_MS + 3000);
    assert_int_equal(batch->changes.rows[1].free_bytes, TOTAL - RESERVED - GIB - 16 * MIB);
}

static void test_core__a_percent_of_a_small_gpu_is_a_change(void **state)
{
    struct scene *scene = *state;
    scene->gpu.total_bytes = 500 * MIB;
    sample(scene, 100 * MIB);
    sample(scene, 105 * MIB);
    sample(scene, 111 * MIB);
    assert_int_equal(batch_of(scene)->changes.count, 2);
}

static void test_core__where_nothing_changes_a_row_comes_once_a_minute(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 301; i++) {
        sample(scene, GIB);
    }
    assert_int_equal(batch_of(scene)->changes.count, 6);
}

static void test_core__a_bucket_keeps_extremes_and_the_mean_in_time(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 10; i++) {
        sample(scene, i == 4 ? 9 * GIB : GIB);
    }
    sample(scene, 2 * GIB); /* the next bucket */
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->buckets.count, 2);
    const struct history_bucket *bucket = &batch->buckets.rows[0];
    assert_int_equal(bucket->at_s, START_MS / 1000);
    assert_int_equal(bucket->low_bytes, GIB);
    assert_int_equal(bucket->high_bytes, 9 * GIB);
    assert_int_equal(bucket->free_bytes, TOTAL - RESERVED - 9 * GIB);
    assert_true(bucket->mean_bytes > 18 * GIB / 10 && bucket->mean_bytes < 2 * GIB);
    assert_int_equal(batch->buckets.rows[1].at_s, START_MS / 1000 + 10);
    assert_int_equal(batch->buckets.rows[1].low_bytes, 2 * GIB);
}

static void test_core__a_bucket_that_is_put_out_early_goes_on(void **state)
{
    struct scene *scene = *state;
    sample(scene, GIB);
    history_batch_clear(batch_of(scene));
    sample(scene, 3 * GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->buckets.count, 1);
    assert_int_equal(batch->buckets.rows[0].at_s, START_MS / 1000);
    assert_int_equal(batch->buckets.rows[0].low_bytes, 3 * GIB);
}

/* ---- Gaps ------------------------------------------------------------------------------------ */

static void test_core__what_is_unknown_is_a_gap(void **state)
{
    struct scene *scene = *state;
    sample(scene, GIB);
    sample(scene, VRAM_UNKNOWN);
    sample(scene, VRAM_UNKNOWN);
    sample(scene, GIB);
    scene->gpu.state = VRAM_GPU_HUNG; /* with its last figures */
    sample(scene, GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->changes.count, 4);
    assert_int_equal(batch->changes.rows[1].used_bytes, VRAM_UNKNOWN);
    assert_int_equal(batch->changes.rows[1].at_ms, START_MS + 1000);
    assert_int_equal(batch->changes.rows[2].used_bytes, GIB);
    assert_int_equal(batch->changes.rows[3].used_bytes, VRAM_UNKNOWN);
}

static void test_core__where_nobody_looked_is_a_gap(void **state)
{
    struct scene *scene = *state;
    sample(scene, GIB);
    scene->now_ns += 30 * SECOND;
    scene->wall_ms += 30000;
    sample(scene, GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->changes.count, 3);
    assert_int_equal(batch->changes.rows[1].used_bytes, VRAM_UNKNOWN);
    assert_int_equal(batch->changes.rows[1].at_ms, START_MS + 1);
    assert_int_equal(batch->buckets.count, 2);
    assert_int_equal(batch->buckets.rows[1].weight_ms, 1);
}

static void test_core__rest_is_told_once(void **state)
{
    struct scene *scene = *state;
    sample(scene, GIB);
    history_core_rest(scene->core, scene->wall_ms);
    history_core_rest(scene->core, scene->wall_ms + 5000);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->changes.count, 2);
    assert_int_equal(batch->changes.rows[1].at_ms, START_MS + 1000);
}

static void test_core__a_clock_that_is_put_back_is_told_and_nothing_lasts_below_0(void **state)
{
    struct scene *scene = *state;
    process(scene, 7, "python3", 2 * GIB);
    sample(scene, 3 * GIB);
    scene->wall_ms -= 3600000;
    sample(scene, 3 * GIB);
    scene->gpu.process_count = 0;
    sample(scene, GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(count_events(batch, HISTORY_CLOCK_CHANGED), 1);
    assert_string_equal(batch->events.rows[0].text, "by -3600 s");
    assert_int_equal(batch->changes.rows[1].used_bytes, VRAM_UNKNOWN);
    assert_int_equal(batch->changes.rows[1].at_ms, START_MS + 1);
    const struct history_process *ended = &batch->processes.rows[batch->processes.count - 1];
    assert_int_equal(ended->ended_ms, ended->began_ms);
    for (size_t i = 0; i < batch->buckets.count; i++) {
        assert_true(batch->buckets.rows[i].weight_ms <= 10000);
    }
}

static void test_core__a_slow_correction_of_the_clock_is_none(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 20; i++) {
        sample(scene, GIB);
        scene->wall_ms -= 100;
    }
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->events.count, 0);
    assert_int_equal(batch->changes.count, 1);
}

/* ---- Processes ------------------------------------------------------------------------------- */

static void test_core__a_process_is_an_interval_with_its_peak(void **state)
{
    struct scene *scene = *state;
    process(scene, 7, "python3", 2 * GIB);
    sample(scene, 3 * GIB);
    scene->processes[0].used_bytes = 9 * GIB;
    sample(scene, 10 * GIB);
    scene->processes[0].used_bytes = 4 * GIB;
    sample(scene, 5 * GIB);
    scene->gpu.processes_known = false; /* not asked for: it says nothing of them */
    scene->gpu.process_count = 0;
    sample(scene, GIB);
    scene->gpu.processes_known = true;
    sample(scene, GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->processes.count, 1);
    const struct history_process *row = &batch->processes.rows[0];
    assert_int_equal(row->id, 1);
    assert_int_equal(row->pid, 7);
    assert_string_equal(row->name, "python3");
    assert_string_equal(row->user, "ada");
    assert_int_equal(row->first_bytes, 2 * GIB);
    assert_int_equal(row->peak_bytes, 9 * GIB);
    assert_int_equal(row->last_bytes, 4 * GIB);
    assert_int_equal(row->began_ms, START_MS);
    assert_true(row->was_running);
    assert_int_equal(row->ended_ms, START_MS + 4000);
    assert_int_equal(batch->steps.count, 3);
}

static void test_core__a_pid_that_another_process_has_is_another_process(void **state)
{
    struct scene *scene = *state;
    process(scene, 7, "python3", 2 * GIB);
    sample(scene, 3 * GIB);
    scene->processes[0].start_time = 999;
    sample(scene, 3 * GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->processes.count, 2);
    assert_int_equal(batch->processes.rows[0].ended_ms, START_MS + 1000);
    assert_true(batch->processes.rows[0].was_running);
    assert_int_equal(batch->processes.rows[1].ended_ms, HISTORY_RUNNING);
    assert_false(batch->processes.rows[1].was_running);
}

static void test_core__a_process_that_stands_still_is_written_once(void **state)
{
    struct scene *scene = *state;
    process(scene, 7, "python3", 2 * GIB);
    for (int i = 0; i < 50; i++) {
        scene->processes[0].used_bytes = 2 * GIB + (uint64_t)(i % 2) * MIB;
        sample(scene, 3 * GIB);
        (void)batch_of(scene);
    }
    assert_int_equal(batch_of(scene)->processes.count, 1);
    assert_int_equal(batch_of(scene)->steps.count, 1);
}

static void test_core__names_are_made_harmless_and_cut(void **state)
{
    struct scene *scene = *state;
    char longest[200];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    process(scene, 7, "a\x1b[2J\xff\xe2\x80\xae'; DROP TABLE gpu;--", GIB);
    process(scene, 8, longest, GIB);
    process(scene, 9, "caf\xc3\xa9", GIB);
    sample(scene, 3 * GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_string_equal(batch->processes.rows[0].name, "a?[2J?\?'; DROP TABLE gpu;--");
    assert_int_equal(strlen(batch->processes.rows[1].name), HISTORY_NAME_MAX - 1);
    assert_string_equal(batch->processes.rows[2].name, "caf\xc3\xa9");
}

static void test_core__a_process_from_before_goes_on_or_ended_then(void **state)
{
    struct scene *scene = *state;
    const struct history_gpu gpu = {.id = 3, .uuid = UUID, .total_bytes = TOTAL};
    struct history_process known = {.id = 40,
                                    .gpu = 3,
                                    .pid = 7,
                                    .start_time = 70,
                                    .began_ms = START_MS - 90000,
                                    .first_bytes = GIB,
                                    .last_bytes = 2 * GIB,
                                    .peak_bytes = 5 * GIB};
    assert_int_equal(history_core_know_gpu(scene->core, &gpu), 0);
    assert_int_equal(history_core_know_gpu(scene->core, &gpu), -EINVAL);
    assert_int_equal(history_core_know_process(scene->core, &known, START_MS - 50000), 0);
    known.id = 41;
    known.pid = 8;
    assert_int_equal(history_core_know_process(scene->core, &known, START_MS - 50000), 0);
    known.gpu = 9;
    assert_int_equal(history_core_know_process(scene->core, &known, START_MS), -EINVAL);
    process(scene, 7, "python3", 2 * GIB);
    process(scene, 9, "new", GIB);
    sample(scene, 3 * GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->processes.count, 3);
    assert_int_equal(batch->processes.rows[0].id, 41);
    assert_int_equal(batch->processes.rows[0].ended_ms, START_MS - 50000);
    assert_int_equal(batch->processes.rows[1].id == 40 ? 42 : batch->processes.rows[1].id, 42);
    for (size_t i = 1; i < 3; i++) {
        const struct history_process *row = &batch->processes.rows[i];
        assert_int_equal(row->ended_ms, HISTORY_RUNNING);
        assert_int_equal(row->peak_bytes, row->id == 40 ? 5 * GIB : GIB);
    }
    assert_int_equal(count_events(batch, HISTORY_OOM_SUSPECTED), 0);
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void test_core__nearly_full_is_told_once_until_it_is_over(void **state)
{
    struct scene *scene = *state;
    uint64_t full = TOTAL - RESERVED - 300 * MIB;
    sample(scene, GIB);
    sample(scene, full);
    sample(scene, full - 300 * MIB);
    sample(scene, full);
    assert_int_equal(count_events(batch_of(scene), HISTORY_NEARLY_FULL), 1);
    assert_int_equal(batch_of(scene)->events.rows[0].bytes, 300 * MIB);
    assert_true(history_core_is_pressed(scene->core));
    sample(scene, GIB);
    sample(scene, full);
    assert_int_equal(count_events(batch_of(scene), HISTORY_NEARLY_FULL), 2);
}

static void test_core__who_ends_when_it_has_become_full_is_suspected(void **state)
{
    struct scene *scene = *state;
    uint64_t full = TOTAL - RESERVED - 100 * MIB;
    process(scene, 7, "python3", 2 * GIB);
    process(scene, 8, "small", 10 * MIB);
    sample(scene, 3 * GIB);
    scene->processes[0].used_bytes = 20 * GIB;
    sample(scene, full);
    scene->gpu.process_count = 0;
    sample(scene, GIB);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(count_events(batch, HISTORY_OOM_SUSPECTED), 1);
    const struct history_event *event = &batch->events.rows[batch->events.count - 1];
    assert_int_equal(event->kind, HISTORY_OOM_SUSPECTED);
    assert_int_equal(event->pid, 7);
    assert_string_equal(event->name, "python3");
    assert_int_equal(event->bytes, 20 * GIB);
}

static void test_core__who_ends_on_a_gpu_that_was_full_for_long_is_not(void **state)
{
    struct scene *scene = *state;
    process(scene, 7, "server", 20 * GIB);
    for (int i = 0; i < 20; i++) {
        sample(scene, TOTAL - RESERVED - 100 * MIB);
    }
    assert_false(history_core_is_pressed(scene->core));
    scene->gpu.process_count = 0;
    sample(scene, GIB);
    assert_int_equal(count_events(batch_of(scene), HISTORY_OOM_SUSPECTED), 0);
}

static void test_core__a_gpu_is_lost_and_comes_back(void **state)
{
    struct scene *scene = *state;
    process(scene, 7, "python3", GIB);
    sample(scene, 2 * GIB);
    for (int i = 0; i < 3; i++) { /* not in the list any more */
        history_core_begin(scene->core, scene->now_ns, scene->wall_ms);
        history_core_end(scene->core);
        scene->now_ns += SECOND;
        scene->wall_ms += 1000;
    }
    sample(scene, 2 * GIB);
    scene->gpu.state = VRAM_GPU_LOST;
    sample(scene, VRAM_UNKNOWN);
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(count_events(batch, HISTORY_GPU_LOST), 2);
    assert_int_equal(count_events(batch, HISTORY_GPU_BACK), 1);
    assert_int_equal(batch->processes.rows[0].ended_ms, START_MS + 1000);
    assert_int_equal(history_core_find_gpu(scene->core, UUID), 1);
    assert_int_equal(history_core_find_gpu(scene->core, "GPU-x"), 0);
}

static void test_core__a_batch_is_bounded_and_counts_what_is_lost(void **state)
{
    struct scene *scene = *state;
    for (uint64_t i = 0; i < HISTORY_BATCH_MAX + 100; i++) {
        sample(scene, i % 2 ? GIB : 2 * GIB);
    }
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->changes.count, HISTORY_BATCH_MAX);
    assert_int_equal(batch->lost, 100);
}

/* Whichever allocation fails, what is lost is counted, and what comes later is kept. */
static void test_core__without_memory_it_goes_on(void **state)
{
    unsigned n = 1;
    bool happened = true;
    for (; happened; n++) {
        (void)end_scene(state);
        assert_int_equal(begin_scene(state), 0);
        struct scene *scene = *state;
        process(scene, 7, "python3", GIB);
        alloc_fail_at(n);
        sample(scene, 2 * GIB);
        const struct history_batch *batch = batch_of(scene);
        happened = alloc_fail_happened();
        alloc_fail_at(0);
        assert_true(batch->gpus.count <= 1 && batch->changes.count <= 1);
        sample(scene, 8 * GIB);
        assert_true(batch_of(scene)->changes.count >= 1);
    }
    assert_true(n > 5);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, begin_scene, end_scene)

/* ---- For reports ----------------------------------------------------------------------------- */

static void test_core__which_lease_a_process_counts_for_is_a_row_when_it_changes(void **state)
{
    struct scene *scene = *state;
    static const char *const leases[] = {NULL, NULL, "a", "a", "b", NULL, NULL};
    process(scene, 7, "one", GIB);
    for (size_t i = 0; i < ARRAY_LENGTH(leases); i++) {
        scene->processes[0].lease = leases[i];
        sample(scene, 2 * GIB);
    }
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->members.count, 3);
    static const char *const rows[] = {"a", "b", ""};
    static const int64_t seconds[] = {2, 4, 5};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(batch->members.rows[i].lease, rows[i]);
        assert_int_equal(batch->members.rows[i].at_ms, START_MS + seconds[i] * 1000);
        assert_int_equal(batch->members.rows[i].process, 1);
    }
    assert_string_equal(batch->processes.rows[0].lease, "a");
}

/* Rows: at which second processes began to be looked at, or ceased to be. */
static void check_looks(struct scene *scene, const int64_t *seconds, size_t count)
{
    const struct history_batch *batch = batch_of(scene);
    assert_int_equal(batch->looks.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(batch->looks.rows[i].seen, i % 2 == 0);
        assert_int_equal(batch->looks.rows[i].at_ms / 1000 - START_MS / 1000, seconds[i]);
    }
}

static void test_core__when_processes_were_looked_at_is_known(void **state)
{
    struct scene *scene = *state;
    process(scene, 7, "one", GIB);
    for (int i = 0; i < 70; i++) { /* every five seconds, and from 20 on for half a minute not */
        scene->gpu.processes_known = i % 5 == 0 && (i < 20 || i >= 50);
        scene->gpu.state = i >= 60 ? VRAM_GPU_LOST : VRAM_GPU_OK;
        sample(scene, GIB);
    }
    check_looks(scene, (const int64_t[]){0, 15, 50, 60}, 4);
}

static void test_core__who_sleeps_is_known_to_hold_nothing(void **state)
{
    struct scene *scene = *state;
    process(scene, 7, "one", GIB);
    sample(scene, GIB);
    scene->gpu.processes_known = false;
    scene->gpu.state = VRAM_GPU_ASLEEP;
    for (int i = 0; i < 100; i++) {
        sample(scene, GIB);
    }
    check_looks(scene, (const int64_t[]){0}, 1);
    history_core_rest(scene->core, scene->wall_ms);
    check_looks(scene, (const int64_t[]){0, 101}, 2);
    sample(scene, GIB);
    check_looks(scene, (const int64_t[]){0, 101, 101}, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_core__a_change_is_a_row_and_what_trembles_is_none),
        SCENE(test_core__a_percent_of_a_small_gpu_is_a_change),
        SCENE(test_core__where_nothing_changes_a_row_comes_once_a_minute),
        SCENE(test_core__a_bucket_keeps_extremes_and_the_mean_in_time),
        SCENE(test_core__a_bucket_that_is_put_out_early_goes_on),
        SCENE(test_core__what_is_unknown_is_a_gap),
        SCENE(test_core__where_nobody_looked_is_a_gap),
        SCENE(test_core__rest_is_told_once),
        SCENE(test_core__a_clock_that_is_put_back_is_told_and_nothing_lasts_below_0),
        SCENE(test_core__a_slow_correction_of_the_clock_is_none),
        SCENE(test_core__a_process_is_an_interval_with_its_peak),
        SCENE(test_core__a_pid_that_another_process_has_is_another_process),
        SCENE(test_core__a_process_that_stands_still_is_written_once),
        SCENE(test_core__names_are_made_harmless_and_cut),
        SCENE(test_core__a_process_from_before_goes_on_or_ended_then),
        SCENE(test_core__nearly_full_is_told_once_until_it_is_over),
        SCENE(test_core__who_ends_when_it_has_become_full_is_suspected),
        SCENE(test_core__who_ends_on_a_gpu_that_was_full_for_long_is_not),
        SCENE(test_core__a_gpu_is_lost_and_comes_back),
        SCENE(test_core__a_batch_is_bounded_and_counts_what_is_lost),
        SCENE(test_core__without_memory_it_goes_on),
        SCENE(test_core__which_lease_a_process_counts_for_is_a_row_when_it_changes),
        SCENE(test_core__when_processes_were_looked_at_is_known),
        SCENE(test_core__who_sleeps_is_known_to_hold_nothing),
    };
    return cmocka_run_group_tests_name("history_core", tests, NULL, NULL);
}
