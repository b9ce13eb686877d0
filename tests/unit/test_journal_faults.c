/* SPDX-License-Identifier: MIT */
/* The journal of a daemon that is killed, or whose disk fails, at every system call: it has what was acknowledged. */
#include "tests/unit/journal_rig.h"
#include "tests/unit/journal_story.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

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
        if (journal_open(rig_path(), BOOT, 0, NULL, NULL, &journal, problem) != JOURNAL_READY) {
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
            int r = journal_open(rig_path(), BOOT, 0, NULL, NULL, &journal, problem);
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
        int r = journal_open(rig_path(), BOOT, flags, NULL, NULL, &journal, problem);
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

/* After a step that was refused, with nothing wrong but the call that failed. */
static void expect_no_trace(struct story *story)
{
    size_t length;
    memcpy(story->next_live, story->live, sizeof(story->live));
    story->next_count = story->count;
    story->ghost = 0;
    expect_no_loss_now(story);
    assert_int_equal(rig_files(), 1);
    char *bytes = rig_read(&length);
    assert_int_equal(bytes[length - 1], '\n');
    free(bytes);
}

/* A daemon's life in which so many calls fail from the n-th on. Returns how many of its steps were refused. */
static unsigned live_with_failures(unsigned n, unsigned count, long fs_type)
{
    struct journal *journal = NULL;
    struct records records = {0};
    struct story story = {0};
    unsigned refused = 0;
    calls_reset();
    calls.fs_type = fs_type;
    assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
    calls = (struct calls){.fs_type = fs_type,
                           .fail_at = n,
                           .fail_count = count,
                           .error = n % 2 ? ENOSPC : EIO,
                           .behind = expect_no_loss_now,
                           .data = &story};
    for (unsigned step = 1; step <= 12; step++) {
        int r = step % 4 == 0 ? rewrite_step(journal, &story) : append_step(journal, &story, step);
        assert_true(r == 0 || r == -calls.error);
        if (r < 0 && count == 1) {
            expect_no_trace(&story);
        }
        refused += r < 0;
    }
    calls.fail_at = 0; /* there is room again */
    assert_int_equal(append_step(journal, &story, 999), 0);
    journal_close(journal);
    assert_int_equal(story.live[story.count - 1], 999);
    expect_story(&story);
    rig_remove("");
    return refused;
}

/* Each call fails in turn, alone and with those behind it, so that what it did cannot be taken back at once. */
static void test_journal_faults__what_fails_is_refused_and_leaves_no_trace(void **state)
{
    unsigned all = 0;
    (void)state;
    for (unsigned n = 1, refused = 1; refused; n++, all += refused) {
        refused = 0;
        for (unsigned count = 1; count <= 6; count++) {
            refused += live_with_failures(n, count, EXT4_SUPER_MAGIC);
            refused += live_with_failures(n, count, TMPFS_MAGIC);
        }
    }
    assert_true(all > 300);
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
        int r = journal_open(rig_path(), BOOT, 0, NULL, NULL, &journal, problem);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_journal_faults__death_at_any_call_loses_nothing),
        WITH_RIG(test_journal_faults__death_within_a_record_loses_nothing),
        WITH_RIG(test_journal_faults__a_real_kill_loses_nothing),
        WITH_RIG(test_journal_faults__death_while_opening_forgets_no_damage),
        WITH_RIG(test_journal_faults__what_fails_is_refused_and_leaves_no_trace),
        WITH_RIG(test_journal_faults__an_opening_that_fails_changes_nothing),
    };
    return cmocka_run_group_tests_name("journal_faults", tests, NULL, NULL);
}
