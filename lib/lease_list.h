/* SPDX-License-Identifier: MIT */
/* The list of leases, and a verdict's word, for those who read them and those who write them. */
#ifndef VRAM_LIB_LEASE_LIST_H
#define VRAM_LIB_LEASE_LIST_H

#include "include/vram.h"

struct vram_lease_list {
    uint64_t epoch;
    struct vram_daemon daemon;
    size_t lease_count, waiter_count, ceiling_count;
    const struct vram_lease *leases;
    const struct vram_waiter *waiters;
    const struct vram_ceiling *ceilings;
};

/* "granted", else as vram_answer_name(). */
const char *lease_verdict_name(uint32_t answer);

#endif
