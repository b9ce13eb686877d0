/* SPDX-License-Identifier: MIT */
#include "daemon/journal.h"

#include "daemon/journal_text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PATH_SIZE 384              /* it stands beside a socket, whose path has 107 bytes at most */
#define NAME_SIZE (PATH_SIZE + 16) /* of the files that stand beside it */

struct journal {
    char path[PATH_SIZE];
    char boot_id[JOURNAL_BOOT_LENGTH + 1];
    int fd;
    bool is_synchronised;     /* see the header */
    struct journal_mark mark; /* what is acknowledged */
    bool mark_is_doubtful;    /* the file may say otherwise */
};

struct journal_writer {
    struct buf lines;
    struct journal_mark mark;
};

/* ---- Files ----------------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static int write_at(int fd, const char *bytes, size_t length, uint64_t offset)
{
    while (length) {
        ssize_t n = pwrite(fd, bytes, length, (off_t)offset);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -EIO;
        }
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
            offset += (uint64_t)n;
        }
    }
    return 0;
}

/* What the page cache has outlives the daemon. Elsewhere than in memory it may still turn out that there is no room. */
static bool needs_synchronising(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) < 0 || (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC);
}

static int synchronise(int fd, bool is_needed)
{
    return is_needed && fdatasync(fd) < 0 ? -errno : 0;
}

/* Replaces the file by one with these lines in one step; on failure it stays, and is used, as before. */
static int replace_file(struct journal *journal, const struct journal_mark *mark,
                        const struct buf *lines)
{
    char header[JOURNAL_HEADER_LENGTH + 1], name[NAME_SIZE];
    (void)snprintf(name, sizeof(name), "%s.new-XXXXXX", journal->path);
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    journal_header_format(journal->boot_id, mark, header);
    bool is_synchronised = needs_synchronising(fd);
    int r = write_at(fd, header, JOURNAL_HEADER_LENGTH, 0);
    if (r == 0) {
        r = write_at(fd, lines->data, lines->length, JOURNAL_HEADER_LENGTH);
    }
    if (r == 0) {
        r = synchronise(fd, is_synchronised);
    }
    if (r == 0 && rename(name, journal->path) < 0) {
        r = -errno;
    }
    if (r < 0) {
        (void)unlink(name);
        (void)close(fd);
        return r;
    }
    close_fd(&journal->fd);
    journal->fd = fd;
    journal->mark = *mark;
    journal->mark_is_doubtful = false;
    journal->is_synchronised = is_synchronised;
    return 0;
}

/* Removes new files that a daemon which was killed never gave their place. Nobody else makes any meanwhile. */
static void remove_leftovers(const char *path)
{
    char directory[PATH_SIZE], prefix[NAME_SIZE];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash + 1 - path) : 0;
    (void)snprintf(directory, sizeof(directory), "%.*s", length ? (int)length : 1,
                   length ? path : ".");
    (void)snprintf(prefix, sizeof(prefix), "%s.new-", path + length);
    DIR *dir = opendir(directory);
    if (!dir) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    (void)closedir(dir);
}

static void aside_name(const char *path, enum journal_standing standing, unsigned number,
                       char name[NAME_SIZE])
{
    (void)snprintf(name, NAME_SIZE, "%s.%s-%u", path,
                   standing == JOURNAL_NEWER ? "newer" : "damaged", number);
}

/*
 * Gives the file a second name under which it stays when a new one takes the first. It never is without the first, or a
 * daemon that is killed here would leave the next one to think that nothing was ever promised. Returns the
 * number in the name.
 */
