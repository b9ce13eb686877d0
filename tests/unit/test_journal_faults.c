/* SPDX-License-Identifier: MIT */
/*
 * The journal on bad days: ended or refused at every system call, a full disk, no memory. It has what was acknowledged.
 */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/journal_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *path;

static int setup(void **state)
{
    (void)state;
    path = rig_begin();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_end();
    return 0;
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* ---- Death and failure at every system call --------------------------------------------------- */

/* What was acknowledged, and what the step at work would make of it. Shared with the process that dies. */
#define LIVE_MAX 64
struct story {
    unsigned live[LIVE_MAX], count;
    unsigned next_live[LIVE_MAX], next_count;
};

static int put_live(struct journal_writer *writer, void *data)
{
    const struct story *story = data;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < story->next_count; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "{\"n\":%u}", story->next_live[i]);
        r = journal_put(writer, text);
    }
    return r;
}

static void acknowledge(struct story *story)
{
    memcpy(story->live, story->next_live, sizeof(story->live));
    story->count = story->next_count;
}

static int append_step(struct journal *journal, struct story *story, unsigned n)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "{\"n\":%u}", n);
    memcpy(story->next_live, story->live, sizeof(story->live));
    story->next_live[story->count] = n;
    story->next_count = story->count + 1;
    int r = journal_append(journal, text);
    if (r == 0) {
        acknowledge(story);
    }
    return r;
}

/* Keeps the younger half. */
static int rewrite_step(struct journal *journal, struct story *story)
{
    unsigned drop = story->count / 2;
    story->next_count = story->count - drop;
    memcpy(story->next_live, story->live + drop, story->next_count * sizeof(story->live[0]));
    int r = journal_rewrite(journal, put_live, story);
    if (r == 0) {
        acknowledge(story);
    }
    return r;
}

/* A daemon's life. Returns how many of its steps were refused. */
static unsigned live(struct journal *journal, struct story *story)
{
    unsigned refused = 0;
    for (unsigned n = 100; n < 112; n++) {
        refused += append_step(journal, story, n) < 0;
        if (n % 4 == 3) {
            refused += rewrite_step(journal, story) < 0;
        }
    }
    return refused;
}

static void texts_of(const unsigned *live, unsigned count, struct records *ret)
{
    records_clear(ret);
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "{\"n\":%u}", live[i]);
        records_add(ret, text);
    }
}

/* The file has what was acknowledged, and at most the step that was at work. */
static void expect_story(const struct story *story)
{
    struct records records = {0}, before = {0}, after = {0};
    calls_reset();
    rig_expect(JOURNAL_READY, &records);
    texts_of(story->live, story->count, &before);
    texts_of(story->next_live, story->next_count, &after);
    assert_true(records_equal(&records, &before) || records_equal(&records, &after));
    records_clear(&records);
    records_clear(&before);
    records_clear(&after);
}

