/* SPDX-License-Identifier: MIT */
/* Files of history that are no good: set aside, left alone, told. */
#include "tests/unit/history_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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

static void test_damage__a_damaged_file_is_set_aside(void **state)
{
    struct scene *scene = *state;
    static const char garbage[] = "this was never a data base, whatever it is called";
    for (int i = 0; i < 3; i++) {
        scene->store = history_store_close(scene->store);
        put_file(scene, garbage, sizeof(garbage));
        assert_int_equal(scene_open(scene, 64 * MIB, "boot"), 0);
        assert_non_null(strstr(scene->problem, "is damaged: it is kept as"));
        scene_add_gpu(scene, 1);
        scene_write(scene, START_MS);
    }
    assert_true(exists(scene, ".damaged") && exists(scene, ".damaged.2"));
    scene_reopen(scene);
    assert_string_equal(scene->problem, "");
}

static void test_damage__pages_that_are_torn_are_found_and_set_aside(void **state)
{
    struct scene *scene = *state;
    char zeros[4096] = "";
    scene_add_gpu(scene, 1);
    for (int i = 0; i < 3000; i++) {
        scene_add_bucket(scene, START_S + i * 10, GIB, GIB, GIB);
    }
    scene_write(scene, START_MS);
    scene->store = history_store_close(scene->store);
    int fd = open(scene->path, O_WRONLY);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    memset(zeros, 0x5a, sizeof(zeros));
    for (off_t at = 4096; at < st.st_size; at += 4096) {
        assert_int_equal(pwrite(fd, zeros, sizeof(zeros), at), sizeof(zeros));
    }
    (void)close(fd);
    assert_int_equal(scene_open(scene, 64 * MIB, "boot"), 0);
    assert_true(exists(scene, ".damaged"));
}

static void test_damage__damage_that_shows_later_is_told(void **state)
{
    struct scene *scene = *state;
    char problem[HISTORY_PROBLEM_MAX];
    scene_add_gpu(scene, 1);
    scene_write(scene, START_MS);
    assert_int_equal(history_run(scene->store, "DROP TABLE event"), 0);
    scene_add_event(scene, START_MS, HISTORY_NEARLY_FULL, NULL);
    assert_int_equal(scene_try_write(scene, START_MS), -EBADMSG);
    assert_true(history_store_is_damaged(scene->store));
    history_store_set_aside(scene->store, problem);
    scene->store = NULL;
    assert_non_null(strstr(problem, "it is kept as"));
    assert_true(exists(scene, ".damaged") && !exists(scene, ""));
}

static void test_damage__a_newer_file_is_kept_for_whom_it_is(void **state)
{
    struct scene *scene = *state;
    scene_add_gpu(scene, 7);
    scene_write(scene, START_MS);
    assert_int_equal(history_run(scene->store, "PRAGMA user_version = 99"), 0);
    scene_reopen(scene);
    assert_non_null(strstr(scene->problem, "was written by a newer vram: it is kept as"));
    assert_true(exists(scene, ".newer"));
    assert_int_equal(history_number(scene->store, "SELECT count(*) FROM gpu", 7), 0);
}

static void test_damage__what_is_something_else_is_left_alone(void **state)
{
    struct scene *scene = *state;
    scene->store = history_store_close(scene->store);
    (void)snprintf(scene->path, sizeof(scene->path), "%s/a/passwd", scene->root);
    put_file(scene, "root:x:0:0:root:/root:/bin/sh\n", 30);
    assert_int_equal(scene_open(scene, 64 * MIB, "boot"), -EEXIST);
    assert_non_null(strstr(scene->problem, "it is something else"));
    assert_true(exists(scene, "") && !exists(scene, ".damaged"));

    (void)snprintf(scene->path, sizeof(scene->path), "%s/a/other.db", scene->root);
    sqlite3 *other;
    assert_int_equal(sqlite3_open(scene->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(scene_open(scene, 64 * MIB, "boot"), -EEXIST);

    (void)snprintf(scene->path, sizeof(scene->path), "%s/a", scene->root);
    assert_int_equal(scene_open(scene, 64 * MIB, "boot"), -EEXIST);
}

static void test_damage__a_place_that_cannot_be_written_is_told(void **state)
{
    struct scene *scene = *state;
    scene->store = history_store_close(scene->store);
    (void)snprintf(scene->path, sizeof(scene->path), "/proc/nowhere/history.db");
    assert_true(scene_open(scene, 64 * MIB, "boot") < 0);
    assert_non_null(strstr(scene->problem, "/proc/nowhere/history.db"));
    (void)snprintf(scene->path, sizeof(scene->path), "%s/a/b/history.db", scene->root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_damage__a_damaged_file_is_set_aside),
        SCENE(test_damage__pages_that_are_torn_are_found_and_set_aside),
        SCENE(test_damage__damage_that_shows_later_is_told),
        SCENE(test_damage__a_newer_file_is_kept_for_whom_it_is),
        SCENE(test_damage__what_is_something_else_is_left_alone),
        SCENE(test_damage__a_place_that_cannot_be_written_is_told),
    };
    return cmocka_run_group_tests_name("history_damage", tests, NULL, NULL);
}
