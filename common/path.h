/* SPDX-License-Identifier: MIT */
/*
 * Files of /proc, /sys, /dev and /etc below a root that tests can substitute. `root` is a prefix
 * without a slash at its end, "" for the real machine; `path` begins with a slash.
 */
#ifndef VRAM_COMMON_PATH_H
#define VRAM_COMMON_PATH_H

#include "common/attr.h"
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>

#define PATH_TEXT_MAX 512

/* Reads at most size - 1 bytes and ends them with a NUL. Returns the length; negative errno. */
MUST_CHECK int path_read(const char *root, const char *path, char *text, size_t size);
/* The same without the white space at the end: for files that hold one word or line. */
MUST_CHECK int path_read_line(const char *root, const char *path, char *text, size_t size);
/* Where a symbolic link points. Returns the length; negative errno. */
MUST_CHECK int path_read_link(const char *root, const char *path, char *text, size_t size);
bool path_exists(const char *root, const char *path);
/* NULL with errno set where it cannot be opened. */
DIR *path_open_dir(const char *root, const char *path);
/* An open descriptor; negative errno. */
MUST_CHECK int path_open(const char *root, const char *path, int flags);
/* Reads from a descriptor as path_read() and closes it, whatever happens. */
MUST_CHECK int path_read_fd(int fd, char *text, size_t size);

#endif
