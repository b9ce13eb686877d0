/* SPDX-License-Identifier: MIT */
/* The daemon's own metrics: leases, its collector, its clients, itself. */
#include "daemon/metrics.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

static struct buf buf;
static struct peaks peaks;
static struct http_counts http = {.count = 1, .counts = {{"/metrics", 200, 12}}};

static void write(const struct metrics_facts *facts, enum exposition_format format)
{
    struct exposition out = EXPOSITION_INIT(&buf, format);
    buf_done(&buf);
    metrics_write(&out, facts);
    exposition_finish(&out);
    assert_false(buf.failed);
}

static void assert_has(const char *line)
{
    if (!strstr(buf.data, line)) {
        print_error("%s\nis not in\n%s", line, buf.data);
        fail();
    }
}

static struct metrics_facts facts_of_nothing(void)
{
    return (struct metrics_facts){
        .backend = "nvml",
        .http = &http,
        .peaks = &peaks,
        .history_bytes = VRAM_UNKNOWN,
        .history_since_ns = VRAM_UNKNOWN,
        .self = {VRAM_UNKNOWN, VRAM_UNKNOWN, VRAM_UNKNOWN, VRAM_UNKNOWN, VRAM_UNKNOWN,
                 VRAM_UNKNOWN},
    };
}

static void test_daemon_metrics__nothing_known(void **state)
{
    struct metrics_facts facts = facts_of_nothing();
    (void)state;
    write(&facts, EXPOSITION_PROMETHEUS);
    assert_has("vram_promising 0\n");
    assert_has("vram_lease_requests_total{result=\"granted\"} 0\n");
    assert_has("vram_collect_running_seconds{backend=\"nvml\"} 0.000000000\n");
    assert_has("vram_collect_errors_total{backend=\"nvml\",reason=\"timeout\"} 0\n");
    assert_null(strstr(buf.data, "vram_leases"));
    assert_null(strstr(buf.data, "vram_holder_asks_total{"));
    assert_null(strstr(buf.data, "vram_collect_success"));
    assert_null(strstr(buf.data, "process_"));
    assert_null(strstr(buf.data, "event"));
    assert_null(strstr(buf.data, "vram_history"));
    assert_has("vram_http_requests_total{handler=\"/metrics\",code=\"200\"} 12\n");
}

static void test_daemon_metrics__leases(void **state)
{
    struct machine *machine = machine_new(NULL);
    (void)machine_card(machine, 8 * GIB, 0, GIB);
    struct vram_snapshot *snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    struct metrics_share shares[] = {
        {.lease = "0123456789abcdef",
         .label = "com\"fy\n",
         .user = "ada",
         .first = true,
         .uuid = "GPU-00000000-1111-2222-3333-444444444444",
         .until_ns = 1500000000,
         .size_bytes = 3 * GIB,
         .held_bytes = GIB,
         .outstanding_bytes = 2 * GIB},
        {.lease = "(other)",
         .uuid = "GPU-gone",
         .until_ns = VRAM_UNKNOWN,
         .size_bytes = 1,
         .held_bytes = VRAM_UNKNOWN},
    };
    struct metrics_facts facts = facts_of_nothing();
    (void)state;
    facts.snapshot = snapshot;
    facts.leases = (struct metrics_leases){.known = true,
                                           .states = {1, 0, 0, 0, 2},
                                           .waiters = 4,
                                           .omitted = 2,
                                           .count = 2,
                                           .shares = shares,
                                           .holder_count = 1,
                                           .holders = {{"my \"ollama\"", {3, 2, 1}, GIB}}};
    write(&facts, EXPOSITION_OPENMETRICS);
    assert_has("vram_leases{state=\"ok\"} 1\n");
    assert_has("vram_leases{state=\"squeezed\"} 2\n");
    assert_has("vram_leases_omitted 2\n");
    assert_has("vram_waiters 4\n");
    assert_has("vram_lease_size_bytes{gpu=\"0\",uuid=\"GPU-00000000-1111-2222-3333-444444444444\","
               "lease=\"0123456789abcdef\",user=\"ada\"} 3221225472\n");
    assert_has("vram_lease_size_bytes{gpu=\"\",uuid=\"GPU-gone\",lease=\"(other)\",user=\"\"} 1\n");
    assert_has("vram_lease_info{lease=\"0123456789abcdef\",user=\"ada\",label=\"com\\\"fy\"} 1\n");
    assert_has("vram_lease_expiry_timestamp_seconds{lease=\"0123456789abcdef\",user=\"ada\"} 1.5");
    assert_has("# TYPE vram_lease_requests counter\n");
    assert_has("vram_holder_asks_total{holder=\"my \\\"ollama\\\"\",result=\"gave_back\"} 3\n");
    assert_has("vram_holder_asks_total{holder=\"my \\\"ollama\\\"\",result=\"nothing\"} 2\n");
    assert_has("vram_holder_asks_total{holder=\"my \\\"ollama\\\"\",result=\"busy\"} 1\n");
    assert_has("vram_holder_returned_bytes_total{holder=\"my \\\"ollama\\\"\"} 1073741824\n");
    (void)vram_snapshot_unref(snapshot);
    machine_free(machine);
}