static int set_aside(const char *path, enum journal_standing standing)
{
    char name[NAME_SIZE];
    for (int number = 1; number <= JOURNAL_ASIDE_MAX; number++) {
        struct stat file, other;
        aside_name(path, standing, (unsigned)number, name);
        if (link(path, name) == 0) {
            return number;
        }
        if (errno != EEXIST) {
            return -errno;
        }
        if (lstat(path, &file) == 0 && lstat(name, &other) == 0 && file.st_dev == other.st_dev &&
            file.st_ino == other.st_ino) {
            return number; /* from an opening that was killed before it had replaced it */
        }
    }
    return -EEXIST;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Reads what a scan needs of the file, which the caller frees. */
static int read_file(int fd, char **ret_bytes, size_t *ret_length)
{
    struct stat st;
    const off_t most = (off_t)JOURNAL_BYTES_MAX + JOURNAL_HEADER_LENGTH;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return -EINVAL;
    }
    size_t length = 0, size = (size_t)(st.st_size < most ? st.st_size : most);
    char *bytes = malloc(size + 1);
    if (!bytes) {
        return -ENOMEM;
    }
    while (length < size) {
        ssize_t n = pread(fd, bytes + length, size - length, (off_t)length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            int r = -errno;
            free(bytes);
            return r;
        }
        if (n == 0) {
            break;
        }
        length += (size_t)n;
    }
    *ret_bytes = bytes;
    *ret_length = length;
    return 0;
}

static int begin_anew(struct journal *journal, enum journal_standing standing, unsigned aside)
{
    const struct journal_mark mark = {.standing = standing, .aside = aside};
    const struct buf nothing = BUF_INIT;
    return replace_file(journal, &mark, &nothing);
}

/* What follows from a scan. Leaves the standing in journal->mark. */
static int settle(struct journal *journal, const struct journal_scan *scan, unsigned flags)
{
    bool forgets = flags & JOURNAL_FORGET;
    bool is_whole = scan->verdict == JOURNAL_IS_WHOLE;
    if (is_whole && (scan->mark.standing == JOURNAL_READY || !forgets)) {
        journal->mark = scan->mark;
        journal->is_synchronised = needs_synchronising(journal->fd);
        return 0;
    }
    if (is_whole || scan->verdict == JOURNAL_IS_OTHER_BOOT) {
        return begin_anew(journal, JOURNAL_READY, 0);
    }
    enum journal_standing standing =
        scan->verdict == JOURNAL_IS_NEWER ? JOURNAL_NEWER : JOURNAL_DAMAGED;
    int aside = set_aside(journal->path, standing);
    if (aside < 0) {
        return aside;
    }
    return begin_anew(journal, forgets ? JOURNAL_READY : standing, (unsigned)aside);
}

