/* SPDX-License-Identifier: MIT */
/* What becomes of GPUs that misbehave, and of the others. */
#include "tests/library/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A thread that is stuck keeps its copy of the driver's library busy: tests that hang one take a generation that
 * no other test uses. */
#define TWO_GPUS TWO_GPUS_OF("550.54.14")
#define TWO_GPUS_OF(driver)                                                                        \
    "driver " driver "\ncuda 12.4\n"                                                               \
    "gpu 0 uuid=GPU-00000000-1111 name=\"Card\" total=24564MiB reserved=400MiB temp=41\n"          \
    "gpu 1 uuid=GPU-11111111-2222 name=\"Card\" total=24564MiB reserved=400MiB temp=42\n"          \
    "proc 1 pid=4194401 name=holder mem=2GiB type=C\n"

static void check_first_is_well(const struct vram_snapshot *snapshot)
{
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 0);
    assert_int_equal(gpu->state, VRAM_GPU_OK);
    assert_int_equal(gpu->free_bytes, 24164 * MIB);
    assert_int_equal(gpu->temperature_c, 41);
}

static void test_states__a_lost_gpu_keeps_its_name(void **state)
{
    (void)state;
    struct vram *vram = machine_open(
        machine_write(TWO_GPUS "fail nvmlDeviceGetMemoryInfo* gpu=1 ret=15 after=1\n"), 0);
    vram_snapshot_unref(machine_take(vram));
    struct vram_snapshot *snapshot = machine_take(vram);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 1);
    check_first_is_well(snapshot);
    assert_int_equal(gpu->state, VRAM_GPU_LOST);
    assert_string_equal(gpu->uuid, "GPU-11111111-2222");
    assert_int_equal(gpu->free_bytes, VRAM_UNKNOWN);
    assert_int_equal(gpu->age_ms, VRAM_UNKNOWN);
    assert_string_equal(vram_snapshot_problem(snapshot, 0)->code, "gpu_is_lost");
    vram_snapshot_unref(snapshot);
    vram_close(vram);
}

static void test_states__a_hung_gpu_has_its_last_figures(void **state)
{
    (void)state;
    struct vram *vram = machine_open(
        machine_write(TWO_GPUS_OF("570.86.15") "hang nvmlDeviceGetMemoryInfo_v2 gpu=1 after=1\n"),
        100);
    vram_snapshot_unref(machine_take(vram));
    struct vram_snapshot *snapshot = machine_take(vram);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 1);
    check_first_is_well(snapshot);
    assert_int_equal(gpu->state, VRAM_GPU_HUNG);
    assert_int_equal(gpu->used_bytes, 2048 * MIB);
    assert_true(gpu->age_ms >= 100 && gpu->age_ms != VRAM_UNKNOWN);
    assert_int_equal(gpu->process_count, 1);
    struct vram_fit_request request = VRAM_FIT_REQUEST_INIT;
    struct vram_fit *fit;
    size_t second = 1;
    request.size_bytes = MIB;
    request.candidates = &second;
    request.candidate_count = 1;
    assert_int_equal(vram_fit(snapshot, &request, &fit), 0);
    assert_int_equal(fit->answer, VRAM_CANNOT_TELL); /* old figures promise nothing */
    vram_fit_free(fit);
    vram_snapshot_unref(snapshot);
    vram_close(vram);
}

static void test_states__a_driver_that_hangs_at_the_start_is_told(void **state)
{
    (void)state;
    struct vram *vram =
        machine_open(machine_write(TWO_GPUS_OF("580.95.05") "hang nvmlInit*\n"), 100);
    struct vram_snapshot *snapshot;
    for (int i = 0; i < 2; i++) { /* the second time at once, for the first call is still inside */
        assert_int_equal(vram_snapshot_take(vram, 0, &snapshot), -ETIMEDOUT);
        assert_string_equal(vram_error_code(vram), "driver_hung");
        assert_non_null(strstr(vram_error(vram), "nvmlInit"));
    }
    vram_close(vram);
}

static void test_states__a_denied_gpu_is_a_row(void **state)
{
    (void)state;
    struct vram *vram =
        machine_open(machine_write(TWO_GPUS "fail nvmlDeviceGetHandleByIndex* gpu=1 ret=4\n"), 0);
    struct vram_snapshot *snapshot = machine_take(vram);
    check_first_is_well(snapshot);
    assert_int_equal(vram_snapshot_gpu(snapshot, 1)->state, VRAM_GPU_DENIED);
    vram_snapshot_unref(snapshot);
    vram_close(vram);
}

static void test_states__a_failing_list_does_not_hide_memory(void **state)
{
    (void)state;
    struct vram *vram = machine_open(
        machine_write(TWO_GPUS "fail nvmlDeviceGetComputeRunningProcesses* gpu=1 ret=999\n"), 0);
    struct vram_snapshot *snapshot = machine_take(vram);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 1);
    check_first_is_well(snapshot);
    assert_int_equal(gpu->state, VRAM_GPU_OK);
    assert_int_equal(gpu->used_bytes, 2048 * MIB);
    assert_false(gpu->processes_known);
    assert_int_equal(gpu->unattributed_bytes, 2048 * MIB);
    assert_string_equal(vram_snapshot_problem(snapshot, 0)->what, "processes");
    vram_snapshot_unref(snapshot);
    vram_close(vram);
}

