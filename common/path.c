/* SPDX-License-Identifier: MIT */
#include "common/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int join(const char *root, const char *path, char joined[PATH_TEXT_MAX])
{
    int length = snprintf(joined, PATH_TEXT_MAX, "%s%s", root, path);
    return length < 0 || length >= PATH_TEXT_MAX ? -ENAMETOOLONG : 0;
}

int path_open(const char *root, const char *path, int flags)
{
    char joined[PATH_TEXT_MAX];
    int r = join(root, path, joined);
    if (r < 0) {
        return r;
    }
    int fd = open(joined, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int path_read_fd(int fd, char *text, size_t size)
{
    size_t length = 0;
    int r = 0;
    while (length < size - 1) {
        ssize_t n = read(fd, text + length, size - 1 - length);
        if (n > 0) {
            length += (size_t)n;
        } else if (n == 0) {
            break;
        } else if (errno != EINTR) {
            r = -errno;
            break;
        }
    }
    (void)close(fd);
    text[length] = '\0';
    return r < 0 ? r : (int)length;
}

int path_read(const char *root, const char *path, char *text, size_t size)
{
    int fd = path_open(root, path, O_RDONLY);
    return fd < 0 ? fd : path_read_fd(fd, text, size);
}

int path_read_line(const char *root, const char *path, char *text, size_t size)
{
    int length = path_read(root, path, text, size);
    while (length > 0 && strchr(" \t\r\n", text[length - 1])) {
        text[--length] = '\0';
    }
    return length;
}

int path_read_link(const char *root, const char *path, char *text, size_t size)
{
    char joined[PATH_TEXT_MAX];
    int r = join(root, path, joined);
    if (r < 0) {
        return r;
    }
    ssize_t length = readlink(joined, text, size - 1);
    if (length < 0) {
        return -errno;
    }
    text[length] = '\0';
    return (int)length;
}

bool path_exists(const char *root, const char *path)
{
    char joined[PATH_TEXT_MAX];
    struct stat st;
    return join(root, path, joined) == 0 && stat(joined, &st) == 0;
}

DIR *path_open_dir(const char *root, const char *path)
{
    int fd = path_open(root, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        errno = -fd;
        return NULL;
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
    }
    return dir;
}
