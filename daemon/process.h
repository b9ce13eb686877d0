/* SPDX-License-Identifier: MIT */
/*
 * A process as the kernel knows it: a pid with its start time, and a pidfd that tells its end.
 *
 * What is read of /proc is read below `root` ("" for the real machine), so that tests can give their own. Everything
 * in it is text that other users' programs had a hand in. Not for several threads.
 */
#ifndef VRAM_DAEMON_PROCESS_H
#define VRAM_DAEMON_PROCESS_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct event_base;

struct process_stat {
    pid_t parent;        /* 0: none, or one outside this PID namespace */
    uint64_t start_time; /* clock ticks after boot */
};

/* /proc/PID/stat. 0; -ESRCH: no such process, or not one that can be seen; -EBADMSG. */
MUST_CHECK int process_stat(const char *root, pid_t pid, struct process_stat *ret_stat);

/* The effective user. 0; -ESRCH; -EBADMSG. */
MUST_CHECK int process_uid(const char *root, pid_t pid, uid_t *ret_uid);

/* The value of `name` in its environment, as it was at its last exec; of several the first. 1 with the value; 0: not
 * there, or longer than `size` allows; -ESRCH; -EACCES. */
MUST_CHECK int process_environment(const char *root, pid_t pid, const char *name, char *value,
                                   size_t size);

/* /proc/PID/cgroup. Its length; -ESRCH. */
MUST_CHECK int process_cgroup(const char *root, pid_t pid, char *text, size_t size);

/* Which namespace of `kind` ("pid", "user") it is in. 0; -ESRCH; -EACCES. */
MUST_CHECK int process_namespace(const char *root, pid_t pid, const char *kind, uint64_t *ret_id);

/* The pid here of the process that `peer` calls `pid`. 0; -ESRCH: none, or it cannot be told; -EACCES: peer's
 * namespace may not be looked at. */
MUST_CHECK int process_translate(const char *root, pid_t peer, pid_t pid, pid_t *ret_pid);

/* The time of now in a process's units, for comparing with start times. */
uint64_t process_now_ticks(void);

/* ---- The real machine only ------------------------------------------------------------------- */

/* A pidfd of the very process (CLOEXEC; the caller closes it). start_time VRAM_UNKNOWN: whichever has the pid now.
 * -ESRCH: it has ended, or the pid is another's by now. */
MUST_CHECK int process_open(pid_t pid, uint64_t start_time, int *ret_pidfd);

/* A pidfd of a child that was not waited for yet, whether or not it has ended. 0; negative errno. */
MUST_CHECK int process_open_child(pid_t pid, int *ret_pidfd);

/* Whether the process behind the pidfd has ended. */
bool process_ended(int pidfd);

/* Tells once, from the loop, that a process has ended. */
struct process_watch;
typedef void (*process_ended_function)(void *data);

/* Takes the pidfd over, also where it fails. 0; -ENOMEM. */
MUST_CHECK int process_watch_new(struct event_base *base, int pidfd, process_ended_function ended,
                                 void *data, struct process_watch **ret_watch);
/* Also from within `ended`. Returns NULL. */
struct process_watch *process_watch_free(struct process_watch *watch);

#endif
