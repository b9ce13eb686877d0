/* SPDX-License-Identifier: MIT */
/*
 * Reads files that may be anything, line by line, without memory of its own: what a check looks at
 * can be huge, binary, a pipe, or gone. Only regular files are opened, and never so that opening
 * can block.
 */
#ifndef VRAM_LIB_DOCTOR_LINES_H
#define VRAM_LIB_DOCTOR_LINES_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define LINE_MAX_BYTES 1024

struct lines {
    int fd;
    size_t left;       /* bytes that may still be read */
    size_t at, length; /* what of `buffer` is not yet handed out */
    char buffer[2048];
    char line[LINE_MAX_BYTES];
};

/* 0; negative errno where there is no such regular file. */
MUST_CHECK int lines_open(struct lines *lines, const char *root, const char *path);
/* The next line, without its end, cut where it is longer than a line may be; NULL behind the last.
 * A NUL ends a line too. Valid until the next call. The last call closes the file. */
const char *lines_next(struct lines *lines);
void lines_close(struct lines *lines); /* before the last line; harmless after it */

/* The first line without blanks around it, tabs made blanks and what is not ASCII text '?'. Its
 * length; negative errno. */
MUST_CHECK int lines_first(const char *root, const char *path, char *word, size_t size);

/* What stands behind `key` and any blanks or colons in the first line that begins with it. False:
 * none. */
MUST_CHECK bool lines_value(const char *root, const char *path, const char *key, char *value,
                            size_t size);

/* A file's status, a device node's too, without opening it. 0 or negative errno. */
MUST_CHECK int lines_stat(const char *root, const char *path, struct stat *ret_stat);

#endif
