/* SPDX-License-Identifier: MIT */
#include "tests/unit/journal_rig.h"

#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

struct calls calls;

void calls_reset(void)
{
    memset(&calls, 0, sizeof(calls));
}

/* ---- System calls ---------------------------------------------------------------------------- */

/* Counts a call. Whether it is to fail, with errno set. */
static bool call_fails(void)
{
    unsigned last = calls.fail_at + (calls.fail_count ? calls.fail_count - 1 : 0);
    calls.count++;
    if (calls.die_at == calls.count) {
        (void)kill(getpid(), SIGKILL);
    }
    if (calls.fail_at && calls.count >= calls.fail_at && calls.count <= last) {
        errno = calls.error;
        return true;
    }
    return false;
}

static int behind(int result)
{
    int saved = errno;
    if (calls.behind) {
        calls.behind(calls.data);
    }
    errno = saved;
    return result;
}

/* Large files have names of their own in some libraries' objects. */
#define WRAP(name, parameters, arguments)                                                          \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        return behind(call_fails() ? -1 : __real_##name arguments);                                \
    }

#define WRAP_PWRITE(name)                                                                          \
    ssize_t __real_##name(int fd, const void *bytes, size_t length, off_t offset);                 \
    ssize_t __wrap_##name(int fd, const void *bytes, size_t length, off_t offset);                 \
    ssize_t __wrap_##name(int fd, const void *bytes, size_t length, off_t offset)                  \
    {                                                                                              \
        if (calls.die_at == calls.count + 1 && calls.die_after) {                                  \
            size_t part = length < calls.die_after ? length : calls.die_after;                     \
            (void)kill(getpid(), __real_##name(fd, bytes, part, offset) < 0 ? SIGABRT : SIGKILL);  \
        }                                                                                          \
        if (!call_fails()) {                                                                       \
            return behind((int)__real_##name(fd, bytes, length, offset));                          \
        }                                                                                          \
        if (offset >=                                                                              \
            JOURNAL_HEADER_LENGTH) { /* the header is in one page: all of it or nothing */         \
            assert_true(__real_##name(fd, bytes, length / 2, offset) >= 0);                        \
        }                                                                                          \
        errno = calls.error;                                                                       \
        return behind(-1);                                                                         \
    }

#define WRAP_FSTATFS(name)                                                                         \
    int __real_##name(int fd, struct statfs *fs);                                                  \
    int __wrap_##name(int fd, struct statfs *fs);                                                  \
    int __wrap_##name(int fd, struct statfs *fs)                                                   \
    {                                                                                              \
        int r = __real_##name(fd, fs);                                                             \
        fs->f_type = calls.fs_type ? calls.fs_type : fs->f_type;                                   \
        return r;                                                                                  \
    }

WRAP_PWRITE(pwrite)
WRAP_PWRITE(pwrite64)
WRAP_FSTATFS(fstatfs)
WRAP_FSTATFS(fstatfs64)
WRAP(mkostemp, (char *name, int flags), (name, flags))
WRAP(mkostemp64, (char *name, int flags), (name, flags))
WRAP(ftruncate, (int fd, off_t length), (fd, length))
WRAP(ftruncate64, (int fd, off_t length), (fd, length))
WRAP(rename, (const char *from, const char *to), (from, to))
WRAP(link, (const char *from, const char *to), (from, to))
WRAP(unlink, (const char *name), (name))

/* Counted only: the disk would be most of the time of these tests. */
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    (void)fd;
    calls.synchronised++;
    return behind(call_fails() ? -1 : 0);
}

/* ---- Children -------------------------------------------------------------------------------- */

static int *child_result; /* shared with the child */

pid_t rig_fork(void)
{
    if (!child_result) {
        child_result =
            mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(child_result != MAP_FAILED);
    }
    *child_result = RIG_KILLED;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        calls.count = 0;
    }
    return child;
}

void rig_leave(int result)
{
    *child_result = result;
    (void)kill(getpid(), SIGKILL);
    abort();
}

int rig_wait(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return *child_result;
}

/* ---- Records --------------------------------------------------------------------------------- */

void records_clear(struct records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        free(records->texts[i]);
    }
    records->count = 0;
}

