/* SPDX-License-Identifier: MIT */
/* How often what has happened, for metrics: events of each GPU, and those of leases. Pure. */
#ifndef VRAM_DAEMON_HISTORY_COUNTS_H
#define VRAM_DAEMON_HISTORY_COUNTS_H

#include "daemon/history_rows.h"
#include "include/vram.h"

struct history_count {
    char uuid[HISTORY_UUID_MAX];
    uint32_t index;
    uint64_t mig_index; /* VRAM_UNKNOWN: it is no instance */
    uint64_t kinds[HISTORY_KINDS];
};

/* Zeroed is empty; history_counts_done() frees. */
struct history_counts {
    struct history_count *gpus;
    size_t gpu_count;
    uint64_t kinds[HISTORY_KINDS]; /* of all, whether a GPU's or none's */
};

/* Whether they are counted for each GPU. Of the others those of leases are counted for all together. */
bool history_kind_is_of_gpu(uint32_t kind);
bool history_kind_is_of_lease(uint32_t kind);

/* A GPU that was seen has counts from now on, 0 at first. */
void history_counts_meet(struct history_counts *counts, const struct vram_gpu *gpu);
void history_counts_add(struct history_counts *counts, const struct history_event *event,
                        const struct history_gpu *gpu);
void history_counts_done(struct history_counts *counts);

#endif
