/* SPDX-License-Identifier: MIT */
/* What a scenario does to calls: failures, delays, hangs, crashes, growth, actions between two calls. */
#include "tests/sim/rig.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define CARDS "gpu 0 total=8G\ngpu 1 total=8G\n"

static nvml_ret ask(struct rig *rig, nvml_device device)
{
    struct nvml_memory_v2 memory = {.version = NVML_MEMORY_V2};
    return rig->nvmlDeviceGetMemoryInfo_v2(device, &memory);
}

static void test_rules__fail_so_many_calls_after_so_many(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play(CARDS "fail nvmlDeviceGetMemoryInfo gpu=1 ret=GPU_IS_LOST after=2 times=3\n");
    nvml_device first = rig_device(rig, 0), second = rig_device(rig, 1);
    for (int i = 1; i <= 8; i++) {
        assert_int_equal(ask(rig, first), NVML_SUCCESS);
        assert_int_equal(ask(rig, second), i > 2 && i <= 5 ? NVML_GPU_IS_LOST : NVML_SUCCESS);
    }
    rig_close(rig);
}

static void test_rules__name_functions_by_version_and_by_pattern(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        bool v1, v2, count;
    } rows[] = {
        {"nvmlDeviceGetMemoryInfo", true, true, false},
        {"nvmlDeviceGetMemoryInfo_v2", false, true, false},
        {"nvmlDeviceGetMemoryInfo_v1", true, false, false},
        {"nvmlDeviceGetMemoryInfo*", true, true, false},
        {"nvmlDeviceGet*Info", true, false, false},
        {"*", true, true, true},
        {"nvmlDeviceGetCount_v?", false, false, true},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char text[256];
        struct nvml_memory_v1 memory;
        uint32_t count;
        struct rig *rig = rig_play("gpu 0 total=8G\n");
        nvml_device device = rig_device(rig, 0);
        (void)snprintf(text, sizeof(text), "fail %s ret=999", rows[i].pattern);
        rig_inject(rig->spec, text);
        assert_int_equal(rig->nvmlDeviceGetMemoryInfo(device, &memory) != NVML_SUCCESS, rows[i].v1);
        assert_int_equal(ask(rig, device) != NVML_SUCCESS, rows[i].v2);
        assert_int_equal(rig->nvmlDeviceGetCount_v2(&count) != NVML_SUCCESS, rows[i].count);
        rig_inject(rig->spec, "clear");
        assert_int_equal(ask(rig, device), NVML_SUCCESS);
        rig_close(rig);
    }
}

static void test_rules__fail_the_start(void **state)
{
    (void)state;
    struct rig *rig = rig_load("r550");
    assert_int_equal(
        rig->select(rig_write("driver 550.54.14\n" CARDS "fail nvmlInit* ret=18 times=2\n")), 0);
    assert_int_equal(rig->nvmlInit_v2(), NVML_LIB_RM_VERSION_MISMATCH);
    assert_int_equal(rig->nvmlInitWithFlags(0), NVML_LIB_RM_VERSION_MISMATCH);
    assert_int_equal(rig->nvmlInit_v2(), NVML_SUCCESS);
    rig_close(rig);
}

static void test_rules__act_between_two_calls(void **state)
{
    (void)state;
    struct rig *rig = rig_play(
        CARDS "proc 0 pid=4200001 mem=1G\n"
              "after nvmlDeviceGetMemoryInfo_v2 gpu=0 call=2 do proc 0 pid=4200001 mem=3G\n"
              "after nvmlDeviceGetMemoryInfo_v2 call=4 do gpu 1 lost\n");
    nvml_device first = rig_device(rig, 0), second = rig_device(rig, 1);
    assert_int_equal(rig_memory(rig, first).used, 1 * GIB);
    assert_int_equal(rig_memory(rig, first).used, 1 * GIB);
    assert_int_equal(rig_memory(rig, first).used, 3 * GIB);
    assert_int_equal(rig_listed(rig, first, 4200001), 3072);
    assert_int_equal(ask(rig, second), NVML_SUCCESS); /* the fourth; the GPU goes after it */
    assert_int_equal(ask(rig, second), NVML_GPU_IS_LOST);
    rig_close(rig);
}

