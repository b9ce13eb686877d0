/* SPDX-License-Identifier: MIT */
/* The file of history: what comes back, what is rolled up, and what is dropped. */
#include "tests/unit/history_rig.h"
#include "tests/unit/unit.h"

#include "include/vram.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOUR_S 3600

static struct history_point point_at(struct scene *scene, int64_t from_s, uint64_t step_s)
{
    struct history_point point;
    assert_int_equal(history_store_memory(scene->store, 1, from_s, step_s, 1, &point), 0);
    return point;
}

/* ---- What comes back ------------------------------------------------------------------------- */

static void test_store__peaks_survive_every_tier(void **state)
{
    struct scene *scene = *state;
    scene_add_gpu(scene, 1);
    for (int64_t at = START_S; at < START_S + 1800; at += 10) {
        scene_add_bucket(scene, at, GIB, at == START_S + 100 ? 5 * GIB : 2 * GIB,
                         at == START_S + 100 ? 20 * GIB : 3 * GIB);
    }
    scene_write(scene, START_MS + 1800000);
    static const uint64_t steps[] = {10, 60, 900};
    for (size_t i = 0; i < ARRAY_LENGTH(steps); i++) {
        int64_t from_s = START_S + 100 - (START_S + 100) % (int64_t)steps[i];
        struct history_point point = point_at(scene, from_s, steps[i]);
        assert_int_equal(point.high_bytes, 20 * GIB);
        assert_int_equal(point.low_bytes, GIB);
        assert_int_equal(point.free_bytes, 4 * GIB);
        assert_int_equal(point.weight_ms, steps[i] * 1000);
    }
    assert_int_equal(point_at(scene, START_S + 60, 60).mean_bytes, 2 * GIB + GIB / 2);
    assert_int_equal(point_at(scene, START_S + 1800, 900).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S + 1800, 900).high_bytes, VRAM_UNKNOWN);
}

static void test_store__buckets_of_the_same_time_add_up(void **state)
{
    struct scene *scene = *state;
    scene_add_gpu(scene, 1);
    scene_add_bucket(scene, START_S, 2 * GIB, 4 * GIB, 6 * GIB);
    scene_write(scene, START_MS + 10000);
    scene_reopen(scene);
    scene_add_bucket(scene, START_S, GIB, 2 * GIB, 3 * GIB); /* the clock was put back */
    scene_write(scene, START_MS + 20000);
    static const uint64_t steps[] = {10, 60, 900};
    for (size_t i = 0; i < ARRAY_LENGTH(steps); i++) {
        struct history_point point = point_at(scene, START_S, steps[i]);
        assert_int_equal(point.low_bytes, GIB);
        assert_int_equal(point.mean_bytes, 3 * GIB);
        assert_int_equal(point.high_bytes, 6 * GIB);
        assert_int_equal(point.weight_ms, 20000);
    }
}

static void test_store__changes_hold_until_the_next_and_gaps_stay(void **state)
{
    struct scene *scene = *state;
    struct history_point points[8];
    scene_add_gpu(scene, 1);
    scene_add_change(scene, START_MS - 1000, GIB);
    scene_add_change(scene, START_MS + 1500, 3 * GIB);
    scene_add_change(scene, START_MS + 3000, VRAM_UNKNOWN);
    scene_add_change(scene, START_MS + 5000, 2 * GIB);
    scene_write(scene, START_MS + 7000);
    assert_int_equal(history_store_memory(scene->store, 1, START_S, 1, 8, points), 0);
    assert_int_equal(points[0].high_bytes, GIB);
    assert_int_equal(points[1].low_bytes, GIB);
    assert_int_equal(points[1].mean_bytes, 2 * GIB);
    assert_int_equal(points[1].high_bytes, 3 * GIB);
    assert_int_equal(points[1].free_bytes, 21 * GIB);
    assert_int_equal(points[2].low_bytes, 3 * GIB);
    assert_int_equal(points[3].weight_ms, 0);
    assert_int_equal(points[4].weight_ms, 0);
    assert_int_equal(points[6].mean_bytes, 2 * GIB);
    assert_int_equal(points[7].weight_ms, 0); /* has not been yet */
}

