/* SPDX-License-Identifier: MIT */
#include "sim/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(struct target *target, const char *path, int error, struct complaint *complaint)
{
    (void)complain(complaint, "%.160s cannot be written: %s", path, strerror(error));
    target_drop(target);
    return -error;
}

static int refuse(struct target *target, struct complaint *complaint)
{
    (void)complain(complaint, "%.160s is there already; --force overwrites it", target->path);
    target_drop(target);
    return -EEXIST;
}

int target_open(struct target *target, const char *path, bool force, struct complaint *complaint)
{
    struct stat status;
    *target = (struct target){.path = path, .force = force, .fd = -1};
    if (strcmp(path, "-") == 0) {
        target->fd = STDOUT_FILENO;
        return 0;
    }
    if (lstat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode)) {
            return fail(target, path, EISDIR, complaint);
        }
        if (!force) {
            return refuse(target, complaint);
        }
        if (!S_ISREG(status.st_mode)) { /* /dev/stdout, a pipe: there is nothing to put in place */
            target->fd = open(path, O_WRONLY | O_CLOEXEC);
            return target->fd < 0 ? fail(target, path, errno, complaint) : 0;
        }
    }
    int n = snprintf(target->temporary, sizeof(target->temporary), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(target->temporary)) {
        target->temporary[0] = '\0';
        return fail(target, path, ENAMETOOLONG, complaint);
    }
    target->fd = mkostemp(target->temporary, O_CLOEXEC);
    if (target->fd < 0) {
        int error = errno;
        target->temporary[0] = '\0';
        return fail(target, path, error, complaint);
    }
    return 0;
}

static int write_all(int fd, const char *text, size_t length)
{
    while (length) {
        ssize_t written = write(fd, text, length);
        if (written < 0 && errno != EINTR) {
            return -errno;
        }
        text += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
    return 0;
}

/* A second name replaces nothing. Not all file systems have one; there somebody else's file of this very moment is lost. */
static int put_in_place(const struct target *target)
{
    if (target->force) {
        return rename(target->temporary, target->path) < 0 ? -errno : 0;
    }
    if (link(target->temporary, target->path) == 0) {
        (void)unlink(target->temporary);
        return 0;
    }
    if (errno == EEXIST) {
        return -EEXIST;
    }
    if (access(target->path, F_OK) == 0) {
        return -EEXIST;
    }
    return rename(target->temporary, target->path) < 0 ? -errno : 0;
}

int target_write(struct target *target, const char *text, size_t length,
                 struct complaint *complaint)
{
    int r = write_all(target->fd, text, length);
    if (r < 0 || !target->temporary[0]) {
        return r < 0
                   ? fail(target, strcmp(target->path, "-") == 0 ? "standard output" : target->path,
                          -r, complaint)
                   : 0;
    }
    mode_t mask = umask(0);
    (void)umask(mask);
    if (fchmod(target->fd, 0666 & ~mask) < 0 || fsync(target->fd) < 0) {
        return fail(target, target->path, errno, complaint);
    }
    r = put_in_place(target);
    if (r == -EEXIST) {
        return refuse(target, complaint);
    }
    if (r < 0) {
        return fail(target, target->path, -r, complaint);
    }
    target->temporary[0] = '\0';
    return 0;
}

void target_drop(struct target *target)
{
    if (target->temporary[0]) {
        (void)unlink(target->temporary);
        target->temporary[0] = '\0';
    }
    if (target->fd > STDERR_FILENO) {
        (void)close(target->fd);
    }
    target->fd = -1;
}