static void test_rules__let_lists_grow_between_question_and_answer(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARDS "proc 0 pid=4200001 mem=1G\ngrow 0 by=3 mem=2M times=2\n");
    nvml_device device = rig_device(rig, 0);
    struct nvml_process_24 entries[16];
    static const uint32_t lengths[] = {1, 4, 7, 7};
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        uint32_t count = 0;
        assert_int_equal(rig_memory(rig, device).used, 1 * GIB + (lengths[i] - 1) * 2 * MIB);
        assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses_v3(device, &count, NULL),
                         NVML_INSUFFICIENT_SIZE);
        assert_int_equal(count, lengths[i]);
    }
    uint32_t count = 16;
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses_v3(device, &count, entries),
                     NVML_SUCCESS);
    assert_int_equal(count, 7);
    assert_int_equal(entries[6].used_bytes, 2 * MIB);
    rig_close(rig);
}

static void test_rules__delay_by_moving_a_virtual_clock(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play("clock virtual\n" CARDS "delay nvmlDeviceGetMemoryInfo 1500ms gpu=0\n"
                 "at +4s proc 0 pid=4200001 mem=1G\n");
    assert_int_equal(rig_used(rig, 0), 0);    /* answered at 1.5 s */
    assert_int_equal(rig_used(rig, 1), 0);    /* no delay there */
    assert_int_equal(rig_used(rig, 0), 0);    /* 3 s */
    assert_int_equal(rig_used(rig, 0), 1024); /* 4.5 s */
    rig_close(rig);
}

struct hung {
    struct rig *rig;
    nvml_device device;
    nvml_ret code;
};

static void *call_that_hangs(void *data)
{
    struct hung *hung = data;
    hung->code = ask(hung->rig, hung->device);
    return NULL;
}

static uint32_t calls_of(const char *spec, const char *function)
{
    char output[4096], key[128];
    assert_int_equal(rig_sim(spec, (char *[]){"stats", "--json", NULL}, output, sizeof(output)), 0);
    (void)snprintf(key, sizeof(key), "\"%s\":", function);
    const char *at = strstr(output, key);
    return at ? (uint32_t)strtoul(at + strlen(key), NULL, 10) : 0;
}

static void test_rules__hang_until_released_and_let_others_go_on(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARDS "hang nvmlDeviceGetMemoryInfo gpu=1\n");
    struct hung hung = {rig, rig_device(rig, 1), -1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_that_hangs, &hung), 0);
    while (calls_of(rig->spec, "nvmlDeviceGetMemoryInfo_v2") == 0) { /* until it is in the call */
    }
    assert_int_equal(ask(rig, rig_device(rig, 0)), NVML_SUCCESS);
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    assert_int_equal(rig_sim(rig->spec, (char *[]){"release", NULL}, NULL, 0), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(hung.code, NVML_SUCCESS);
    assert_int_equal(ask(rig, hung.device), NVML_SUCCESS); /* the rule is over, too */
    rig_close(rig);
}

static void test_rules__hang_for_a_while_of_virtual_time(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play("clock virtual\n" CARDS "hang nvmlDeviceGetMemoryInfo gpu=1 until=45s times=1\n");
    struct hung hung = {rig, rig_device(rig, 1), -1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_that_hangs, &hung), 0);
    while (calls_of(rig->spec, "nvmlDeviceGetMemoryInfo_v2") == 0) {
    }
    rig_advance(rig->spec, "44s");
    assert_int_equal(ask(rig, rig_device(rig, 0)), NVML_SUCCESS);
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    rig_advance(rig->spec, "2s");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(hung.code, NVML_SUCCESS);
    rig_close(rig);
}

