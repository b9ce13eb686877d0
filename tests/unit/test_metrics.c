/* SPDX-License-Identifier: MIT */
/* A snapshot as metrics: what is told, what is not, and how much at most. */
#include "lib/metrics.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

static struct machine *machine;
static struct vram_snapshot *snapshot;
static char *text;

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
    machine_free(machine);
    free(text);
    text = NULL;
    return 0;
}

static const char *write(const struct vram_metrics_options *options)
{
    free(text);
    snapshot = vram_snapshot_unref(snapshot);
    snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    assert_int_equal(vram_snapshot_metrics(snapshot, options, &text), 0);
    return text;
}

static void assert_has(const char *line)
{
    if (!strstr(text, line)) {
        print_error("%s\nis not in\n%s", line, text);
        fail();
    }
}

static void assert_lacks(const char *part)
{
    if (strstr(text, part)) {
        print_error("%s\nis in\n%s", part, text);
        fail();
    }
}

static size_t count_of(const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) {
        count++;
    }
    return count;
}

#define FIRST "{gpu=\"0\",uuid=\"GPU-00000000-1111-2222-3333-444444444444\""

static void test_metrics__figures_of_a_gpu(void **state)
{
    struct source_gpu *gpu = machine_card(machine, 24 * GIB, GIB, 3 * GIB);
    (void)state;
    gpu->temperature_c = 41;
    gpu->utilization_percent = 3;
    machine_process(gpu, 7, 2 * GIB, "python3");
    (void)write(NULL);
    assert_has("\nvram_device_up" FIRST "} 1\n");
    assert_has("\nvram_device_state" FIRST ",state=\"ok\"} 1\n");
    assert_has("\nvram_device_state" FIRST ",state=\"lost\"} 0\n");
    assert_has("\nvram_total_bytes" FIRST "} 25769803776\n");
    assert_has("\nvram_used_bytes" FIRST "} 3221225472\n");
    assert_has("\nvram_free_bytes" FIRST "} 21474836480\n");
    assert_has("\nvram_driver_reserved_bytes" FIRST "} 1073741824\n");
    assert_has("\nvram_unattributed_bytes" FIRST "} 1073741824\n");
    assert_has("\nvram_margin_bytes" FIRST "} 1073741824\n");
    assert_has("\nvram_headroom_bytes" FIRST "} 20401094656\n");
    assert_has("\nvram_temperature_celsius" FIRST ",sensor=\"gpu\"} 41\n");
    assert_has("\nvram_gpu_utilization_ratio" FIRST "} 0.03\n");
    assert_has("\nvram_processes" FIRST "} 1\n");
    assert_has("\nvram_process_used_bytes" FIRST
               ",pid=\"7\",process=\"python3\",user=\"\"} 2147483648\n");
    assert_has("\nvram_process_info{pid=\"7\",process=\"python3\",user=\"\",container_id=\"\"");
    assert_has("model=\"Test Card\",memory_kind=\"dedicated\",backend=\"sim\"");
    assert_lacks("vram_outstanding_bytes");
    assert_lacks("# EOF");
}

static void test_metrics__unknown_is_left_out(void **state)
{
    (void)state;
    (void)machine_gpu(machine);
    (void)write(NULL);
    assert_has("\nvram_device_up" FIRST "} 1\n");
    assert_has("\nvram_margin_bytes" FIRST "} ");
    assert_lacks("vram_total_bytes");
    assert_lacks("vram_headroom_bytes");
    assert_lacks("vram_temperature_celsius");
    assert_lacks("vram_processes");
    assert_lacks("18446744073709551615");
}

static void test_metrics__promises_count_against_headroom(void **state)
{
    const uint64_t margins[] = {2 * GIB, VRAM_UNKNOWN};
    struct vram_metrics_options options = VRAM_METRICS_OPTIONS_INIT;
    (void)state;
    (void)machine_card(machine, 8 * GIB, 0, 6 * GIB);
    (void)machine_card(machine, 8 * GIB, 0, 6 * GIB);
    options.margin_bytes = margins;
    snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    machine_promise(snapshot, 0, GIB);
    assert_int_equal(vram_snapshot_metrics(snapshot, &options, &text), 0);
    assert_has("\nvram_outstanding_bytes" FIRST "} 1073741824\n");
    assert_has("\nvram_headroom_bytes" FIRST "} -1073741824\n");
    assert_int_equal(count_of("\nvram_headroom_bytes{"), 1);
}

