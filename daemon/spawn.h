/* SPDX-License-Identifier: MIT */
/* Starts the collector, this very program, and commands: with a clean environment and nothing of the daemon's open. */
#ifndef VRAM_DAEMON_SPAWN_H
#define VRAM_DAEMON_SPAWN_H

#include "common/attr.h"
#include <sys/types.h>

/* `driver`: NULL: the environment's. 0 with the pid, to be waited for, and the daemon's end of the socket that is the child's stdin
 * (CLOEXEC, not blocking); negative errno. */
MUST_CHECK int spawn_collector(const char *driver, pid_t *ret_pid, int *ret_socket);

#define SPAWN_NOT_EXECUTED 127 /* the exit status of what could not be executed */

/* A command, in a process group of its own, with nothing to read and both outputs in one pipe, whose other end is *ret_output
 * (CLOEXEC, not blocking). `more`: "NAME=VALUE" …, NULL-terminated. 0 with the pid, to be waited for; negative errno. */
MUST_CHECK int spawn_command(char *const *arguments, const char *const *more, pid_t *ret_pid,
                             int *ret_output);

#endif
