/* SPDX-License-Identifier: MIT */
/* The journal where there is no room: on a full disk, at a file's limit, without memory. */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/journal_rig.h"
#include "tests/unit/journal_story.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- A full disk ----------------------------------------------------------------------------- */

/* Appends until there is no room. The error that says so. */
static int fill_up(struct journal *journal, struct story *story)
{
    int r;
    unsigned n = 0;
    do {
        r = append_step(journal, story, n++);
        if (story->count == LIVE_MAX - 2) { /* the story has no room for more; the file has */
            story->live[0] = story->live[story->count - 1];
            story->count = 1;
        }
    } while (r == 0 && n < 100000);
    return r;
}

static int keep_last(void *data, const char *record, size_t length)
{
    (void)length;
    (void)snprintf(data, 32, "%s", record);
    return 0;
}

/* Whether the last record of the story stands at the end of the file. */
static bool ends_as(const struct story *story)
{
    struct journal *journal = NULL;
    char problem[JOURNAL_PROBLEM_MAX], text[32], last[32] = "";
    int r = journal_open(rig_path(), BOOT, 0, keep_last, last, &journal, problem);
    journal_close(journal);
    (void)snprintf(text, sizeof(text), "{\"n\":%u}", story->live[story->count - 1]);
    return r == JOURNAL_READY && strcmp(last, text) == 0;
}

static void close_journal(struct journal **journal)
{
    journal_close(*journal);
}

/* A child's part, for limits and mounts are its own. 0: as it should be; else the number of the step that was not. */
static int on_limited_file(void)
{
    CLEANUP(close_journal) struct journal *journal = NULL;
    struct story story = {0};
    char problem[JOURNAL_PROBLEM_MAX];
    struct rlimit limit = {8192, RLIM_INFINITY};
    (void)signal(SIGXFSZ, SIG_IGN);
    if (journal_open(rig_path(), BOOT, 0, NULL, NULL, &journal, problem) != 0 ||
        setrlimit(RLIMIT_FSIZE, &limit) < 0) {
        return 1;
    }
    if (fill_up(journal, &story) != -EFBIG || append_step(journal, &story, 1) != -EFBIG ||
        !ends_as(&story)) {
        return 2;
    }
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0 || append_step(journal, &story, 77777) != 0 ||
        !ends_as(&story)) {
        return 3;
    }
    return 0;
}

static void test_journal_room__a_file_at_its_limit_refuses(void **state)
{
    (void)state;
    pid_t child = rig_fork();
    if (child == 0) {
        rig_leave(on_limited_file());
    }
    assert_int_equal(rig_wait(child), 0);
}

#define CANNOT_MOUNT 77

static int on_full_disk(void)
{
    CLEANUP(close_journal) struct journal *journal = NULL;
    struct story story = {0};
    char problem[JOURNAL_PROBLEM_MAX], filler[320], zeros[4096] = {0};
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", rig_directory(), "tmpfs", 0, "size=32k") < 0) {
        return CANNOT_MOUNT;
    }
    (void)snprintf(filler, sizeof(filler), "%s/filler", rig_directory());
    FILE *file = fopen(filler, "we");
    if (!file || fwrite(zeros, 1, sizeof(zeros), file) != sizeof(zeros) || fclose(file) != 0 ||
        journal_open(rig_path(), BOOT, 0, NULL, NULL, &journal, problem) != 0) {
        return 1;
    }
    if (fill_up(journal, &story) != -ENOSPC || append_step(journal, &story, 1) != -ENOSPC ||
        rewrite_step(journal, &story) != -ENOSPC || !ends_as(&story)) {
        return 2;
    }
    if (unlink(filler) < 0 || append_step(journal, &story, 77777) != 0 || !ends_as(&story)) {
        return 3;
    }
    return 0;
}

static void test_journal_room__a_full_disk_refuses(void **state)
{
    (void)state;
    pid_t child = rig_fork();
    if (child == 0) {
        rig_leave(on_full_disk());
    }
    int result = rig_wait(child);
    if (result == CANNOT_MOUNT) {
        print_message("no right to mount a small disk\n");
        skip();
    }
    assert_int_equal(result, 0);
}

/* ---- No memory ------------------------------------------------------------------------------- */

static int live_without_memory(struct story *story)
{
    struct journal *journal = NULL;
    char problem[JOURNAL_PROBLEM_MAX], last[32];
    int r = journal_open(rig_path(), BOOT, 0, keep_last, last, &journal, problem);
    if (r == 0) {
        r = append_step(journal, story, 7);
    }
    if (r == 0) {
        r = rewrite_step(journal, story);
    }
    journal_close(journal);
    return r;
}

static void test_journal_room__without_memory_nothing_changes(void **state)
{
    struct records expected = {0}, records = {0};
    struct journal *journal = NULL;
    unsigned n = 0;
    bool happened = true;
    (void)state;
    while (happened) {
        struct story story = {0};
        records_clear(&expected);
        assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
        assert_int_equal(journal_append(journal, "{}"), 0);
        journal_close(journal);
        alloc_fail_at(++n);
        int r = live_without_memory(&story);
        happened = alloc_fail_happened();
        alloc_fail_at(0);
        assert_int_equal(r, happened ? -ENOMEM : 0);
        if (happened) {
            records_add(&expected, "{}");
        }
        if (story.count) {
            records_add(&expected, "{\"n\":7}");
        }
        rig_expect(JOURNAL_READY, &records);
        assert_true(records_equal(&records, &expected));
        rig_remove("");
    }
    assert_true(n > 5);
    records_clear(&expected);
    records_clear(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_journal_room__a_file_at_its_limit_refuses),
        WITH_RIG(test_journal_room__a_full_disk_refuses),
        WITH_RIG(test_journal_room__without_memory_nothing_changes),
    };
    return cmocka_run_group_tests_name("journal_room", tests, NULL, NULL);
}