static void test_states__half_a_list_attributes_nothing(void **state)
{
    (void)state;
    struct vram *vram = machine_open(
        machine_write(TWO_GPUS "proc 1 pid=4194403 name=Xorg mem=512MiB type=G\n"
                               "fail nvmlDeviceGetComputeRunningProcesses* gpu=1 ret=999\n"),
        0);
    struct vram_snapshot *snapshot = machine_take(vram);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 1);
    assert_false(gpu->processes_known);
    assert_int_equal(gpu->process_count, 0);
    assert_int_equal(gpu->used_bytes, 2560 * MIB);
    assert_int_equal(gpu->unattributed_bytes, 2560 * MIB); /* Xorg's too, for it is not shown */
    vram_snapshot_unref(snapshot);
    vram_close(vram);
}

static void test_states__a_driver_shut_down_underneath_is_opened_anew(void **state)
{
    (void)state;
    struct vram *vram = machine_open(
        machine_write(TWO_GPUS "fail nvmlDeviceGetMemoryInfo* gpu=0 ret=1 times=1 after=1\n"), 0);
    vram_snapshot_unref(machine_take(vram));
    struct vram_snapshot *snapshot = machine_take(vram);
    check_first_is_well(snapshot);
    vram_snapshot_unref(snapshot);
    vram_close(vram);
}

static void test_states__processes_that_come_between_two_calls(void **state)
{
    (void)state;
    struct vram *vram =
        machine_open(machine_write(TWO_GPUS "after nvmlDeviceGetMemoryInfo_v2 gpu=1 call=1 do proc "
                                            "1 pid=4194402 mem=4GiB type=C\n"),
                     0);
    struct vram_snapshot *snapshot = machine_take(vram);
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, 1);
    assert_int_equal(gpu->used_bytes, 2048 * MIB);
    assert_int_equal(gpu->process_count, 2);
    assert_int_equal(gpu->unattributed_bytes,
                     0); /* 6 GiB of processes in 2 GiB of used: never negative */
    vram_snapshot_unref(snapshot);
    vram_close(vram);
}

static void test_states__bad_scenarios_are_told_with_their_line(void **state)
{
    (void)state;
    struct vram *vram = machine_open(machine_write("driver 550.54.14\ngpu 0 total=lots\n"), 0);
    struct vram_snapshot *snapshot;
    assert_int_equal(vram_snapshot_take(vram, 0, &snapshot), -EINVAL);
    assert_non_null(strstr(vram_error(vram), ".scenario:2"));
    vram_close(vram);
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t count_gpus(struct vram *vram)
{
    struct vram_snapshot *snapshot = machine_take(vram);
    size_t count = vram_snapshot_gpu_count(snapshot);
    vram_snapshot_unref(snapshot);
    return count;
}

/* The costliest question of all is not asked each time, and is asked again. */
static void test_states__whether_a_card_is_divided_is_asked_once_a_second(void **state)
{
    (void)state;
    struct vram *vram =
        machine_open(machine_write("driver 550.54.14\ngpu 0 total=81920M mig=on\n"
                                   "mig 0 gi=1 total=20096M\nmig 0 gi=2 total=20096M\n"
                                   "fail nvmlDeviceGetMigMode after=1 ret=NOT_SUPPORTED\n"),
                     0);
    double begun = now_s();
    assert_int_equal(count_gpus(vram), 2);
    size_t count = count_gpus(vram);
    assert_true(count == 2 || now_s() - begun > 1);
    while (count == 2 && now_s() - begun < 20) {
        (void)usleep(20000);
        count = count_gpus(vram);
    }
    assert_int_equal(count, 1);
    assert_true(now_s() - begun > 0.9);
    vram_close(vram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states__a_lost_gpu_keeps_its_name),
        cmocka_unit_test(test_states__a_hung_gpu_has_its_last_figures),
        cmocka_unit_test(test_states__a_driver_that_hangs_at_the_start_is_told),
        cmocka_unit_test(test_states__a_denied_gpu_is_a_row),
        cmocka_unit_test(test_states__a_failing_list_does_not_hide_memory),
        cmocka_unit_test(test_states__half_a_list_attributes_nothing),
        cmocka_unit_test(test_states__a_driver_shut_down_underneath_is_opened_anew),
        cmocka_unit_test(test_states__processes_that_come_between_two_calls),
        cmocka_unit_test(test_states__whether_a_card_is_divided_is_asked_once_a_second),
        cmocka_unit_test(test_states__bad_scenarios_are_told_with_their_line),
    };
    return cmocka_run_group_tests_name("states", tests, machine_set_up, machine_tear_down);
}