static void test_store__a_change_does_not_hold_for_ever(void **state)
{
    struct scene *scene = *state;
    scene_add_gpu(scene, 1);
    scene_add_change(scene, START_MS, GIB);
    scene_add_change(scene, START_MS + HOUR_S * 1000, GIB);
    scene_write(scene, START_MS + HOUR_S * 1000);
    assert_int_equal(point_at(scene, START_S + 60, 1).mean_bytes, GIB);
    assert_int_equal(point_at(scene, START_S + 600, 1).weight_ms, 0);
}

struct found {
    size_t count;
    struct history_interval intervals[8];
    struct history_event events[16];
    struct history_process processes[8];
};

static void keep_interval(void *data, const struct history_interval *interval)
{
    struct found *found = data;
    found->intervals[found->count++] = *interval;
}

static void keep_event(void *data, const struct history_event *event)
{
    struct found *found = data;
    found->events[found->count++] = *event;
}

static void keep_process(void *data, const struct history_process *process)
{
    struct found *found = data;
    found->processes[found->count++] = *process;
}

static void test_store__processes_say_what_they_held_at_both_ends(void **state)
{
    struct scene *scene = *state;
    struct found found = {0};
    const char *hostile = "'); DROP TABLE process; --";
    scene_add_gpu(scene, 1);
    scene_add_process(scene, 5, hostile, HISTORY_RUNNING);
    scene_add_step(scene, 5, START_MS, GIB);
    scene_add_step(scene, 5, START_MS + 30000, 5 * GIB);
    scene_add_step(scene, 5, START_MS + 60000, 2 * GIB);
    scene_add_process(scene, 9, "gone", START_MS + 5000);
    scene_add_process(scene, 8, "was there", START_MS + 5000);
    scene->batch.processes.rows[2].was_running = true;
    scene_write(scene, START_MS + 70000);
    struct history_question question = {
        .from_ms = START_MS + 10000, .to_ms = START_MS + 65000, .gpus = ",1,", .limit = 10};
    assert_int_equal(history_store_processes(scene->store, &question, keep_interval, &found), 0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.intervals[0].process.name, hostile);
    assert_int_equal(found.intervals[0].process.ended_ms, HISTORY_RUNNING);
    assert_int_equal(found.intervals[0].from_bytes, GIB);
    assert_int_equal(found.intervals[0].to_bytes, 2 * GIB);
    assert_int_equal(found.intervals[0].most_bytes, 5 * GIB);
    question.from_ms = START_MS - 1000;
    found.count = 0;
    assert_int_equal(history_store_processes(scene->store, &question, keep_interval, &found), 0);
    assert_int_equal(found.count, 3);
    assert_int_equal(found.intervals[1].from_bytes, VRAM_UNKNOWN);
    assert_int_equal(found.intervals[0].process.id, 9); /* the largest peak first */
    assert_int_equal(found.intervals[0].to_bytes, 0);
    assert_int_equal(found.intervals[0].most_bytes, 9 * GIB);
    assert_int_equal(found.intervals[2].from_bytes, 0);
    question.gpus = ",11,";
    found.count = 0;
    assert_int_equal(history_store_processes(scene->store, &question, keep_interval, &found), 0);
    assert_int_equal(found.count, 0);
}

static void test_store__events_are_the_last_ones_with_processes_among_them(void **state)
{
    struct scene *scene = *state;
    struct found found = {0};
    scene_add_gpu(scene, 1);
    scene_add_event(scene, START_MS + 1000, HISTORY_NEARLY_FULL, "a");
    scene_add_event(scene, START_MS + 2000, HISTORY_GPU_LOST, "b");
    scene_add_process(scene, 3, "python3", START_MS + 1500);
    scene_write(scene, START_MS + 3000);
    struct history_question question = {
        .from_ms = START_MS, .to_ms = START_MS + 3000, .gpus = "", .limit = 3};
    assert_int_equal(history_store_events(scene->store, &question, UINT32_MAX, keep_event, &found),
                     0);
    assert_int_equal(found.count, 3);
    assert_int_equal(found.events[0].kind, HISTORY_GPU_LOST);
    assert_int_equal(found.events[1].kind, HISTORY_PROCESS_ENDED);
    assert_int_equal(found.events[1].bytes, 3 * GIB);
    assert_int_equal(found.events[2].kind, HISTORY_NEARLY_FULL);
    found.count = 0;
    assert_int_equal(history_store_events(scene->store, &question, 1u << HISTORY_PROCESS_STARTED,
                                          keep_event, &found),
                     0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.events[0].name, "python3");
}