void records_add(struct records *records, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    assert_true(copy && records->count < RECORDS_MAX);
    memcpy(copy, text, size);
    records->texts[records->count++] = copy;
}

int records_replay(void *data, const char *record, size_t length)
{
    struct records *records = data;
    assert_int_equal(strlen(record), length);
    if (records->result && records->count >= records->fails_at) {
        return records->result;
    }
    records_add(records, record);
    return 0;
}

bool records_equal(const struct records *left, const struct records *right)
{
    bool equal = left->count == right->count;
    for (size_t i = 0; equal && i < left->count; i++) {
        equal = strcmp(left->texts[i], right->texts[i]) == 0;
    }
    return equal;
}

/* ---- The directory --------------------------------------------------------------------------- */

static const char *directory;
static char journal_path[256];

int rig_setup(void **state)
{
    (void)state;
    calls_reset();
    if (access("/dev/shm", W_OK) == 0) { /* thousands of files, and none is worth a disk's time */
        (void)setenv("TMPDIR", "/dev/shm", 0);
    }
    directory = fake_root_make();
    int length = snprintf(journal_path, sizeof(journal_path), "%s/vram.journal", directory);
    assert_true(length > 0 && (size_t)length < sizeof(journal_path));
    return 0;
}

const char *rig_path(void)
{
    return journal_path;
}

int rig_teardown(void **state)
{
    (void)state;
    calls_reset();
    fake_root_remove(directory);
    directory = NULL;
    return 0;
}

const char *rig_directory(void)
{
    return directory;
}

unsigned rig_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return count;
}

static void name_of(const char *suffix, char name[320])
{
    (void)snprintf(name, 320, "%s%s", journal_path, suffix);
}

bool rig_exists(const char *suffix)
{
    char name[320];
    name_of(suffix, name);
    return access(name, F_OK) == 0;
}

void rig_remove(const char *suffix)
{
    char name[320];
    name_of(suffix, name);
    assert_int_equal(unlink(name), 0);
}

char *rig_read(size_t *ret_length)
{
    struct stat st;
    int fd = open(journal_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *bytes = malloc((size_t)st.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, (size_t)st.st_size + 1), st.st_size);
    (void)close(fd);
    *ret_length = (size_t)st.st_size;
    return bytes;
}

void rig_write(const char *bytes, size_t length)
{
    int fd = open(journal_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), length);
    (void)close(fd);
}

int rig_open(struct journal **ret_journal, struct records *records)
{
    char problem[JOURNAL_PROBLEM_MAX] = "untouched";
    records_clear(records);
    int r = journal_open(journal_path, BOOT, 0, records_replay, records, ret_journal, problem);
    assert_int_equal(problem[0] != '\0', r != JOURNAL_READY);
    return r;
}

void rig_expect(int standing, struct records *records)
{
    struct journal *journal = NULL;
    assert_int_equal(rig_open(&journal, records), standing);
    journal_close(journal);
}

static const char *const sample[] = {
    "{\"granted\":\"8f14e45fceea167a\",\"owner\":{\"pid\":4242,\"start_time\":8675309}}",
    "{\"attached\":\"unit:x.service\"}",
    "{}",
    "{\"ended\":\"8f14e45fceea167a\",\"label\":\"\\u00fc } { \\\" ü\"}",
};

char *rig_sample(size_t *ret_length, struct records *expected)
{
    struct journal *journal = NULL;
    struct records none = {0};
    assert_int_equal(rig_open(&journal, &none), JOURNAL_READY);
    for (size_t i = 0; i < ARRAY_LENGTH(sample); i++) {
        assert_int_equal(journal_append(journal, sample[i]), 0);
        records_add(expected, sample[i]);
    }
    journal_close(journal);
    return rig_read(ret_length);
}
