/* SPDX-License-Identifier: MIT */
/* The file of history: what comes back, what is rolled up and dropped, and files that are no good. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "daemon/history_store_inner.h"
#include "include/vram.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_S INT64_C(1795748400) /* at a whole quarter of an hour */
#define START_MS (START_S * 1000)
#define HOUR_S 3600

/* A directory with a file in it that a store has open. */
struct scene {
    const char *root;
    char path[256], problem[HISTORY_PROBLEM_MAX];
    struct history_store *store;
    struct history_batch batch;
};

static int open_at(struct scene *scene, uint64_t max_bytes, const char *boot)
{
    struct history_store_options options = {
        .path = scene->path, .max_bytes = max_bytes, .boot = boot, .now_ms = START_MS};
    return history_store_open(&options, &scene->store, scene->problem);
}

static void reopen(struct scene *scene)
{
    scene->store = history_store_close(scene->store);
    assert_int_equal(open_at(scene, 64 * MIB, "boot"), 0);
}

static int begin_scene(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    scene->root = fake_root_make();
    (void)snprintf(scene->path, sizeof(scene->path), "%s/a/b/history.db", scene->root);
    *state = scene;
    return open_at(scene, 64 * MIB, "boot") == 0 && !scene->problem[0] ? 0 : -1;
}

static int end_scene(void **state)
{
    struct scene *scene = *state;
    scene->store = history_store_close(scene->store);
    history_batch_done(&scene->batch);
    fake_root_remove(scene->root);
    free(scene);
    return 0;
}

static void add_gpu(struct scene *scene, uint32_t id)
{
    struct history_gpu gpu = {.id = id, .index = id - 1, .total_bytes = 24 * GIB, .name = "One"};
    (void)snprintf(gpu.uuid, sizeof(gpu.uuid), "GPU-%u", id);
    HISTORY_ADD(&scene->batch, gpus, gpu);
}

static void add_bucket(struct scene *scene, int64_t at_s, uint64_t low, uint64_t mean,
                       uint64_t high)
{
    struct history_bucket bucket = {.gpu = 1,
                                    .at_s = at_s,
                                    .low_bytes = low,
                                    .mean_bytes = mean,
                                    .high_bytes = high,
                                    .free_bytes = 24 * GIB - high,
                                    .weight_ms = 10000};
    HISTORY_ADD(&scene->batch, buckets, bucket);
}

static void add_change(struct scene *scene, int64_t at_ms, uint64_t used)
{
    struct history_change change = {
        .gpu = 1, .at_ms = at_ms, .used_bytes = used, .free_bytes = 24 * GIB - used};
    change.free_bytes = used == VRAM_UNKNOWN ? VRAM_UNKNOWN : change.free_bytes;
    HISTORY_ADD(&scene->batch, changes, change);
}

static void add_process(struct scene *scene, uint64_t id, const char *name, int64_t ended_ms)
{
    struct history_process process = {.id = id,
                                      .gpu = 1,
                                      .pid = (uint32_t)id,
                                      .start_time = 100 + id,
                                      .began_ms = START_MS,
                                      .ended_ms = ended_ms,
                                      .first_bytes = GIB,
                                      .last_bytes = 2 * GIB,
                                      .peak_bytes = id * GIB};
    history_text(process.name, sizeof(process.name), name);
    HISTORY_ADD(&scene->batch, processes, process);
}

static void add_step(struct scene *scene, uint64_t process, int64_t at_ms, uint64_t used)
{
    struct history_step step = {.process = process, .at_ms = at_ms, .used_bytes = used};
    HISTORY_ADD(&scene->batch, steps, step);
}

static void add_event(struct scene *scene, int64_t at_ms, uint32_t kind, const char *text)
{
    struct history_event event = {.at_ms = at_ms, .kind = kind, .gpu = 1, .bytes = VRAM_UNKNOWN};
    history_text(event.text, sizeof(event.text), text);
    HISTORY_ADD(&scene->batch, events, event);
}

static int try_write(struct scene *scene, int64_t now_ms)
{
    int r = history_store_write(scene->store, &scene->batch, now_ms);
    history_batch_clear(&scene->batch);
    return r;
}