static void ask_twice(void *data)
{
    struct rig *rig = data;
    if (rig->nvmlInit_v2() == NVML_SUCCESS) {
        nvml_device device;
        (void)rig->nvmlDeviceGetHandleByIndex_v2(0, &device);
        (void)ask(rig, device);
        fprintf(stderr, "once ");
        (void)ask(rig, device);
        fprintf(stderr, "twice");
    }
}

static void test_rules__crash(void **state)
{
    (void)state;
    char said[256];
    struct rig *rig = rig_play(CARDS "crash nvmlDeviceGetMemoryInfo after=1\n");
    int status = rig_in_child(ask_twice, rig, said, sizeof(said));
    assert_non_null(strstr(said, "once"));
    assert_null(strstr(said, "twice"));
    assert_false(WIFEXITED(status) &&
                 WEXITSTATUS(status) == 0); /* a signal; a sanitizer makes an exit of it */
    rig_close(rig);
}

static void test_rules__count_for_all_processes_together(void **state)
{
    (void)state;
    char said[64];
    struct rig *rig = rig_play(CARDS "fail nvmlDeviceGetMemoryInfo ret=999 after=2\n");
    (void)rig_in_child(ask_twice, rig, said, sizeof(said));
    assert_non_null(strstr(said, "twice"));
    assert_int_equal(ask(rig, rig_device(rig, 0)), NVML_UNKNOWN);
    assert_int_equal(calls_of(rig->spec, "nvmlDeviceGetMemoryInfo_v2"), 3);
    rig_close(rig);
}

/* ---- Threads ----------------------------------------------------------------------------------- */

#define ROUNDS 500

static void *ask_often(void *data)
{
    struct hung *mine = data;
    for (int i = 0; i < ROUNDS && mine->code == NVML_SUCCESS; i++) {
        struct nvml_process_24 entries[8];
        uint32_t count = 8;
        nvml_ret memory = ask(mine->rig, mine->device);
        nvml_ret list =
            mine->rig->nvmlDeviceGetComputeRunningProcesses_v3(mine->device, &count, entries);
        mine->code = memory ? memory : list;
    }
    return NULL;
}

static void test_rules__are_met_by_many_threads(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play(CARDS "delay nvmlDeviceGetMemoryInfo 1us\nat +1ms proc 0 pid=4200001 mem=1G\n"
                       "after nvmlDeviceGetMemoryInfo call=700 do proc 1 pid=4200002 mem=2G\n");
    struct hung mine[4];
    pthread_t threads[4];
    pid_t holder = rig_hold(rig->spec, "1G");
    for (uint32_t i = 0; i < 4; i++) {
        mine[i] = (struct hung){rig, rig_device(rig, i % 2), NVML_SUCCESS};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &mine[i]), 0);
    }
    rig_inject(rig->spec, "gpu 0 temp=70");
    rig_kill(holder);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(mine[i].code, NVML_SUCCESS);
    }
    assert_int_equal(calls_of(rig->spec, "nvmlDeviceGetMemoryInfo_v2"), 4 * ROUNDS);
    assert_int_equal(rig_used(rig, 1), 2048);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rules__fail_so_many_calls_after_so_many),
        TEST(test_rules__name_functions_by_version_and_by_pattern),
        TEST(test_rules__fail_the_start),
        TEST(test_rules__act_between_two_calls),
        TEST(test_rules__let_lists_grow_between_question_and_answer),
        TEST(test_rules__delay_by_moving_a_virtual_clock),
        TEST(test_rules__hang_until_released_and_let_others_go_on),
        TEST(test_rules__hang_for_a_while_of_virtual_time),
        TEST(test_rules__crash),
        TEST(test_rules__are_met_by_many_threads),
        TEST(test_rules__count_for_all_processes_together),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
