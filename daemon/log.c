/* SPDX-License-Identifier: MIT */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define LINE_MAX 1024

void log_line(enum log_priority priority, const char *format, ...)
{
    char line[LINE_MAX];
    size_t at = 0;
    va_list args;
    if (getenv("JOURNAL_STREAM")) {
        at = (size_t)snprintf(line, sizeof(line), "<%d>", (int)priority);
    } else {
        at = (size_t)snprintf(line, sizeof(line), "vramd: ");
    }
    va_start(args, format);
    int length = vsnprintf(line + at, sizeof(line) - at - 1, format, args);
    va_end(args);
    if (length < 0) {
        return;
    }
    for (; line[at]; at++) {
        if ((unsigned char)line[at] < ' ' || line[at] == 0x7f) {
            line[at] = '?';
        }
    }
    line[at] = '\n';
    /* A log that nobody takes is not waited for and not missed. */
    ssize_t n = write(STDERR_FILENO, line, at + 1);
    (void)n;
}