/* ---- Restarts -------------------------------------------------------------------------------- */

static void test_store__what_ran_is_cut_where_it_was_last_seen(void **state)
{
    struct scene *scene = *state;
    struct found found = {0};
    scene_add_gpu(scene, 1);
    scene_add_process(scene, 4, "python3", HISTORY_RUNNING);
    scene_add_change(scene, START_MS, GIB);
    scene_write(scene, START_MS + 20000);
    scene_reopen(scene);
    assert_int_equal(history_store_alive_ms(scene->store), START_MS + 20000);
    assert_int_equal(history_store_since_ms(scene->store), START_MS);
    assert_int_equal(history_store_last_process(scene->store), 4);
    assert_int_equal(history_store_running(scene->store, keep_process, &found), 0);
    assert_int_equal(found.count, 1);
    assert_int_equal(history_store_cut(scene->store), 0);
    assert_int_equal(history_store_cut(scene->store), 0);
    found.count = 0;
    assert_int_equal(history_store_running(scene->store, keep_process, &found), 0);
    assert_int_equal(found.count, 0);
    scene_add_change(scene, START_MS + 40000, GIB);
    scene_write(scene, START_MS + 50000);
    assert_int_equal(point_at(scene, START_S + 10, 1).mean_bytes, GIB);
    assert_int_equal(point_at(scene, START_S + 30, 1).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S + 45, 1).mean_bytes, GIB);
}

static void test_store__after_a_boot_nothing_runs_on(void **state)
{
    struct scene *scene = *state;
    struct found found = {0};
    scene_add_gpu(scene, 1);
    scene_add_process(scene, 4, "python3", HISTORY_RUNNING);
    scene_write(scene, START_MS);
    scene->store = history_store_close(scene->store);
    assert_int_equal(scene_open(scene, 64 * MIB, "another boot"), 0);
    assert_int_equal(history_store_running(scene->store, keep_process, &found), 0);
    assert_int_equal(found.count, 0);
}

static void test_store__one_process_at_a_time_has_a_file(void **state)
{
    struct scene *scene = *state;
    struct scene other = {.root = scene->root};
    memcpy(other.path, scene->path, sizeof(other.path));
    assert_int_equal(scene_open(&other, 64 * MIB, "boot"), -EBUSY);
    assert_non_null(strstr(other.problem, "another daemon writes it"));
}

/* A child writes without end and is killed in the middle. */
static void test_store__a_kill_in_the_middle_loses_what_was_not_written_alone(void **state)
{
    struct scene *scene = *state;
    scene->store = history_store_close(scene->store);
    int pipe_fds[2];
    char byte;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        if (scene_open(scene, 64 * MIB, "boot") < 0) {
            _exit(1);
        }
        for (int64_t i = 0;; i++) {
            scene_add_gpu(scene, 1);
            for (int64_t j = 0; j < 300; j++) {
                scene_add_bucket(scene, START_S + (i * 300 + j) * 10, GIB, GIB, GIB);
            }
            if (scene_try_write(scene, START_MS + i) < 0 ||
                (i >= 20 && write(pipe_fds[1], "x", 1) != 1)) {
                _exit(1);
            }
        }
    }
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    assert_int_equal(scene_open(scene, 64 * MIB, "boot"), 0);
    assert_string_equal(scene->problem, "");
    int64_t count = history_number(scene->store, "SELECT count(*) FROM bucket WHERE tier = 10", 0);
    assert_true(count >= 20 * 300);
    assert_int_equal(count % 300, 0); /* whole transactions */
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM bucket WHERE tier = 60", 0),
                     count / 6);
}

/* ---- Bounds ---------------------------------------------------------------------------------- */

