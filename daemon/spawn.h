/* SPDX-License-Identifier: MIT */
/* Starts what the daemon starts, with a clean environment and nothing of the daemon's open: the collector, which is this very
 * program, and commands of the administrator's. */
#ifndef VRAM_DAEMON_SPAWN_H
#define VRAM_DAEMON_SPAWN_H

#include "common/attr.h"
#include <sys/types.h>

/* `driver`: NULL: the environment's. 0 with the pid, to be waited for, and the daemon's end of the socket that is the child's stdin
 * (CLOEXEC, not blocking); negative errno. */
MUST_CHECK int spawn_collector(const char *driver, pid_t *ret_pid, int *ret_socket);

/* `/bin/sh -c COMMAND` in `/`, as the leader of a session of its own, with `text` (PIPE_BUF at most) as its input. 0 with the pid,
 * to be waited for, and what it writes on stdout and stderr (CLOEXEC, not blocking); negative errno. */
MUST_CHECK int spawn_command(const char *command, const char *text, size_t length, pid_t *ret_pid,
                             int *ret_output);

#endif
