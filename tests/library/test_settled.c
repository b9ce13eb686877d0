/* SPDX-License-Identifier: MIT */
/* VRAM_TAKE_SETTLED: whatever happens between two of the driver's calls, the figures are some moment's, or safer. */
#include "tests/library/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CARD                                                                                       \
    "driver 550.54.14\ncuda 12.4\n"                                                                \
    "gpu 0 uuid=GPU-00000000-1111 name=\"Card\" total=24564MiB reserved=400MiB temp=41\n"          \
    "proc 0 pid=4194401 name=holder mem=2048MiB type=C\n"                                          \
    "proc 0 pid=4194402 name=other mem=1024MiB type=C\n"
#define FREE (24164 * MIB)
#define MEMORY "nvmlDeviceGetMemoryInfo_v2"

static struct vram_snapshot *take(const char *scenario, uint32_t what)
{
    struct vram *vram = machine_open(machine_write(scenario), 0);
    struct vram_snapshot *snapshot;
    if (vram_snapshot_take(vram, what, &snapshot) < 0) {
        fail_msg("%s", vram_error(vram));
    }
    vram_close(vram);
    return snapshot;
}

static const struct vram_process *find(const struct vram_gpu *gpu, uint32_t pid)
{
    for (size_t i = 0; i < gpu->process_count; i++) {
        if (gpu->processes[i].pid == pid) {
            return &gpu->processes[i];
        }
    }
    return NULL;
}

static uint64_t used_by(const struct vram_gpu *gpu, uint32_t pid)
{
    const struct vram_process *process = find(gpu, pid);
    return process ? process->used_bytes : 0;
}

/* ---- One thing happens ----------------------------------------------------------------------- */

/* What happens, and what the two processes hold afterwards. */
static const struct {
    const char *line;
    uint64_t first, second;
} events[] = {
    {"proc 0 pid=4194401 mem=6144MiB", 6144 * MIB, 1024 * MIB},
    {"proc 0 pid=4194401 mem=512MiB", 512 * MIB, 1024 * MIB},
    {"exit 4194401", 0, 1024 * MIB},
    {"proc 0 pid=4194403 mem=4096MiB type=C", 2048 * MIB, 1024 * MIB}, /* a third one comes */
};

static void check_moment(const struct vram_gpu *gpu, size_t event, const char *where)
{
    uint64_t third = event == 3 ? 4096 * MIB : 0;
    uint64_t first = used_by(gpu, 4194401), second = used_by(gpu, 4194402);
    bool before = first == 2048 * MIB && second == 1024 * MIB && !used_by(gpu, 4194403) &&
                  gpu->used_bytes == 3072 * MIB;
    bool after = first == events[event].first && second == events[event].second &&
                 used_by(gpu, 4194403) == third &&
                 gpu->used_bytes == events[event].first + events[event].second + third;
    if (!before && !after) {
        fail_msg("'%s' %s: %llu and %llu MiB of %llu", events[event].line, where,
                 (unsigned long long)(first / MIB), (unsigned long long)(second / MIB),
                 (unsigned long long)(gpu->used_bytes / MIB));
    }
    assert_int_equal(gpu->free_bytes, FREE - gpu->used_bytes);
}

/* Whichever two calls it falls between, the answer is the moment before or the moment after. */
static void test_settled__one_change_anywhere_gives_one_moment(void **state)
{
    static const char *const calls[] = {MEMORY, "nvmlDeviceGetComputeRunningProcesses_v3",
                                        "nvmlDeviceGetGraphicsRunningProcesses_v3",
                                        "nvmlDeviceGetMPSComputeRunningProcesses_v3"};
    (void)state;
    for (size_t event = 0; event < sizeof(events) / sizeof(events[0]); event++) {
        for (unsigned place = 0; place < 12; place++) {
            char rule[200], scenario[1024];
            (void)snprintf(rule, sizeof(rule), "after %s gpu=0 call=%u do %s", calls[place % 4],
                           place / 4 + 1, events[event].line);
            (void)snprintf(scenario, sizeof(scenario), CARD "%s\n", rule);
            struct vram_snapshot *snapshot = take(scenario, VRAM_TAKE_SETTLED);
            check_moment(vram_snapshot_gpu(snapshot, 0), event, rule);
            vram_snapshot_unref(snapshot);
        }
    }
}

/* ---- Something always happens ---------------------------------------------------------------- */

/* A scenario in which the holder has these amounts in turn, one more after each call of the memory query. */
static void write_restless(char *scenario, size_t size, const char *more)
{
    int length = snprintf(scenario, size, CARD "%s", more);
    for (unsigned call = 1; call <= 24; call++) {
        length += snprintf(scenario + length, size - (size_t)length,
                           "after " MEMORY " gpu=0 call=%u do proc 0 pid=4194401 mem=%uMiB\n", call,
                           call % 2 ? 8192 : 2048);
    }
}

static void test_settled__what_never_stands_still_is_free_least_and_used_least(void **state)
{
    char scenario[4096];
    (void)state;
    write_restless(scenario, sizeof(scenario), "");
    struct vram_snapshot *snapshot = take(scenario, VRAM_TAKE_SETTLED);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 0);
    assert_int_equal(gpu->state, VRAM_GPU_OK);
    assert_int_equal(gpu->free_bytes, FREE - (8192 + 1024) * MIB);
    assert_int_equal(used_by(gpu, 4194401), 2048 * MIB);
    assert_int_equal(gpu->used_bytes, (8192 + 1024) * MIB);
    assert_int_equal(gpu->unattributed_bytes, (8192 - 2048) * MIB);
    vram_snapshot_unref(snapshot);
}

