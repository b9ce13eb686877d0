/* SPDX-License-Identifier: MIT */
/*
 * One run of a command: in a process group of its own, with a time limit after which the group is killed, and with as much
 * of its output kept as fits a line of the log.
 */
#ifndef VRAM_DAEMON_RECLAIM_COMMAND_H
#define VRAM_DAEMON_RECLAIM_COMMAND_H

#include "common/attr.h"
#include <stdint.h>

#define COMMAND_SAID_MAX 64

struct event_base;
struct reclaim_command;

/* `status`: of its exit; negative: it was killed, or could not be run, and `failure` says so. `said`: its first line. Called
 * from the loop, once. */
typedef void (*reclaim_command_function)(void *data, int status, const char *failure,
                                         const char *said);

/* `command`: words with blanks between, of which the first is an absolute path. `environment`: NULL-terminated, added to
 * what the daemon's own children get. NULL: it cannot be started; nothing is called then. */
struct reclaim_command *reclaim_command_new(struct event_base *base, const char *command,
                                            const char *const *environment, uint64_t timeout_ns,
                                            reclaim_command_function done, void *data);
/* Kills what still runs, without a call; also from within `done`. Returns NULL. */
struct reclaim_command *reclaim_command_free(struct reclaim_command *command);

#endif