/* Reads the file, or makes it, and finds out how it stands. */
static int load(struct journal *journal, unsigned flags, journal_replay *replay, void *data,
                struct journal_scan *scan)
{
    journal->fd = open(journal->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (journal->fd < 0) {
        return errno == ENOENT ? begin_anew(journal, JOURNAL_READY, 0) : -errno;
    }
    char *bytes = NULL;
    size_t length = 0;
    int r = read_file(journal->fd, &bytes, &length);
    if (r < 0) {
        return r;
    }
    r = journal_scan(bytes, length, journal->boot_id, replay, data, scan);
    free(bytes);
    return r < 0 ? r : settle(journal, scan, flags);
}

/* Why nothing can be promised on it, and what ends that. */
static void explain(const struct journal *journal, const struct journal_scan *scan,
                    char problem[JOURNAL_PROBLEM_MAX])
{
    char name[NAME_SIZE];
    enum journal_standing standing = journal->mark.standing;
    problem[0] = '\0';
    if (standing == JOURNAL_READY) {
        return;
    }
    bool found_now = scan->reason[0];
    aside_name(journal->path, standing, journal->mark.aside, name);
    (void)snprintf(
        problem, JOURNAL_PROBLEM_MAX,
        "the journal %s%s%s%s and was set aside as %s: what was promised in this boot is "
        "not known, so nothing is promised until `vram serve --forget` or a reboot",
        standing == JOURNAL_NEWER ? "was written by a newer vramd" : "is damaged",
        found_now ? " (" : "", scan->reason, found_now ? ")" : "", name);
}

int journal_open(const char *path, const char *boot_id, unsigned flags, journal_replay *replay,
                 void *data, struct journal **ret_journal, char problem[JOURNAL_PROBLEM_MAX])
{
    struct journal_scan scan = {.reason = ""};
    int r = -EINVAL;
    struct journal *journal = calloc(1, sizeof(*journal));
    if (!journal) {
        r = -ENOMEM;
    } else if (journal_boot_id_is_valid(boot_id)) {
        journal->fd = -1;
        int length = snprintf(journal->path, sizeof(journal->path), "%s", path);
        (void)snprintf(journal->boot_id, sizeof(journal->boot_id), "%s", boot_id);
        r = -ENAMETOOLONG;
        if (length >= 0 && (size_t)length < sizeof(journal->path)) {
            remove_leftovers(path);
            r = load(journal, flags, replay, data, &scan);
        }
    }
    if (r < 0) {
        (void)snprintf(
            problem, JOURNAL_PROBLEM_MAX,
            "the journal %s cannot be used: %s; nothing is promised until that is mended", path,
            strerror(-r));
        journal_close(journal);
        return r;
    }
    explain(journal, &scan, problem);
    *ret_journal = journal;
    return (int)journal->mark.standing;
}

void journal_close(struct journal *journal)
{
    if (journal) {
        close_fd(&journal->fd);
        free(journal);
    }
}

void journal_discard(struct journal *journal)
{
    if (journal->mark.standing == JOURNAL_READY) {
        (void)unlink(journal->path);
    }
    journal_close(journal);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static int write_mark(const struct journal *journal, const struct journal_mark *mark)
{
    char header[JOURNAL_HEADER_LENGTH + 1];
    journal_header_format(journal->boot_id, mark, header);
    int r = write_at(journal->fd, header + JOURNAL_MARK_AT, JOURNAL_MARK_LENGTH, JOURNAL_MARK_AT);
    return r < 0 ? r : synchronise(journal->fd, journal->is_synchronised);
}

/* Gives back the room of a record that was refused. It does not count where it stands, so it may as well stay. */
static void cut_off(const struct journal *journal)
{
    if (ftruncate(journal->fd, (off_t)(JOURNAL_HEADER_LENGTH + journal->mark.bytes)) < 0) {
        return;
    }
}

int journal_append(struct journal *journal, const char *record)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT;
    struct journal_mark mark = journal->mark;
    if (mark.standing != JOURNAL_READY) {
        return -EROFS;
    }
    int r = journal_line_add(&line, &mark, record);
    if (r < 0) {
        return r;
    }
    if (journal->mark_is_doubtful) {
        r = write_mark(journal, &journal->mark);
        if (r < 0) {
            return r;
        }
        journal->mark_is_doubtful = false;
    }
    r = write_at(journal->fd, line.data, line.length, JOURNAL_HEADER_LENGTH + journal->mark.bytes);
    if (r == 0) {
        r = write_mark(journal, &mark);
        if (r == 0) {
            journal->mark = mark;
            return 0;
        }
        journal->mark_is_doubtful = write_mark(journal, &journal->mark) < 0;
    }
    if (!journal->mark_is_doubtful) {
        cut_off(journal);
    }
    return r;
}

uint64_t journal_bytes(const struct journal *journal)
{
    return journal->mark.bytes;
}

int journal_put(struct journal_writer *writer, const char *record)
{
    return journal_line_add(&writer->lines, &writer->mark, record);
}

int journal_rewrite(struct journal *journal, journal_write_all *write_all, void *data)
{
    struct journal_writer writer = {.lines = BUF_INIT};
    if (journal->mark.standing != JOURNAL_READY) {
        return -EROFS;
    }
    int r = write_all(&writer, data);
    if (r >= 0 && writer.lines.failed) {
        r = -ENOMEM;
    }
    if (r >= 0) {
        r = replace_file(journal, &writer.mark, &writer.lines);
    }
    buf_done(&writer.lines);
    return r;
}