static void test_metrics__who_cannot_be_believed_is_down(void **state)
{
    struct vram_metrics_options options = VRAM_METRICS_OPTIONS_INIT;
    struct source_gpu *gpu = machine_card(machine, 8 * GIB, 0, GIB);
    (void)state;
    machine_process(gpu, 7, GIB, "x");
    gpu->state = VRAM_GPU_LOST;
    (void)write(&options);
    assert_has("\nvram_device_up" FIRST "} 0\n");
    assert_has("\nvram_device_state" FIRST ",state=\"lost\"} 1\n");
    assert_lacks("_bytes{");
    assert_lacks("vram_process");
    gpu->state = VRAM_GPU_OK;
    options.stale = true;
    (void)write(&options);
    assert_has("\nvram_device_up" FIRST "} 0\n");
    assert_has("\nvram_device_info" FIRST);
    assert_lacks("vram_device_state");
    assert_lacks("_bytes{");
}

static void test_metrics__one_memory_is_told_once(void **state)
{
    struct source_gpu *first;
    (void)state;
    (void)machine_card(machine, 80 * GIB, 0, 0);
    first = machine_instance(machine, 1, 0, 40 * GIB, 10 * GIB);
    (void)machine_instance(machine, 1, 1, 40 * GIB, 10 * GIB);
    machine_process(first, 7, 9 * GIB, "x");
    (void)write(NULL);
    assert_int_equal(count_of("\nvram_device_up{"), 2);
    assert_int_equal(count_of("\nvram_used_bytes{gpu=\"0:0\""), 1);
    assert_int_equal(count_of("\nvram_used_bytes{"), 1);
}

static void test_metrics__small_and_many_processes_are_one_sample(void **state)
{
    struct source_gpu *gpu = machine_card(machine, 80 * GIB, 0, 60 * GIB);
    (void)state;
    for (uint32_t i = 0; i < 30; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%u", i);
        machine_process(gpu, 100 + i, GIB + i, name);
    }
    machine_process(gpu, 50, 63 * MIB, "small");
    (void)write(NULL);
    assert_int_equal(count_of("\nvram_process_used_bytes{"), METRICS_PROCESSES + 1);
    assert_int_equal(count_of("\nvram_process_info{"), METRICS_PROCESSES);
    assert_has("\nvram_processes" FIRST "} 31\n");
    assert_has("\nvram_processes_omitted" FIRST "} 11\n");
    assert_has("pid=\"\",process=\"(other)\",user=\"\"} 10803478573\n"); /* 10 G + 0..9 + 63 M */
    machine_process(gpu, 51, VRAM_UNKNOWN, "hidden");
    (void)write(NULL);
    assert_lacks("\"(other)\""); /* which would have an unknown part */
    assert_has("\nvram_processes" FIRST "} 32\n");
}

static void test_metrics__a_process_on_two_gpus_is_one(void **state)
{
    (void)state;
    machine_process(machine_card(machine, 8 * GIB, 0, GIB), 7, GIB, "x");
    machine_process(machine_card(machine, 8 * GIB, 0, GIB), 7, GIB, "x");
    (void)write(NULL);
    assert_int_equal(count_of("\nvram_process_used_bytes{"), 2);
    assert_int_equal(count_of("\nvram_process_info{"), 1);
}

/* A snapshot as no driver would make it, with the texts and times that tests want. */
static struct vram_process made(uint32_t pid, uint64_t start, const char *user, uint64_t used)
{
    return (struct vram_process){.pid = pid,
                                 .kind = VRAM_PROCESS_COMPUTE,
                                 .start_time = start,
                                 .name = "a\"b\\c\n\xff\xE2\x80\xAE",
                                 .user = user,
                                 .used_bytes = used,
                                 .visible = true};
}

static const char *write_made(struct vram_process *processes, size_t count)
{
    const struct metrics_clock clock = {
        .boot_ns = 1000000000000, .now_ticks = 10000, .ticks_per_second = 100};
    struct vram_metrics_options options = VRAM_METRICS_OPTIONS_INIT;
    struct vram_gpu gpu = {.uuid = "GPU-x\"y",
                           .mig_index = VRAM_UNKNOWN,
                           .processes_known = true,
                           .process_count = count,
                           .processes = processes};
    struct snapshot_view view = {.gpu_count = 1, .gpus = &gpu, .driver = {.kind = "sim"}};
    struct buf buf = BUF_INIT;
    struct exposition out = EXPOSITION_INIT(&buf, EXPOSITION_PROMETHEUS);
    free(text);
    snapshot = vram_snapshot_unref(snapshot);
    assert_int_equal(snapshot_copy(&view, &snapshot), 0);
    assert_int_equal(metrics_of_snapshot(&out, snapshot, &options, &clock), 0);
    text = buf_steal(&buf, NULL);
    return text;
}