static void test_store__what_is_too_old_goes(void **state)
{
    struct scene *scene = *state;
    scene_add_gpu(scene, 1);
    scene_add_bucket(scene, START_S, GIB, GIB, GIB);
    scene_add_change(scene, START_MS, GIB);
    scene_add_process(scene, 1, "old", START_MS + 1000);
    scene_add_step(scene, 2, START_MS, GIB);
    scene_add_step(scene, 2, START_MS + 1000, 2 * GIB);
    scene_add_process(scene, 2, "runs", HISTORY_RUNNING);
    scene_add_event(scene, START_MS, HISTORY_NEARLY_FULL, NULL);
    for (int i = 0; i < 3; i++) {
        struct history_look look = {.gpu = 1, .at_ms = START_MS + i * 1000, .seen = i != 1};
        HISTORY_ADD(&scene->batch, looks, look);
    }
    struct history_member member = {.process = 1, .at_ms = START_MS, .lease = "one"};
    HISTORY_ADD(&scene->batch, members, member);
    scene_write(scene, START_MS);
    int64_t day_ms = INT64_C(86400000);
    assert_int_equal(history_store_prune(scene->store, START_MS + 3 * day_ms), 0);
    assert_int_equal(point_at(scene, START_S, 10).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S, 1).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S, 60).high_bytes, GIB);
    assert_int_equal(history_number(scene->store, "SELECT max(used) FROM step", 0), 2 * GIB);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM look", 0), 3);
    assert_int_equal(history_store_prune(scene->store, START_MS + 40 * day_ms), 0);
    assert_int_equal(point_at(scene, START_S, 60).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S, 900).high_bytes, GIB);
    assert_int_equal(history_store_prune(scene->store, START_MS + 800 * day_ms), 0);
    assert_int_equal(point_at(scene, START_S, 900).weight_ms, 0);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM event", 7), 0);
    assert_int_equal(history_number(scene->store, "SELECT max(id) FROM process", 7), 2);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM member", 7), 0);
    /* It is still looked at, as the last row says. */
    assert_int_equal(history_number(scene->store, "SELECT at FROM look", 7), START_MS + 2000);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM look", 7), 1);
}

static uint64_t size_on_disk(const struct scene *scene)
{
    static const char *const suffixes[] = {"", "-wal"};
    uint64_t size = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
        char path[300];
        struct stat st;
        (void)snprintf(path, sizeof(path), "%s%s", scene->path, suffixes[i]);
        size += stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    }
    return size;
}

static void test_store__too_much_is_cut_from_the_oldest(void **state)
{
    struct scene *scene = *state;
    const uint64_t most = 3 * MIB;
    history_store_bound(scene->store, most);
    scene_add_gpu(scene, 1);
    int64_t now_ms = START_MS;
    for (int i = 0; i < 120; i++) {
        for (int j = 0; j < 400; j++) {
            scene_add_event(scene, now_ms + j, HISTORY_LEASE_GRANTED,
                            "as long as a label may well be");
        }
        now_ms += 60000;
        scene_write(scene, now_ms);
        if (i % 10 == 0) {
            assert_int_equal(history_store_prune(scene->store, now_ms), 0);
        }
        assert_true(history_store_bytes(scene->store) <= most);
        assert_true(size_on_disk(scene) <= most + 2 * MIB);
    }
    int64_t oldest = history_number(scene->store, "SELECT min(at) FROM event", 0);
    int64_t newest = history_number(scene->store, "SELECT max(at) FROM event", 0);
    assert_true(oldest > START_MS + 1000000);
    assert_int_equal(newest, now_ms - 60000 + 399);
}

