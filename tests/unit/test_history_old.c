/* SPDX-License-Identifier: MIT */
/* What becomes of steps that are old, and of a file that is. */
#include "tests/unit/history_rig.h"
#include "tests/unit/unit.h"

#include "include/vram.h"

#define HOUR_MS INT64_C(3600000)

/* Bytes times milliseconds that a process has held, by its steps. */
static double held_until(struct history_store *store, int64_t until_ms)
{
    double held = 0;
    int64_t at_ms = until_ms, used = 0;
    sqlite3_stmt *statement =
        history_prepare(store, "SELECT at, used FROM step WHERE process = 1 ORDER BY at");
    while (history_next(store, statement) == 1) {
        int64_t next_ms = sqlite3_column_int64(statement, 0);
        held += (double)used * (double)(next_ms - at_ms);
        at_ms = next_ms;
        used = sqlite3_column_int64(statement, 1);
    }
    (void)sqlite3_finalize(statement);
    return held + (double)used * (double)(until_ms - at_ms);
}

static void test_old__steps_are_fewer_and_come_to_the_same(void **state)
{
    struct scene *scene = *state;
    const int64_t until_ms = START_MS + 3 * HOUR_MS;
    scene_add_gpu(scene, 1);
    scene_add_process(scene, 1, "one", HISTORY_RUNNING);
    scene_add_step(scene, 1, START_MS + 100000, 3 * GIB);
    for (int i = 0; i < 500; i++) { /* over an hour and a half */
        scene_add_step(scene, 1, START_MS + 200000 + i * INT64_C(10007),
                       (uint64_t)(i * 7 % 13) * GIB);
    }
    scene_add_step(scene, 1, START_MS + 8000000, VRAM_UNKNOWN); /* with what is around it */
    scene_add_step(scene, 1, START_MS + 8000001, GIB);
    scene_add_step(scene, 1, START_MS + 8000002, 2 * GIB);
    scene_write(scene, START_MS);
    double held = held_until(scene->store, until_ms);
    int64_t now_ms = START_MS + 48 * HOUR_MS + 4500000;
    assert_int_equal(history_store_prune(scene->store, now_ms), 0);
    /* Five quarters are over for so long, and what is younger is as it was. */
    assert_int_equal(history_number(scene->store,
                                    "SELECT count(*) FROM step WHERE at < 1795748400000 + 4500000",
                                    0),
                     10);
    assert_true(history_number(scene->store, "SELECT count(*) FROM step", 0) > 60);
    double thinned = held_until(scene->store, until_ms);
    assert_true(thinned - held < 1e-9 * held && held - thinned < 1e-9 * held);
    assert_int_equal(history_store_prune(scene->store, now_ms + 48 * HOUR_MS), 0);
    assert_int_equal(history_store_prune(scene->store, now_ms + 48 * HOUR_MS), 0);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM step", 0), 12 + 3);
    thinned = held_until(scene->store, until_ms);
    assert_true(thinned - held < 1e-9 * held && held - thinned < 1e-9 * held);
}

/* However many there are, they are looked at in turn. */
static void test_old__steps_go_a_few_processes_at_a_time(void **state)
{
    struct scene *scene = *state;
    const int processes = 300, steps = 5;
    int64_t after_ms = START_MS + 72 * HOUR_MS;
    scene_add_gpu(scene, 1);
    for (int i = 1; i <= processes; i++) {
        scene_add_process(scene, (uint64_t)i, "one", HISTORY_RUNNING);
        for (int j = 0; j < steps; j++) {
            scene_add_step(scene, (uint64_t)i, START_MS + j * 10000, GIB);
        }
    }
    scene_write(scene, START_MS);
    int64_t left = processes * steps;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(history_store_prune(scene->store, after_ms), 0);
        int64_t now = history_number(scene->store, "SELECT count(*) FROM step", 0);
        assert_true(now < left);
        assert_true(i == 2 || now > processes * 2);
        left = now;
    }
    assert_int_equal(left, processes * 2); /* the first and the last of the quarter */
    assert_int_equal(history_store_prune(scene->store, after_ms), 0);
    assert_int_equal(
        history_number(scene->store, "SELECT count(*) FROM step WHERE at = 1795748440000", 0),
        processes);
}

static void test_old__a_file_of_version_3_becomes_one_of_now(void **state)
{
    struct scene *scene = *state;
    struct history_look look = {.gpu = 1, .at_ms = START_MS, .seen = true};
    struct history_resize resize = {.lease = "one", .at_ms = START_MS, .was_bytes = GIB};
    scene_add_process(scene, 1, "kept", HISTORY_RUNNING);
    scene_write(scene, START_MS);
    assert_int_equal(history_run(scene->store, "DROP TABLE member; DROP TABLE resize;"
                                               "DROP TABLE look; PRAGMA user_version = 3"),
                     0);
    scene_reopen(scene);
    assert_string_equal(scene->problem, "");
    assert_int_equal(history_number(scene->store, "PRAGMA user_version", 0), HISTORY_SCHEMA);
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM process", 0), 1);
    HISTORY_ADD(&scene->batch, looks, look);
    HISTORY_ADD(&scene->batch, resizes, resize);
    scene_write(scene, START_MS);
    assert_int_equal(history_number(scene->store, "SELECT seen FROM look", 7), 1);
    assert_int_equal(history_number(scene->store, "SELECT was FROM resize", 7), (int64_t)GIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_old__steps_are_fewer_and_come_to_the_same),
        SCENE(test_old__steps_go_a_few_processes_at_a_time),
        SCENE(test_old__a_file_of_version_3_becomes_one_of_now),
    };
    return cmocka_run_group_tests_name("history_old", tests, NULL, NULL);
}