static struct story *shared_story(void)
{
    struct story *story =
        mmap(NULL, sizeof(*story), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(story != MAP_FAILED);
    return story;
}

/* A daemon that ends at the n-th call, `bytes` bytes into it. Whether it came to that. */
static bool dies_at(unsigned n, size_t bytes, struct story *story)
{
    memset(story, 0, sizeof(*story));
    pid_t child = rig_fork();
    if (child == 0) {
        struct journal *journal = NULL;
        char problem[JOURNAL_PROBLEM_MAX];
        calls.die_at = n;
        calls.die_after = bytes;
        if (journal_open(path, BOOT, 0, NULL, NULL, &journal, problem) != JOURNAL_READY) {
            rig_leave(1);
        }
        rig_leave(live(journal, story) ? 1 : 0);
    }
    int result = rig_wait(child);
    assert_true(result == 0 || result == RIG_KILLED);
    return result == RIG_KILLED;
}

static void test_journal_faults__death_at_any_call_loses_nothing(void **state)
{
    struct story *story = shared_story();
    (void)state;
    for (size_t i = 0; i < 2; i++) { /* on a disk, with its calls, and in memory */
        unsigned n = 1;
        calls_reset();
        for (calls.fs_type = i ? TMPFS_MAGIC : EXT4_SUPER_MAGIC; dies_at(n, 0, story); n++) {
            long fs_type = calls.fs_type;
            expect_story(story);
            assert_int_equal(rig_files(), 1);
            rig_remove("");
            calls.fs_type = fs_type;
        }
        assert_true(n > 24);
        expect_story(story);
        rig_remove("");
    }
    (void)munmap(story, sizeof(*story));
}

/* A record that crosses a page can be torn by a kill. The mark cannot, and has no page's end in it. */
static void test_journal_faults__death_within_a_record_loses_nothing(void **state)
{
    struct story *story = shared_story();
    const unsigned second_append = 3 + 2 + 1; /* opened by 3 calls in memory, the first was 2 */
    unsigned torn = 0;
    (void)state;
    _Static_assert(JOURNAL_HEADER_LENGTH < 4096, "the mark stands in one page");
    for (size_t bytes = 1; bytes < 48; bytes++) {
        calls.fs_type = TMPFS_MAGIC;
        assert_true(dies_at(second_append, bytes, story));
        assert_int_equal(story->count, 1);
        expect_story(story);
        size_t length;
        char *file = rig_read(&length);
        torn += file[length - 1] != '\n';
        free(file);
        rig_remove("");
    }
    assert_true(torn > 30);
    (void)munmap(story, sizeof(*story));
}

static void kill_reader_of(int fd, pid_t child, unsigned after, unsigned *ret_acknowledged)
{
    char bytes[256];
    ssize_t n;
    unsigned acknowledged = 0;
    while (acknowledged < after && (n = read(fd, bytes, 1)) > 0) {
        acknowledged += (unsigned)n;
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
        acknowledged += (unsigned)n;
    }
    *ret_acknowledged = acknowledged;
}

static void test_journal_faults__a_real_kill_loses_nothing(void **state)
{
    struct story *story = shared_story();
    (void)state;
    for (unsigned round = 0; round < 30; round++) {
        int ends[2];
        unsigned acknowledged;
        memset(story, 0, sizeof(*story));
        assert_int_equal(pipe(ends), 0);
        pid_t child = rig_fork();
        if (child == 0) {
            struct journal *journal = NULL;
            char problem[JOURNAL_PROBLEM_MAX];
            (void)close(ends[0]);
            int r = journal_open(path, BOOT, 0, NULL, NULL, &journal, problem);
            for (unsigned n = 0; r == 0; n++) {
                r = n % 8 == 7 ? rewrite_step(journal, story) : append_step(journal, story, n);
                r = r == 0 && write(ends[1], "", 1) != 1 ? -EPIPE : r;
            }
            rig_leave(1);
        }
        (void)close(ends[1]);
        kill_reader_of(ends[0], child, 1 + round * 7, &acknowledged);
        (void)close(ends[0]);
        assert_int_equal(rig_wait(child), RIG_KILLED);
        assert_true(acknowledged > round * 7);
        expect_story(story);
        rig_remove("");
    }
    (void)munmap(story, sizeof(*story));
}

/* Opens what is not ready and ends at the n-th call. Whether it came to that. */
static bool opening_dies_at(unsigned n, unsigned flags)
{
    pid_t child = rig_fork();
    if (child == 0) {
        struct journal *journal = NULL;
        char problem[JOURNAL_PROBLEM_MAX];
        calls.die_at = n;
        int r = journal_open(path, BOOT, flags, NULL, NULL, &journal, problem);
        rig_leave(r < 0 ? 1 : 0);
    }
    int result = rig_wait(child);
    assert_true(result == 0 || result == RIG_KILLED);
    return result == RIG_KILLED;
}

static void test_journal_faults__death_while_opening_forgets_no_damage(void **state)
{
    size_t length;
    struct records expected = {0}, records = {0};
    char *bytes = rig_sample(&length, &expected);
    (void)state;
    for (unsigned n = 1; rig_write(bytes, length - 1), opening_dies_at(n, 0); n++) {
        calls_reset();
        rig_expect(JOURNAL_DAMAGED, &records);
        rig_expect(JOURNAL_DAMAGED, &records);
        assert_true(rig_exists(".damaged-1"));
        assert_int_equal(rig_files(), 2); /* once, and no new file that has no place */
        rig_remove(".damaged-1");
        rig_remove("");
    }
    rig_expect(JOURNAL_DAMAGED, &records);
    assert_true(opening_dies_at(1, JOURNAL_FORGET)); /* as if it had not been asked to forget */
    calls_reset();
    rig_expect(JOURNAL_DAMAGED, &records);
    records_clear(&expected);
    free(bytes);
}

/* Every call fails in turn, alone and with those after it, so that what it did cannot be taken back at once. */
static void test_journal_faults__a_failed_call_is_refused_and_forgotten(void **state)
{
    static const int errors[] = {ENOSPC, EIO};
    struct story *story = shared_story();
    unsigned refusals = 0;
    (void)state;
    for (unsigned n = 1, refused = 1; n < 8 || refused; n++) {
        refused = 0;
        for (unsigned i = 0; i < 8; i++) {
            struct journal *journal = NULL;
            struct records records = {0};
            calls_reset();
            calls.fs_type = i % 2 ? TMPFS_MAGIC : EXT4_SUPER_MAGIC;
            memset(story, 0, sizeof(*story));
            assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
            calls.count = 0;
            calls.fail_at = n;
            calls.fail_count = 1 + i / 2;
            calls.error = errors[i % 2];
            refused += live(journal, story);
            calls.fail_at = 0;
            assert_int_equal(append_step(journal, story, 999), 0); /* there is room again */
            journal_close(journal);
            /* What the story would have become is what it is: nothing was at work. */
            assert_int_equal(story->live[story->count - 1], 999);
            expect_story(story);
            assert_int_equal(rig_files(), 1);
            rig_remove("");
        }
        refusals += refused;
    }
    assert_true(refusals > 100);
    (void)munmap(story, sizeof(*story));
}

static void test_journal_faults__an_opening_that_fails_changes_nothing(void **state)
{
    size_t length;
    struct records expected = {0}, records = {0};
    char *bytes = rig_sample(&length, &expected);
    unsigned failed = 0;
    (void)state;
    for (unsigned n = 1, again = 1; again; n++) {
        struct journal *journal = NULL;
        char problem[JOURNAL_PROBLEM_MAX];
        rig_write(bytes, length - 1);
        calls_reset();
        calls.fs_type = EXT4_SUPER_MAGIC;
        calls.fail_at = n;
        calls.error = ENOSPC;
        int r = journal_open(path, BOOT, 0, NULL, NULL, &journal, problem);
        again = calls.count >= n;
        calls_reset();
        if (r < 0) {
            failed++;
            assert_int_equal(r, -ENOSPC);
            assert_null(journal);
            assert_non_null(strstr(problem, "No space left on device"));
        } else {
            assert_int_equal(r, JOURNAL_DAMAGED);
            journal_close(journal);
        }
        rig_expect(JOURNAL_DAMAGED, &records);
        rig_remove(".damaged-1");
    }
    assert_true(failed >= 5);
    records_clear(&expected);
    free(bytes);
}

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
    int r = journal_open(path, BOOT, 0, keep_last, last, &journal, problem);
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
    if (journal_open(path, BOOT, 0, NULL, NULL, &journal, problem) != 0 ||
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

static void test_journal_faults__a_file_at_its_limit_refuses(void **state)
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
        journal_open(path, BOOT, 0, NULL, NULL, &journal, problem) != 0) {
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

static void test_journal_faults__a_full_disk_refuses(void **state)
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
    int r = journal_open(path, BOOT, 0, keep_last, last, &journal, problem);
    if (r == 0) {
        r = append_step(journal, story, 7);
    }
    if (r == 0) {
        r = rewrite_step(journal, story);
    }
    journal_close(journal);
    return r;
}

static void test_journal_faults__without_memory_nothing_changes(void **state)
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
        WITH_RIG(test_journal_faults__death_at_any_call_loses_nothing),
        WITH_RIG(test_journal_faults__death_within_a_record_loses_nothing),
        WITH_RIG(test_journal_faults__a_real_kill_loses_nothing),
        WITH_RIG(test_journal_faults__death_while_opening_forgets_no_damage),
        WITH_RIG(test_journal_faults__a_failed_call_is_refused_and_forgotten),
        WITH_RIG(test_journal_faults__an_opening_that_fails_changes_nothing),
        WITH_RIG(test_journal_faults__a_file_at_its_limit_refuses),
        WITH_RIG(test_journal_faults__a_full_disk_refuses),
        WITH_RIG(test_journal_faults__without_memory_nothing_changes),
    };
    return cmocka_run_group_tests_name("journal_faults", tests, NULL, NULL);
}