/* Another connection, as the one that brings the log into the file, is at it: that is told at once, and nothing is lost. */
static void test_store__who_writes_beside_it_is_not_waited_for(void **state)
{
    struct scene *scene = *state;
    sqlite3 *other;
    scene_add_gpu(scene, 1);
    scene_add_event(scene, START_MS, HISTORY_NEARLY_FULL, "first");
    history_store_wait(scene->store, 0);
    assert_int_equal(sqlite3_open(scene->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(history_store_write(scene->store, &scene->batch, START_MS), -EBUSY);
    assert_false(history_store_is_damaged(scene->store));
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    scene_write(scene, START_MS);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM event", 0), 1);
}

/* What is in the log gets into the file without the writer, which never begins the log anew itself. */
static void test_store__the_log_is_brought_into_the_file_beside_it(void **state)
{
    struct scene *scene = *state;
    scene_add_gpu(scene, 1);
    for (int i = 0; i < 100; i++) {
        for (int j = 0; j < 100; j++) {
            scene_add_event(scene, START_MS + i * 100 + j, HISTORY_LEASE_GRANTED, "a label");
        }
        scene_write(scene, START_MS + i);
        while (scene->store->log_pages >= HISTORY_LOG_PAGES &&
               history_sync_is_busy(scene->store->sync)) {
            (void)usleep(1000);
        }
    }
    assert_true(history_number(scene->store, "SELECT value FROM meta WHERE key = 'logs'", 0) > 0);
    scene_reopen(scene);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM event", 0), 10000);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM pragma_integrity_check", 0),
                     1); /* "ok" */
}

/* The disk is full: here, a file may not grow. */
static void test_store__a_full_disk_refuses_and_recovers(void **state)
{
    struct scene *scene = *state;
    struct rlimit before, small;
    struct stat st;
    scene_add_gpu(scene, 1);
    scene_add_event(scene, START_MS, HISTORY_NEARLY_FULL, "before");
    scene_write(scene, START_MS);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    char wal[300];
    (void)snprintf(wal, sizeof(wal), "%s-wal", scene->path);
    assert_int_equal(stat(wal, &st), 0);
    small = (struct rlimit){(rlim_t)st.st_size + 8192, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 4000; i++) {
        scene_add_event(scene, START_MS + i, HISTORY_LEASE_GRANTED, "what does not fit any more");
    }
    int r = history_store_write(scene->store, &scene->batch, START_MS + 5000);
    assert_true(r == -ENOSPC || r == -EIO);
    assert_false(history_store_is_damaged(scene->store));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    scene_write(scene, START_MS + 6000); /* the batch was kept */
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM event", 0), 4001);
    scene_reopen(scene);
    assert_string_equal(scene->problem, "");
}

/* ---- Files of earlier versions --------------------------------------------------------------- */

#define WITHOUT_4 "DROP TABLE member; DROP TABLE resize; DROP TABLE look;"
#define WITHOUT_3                                                                                  \
    "DROP INDEX lease_label;"                                                                      \
    "ALTER TABLE lease DROP COLUMN peak; ALTER TABLE lease DROP COLUMN room;"                      \
    "ALTER TABLE lease DROP COLUMN total; ALTER TABLE lease DROP COLUMN whole;"                    \
    "ALTER TABLE lease DROP COLUMN steady;"
#define WITHOUT_2 "ALTER TABLE gpu DROP COLUMN mig;"

static void keep_lease(void *data, const struct history_lease *lease)
{
    *(struct history_lease *)data = *lease;
}

static void add_lease(struct scene *scene, const char *id, uint64_t peak)
{
    struct history_lease lease = {.size_bytes = GIB,
                                  .asked_ms = START_MS,
                                  .granted_ms = START_MS,
                                  .ended_ms = START_MS + 1000,
                                  .peak_bytes = peak,
                                  .steady_bytes = peak - GIB,
                                  .room_bytes = 20 * GIB,
                                  .total_bytes = 24 * GIB,
                                  .whole = true};
    history_text(lease.id, sizeof(lease.id), id);
    HISTORY_ADD(&scene->batch, leases, lease);
}

