/* SPDX-License-Identifier: MIT */
/* Starts what the daemon starts, with a clean environment and nothing of the daemon's open: the collector, which is this very
 * program, and commands of the administrator's. */
#ifndef VRAM_DAEMON_SPAWN_H
#define VRAM_DAEMON_SPAWN_H

#include "common/attr.h"
#include <stddef.h>
#include <sys/types.h>

/* `driver`: NULL: the environment's. 0 with the pid, to be waited for, and the daemon's end of the socket that is the child's stdin
 * (CLOEXEC, not blocking); negative errno. */
MUST_CHECK int spawn_collector(const char *driver, pid_t *ret_pid, int *ret_socket);

#define SPAWN_NOT_EXECUTED 127 /* the exit status of what could not be executed */

struct spawn_command {
    char *const *arguments; /* the first one is its program; NULL-terminated */
    const char *const
        *environment; /* "NAME=VALUE" … besides the daemon's own, NULL-terminated; NULL: none */
    const char *text; /* its input, of PIPE_BUF bytes at most */
    size_t length;
};

/* In `/`, as the leader of a session of its own (which it becomes a moment later). 0 with the pid, to be waited for, and what it
 * writes on stdout and stderr (CLOEXEC, not blocking); negative errno. */
MUST_CHECK int spawn_command(const struct spawn_command *command, pid_t *ret_pid, int *ret_output);

#endif
