/* SPDX-License-Identifier: MIT */
/* Leases and waiting requests as tables. */
#ifndef VRAM_CLI_LEASE_TABLES_H
#define VRAM_CLI_LEASE_TABLES_H

#include "cli/cli.h"

/* What is shown of a moment. */
struct lease_view {
    struct cli *cli;
    struct vram_lease_list *list; /* NULL: no daemon runs, so nothing is leased */
    struct vram_snapshot
        *snapshot;   /* nearly of the same moment: GPUs' numbers, processes' names; may be NULL */
    uint64_t now_ns; /* since 1970 */
};

/* Add the table of all leases, of all waiters, to the output; the list must have some. */
void lease_tables_leases(const struct lease_view *view);
void lease_tables_waiters(const struct lease_view *view);
void lease_tables_ceilings(const struct lease_view *view);

#endif
