/* SPDX-License-Identifier: MIT */
/*
 * Which processes a ceiling is for, or a holder's own, as a text: "unit:NAME", "container:ID" (daemon/attachment.h), "user:NAME", "name:NAME",
 * "command:TEXT". What is called so and what its command line says every program chooses itself; its unit, container
 * and user it does not. Pure functions.
 */
#ifndef VRAM_DAEMON_MATCH_H
#define VRAM_DAEMON_MATCH_H

#include "common/attr.h"
#include "daemon/attachment.h"
#include "include/vram.h"

#define MATCH_MAX 200 /* with its NUL: a line of the configuration */

enum match_kind {
    MATCH_ATTACHMENT = 0, /* a unit or container */
    MATCH_USER = 1,       /* its name, or its number where it has none */
    MATCH_NAME = 2,       /* in full; the kernel keeps 15 bytes of it */
    MATCH_COMMAND = 3,    /* a part of the command line */
};

struct match {
    enum match_kind kind;
    char text[MATCH_MAX];  /* all of it */
    char value[MATCH_MAX]; /* what stands behind the colon */
    struct attachment attachment;
};

/* What is known of a process; each may be NULL. */
struct match_process {
    const char *name, *command, *user, *container, *unit;
    const char *cgroups; /* its /proc/PID/cgroup */
};

struct match_process match_process_of(const struct vram_process *process);

/* 0; -EINVAL: the text is none; -ENAMETOOLONG. */
MUST_CHECK int match_parse(const char *text, struct match *ret_match);
bool match_is_met(const struct match *match, const struct match_process *process);
/* Whether an attachment of a lease says the same. */
bool match_is_attachment(const struct match *match, const char *text);

#endif