/* The round and three more, of three memory queries each: the twelfth still counts, a thirteenth is not made. */
static void test_settled__repeats_three_times_at_most(void **state)
{
    char scenario[4096];
    (void)state;
    write_restless(scenario, sizeof(scenario), "fail " MEMORY " gpu=0 ret=15 after=12\n");
    struct vram_snapshot *snapshot = take(scenario, VRAM_TAKE_SETTLED);
    assert_int_equal(vram_snapshot_gpu(snapshot, 0)->state, VRAM_GPU_OK);
    vram_snapshot_unref(snapshot);
    write_restless(scenario, sizeof(scenario), "fail " MEMORY " gpu=0 ret=15 after=11\n");
    snapshot = take(scenario, VRAM_TAKE_SETTLED);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 0);
    assert_int_equal(gpu->state, VRAM_GPU_LOST);
    assert_int_equal(gpu->free_bytes, VRAM_UNKNOWN);
    vram_snapshot_unref(snapshot);
}

/* Two processes that pass memory to and fro have, in the answer, less than they have together at any moment. */
static void test_settled__memory_that_changes_hands_counts_for_nobody(void **state)
{
    char scenario[8192];
    int length = snprintf(scenario, sizeof(scenario), CARD);
    (void)state;
    for (unsigned call = 1; call <= 12; call++) {
        bool odd = call % 2;
        length += snprintf(scenario + length, sizeof(scenario) - (size_t)length,
                           "after " MEMORY " gpu=0 call=%u do proc 0 pid=4194401 mem=%uMiB\n"
                           "after " MEMORY " gpu=0 call=%u do proc 0 pid=4194402 mem=%uMiB\n",
                           call, odd ? 1024 : 2048, call, odd ? 2048 : 1024);
    }
    struct vram_snapshot *snapshot = take(scenario, VRAM_TAKE_SETTLED);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 0);
    assert_int_equal(gpu->free_bytes, FREE - 3072 * MIB);
    assert_int_equal(used_by(gpu, 4194401), 1024 * MIB);
    assert_int_equal(used_by(gpu, 4194402), 1024 * MIB);
    vram_snapshot_unref(snapshot);
}

/* ---- Odd machines ---------------------------------------------------------------------------- */

static void test_settled__a_list_that_fails_once_is_asked_again(void **state)
{
    (void)state;
    struct vram_snapshot *snapshot =
        take(CARD "fail nvmlDeviceGetComputeRunningProcesses_v3 gpu=0 ret=999 after=1 times=1\n",
             VRAM_TAKE_SETTLED);
    assert_true(vram_snapshot_gpu(snapshot, 0)->processes_known);
    assert_int_equal(vram_snapshot_gpu(snapshot, 0)->process_count, 2);
    vram_snapshot_unref(snapshot);
    snapshot = take(CARD "fail nvmlDeviceGetComputeRunningProcesses_v3 gpu=0 ret=999\n",
                    VRAM_TAKE_SETTLED);
    assert_false(vram_snapshot_gpu(snapshot, 0)->processes_known);
    assert_int_equal(vram_snapshot_gpu(snapshot, 0)->free_bytes, FREE - 3072 * MIB);
    assert_int_equal(vram_snapshot_problem_count(snapshot), 1); /* told once, not at each reading */
    vram_snapshot_unref(snapshot);
}

static char *figures_of(const char *driver, uint32_t what)
{
    struct vram *vram = machine_open(driver, 0);
    struct vram_snapshot *snapshot;
    char *text;
    assert_int_equal(vram_snapshot_take(vram, what, &snapshot), 0);
    assert_int_equal(vram_snapshot_json(snapshot, NULL, 0, &text), 0);
    vram_snapshot_unref(snapshot);
    vram_close(vram);
    char *gpus = strstr(text, "\"driver\"");
    assert_non_null(gpus);
    memmove(text, gpus, strlen(gpus) + 1); /* without the time, and without ages */
    for (char *age = text; (age = strstr(age, "\"age_ms\":"));) {
        age += strlen("\"age_ms\":");
        size_t digits = strspn(age, "0123456789");
        memmove(age, age + digits, strlen(age + digits) + 1);
    }
    return text;
}

static void test_settled__a_machine_at_rest_has_the_same_figures(void **state)
{
    static const char *const machines[] = {"sim:rtx4090", "sim:8xh100", "sim:mig", "sim:wsl",
                                           "sim:old"};
    (void)state;
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        char *plain = figures_of(machines[i], VRAM_TAKE_ALL);
        char *settled = figures_of(machines[i], VRAM_TAKE_HEALTH | VRAM_TAKE_SETTLED);
        assert_string_equal(settled, plain);
        free(plain);
        free(settled);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settled__one_change_anywhere_gives_one_moment),
        cmocka_unit_test(test_settled__what_never_stands_still_is_free_least_and_used_least),
        cmocka_unit_test(test_settled__repeats_three_times_at_most),
        cmocka_unit_test(test_settled__memory_that_changes_hands_counts_for_nobody),
        cmocka_unit_test(test_settled__a_list_that_fails_once_is_asked_again),
        cmocka_unit_test(test_settled__a_machine_at_rest_has_the_same_figures),
    };
    return cmocka_run_group_tests_name("settled", tests, machine_set_up, machine_tear_down);
}
