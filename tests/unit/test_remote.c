/* SPDX-License-Identifier: MIT */
/* The daemon's JSON made a snapshot again, and what comes of every daemon that is none. */
#include "common/clock.h"
#include "common/size.h"
#include "lib/remote.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/one_answer.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

#define NOW_NS (MACHINE_CLOCK_NS / 1000 * 1000) /* documents have microseconds */

static struct vram_snapshot *snapshot, *again;
static char *document;

static int set_up(void **state)
{
    (void)state;
    return setenv("VRAM_SOCKET", "/nonexistent/vram.sock", 1);
}

static int tear_down(void **state)
{
    (void)state;
    snapshot = vram_snapshot_unref(snapshot);
    again = vram_snapshot_unref(again);
    free(document);
    document = NULL;
    return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int parse(const char *text)
{
    again = vram_snapshot_unref(again);
    return remote_read(text, strlen(text), NOW_NS, NULL, &again);
}

/* Everything that a snapshot can have, each figure another number. */
static void make_full(void)
{
    struct vram_process processes[2] = {
        {4294967295u, VRAM_PROCESS_COMPUTE | VRAM_PROCESS_MPS, 12, "py\"th\x1b[31mon3\xff",
         "python3 x.py", "ada", "c0ffee", "x.service", "8f14e45fceea167a", 13, true},
        {14, 0, VRAM_UNKNOWN, "Xorg", NULL, NULL, NULL, NULL, NULL, VRAM_UNKNOWN, false},
    };
    struct vram_problem problems[2] = {
        {"GPU-1", "memory", "driver_hung", "has not returned"},
        {NULL, "processes", "unknown", "odd"},
    };
    struct vram_gpu gpus[3] = {
        {.index = 3,
         .state = VRAM_GPU_HUNG,
         .memory_kind = VRAM_MEMORY_MIG,
         .pool = 7,
         .uuid = "MIG-1",
         .name = "Card",
         .pci = "0000:01:00.0",
         .parent_uuid = "GPU-1",
         .mig_index = 1000,
         .gpu_instance_id = 1001,
         .compute_instance_id = 1002,
         .total_bytes = 1003,
         .used_bytes = 1004,
         .free_bytes = 1005,
         .driver_reserved_bytes = 1006,
         .unattributed_bytes = 1007,
         .outstanding_bytes = 1008,
         .temperature_c = 1009,
         .utilization_percent = 1010,
         .age_ms = 1011,
         .used_includes_reserved = true,
         .processes_known = true,
         .process_count = 2,
         .processes = processes,
         .own_outstanding_bytes = 1012,
         .ceiling_bytes = 1013,
         .drained = true},
        {.state = VRAM_GPU_OK, .memory_kind = VRAM_MEMORY_UNIFIED, .processes_known = true},
        {.index = 9, .state = VRAM_GPU_LOST, .total_bytes = VRAM_UNKNOWN, .age_ms = VRAM_UNKNOWN},
    };
    struct snapshot_view view = {
        .taken_at_ns = NOW_NS,
        .waiters = 21,
        .epoch = 22,
        .driver = {"nvml", "550.54.14", "12.4", "/lib/libtest.so"},
        .gpu_count = 3,
        .problem_count = 2,
        .gpus = gpus,
        .problems = problems,
    };
    assert_int_equal(snapshot_copy(&view, &snapshot), 0);
    assert_int_equal(vram_snapshot_json(snapshot, NULL, 0, &document), 0);
}

static void test_remote__what_a_document_says_comes_back(void **state)
{
    char *repeated;
    (void)state;
    make_full();
    assert_int_equal(parse(document), 0);
    assert_int_equal(vram_snapshot_json(again, NULL, 0, &repeated), 0);
    assert_string_equal(repeated, document);
    free(repeated);
    assert_int_equal(vram_snapshot_waiters(again), 21);
    assert_int_equal(vram_snapshot_epoch(again), 22);
    const struct vram_gpu *gpu = vram_snapshot_gpu(again, 0);
    assert_int_equal(gpu->pool, 7);
    assert_int_equal(gpu->own_outstanding_bytes, 1012);
    assert_int_equal(gpu->ceiling_bytes, 1013);
    assert_true(gpu->drained);
    assert_int_equal(gpu->processes[0].pid, 4294967295u);
    assert_int_equal(gpu->processes[0].kind, VRAM_PROCESS_COMPUTE | VRAM_PROCESS_MPS);
    assert_string_equal(gpu->processes[0].lease, "8f14e45fceea167a");
    assert_true(vram_snapshot_gpu(again, 1)->processes_known);
    assert_false(vram_snapshot_gpu(again, 2)->processes_known);
}

#define GPU_AND(more)                                                                              \
    "{\"taken_at\":\"2026-01-31T12:00:00.123456Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":["      \
    "{\"index\":0,\"pool\":0,\"state\":\"ok\",\"memory_kind\":\"dedicated\"" more "}]}"

static void test_remote__what_is_missing_is_unknown(void **state)
{
    (void)state;
    assert_int_equal(parse(GPU_AND("")), 0);
    const struct vram_gpu *gpu = vram_snapshot_gpu(again, 0);
    const uint64_t figures[] = {gpu->total_bytes,
                                gpu->used_bytes,
                                gpu->free_bytes,
                                gpu->driver_reserved_bytes,
                                gpu->temperature_c,
                                gpu->utilization_percent,
                                gpu->outstanding_bytes,
                                gpu->unattributed_bytes,
                                gpu->own_outstanding_bytes,
                                gpu->ceiling_bytes,
                                gpu->mig_index,
                                gpu->gpu_instance_id,
                                gpu->compute_instance_id,
                                gpu->age_ms,
                                vram_snapshot_waiters(again)};
    for (size_t i = 0; i < ARRAY_LENGTH(figures); i++) {
        assert_int_equal(figures[i], VRAM_UNKNOWN);
    }
    assert_null(gpu->uuid);
    assert_false(gpu->processes_known);
    assert_int_equal(vram_snapshot_epoch(again), 0);
    assert_null(vram_snapshot_driver(again)->version);
    assert_int_equal(vram_snapshot_problem_count(again), 0);
}

static void test_remote__what_is_new_is_ignored(void **state)
{
    (void)state;
    assert_int_equal(
        parse(GPU_AND(
            ",\"novel\":{\"a\":[1,2]},\"processes\":[{\"pid\":1,\"kind\":\"CX\",\"x\":0}]")),
        0);
    const struct vram_gpu *gpu = vram_snapshot_gpu(again, 0);
    assert_int_equal(gpu->processes[0].kind, VRAM_PROCESS_COMPUTE);
    assert_string_equal(gpu->processes[0].name, "pid_1");
}

static void test_remote__ages_grow_by_the_time_since(void **state)
{
    static const char text[] = GPU_AND(",\"age_ms\":40");
    (void)state;
    uint64_t second = 1000000000;
    const struct {
        uint64_t now_ns, age_ms;
    } cases[] = {
        {NOW_NS, 40},
        {NOW_NS + 3 * second, 3040},
        {NOW_NS - second, 40},
        {0, 40},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        again = vram_snapshot_unref(again);
        assert_int_equal(remote_read(text, sizeof(text) - 1, cases[i].now_ns, NULL, &again), 0);
        assert_int_equal(vram_snapshot_gpu(again, 0)->age_ms, cases[i].age_ms);
    }
}

static void test_remote__nonsense_is_refused(void **state)
{
    static const char *const odd[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"error\":{\"code\":\"x\",\"message\":\"y\"}}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"}}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{},\"gpus\":[]}",
        "{\"taken_at\":\"yesterday\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[]}",
        "{\"taken_at\":1,\"driver\":{\"kind\":\"nvml\"},\"gpus\":[]}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":\"nvml\",\"gpus\":[]}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[1]}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[],"
        "\"errors\":1}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[],"
        "\"errors\":[1]}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[],"
        "\"waiters\":-1}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[],"
        "\"epoch\":\"1\"}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[],"
        "\"gpus\":[]}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[]} {}",
        GPU_AND(",\"free_bytes\":-1"),
        GPU_AND(",\"free_bytes\":1.5"),
        GPU_AND(",\"free_bytes\":\"1\""),
        GPU_AND(",\"free_bytes\":18446744073709551616"),
        GPU_AND(",\"uuid\":1"),
        GPU_AND(",\"used_includes_reserved\":1"),
        GPU_AND(",\"processes\":{}"),
        GPU_AND(",\"processes\":[{}]"),
        GPU_AND(",\"processes\":[{\"pid\":4294967296}]"),
        GPU_AND(",\"processes\":[{\"pid\":1,\"name\":[]}]"),
        GPU_AND(",\"processes\":[{\"pid\":1,\"kind\":7}]"),
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[{"
        "\"index\":0,"
        "\"pool\":0,\"state\":\"novel\",\"memory_kind\":\"dedicated\"}]}",
        "{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"nvml\"},\"gpus\":[{\"pool\":"
        "0,"
        "\"state\":\"ok\",\"memory_kind\":\"dedicated\"}]}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(odd); i++) {
        int r = parse(odd[i]);
        if (r != -EPROTO || again) {
            fail_msg("'%s' gives %d", odd[i], r);
        }
    }
}

static void test_remote__every_cut_is_refused(void **state)
{
    (void)state;
    make_full();
    for (size_t length = 0; length < strlen(document); length++) {
        char *cut = malloc(length ? length : 1);
        assert_non_null(cut);
        memcpy(cut, document, length);
        assert_int_equal(remote_read(cut, length, NOW_NS, NULL, &again), -EPROTO);
        free(cut);
    }
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static struct err err;
static char seen[4096];

static enum remote_outcome ask_for(const struct remote_request *request, enum answer_end end,
                                   const char *answer)
{
    const char *const parts[ANSWER_PARTS] = {answer, NULL};
    err = (struct err){0};
    again = vram_snapshot_unref(again);
    const char *path = one_answer_start(end, parts, NULL);
    assert_int_equal(setenv("VRAM_SOCKET", path, 1), 0);
    enum remote_outcome outcome = remote_snapshot(request, &again, &err);
    (void)snprintf(seen, sizeof(seen), "%s", one_answer_stop());
    return outcome;
}

static enum remote_outcome ask(const char *driver, enum answer_end end, const char *answer)
{
    const struct remote_request request = {
        .driver = driver,
        .take = VRAM_TAKE_ALL,
        .deadline_ns = clock_now_ns() + (end == ANSWER_HANGS ? 50000000u : 10000000000u),
    };
    return ask_for(&request, end, answer);
}

static void expect_request(uint32_t take, uint64_t max_age_ms, uint64_t after, uint64_t timeout_ms,
                           const char *target)
{
    const struct remote_request request = {"auto", take, max_age_ms, after, timeout_ms, UINT64_MAX};
    char line[256];
    assert_int_equal(ask_for(&request, ANSWER_CLOSES, "HTTP/1.1 200 OK\r\n\r\n" GPU_AND("")),
                     REMOTE_TAKEN);
    (void)snprintf(line, sizeof(line), "GET %s HTTP/1.0\r\n", target);
    if (strncmp(seen, line, strlen(line)) != 0) {
        fail_msg("'%s' does not begin with '%s'", seen, line);
    }
}

static void test_remote__asks_for_what_is_wanted(void **state)
{
    (void)state;
    expect_request(0, 0, 0, 0, "/v1/snapshot?take=");
    expect_request(VRAM_TAKE_ALL, 0, 0, 0, "/v1/snapshot?take=processes,commands,health");
    expect_request(VRAM_TAKE_HEALTH, 500, 0, 0, "/v1/snapshot?take=health&max_age_ms=500");
    expect_request(VRAM_TAKE_PROCESSES, 0, 7, 0,
                   "/v1/snapshot?take=processes&after=7&timeout_ms=0");
    expect_request(VRAM_TAKE_PROCESSES, 0, 7, VRAM_UNKNOWN, "/v1/snapshot?take=processes&after=7");
}

static void test_remote__the_daemons_own_words_are_kept(void **state)
{
    (void)state;
    assert_int_equal(
        ask("auto", ANSWER_CLOSES,
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"error\":{\"code\":\"paused\","
            "\"message\":\"the daemon is paused\",\"hint\":\"vram resume\",\"errno\":19}}"),
        REMOTE_FAILED);
    assert_int_equal(err.result, -ENODEV);
    assert_string_equal(err.code, "paused");
    assert_string_equal(err.message, "the daemon is paused");
    assert_string_equal(err.hint, "vram resume");
    static const char *const numbers[] = {"0", "-5", "4096", "99999999999", "\"19\"", "null"};
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
        char answer[256];
        (void)snprintf(
            answer, sizeof(answer),
            "HTTP/1.1 500 Odd\r\n\r\n{\"error\":{\"code\":\"odd\",\"message\":\"100%%s\","
            "\"errno\":%s}}",
            numbers[i]);
        assert_int_equal(ask("auto", ANSWER_CLOSES, answer), REMOTE_FAILED);
        assert_int_equal(err.result, -EIO); /* an error that is none would be success */
        assert_string_equal(err.message, "100%s");
    }
}

static void test_remote__what_is_no_daemon_is_told_as_what_it_is(void **state)
{
    static const struct {
        enum answer_end end;
        const char *answer, *code;
        int result;
    } cases[] = {
        {ANSWER_CLOSES, "", "daemon_gone", -ECONNRESET},
        {ANSWER_RESETS, "", "daemon_gone", -ECONNRESET},
        {ANSWER_HANGS, "", "daemon_silent", -ETIMEDOUT},
        {ANSWER_HANGS, "HTTP/1.1 200 OK\r\n\r\n{", "daemon_silent", -ETIMEDOUT},
        {ANSWER_CLOSES, "SSH-2.0-OpenSSH\r\n\r\n", "bad_daemon", -EPROTO},
        {ANSWER_CLOSES, "HTTP/1.1 200 OK\r\n\r\nhello", "bad_daemon", -EPROTO},
        {ANSWER_CLOSES, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" GPU_AND(""), "bad_daemon",
         -EPROTO},
        {ANSWER_CLOSES, "HTTP/1.1 404 Not Found\r\n\r\n<html>", "bad_daemon", -EPROTO},
        {ANSWER_CLOSES, "HTTP/1.1 500 Odd\r\n\r\n{\"error\":{\"code\":5}}", "bad_daemon", -EPROTO},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_int_equal(ask("auto", cases[i].end, cases[i].answer), REMOTE_UNUSABLE);
        assert_string_equal(err.code, cases[i].code);
        assert_int_equal(err.result, cases[i].result);
        assert_null(again);
    }
}

static void test_remote__absence_is_no_complaint(void **state)
{
    const struct remote_request request = {.driver = "auto", .deadline_ns = UINT64_MAX};
    (void)state;
    assert_int_equal(remote_snapshot(&request, &again, &err), REMOTE_ABSENT);
    assert_string_equal(err.code, "no_daemon");
    assert_int_equal(setenv("VRAM_SOCKET", "none", 1), 0);
    assert_int_equal(remote_snapshot(&request, &again, &err), REMOTE_ABSENT);
    assert_int_equal(err.result, -ENOTCONN);
    assert_int_equal(setenv("VRAM_SOCKET", "relative", 1), 0);
    assert_int_equal(remote_snapshot(&request, &again, &err), REMOTE_UNUSABLE);
}

/* The figures of one machine are not another's. */
static void test_remote__another_machines_daemon_is_not_believed(void **state)
{
    static const char of_mig[] =
        "HTTP/1.1 200 "
        "OK\r\n\r\n{\"taken_at\":\"2026-01-31T12:00:00Z\",\"driver\":{\"kind\":\"sim\"},"
        "\"gpus\":[],\"daemon\":{\"driver\":\"sim:mig@x\"}}";
    (void)state;
    assert_int_equal(ask("sim:r550/mig@x", ANSWER_CLOSES, of_mig), REMOTE_TAKEN);
    assert_int_equal(ask("sim:mig", ANSWER_CLOSES, of_mig), REMOTE_UNUSABLE);
    assert_string_equal(err.code, "other_driver");
    assert_non_null(strstr(err.message, "sim:mig@x"));
    /* VRAM_SOCKET names this one, and nobody asked for a certain driver. */
    assert_int_equal(ask("auto", ANSWER_CLOSES, of_mig), REMOTE_TAKEN);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_remote__what_a_document_says_comes_back),
        MADE(test_remote__what_is_missing_is_unknown),
        MADE(test_remote__what_is_new_is_ignored),
        MADE(test_remote__ages_grow_by_the_time_since),
        MADE(test_remote__nonsense_is_refused),
        MADE(test_remote__every_cut_is_refused),
        MADE(test_remote__asks_for_what_is_wanted),
        MADE(test_remote__the_daemons_own_words_are_kept),
        MADE(test_remote__what_is_no_daemon_is_told_as_what_it_is),
        MADE(test_remote__absence_is_no_complaint),
        MADE(test_remote__another_machines_daemon_is_not_believed),
    };
    return cmocka_run_group_tests_name("remote", tests, NULL, NULL);
}