static void test_daemon_metrics__collector_and_self(void **state)
{
    struct metrics_facts facts = facts_of_nothing();
    (void)state;
    facts.promising = true;
    facts.collector = (struct metrics_collector){.tried = true,
                                                 .succeeded_at_ns = 2000000001,
                                                 .duration_ns = 15000000,
                                                 .running_ns = 9000000000,
                                                 .failures = {[METRICS_TIMEOUT] = 3}};
    facts.self = (struct metrics_self){.cpu_ns = 1,
                                       .started_ns = 5,
                                       .resident_bytes = 4096,
                                       .virtual_bytes = 8192,
                                       .descriptors = 9,
                                       .descriptors_max = VRAM_UNKNOWN};
    write(&facts, EXPOSITION_PROMETHEUS);
    assert_has("vram_promising 1\n");
    assert_has("vram_collect_success{backend=\"nvml\"} 0\n");
    assert_has("vram_collect_last_success_timestamp_seconds{backend=\"nvml\"} 2.000000001\n");
    assert_has("vram_collect_last_duration_seconds{backend=\"nvml\"} 0.015000000\n");
    assert_has("vram_collect_running_seconds{backend=\"nvml\"} 9.000000000\n");
    assert_has("vram_collect_errors_total{backend=\"nvml\",reason=\"timeout\"} 3\n");
    assert_has("process_cpu_seconds_total 0.000000001\n");
    assert_has("process_resident_memory_bytes 4096\n");
    assert_null(strstr(buf.data, "process_max_fds"));
}

/* ---- The last minute ------------------------------------------------------------------------- */

#define SECOND UINT64_C(1000000000)

static void look(uint64_t used, uint64_t at_s)
{
    struct machine *machine = machine_new(NULL);
    (void)machine_card(machine, 8 * GIB, 0, used);
    struct vram_snapshot *snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    peaks_take(&peaks, at_s * SECOND, snapshot);
    (void)vram_snapshot_unref(snapshot);
    machine_free(machine);
}

static void test_daemon_metrics__a_peak_is_told_for_a_minute(void **state)
{
    static const char uuid[] = "GPU-00000000-1111-2222-3333-444444444444";
    (void)state;
    assert_true(peaks_find(&peaks, 0, uuid) == VRAM_UNKNOWN);
    look(GIB, 1);
    look(5 * GIB, 2);
    look(2 * GIB, 3);
    assert_int_equal(peaks_find(&peaks, 3 * SECOND, uuid), 5 * GIB);
    for (uint64_t at_s = 4; at_s < 62; at_s++) {
        look(2 * GIB, at_s);
        assert_int_equal(peaks_find(&peaks, at_s * SECOND, uuid), 5 * GIB);
    }
    look(GIB, 65);
    assert_int_equal(peaks_find(&peaks, 65 * SECOND, uuid), 2 * GIB);
    look(GIB, 130);
    assert_int_equal(peaks_find(&peaks, 130 * SECOND, uuid), GIB);
    assert_true(peaks_find(&peaks, 200 * SECOND, uuid) == VRAM_UNKNOWN); /* nobody has looked */
    assert_true(peaks_find(&peaks, 130 * SECOND, "GPU-other") == VRAM_UNKNOWN);
    peaks_done(&peaks);
}

static void test_daemon_metrics__events(void **state)
{
    struct metrics_facts facts = facts_of_nothing();
    struct history_counts counts = {.gpu_count = 0};
    struct history_gpu gpu = {.id = 1, .uuid = "GPU-1"};
    struct history_event full = {.kind = HISTORY_NEARLY_FULL, .gpu = 1},
                         granted = {.kind = HISTORY_LEASE_GRANTED, .gpu = 1};
    const uint64_t commands[HOOK_RESULTS] = {[HOOK_DONE] = 7, [HOOK_DROPPED] = 2};
    (void)state;
    history_counts_meet(&counts, &(struct vram_gpu){.uuid = "GPU-1", .mig_index = VRAM_UNKNOWN});
    history_counts_meet(&counts, &(struct vram_gpu){.uuid = "MIG-2", .index = 1, .mig_index = 3});
    history_counts_meet(&counts, &(struct vram_gpu){.uuid = NULL});
    history_counts_add(&counts, &full, &gpu);
    history_counts_add(&counts, &full, &gpu);
    history_counts_add(&counts, &granted, &gpu);
    facts.counts = &counts;
    facts.commands = commands;
    facts.history_bytes = 4096;
    facts.history_since_ns = 2 * SECOND;
    write(&facts, EXPOSITION_PROMETHEUS);
    assert_has("vram_events_total{gpu=\"0\",uuid=\"GPU-1\",event=\"nearly_full\"} 2\n");
    assert_has("vram_events_total{gpu=\"0\",uuid=\"GPU-1\",event=\"gpu_lost\"} 0\n");
    assert_has("vram_events_total{gpu=\"1:3\",uuid=\"MIG-2\",event=\"process_ended\"} 0\n");
    assert_null(strstr(buf.data, "uuid=\"GPU-1\",event=\"lease_granted\""));
    assert_has("vram_lease_events_total{event=\"lease_granted\"} 1\n");
    assert_has("vram_lease_events_total{event=\"lease_squeezed\"} 0\n");
    assert_has("vram_event_commands_total{result=\"done\"} 7\n");
    assert_has("vram_event_commands_total{result=\"dropped\"} 2\n");
    assert_has("vram_history_size_bytes 4096\n");
    assert_has("vram_history_oldest_timestamp_seconds 2.000000000\n");
    assert_null(strstr(buf.data, "daemon_started"));
    history_counts_done(&counts);
}

static int tear_down(void **state)
{
    (void)state;
    buf_done(&buf);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_daemon_metrics__nothing_known),
        TEST(test_daemon_metrics__leases),
        TEST(test_daemon_metrics__collector_and_self),
        TEST(test_daemon_metrics__a_peak_is_told_for_a_minute),
        TEST(test_daemon_metrics__events),
    };
    return cmocka_run_group_tests_name("daemon_metrics", tests, NULL, tear_down);
}
