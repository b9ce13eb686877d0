/* SPDX-License-Identifier: MIT */
/* Asking for a lease, for the commands that do: the options they share, the queue on stderr, what came of it. */
#ifndef VRAM_CLI_LEASING_H
#define VRAM_CLI_LEASING_H

#include "cli/retraction.h"
#include "cli/session.h"

/* The options that leasing_ask() reads; "timeout" has a help of its own in each command. */
#define LEASING_OPTIONS                                                                            \
    {"margin", 0, "M", "what must stay free after it: a size or a percentage of the total"},       \
        {"gpus", 0, "N", "SIZE on each of N GPUs, all or none (1)"},                               \
        {"label", 0, "L", "what `vram leases` calls it"},                                          \
        {"for", 0, "T", "end the lease so long after it was granted: 30m, 2h, 1d"},                \
    {                                                                                              \
        "member", 0, "M",                                                                          \
            "who fills it besides the owner and its descendants: container:ID, unit:NAME, "        \
            "cgroup:/PATH or pid:N; repeatable"                                                    \
    }

/* A request, from the command line to its answer. */
struct leasing {
    struct cli *cli;
    struct vram_lease_request request;
    char id[20];
    const char **members, **candidates;
    struct vram_snapshot *snapshot; /* that the candidates' names stand in */
    char shown[512];                /* the last line about the queue */
    bool terminal;                  /* stderr is one, whose last line can be written anew */
    struct retraction retraction;
    struct vram_verdict *verdict;
};

void leasing_done(struct leasing *leasing); /* for CLEANUP() */

/* Reads SIZE (NULL: it is not known yet) and the options into `request`. What the command wants otherwise it sets afterwards. */
MUST_CHECK int leasing_read(struct leasing *leasing, struct cli *cli, const char *size);

/*
 * Asks, with a daemon that is started where there is none, and waits. 0: there is a verdict, whatever it is, and until
 * leasing_settle() a signal ends the lease; else an exit status, and nothing is held.
 */
MUST_CHECK int leasing_ask(struct leasing *leasing);

/* The lease stands. */
void leasing_settle(struct leasing *leasing);

#endif
