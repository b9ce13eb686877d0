/* SPDX-License-Identifier: MIT */
/* What the daemon says to whoever keeps its logs: one line each on stderr, with its priority where the journal reads it. */
#ifndef VRAM_DAEMON_LOG_H
#define VRAM_DAEMON_LOG_H

#include "common/attr.h"

/* The numbers are syslog's. */
enum log_priority {
    LOG_LINE_ERROR = 3,
    LOG_LINE_WARNING = 4,
    LOG_LINE_NOTICE = 5,
    LOG_LINE_INFO = 6,
};

/* Control characters in it are replaced; names and paths in it are other people's. */
void log_line(enum log_priority priority, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
