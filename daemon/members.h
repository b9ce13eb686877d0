/* SPDX-License-Identifier: MIT */
/*
 * Which owner a process counts for. It counts for one only, the nearest: itself, or the nearest ancestor that is an owner or
 * attached; else the owner of the lease that VRAM_LEASE in its environment names, if both are one user's; else the
 * owner to whom its cgroup (the longest path first), container or unit is attached.
 *
 * Who descends from whom is remembered from when a process was first seen here: a parent that dies or an owner that
 * asks later changes nothing in it. A process costs a look into /proc once, and next to nothing from then on.
 *
 * Owners are numbers that the caller chose, never 0. Not for several threads.
 */
#ifndef VRAM_DAEMON_MEMBERS_H
#define VRAM_DAEMON_MEMBERS_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct members;

struct members_verdict {
    uint64_t key;   /* the nearest owner; 0: none */
    uint64_t outer; /* the nearest beyond it that is not prospective; 0: none */
};

/* `root`: a prefix for /proc; must outlive it. NULL: out of memory. */
struct members *members_new(const char *root);
struct members *members_free(struct members *members);

/*
 * @pid          0: in a PID namespace that cannot be seen; then only leases and attachments tell its members
 * @prospective  it has asked for a lease and holds none
 * 0; -EEXIST: the key is taken; -ENOMEM. The process need not live any more.
 */
MUST_CHECK int members_add_owner(struct members *members, uint64_t key, pid_t pid,
                                 uint64_t start_time, uid_t uid, bool prospective);
/* -ENOENT where there is no such owner, here and below. */
int members_set_prospective(struct members *members, uint64_t key, bool prospective);
/* With all that was said of it. */
void members_remove_owner(struct members *members, uint64_t key);

/* What VRAM_LEASE names. 0; -ENOENT; -EINVAL: no id of a lease (1 to 32 digits and letters); -ENOMEM. */
MUST_CHECK int members_add_lease(struct members *members, uint64_t key, const char *id);
void members_remove_lease(struct members *members, const char *id);

/* "cgroup:/PATH", "container:ID", "unit:NAME" (daemon/attachment.h), whether or not they exist yet. 0; -ENOENT; -EINVAL:
 * another text, a pid's among them; -ENAMETOOLONG; -ENOMEM. */
MUST_CHECK int members_attach(struct members *members, uint64_t key, const char *text);
/* A process, known by its start time. 0; -ENOENT; -ENOMEM. */
MUST_CHECK int members_attach_process(struct members *members, uint64_t key, pid_t pid,
                                      uint64_t start_time);

/* `container` and `unit` as a snapshot has them, or NULL. Nobody's where the process cannot be seen. 0; -ENOMEM. */
MUST_CHECK int members_resolve(struct members *members, pid_t pid, uint64_t start_time,
                               const char *container, const char *unit,
                               struct members_verdict *ret_verdict);

/* Forgets processes that have ended and that nobody descends from. After each sample. */
void members_sweep(struct members *members);

/* Processes that are remembered: for tests. */
size_t members_count(const struct members *members);

#endif
