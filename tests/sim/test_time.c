/* SPDX-License-Identifier: MIT */
/* Time: the timeline, the virtual clock, memory that lags, skew between lists and free. */
#include "tests/sim/rig.h"

#include <stdio.h>

#define CARD "clock virtual\ngpu 0 total=24G temp=40\n"

static void test_time__passes_when_told(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "proc 0 pid=4200001 mem=1G\nat +2s proc 0 pid=4200001 mem=20G\n"
                                    "at +5s gpu 0 temp=71\nat +5s proc 0 pid=4200002 mem=512M\n");
    nvml_device device = rig_device(rig, 0);
    uint32_t celsius;
    assert_int_equal(rig_used(rig, 0), 1024);
    rig_advance(rig->spec, "1999ms");
    assert_int_equal(rig_used(rig, 0), 1024);
    rig_advance(rig->spec, "1ms");
    assert_int_equal(rig_used(rig, 0), 20480);
    rig_advance(rig->spec, "1h");
    assert_int_equal(rig_used(rig, 0), 20992);
    assert_int_equal(rig->nvmlDeviceGetTemperature(device, 0, &celsius), NVML_SUCCESS);
    assert_int_equal(celsius, 71);
    rig_close(rig);
}

static void test_time__of_injected_lines_counts_from_their_injection(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD);
    rig_advance(rig->spec, "10s");
    rig_inject(rig->spec, "at +3s proc 0 pid=4200001 mem=1G");
    rig_inject(rig->spec, "at +1s proc 0 pid=4200001 mem=2G");
    assert_int_equal(rig_used(rig, 0), 0);
    rig_advance(rig->spec, "1s");
    assert_int_equal(rig_used(rig, 0), 2048);
    rig_advance(rig->spec, "2s");
    assert_int_equal(rig_used(rig, 0), 1024);
    rig_close(rig);
}

static void test_time__lets_memory_lag_behind_an_exit(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "lag 1s\nproc 0 pid=4200001 mem=1G\nproc 0 pid=4200002 mem=4G\n"
                                    "at +2s exit 4200001 lag=1500ms\nat +2s exit 4200002\n");
    nvml_device device = rig_device(rig, 0);
    rig_advance(rig->spec, "2s");
    assert_int_equal(rig_listed(rig, device, 4200001), -1);
    assert_int_equal(rig_listed(rig, device, 4200002), -1);
    assert_int_equal(rig_used(rig, 0), 5120);
    rig_advance(rig->spec, "1s");
    assert_int_equal(rig_used(rig, 0), 1024);
    rig_advance(rig->spec, "500ms");
    assert_int_equal(rig_used(rig, 0), 0);
    rig_close(rig);
}

static void check_skew(const char *skew, uint64_t used, int64_t listed)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   CARD "%sproc 0 pid=4200001 mem=1G\nat +2s proc 0 pid=4200001 mem=9G\n", skew);
    struct rig *rig = rig_play(text);
    nvml_device device = rig_device(rig, 0);
    rig_advance(rig->spec, "2s");
    assert_int_equal(rig_used(rig, 0), used);
    assert_int_equal(rig_listed(rig, device, 4200001), listed);
    rig_advance(rig->spec, "300ms");
    assert_int_equal(rig_used(rig, 0), 9216);
    assert_int_equal(rig_listed(rig, device, 4200001), 9216);
    rig_close(rig);
}

static void test_time__skews_lists_and_free_either_way(void **state)
{
    (void)state;
    check_skew("", 9216, 9216);
    check_skew("skew lists 300ms\n", 9216, 1024);
    check_skew("skew free 300ms\n", 1024, 9216);
}

static void test_time__skews_real_holders_too(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "skew lists 1s\n");
    nvml_device device = rig_device(rig, 0);
    rig_advance(rig->spec, "5s");
    pid_t holder = rig_hold(rig->spec, "2G");
    assert_int_equal(rig_used(rig, 0), 2048);
    assert_int_equal(rig_listed(rig, device, (uint32_t)holder), -1);
    rig_advance(rig->spec, "1s");
    assert_int_equal(rig_listed(rig, device, (uint32_t)holder), 2048);
    rig_kill(holder);
    assert_int_equal(rig_used(rig, 0), 0);
    assert_int_equal(rig_listed(rig, device, (uint32_t)holder), 2048);
    rig_advance(rig->spec, "1s");
    assert_int_equal(rig_listed(rig, device, (uint32_t)holder), -1);
    rig_close(rig);
}

static void test_time__lets_holders_lag_from_when_their_death_is_noticed(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "lag 2s\n");
    pid_t holder = rig_hold(rig->spec, "2G");
    rig_kill(holder);
    rig_advance(rig->spec, "1h"); /* nobody looked meanwhile */
    assert_int_equal(rig_used(rig, 0), 2048);
    assert_int_equal(rig_listed(rig, rig_device(rig, 0), (uint32_t)holder), -1);
    rig_advance(rig->spec, "2s");
    assert_int_equal(rig_used(rig, 0), 0);
    rig_close(rig);
}

static void test_time__does_not_move_a_real_clock(void **state)
{
    (void)state;
    char said[256];
    struct rig *rig = rig_play("gpu 0 total=8G\n");
    assert_int_equal(rig_sim(rig->spec, (char *[]){"advance", "1s", NULL}, said, sizeof(said)), 1);
    assert_non_null(strstr(said, "clock virtual"));
    rig_close(rig);
}

static void test_time__begins_anew_with_a_reset(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARD "at +2s proc 0 pid=4200001 mem=1G\n");
    pid_t holder = rig_hold(rig->spec, "3G");
    rig_advance(rig->spec, "2s");
    rig_inject(rig->spec, "gpu 0 temp=90");
    assert_int_equal(rig_used(rig, 0), 4096);
    assert_int_equal(rig_sim(rig->spec, (char *[]){"reset", NULL}, NULL, 0), 0);
    assert_int_equal(rig_used(rig, 0), 3072); /* who lives holds on */
    assert_int_equal(rig_listed(rig, rig_device(rig, 0), (uint32_t)holder), 3072);
    uint32_t celsius;
    assert_int_equal(rig->nvmlDeviceGetTemperature(rig_device(rig, 0), 0, &celsius), NVML_SUCCESS);
    assert_int_equal(celsius, 40);
    rig_kill(holder);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_time__passes_when_told),
        TEST(test_time__of_injected_lines_counts_from_their_injection),
        TEST(test_time__lets_memory_lag_behind_an_exit),
        TEST(test_time__skews_lists_and_free_either_way),
        TEST(test_time__skews_real_holders_too),
        TEST(test_time__lets_holders_lag_from_when_their_death_is_noticed),
        TEST(test_time__does_not_move_a_real_clock),
        TEST(test_time__begins_anew_with_a_reset),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