static void write_all(struct scene *scene, int64_t now_ms)
{
    int r = try_write(scene, now_ms);
    if (r < 0) {
        fail_msg("%d: %s", r, history_store_error(scene->store));
    }
}

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
    add_gpu(scene, 1);
    for (int64_t at = START_S; at < START_S + 1800; at += 10) {
        add_bucket(scene, at, GIB, at == START_S + 100 ? 5 * GIB : 2 * GIB,
                   at == START_S + 100 ? 20 * GIB : 3 * GIB);
    }
    write_all(scene, START_MS + 1800000);
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
    add_gpu(scene, 1);
    add_bucket(scene, START_S, 2 * GIB, 4 * GIB, 6 * GIB);
    write_all(scene, START_MS + 10000);
    reopen(scene);
    add_bucket(scene, START_S, GIB, 2 * GIB, 3 * GIB); /* the clock was put back */
    write_all(scene, START_MS + 20000);
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
    add_gpu(scene, 1);
    add_change(scene, START_MS - 1000, GIB);
    add_change(scene, START_MS + 1500, 3 * GIB);
    add_change(scene, START_MS + 3000, VRAM_UNKNOWN);
    add_change(scene, START_MS + 5000, 2 * GIB);
    write_all(scene, START_MS + 7000);
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
    add_gpu(scene, 1);
    add_change(scene, START_MS, GIB);
    add_change(scene, START_MS + HOUR_S * 1000, GIB);
    write_all(scene, START_MS + HOUR_S * 1000);
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
    add_gpu(scene, 1);
    add_process(scene, 5, hostile, HISTORY_RUNNING);
    add_step(scene, 5, START_MS, GIB);
    add_step(scene, 5, START_MS + 30000, 5 * GIB);
    add_step(scene, 5, START_MS + 60000, 2 * GIB);
    add_process(scene, 9, "gone", START_MS + 5000);
    write_all(scene, START_MS + 70000);
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
    assert_int_equal(found.count, 2);
    assert_int_equal(found.intervals[0].process.id, 9); /* the largest peak first */
    assert_int_equal(found.intervals[0].to_bytes, 0);
    assert_int_equal(found.intervals[0].most_bytes, 9 * GIB);
    assert_int_equal(found.intervals[1].from_bytes, 0);
    question.gpus = ",11,";
    found.count = 0;
    assert_int_equal(history_store_processes(scene->store, &question, keep_interval, &found), 0);
    assert_int_equal(found.count, 0);
}

static void test_store__events_are_the_last_ones_with_processes_among_them(void **state)
{
    struct scene *scene = *state;
    struct found found = {0};
    add_gpu(scene, 1);
    add_event(scene, START_MS + 1000, HISTORY_NEARLY_FULL, "a");
    add_event(scene, START_MS + 2000, HISTORY_GPU_LOST, "b");
    add_process(scene, 3, "python3", START_MS + 1500);
    write_all(scene, START_MS + 3000);
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
    add_gpu(scene, 1);
    add_process(scene, 4, "python3", HISTORY_RUNNING);
    add_change(scene, START_MS, GIB);
    write_all(scene, START_MS + 20000);
    reopen(scene);
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
    add_change(scene, START_MS + 40000, GIB);
    write_all(scene, START_MS + 50000);
    assert_int_equal(point_at(scene, START_S + 10, 1).mean_bytes, GIB);
    assert_int_equal(point_at(scene, START_S + 30, 1).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S + 45, 1).mean_bytes, GIB);
}

static void test_store__after_a_boot_nothing_runs_on(void **state)
{
    struct scene *scene = *state;
    struct found found = {0};
    add_gpu(scene, 1);
    add_process(scene, 4, "python3", HISTORY_RUNNING);
    write_all(scene, START_MS);
    scene->store = history_store_close(scene->store);
    assert_int_equal(open_at(scene, 64 * MIB, "another boot"), 0);
    assert_int_equal(history_store_running(scene->store, keep_process, &found), 0);
    assert_int_equal(found.count, 0);
}