/* What was in it is there, what it did not know is unknown, and what is new can be kept. */
static void check_upgrade(struct scene *scene, const char *before)
{
    struct history_question question = {
        .from_ms = START_MS, .to_ms = START_MS + 5000, .gpus = "", .limit = 1};
    struct history_lease lease = {0};
    scene_add_gpu(scene, 1);
    scene_add_event(scene, START_MS, HISTORY_NEARLY_FULL, "kept");
    add_lease(scene, "old", 3 * GIB);
    scene_write(scene, START_MS);
    assert_int_equal(history_run(scene->store, before), 0);
    scene_reopen(scene);
    assert_string_equal(scene->problem, "");
    assert_int_equal(history_number(scene->store, "PRAGMA user_version", 0), HISTORY_SCHEMA);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM event", 0), 1);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM gpu", 0), 1);
    assert_int_equal(history_store_leases(scene->store, &question, keep_lease, &lease), 0);
    assert_string_equal(lease.id, "old");
    assert_int_equal(lease.peak_bytes, VRAM_UNKNOWN);
    assert_int_equal(lease.steady_bytes, VRAM_UNKNOWN);
    assert_false(lease.whole);
    add_lease(scene, "old", 5 * GIB);
    scene_write(scene, START_MS + 2000);
    assert_int_equal(history_store_leases(scene->store, &question, keep_lease, &lease), 0);
    assert_int_equal(lease.peak_bytes, 5 * GIB);
    assert_int_equal(lease.steady_bytes, 4 * GIB);
    assert_true(lease.whole);
}

static void test_store__a_file_of_version_1_becomes_one_of_now(void **state)
{
    check_upgrade(*state, WITHOUT_4 WITHOUT_3 WITHOUT_2 "PRAGMA user_version = 1");
    struct scene *scene = *state;
    assert_int_equal(history_number(scene->store, "SELECT count(mig) FROM gpu", 7), 0);
}

static void test_store__a_file_of_version_2_becomes_one_of_now(void **state)
{
    check_upgrade(*state, WITHOUT_4 WITHOUT_3 "PRAGMA user_version = 2");
}

/* The step that fails leaves the file as the one before it made it, so that another vram can go on from there. */
static void test_store__an_upgrade_is_whole_or_is_not(void **state)
{
    struct scene *scene = *state;
    sqlite3 *file;
    sqlite3_stmt *version;
    assert_int_equal(history_run(scene->store,
                                 WITHOUT_3 WITHOUT_2 "ALTER TABLE lease ADD COLUMN whole INTEGER;"
                                                     "PRAGMA user_version = 1"),
                     0);
    scene->store = history_store_close(scene->store);
    assert_true(scene_open(scene, 64 * MIB, "boot") < 0);
    assert_non_null(strstr(scene->problem, "duplicate column name: whole"));
    assert_int_equal(sqlite3_open(scene->path, &file), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(file, "PRAGMA user_version", -1, &version, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(version), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(version, 0), 2);
    assert_int_equal(sqlite3_finalize(version), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(file, "SELECT mig FROM gpu", -1, &version, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_finalize(version), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(file, "SELECT peak FROM lease", -1, &version, NULL),
                     SQLITE_ERROR);
    assert_int_equal(sqlite3_close(file), SQLITE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_store__peaks_survive_every_tier),
        SCENE(test_store__buckets_of_the_same_time_add_up),
        SCENE(test_store__changes_hold_until_the_next_and_gaps_stay),
        SCENE(test_store__a_change_does_not_hold_for_ever),
        SCENE(test_store__processes_say_what_they_held_at_both_ends),
        SCENE(test_store__events_are_the_last_ones_with_processes_among_them),
        SCENE(test_store__what_ran_is_cut_where_it_was_last_seen),
        SCENE(test_store__after_a_boot_nothing_runs_on),
        SCENE(test_store__one_process_at_a_time_has_a_file),
        SCENE(test_store__a_kill_in_the_middle_loses_what_was_not_written_alone),
        SCENE(test_store__what_is_too_old_goes),
        SCENE(test_store__too_much_is_cut_from_the_oldest),
        SCENE(test_store__who_writes_beside_it_is_not_waited_for),
        SCENE(test_store__the_log_is_brought_into_the_file_beside_it),
        SCENE(test_store__a_full_disk_refuses_and_recovers),
        SCENE(test_store__a_file_of_version_1_becomes_one_of_now),
        SCENE(test_store__a_file_of_version_2_becomes_one_of_now),
        SCENE(test_store__an_upgrade_is_whole_or_is_not),
    };
    return cmocka_run_group_tests_name("history_store", tests, NULL, NULL);
}
