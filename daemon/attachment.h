/* SPDX-License-Identifier: MIT */
/*
 * What may be named as a lease's members besides its owner's descendants, as texts: "pid:N", "cgroup:/PATH", "container:ID",
 * "unit:NAME". Pure functions.
 */
#ifndef VRAM_DAEMON_ATTACHMENT_H
#define VRAM_DAEMON_ATTACHMENT_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ATTACHMENT_MAX 512 /* with its NUL */

/* In the order in which they count. */
enum attachment_kind {
    ATTACHMENT_PID = 0,
    ATTACHMENT_CGROUP =
        1, /* a path below the root of the cgroups; what is below it belongs to it */
    ATTACHMENT_CONTAINER = 2, /* its id, 12 digits of it or more, or its name in full */
    ATTACHMENT_UNIT = 3,      /* a systemd unit; without a suffix a service */
};

struct attachment {
    enum attachment_kind kind;
    pid_t pid;                  /* of a pid: as the text has it, in whose namespace ever */
    char value[ATTACHMENT_MAX]; /* of the others */
};

/* 0; -EINVAL: the text is none of these; -ENAMETOOLONG. */
MUST_CHECK int attachment_parse(const char *text, struct attachment *ret_attachment);

/* Whether a process belongs to it. `cgroups`: its /proc/PID/cgroup; `container`, `unit` as a snapshot has them, or NULL. Never for
 * a pid. */
bool attachment_matches(const struct attachment *attachment, const char *cgroups,
                        const char *container, const char *unit);

#endif