static void test_metrics__hostile_names(void **state)
{
    struct vram_process processes[] = {made(7, 100, "ada\n", GIB), made(8, 200, "ada", GIB)};
    (void)state;
    (void)write_made(processes, ARRAY_LENGTH(processes));
    assert_has("uuid=\"GPU-x\\\"y\",pid=\"7\",process=\"a\\\"b\\\\c\xEF\xBF\xBD\",user=\"ada\"} ");
    /* Two users whose names are one once they are clean are one. */
    assert_has("vram_user_used_bytes{gpu=\"0\",uuid=\"GPU-x\\\"y\",user=\"ada\"} 2147483648\n");
    assert_int_equal(count_of("\nvram_user_used_bytes{"), 1);
    assert_has("vram_process_start_time_seconds{pid=\"8\"} 1002\n");
}

static void test_metrics__young_processes_have_no_series(void **state)
{
    struct vram_process processes[] = {made(7, 7001, "a", GIB), made(8, 7000, "a", GIB),
                                       made(9, VRAM_UNKNOWN, "a", GIB)};
    (void)state;
    (void)write_made(processes, ARRAY_LENGTH(processes));
    assert_lacks("pid=\"7\"");
    assert_has("pid=\"8\"");
    assert_has("pid=\"9\"");
    assert_has("process=\"(other)\",user=\"\"} 1073741824\n");
}

static void test_metrics__sums_are_bounded_and_whole(void **state)
{
    static struct vram_process processes[METRICS_SUMS + 12];
    static char names[METRICS_SUMS + 12][16];
    (void)state;
    for (uint32_t i = 0; i < ARRAY_LENGTH(processes); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "user%u", i);
        processes[i] = made(i + 1, 0, names[i], MIB);
    }
    processes[ARRAY_LENGTH(processes) - 1].user = METRICS_REST;
    processes[ARRAY_LENGTH(processes) - 2].user = NULL;
    (void)write_made(processes, ARRAY_LENGTH(processes));
    assert_int_equal(count_of("\nvram_user_used_bytes{"), METRICS_SUMS + 1);
    assert_has(",user=\"(other)\"} 11534336\n");
    processes[3].used_bytes = VRAM_UNKNOWN; /* comes last, and so into the rest */
    (void)write_made(processes, ARRAY_LENGTH(processes));
    assert_int_equal(count_of("\nvram_user_used_bytes{"), METRICS_SUMS);
    assert_lacks("user=\"user3\"");
    assert_lacks("user=\"(other)\"");
    assert_lacks("vram_container_used_bytes");
}

static void test_metrics__openmetrics_ends(void **state)
{
    struct vram_metrics_options options = VRAM_METRICS_OPTIONS_INIT;
    (void)state;
    options.format = VRAM_METRICS_OPENMETRICS;
    (void)write(&options);
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    assert_has("# TYPE vram_build info\n");
    options.part = true;
    (void)write(&options);
    assert_lacks("# EOF");
    options.format = 2;
    char *none;
    assert_int_equal(vram_snapshot_metrics(snapshot, &options, &none), -EINVAL);
    options.size = 1;
    assert_int_equal(vram_snapshot_metrics(snapshot, &options, &none), -EINVAL);
}

static void test_metrics__without_a_snapshot_the_program_is_told(void **state)
{
    (void)state;
    assert_int_equal(vram_snapshot_metrics(NULL, NULL, &text), 0);
    assert_has("vram_build_info{version=\"");
    assert_lacks("vram_device");
}

static void test_metrics__memory_runs_out(void **state)
{
    char *written = NULL;
    int r;
    (void)state;
    machine_process(machine_card(machine, 8 * GIB, 0, GIB), 7, GIB, "x");
    (void)write(NULL);
    unsigned n = 0;
    for (alloc_fail_at(++n);
         r = vram_snapshot_metrics(snapshot, NULL, &written), alloc_fail_happened();
         alloc_fail_at(++n)) {
        assert_int_equal(r, -ENOMEM);
        assert_null(written);
    }
    alloc_fail_at(0);
    assert_true(n > 3);
    assert_string_equal(written, text);
    free(written);
}

#define METRICS_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        METRICS_TEST(test_metrics__figures_of_a_gpu),
        METRICS_TEST(test_metrics__unknown_is_left_out),
        METRICS_TEST(test_metrics__promises_count_against_headroom),
        METRICS_TEST(test_metrics__who_cannot_be_believed_is_down),
        METRICS_TEST(test_metrics__one_memory_is_told_once),
        METRICS_TEST(test_metrics__small_and_many_processes_are_one_sample),
        METRICS_TEST(test_metrics__a_process_on_two_gpus_is_one),
        METRICS_TEST(test_metrics__hostile_names),
        METRICS_TEST(test_metrics__young_processes_have_no_series),
        METRICS_TEST(test_metrics__sums_are_bounded_and_whole),
        METRICS_TEST(test_metrics__openmetrics_ends),
        METRICS_TEST(test_metrics__without_a_snapshot_the_program_is_told),
        METRICS_TEST(test_metrics__memory_runs_out),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
