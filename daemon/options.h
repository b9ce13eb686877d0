/* SPDX-License-Identifier: MIT */
/* vramd's command line. */
#ifndef VRAM_DAEMON_OPTIONS_H
#define VRAM_DAEMON_OPTIONS_H

#include "common/attr.h"
#include <stdbool.h>
#include <stdint.h>

enum status {
    STATUS_DONE = 0,
    STATUS_USAGE = 2,
    STATUS_FAILED = 4,
};

struct options {
    const char *driver, *socket, *config; /* NULL: not given */
    const char *listen, *token_file;      /* likewise */
    int ready_fd;                         /* -1: none */
    bool on_demand;
    uint64_t linger_ns; /* 0: as configured, where it was started on demand; else for ever */
    bool forget;
    const char *history; /* a file, "on" or "off"; NULL: as configured */
};

/* -1: run; else an exit status, and all is said. */
MUST_CHECK int options_parse(int argc, char **argv, struct options *ret_options);

#endif
