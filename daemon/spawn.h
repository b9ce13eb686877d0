/* SPDX-License-Identifier: MIT */
/* Starts the collector: this very program, with a clean environment and nothing of the daemon's open. */
#ifndef VRAM_DAEMON_SPAWN_H
#define VRAM_DAEMON_SPAWN_H

#include "common/attr.h"
#include <sys/types.h>

/* `driver`: NULL: the environment's. 0 with the pid, to be waited for, and the daemon's end of the socket that is the child's stdin
 * (CLOEXEC, not blocking); negative errno. */
MUST_CHECK int spawn_collector(const char *driver, pid_t *ret_pid, int *ret_socket);

#endif