static void test_store__one_process_at_a_time_has_a_file(void **state)
{
    struct scene *scene = *state;
    struct scene other = {.root = scene->root};
    memcpy(other.path, scene->path, sizeof(other.path));
    assert_int_equal(open_at(&other, 64 * MIB, "boot"), -EBUSY);
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
        if (open_at(scene, 64 * MIB, "boot") < 0) {
            _exit(1);
        }
        for (int64_t i = 0;; i++) {
            add_gpu(scene, 1);
            for (int64_t j = 0; j < 300; j++) {
                add_bucket(scene, START_S + (i * 300 + j) * 10, GIB, GIB, GIB);
            }
            if (try_write(scene, START_MS + i) < 0 ||
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
    assert_int_equal(open_at(scene, 64 * MIB, "boot"), 0);
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
    add_gpu(scene, 1);
    add_bucket(scene, START_S, GIB, GIB, GIB);
    add_change(scene, START_MS, GIB);
    add_process(scene, 1, "old", START_MS + 1000);
    add_step(scene, 2, START_MS, GIB);
    add_step(scene, 2, START_MS + 1000, 2 * GIB);
    add_process(scene, 2, "runs", HISTORY_RUNNING);
    add_event(scene, START_MS, HISTORY_NEARLY_FULL, NULL);
    write_all(scene, START_MS);
    int64_t day_ms = INT64_C(86400000);
    assert_int_equal(history_store_prune(scene->store, START_MS + 3 * day_ms), 0);
    assert_int_equal(point_at(scene, START_S, 10).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S, 1).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S, 60).high_bytes, GIB);
    /* What still runs has held its last step since. */
    assert_int_equal(history_number(scene->store, "SELECT used FROM step", 0), 2 * GIB);
    assert_int_equal(history_store_prune(scene->store, START_MS + 40 * day_ms), 0);
    assert_int_equal(point_at(scene, START_S, 60).weight_ms, 0);
    assert_int_equal(point_at(scene, START_S, 900).high_bytes, GIB);
    assert_int_equal(history_store_prune(scene->store, START_MS + 800 * day_ms), 0);
    assert_int_equal(point_at(scene, START_S, 900).weight_ms, 0);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM event", 7), 0);
    assert_int_equal(history_number(scene->store, "SELECT max(id) FROM process", 7), 2);
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
    add_gpu(scene, 1);
    int64_t now_ms = START_MS;
    for (int i = 0; i < 120; i++) {
        for (int j = 0; j < 400; j++) {
            add_event(scene, now_ms + j, HISTORY_LEASE_GRANTED, "as long as a label may well be");
        }
        now_ms += 60000;
        write_all(scene, now_ms);
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

/* The disk is full: here, a file may not grow. */
static void test_store__a_full_disk_refuses_and_recovers(void **state)
{
    struct scene *scene = *state;
    struct rlimit before, small;
    struct stat st;
    add_gpu(scene, 1);
    add_event(scene, START_MS, HISTORY_NEARLY_FULL, "before");
    write_all(scene, START_MS);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    char wal[300];
    (void)snprintf(wal, sizeof(wal), "%s-wal", scene->path);
    assert_int_equal(stat(wal, &st), 0);
    small = (struct rlimit){(rlim_t)st.st_size + 8192, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 4000; i++) {
        add_event(scene, START_MS + i, HISTORY_LEASE_GRANTED, "what does not fit any more");
    }
    int r = history_store_write(scene->store, &scene->batch, START_MS + 5000);
    assert_true(r == -ENOSPC || r == -EIO);
    assert_false(history_store_is_damaged(scene->store));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    write_all(scene, START_MS + 6000); /* the batch was kept */
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM event", 0), 4001);
    reopen(scene);
    assert_string_equal(scene->problem, "");
}

/* ---- Files that are no good ------------------------------------------------------------------ */

static void put_file(const struct scene *scene, const char *bytes, size_t length)
{
    char wal[300];
    (void)snprintf(wal, sizeof(wal), "%s-wal", scene->path);
    (void)unlink(wal);
    int fd = open(scene->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), (ssize_t)length);
    (void)close(fd);
}

static bool exists(const struct scene *scene, const char *suffix)
{
    char path[300];
    (void)snprintf(path, sizeof(path), "%s%s", scene->path, suffix);
    return access(path, F_OK) == 0;
}

static void test_store__a_damaged_file_is_set_aside(void **state)
{
    struct scene *scene = *state;
    static const char garbage[] = "this was never a data base, whatever it is called";
    for (int i = 0; i < 3; i++) {
        scene->store = history_store_close(scene->store);
        put_file(scene, garbage, sizeof(garbage));
        assert_int_equal(open_at(scene, 64 * MIB, "boot"), 0);
        assert_non_null(strstr(scene->problem, "is damaged: it is kept as"));
        add_gpu(scene, 1);
        write_all(scene, START_MS);
    }
    assert_true(exists(scene, ".damaged") && exists(scene, ".damaged.2"));
    reopen(scene);
    assert_string_equal(scene->problem, "");
}

static void test_store__pages_that_are_torn_are_found_and_set_aside(void **state)
{
    struct scene *scene = *state;
    char zeros[4096] = "";
    add_gpu(scene, 1);
    for (int i = 0; i < 3000; i++) {
        add_bucket(scene, START_S + i * 10, GIB, GIB, GIB);
    }
    write_all(scene, START_MS);
    scene->store = history_store_close(scene->store);
    int fd = open(scene->path, O_WRONLY);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    memset(zeros, 0x5a, sizeof(zeros));
    for (off_t at = 4096; at < st.st_size; at += 4096) {
        assert_int_equal(pwrite(fd, zeros, sizeof(zeros), at), sizeof(zeros));
    }
    (void)close(fd);
    assert_int_equal(open_at(scene, 64 * MIB, "boot"), 0);
    assert_true(exists(scene, ".damaged"));
}

static void test_store__damage_that_shows_later_is_told(void **state)
{
    struct scene *scene = *state;
    char problem[HISTORY_PROBLEM_MAX];
    add_gpu(scene, 1);
    write_all(scene, START_MS);
    assert_int_equal(history_run(scene->store, "DROP TABLE event"), 0);
    add_event(scene, START_MS, HISTORY_NEARLY_FULL, NULL);
    assert_int_equal(try_write(scene, START_MS), -EBADMSG);
    assert_true(history_store_is_damaged(scene->store));
    history_store_set_aside(scene->store, problem);
    scene->store = NULL;
    assert_non_null(strstr(problem, "it is kept as"));
    assert_true(exists(scene, ".damaged") && !exists(scene, ""));
}

static void test_store__a_newer_file_is_kept_for_whom_it_is(void **state)
{
    struct scene *scene = *state;
    add_gpu(scene, 7);
    write_all(scene, START_MS);
    assert_int_equal(history_run(scene->store, "PRAGMA user_version = 2"), 0);
    reopen(scene);
    assert_non_null(strstr(scene->problem, "was written by a newer vram: it is kept as"));
    assert_true(exists(scene, ".newer"));
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM gpu", 7), 0);
}

static void test_store__what_is_something_else_is_left_alone(void **state)
{
    struct scene *scene = *state;
    scene->store = history_store_close(scene->store);
    (void)snprintf(scene->path, sizeof(scene->path), "%s/a/passwd", scene->root);
    put_file(scene, "root:x:0:0:root:/root:/bin/sh\n", 30);
    assert_int_equal(open_at(scene, 64 * MIB, "boot"), -EEXIST);
    assert_non_null(strstr(scene->problem, "it is something else"));
    assert_true(exists(scene, "") && !exists(scene, ".damaged"));

    (void)snprintf(scene->path, sizeof(scene->path), "%s/a/other.db", scene->root);
    sqlite3 *other;
    assert_int_equal(sqlite3_open(scene->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(open_at(scene, 64 * MIB, "boot"), -EEXIST);

    (void)snprintf(scene->path, sizeof(scene->path), "%s/a", scene->root);
    assert_int_equal(open_at(scene, 64 * MIB, "boot"), -EEXIST);
}

static void test_store__a_place_that_cannot_be_written_is_told(void **state)
{
    struct scene *scene = *state;
    scene->store = history_store_close(scene->store);
    (void)snprintf(scene->path, sizeof(scene->path), "/proc/nowhere/history.db");
    assert_true(open_at(scene, 64 * MIB, "boot") < 0);
    assert_non_null(strstr(scene->problem, "/proc/nowhere/history.db"));
    (void)snprintf(scene->path, sizeof(scene->path), "%s/a/b/history.db", scene->root);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, begin_scene, end_scene)

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
        SCENE(test_store__a_full_disk_refuses_and_recovers),
        SCENE(test_store__a_damaged_file_is_set_aside),
        SCENE(test_store__pages_that_are_torn_are_found_and_set_aside),
        SCENE(test_store__damage_that_shows_later_is_told),
        SCENE(test_store__a_newer_file_is_kept_for_whom_it_is),
        SCENE(test_store__what_is_something_else_is_left_alone),
        SCENE(test_store__a_place_that_cannot_be_written_is_told),
    };
    return cmocka_run_group_tests_name("history_store", tests, NULL, NULL);
}
