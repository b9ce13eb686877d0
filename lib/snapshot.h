/* SPDX-License-Identifier: MIT */
/*
 * Makes snapshots: one allocation that holds everything it points to. What they are made of comes from a feed, so that
 * there is one layout for what a driver said, what a daemon said, and copies.
 */
#ifndef VRAM_LIB_SNAPSHOT_H
#define VRAM_LIB_SNAPSHOT_H

#include "lib/board.h"
#include "lib/identity.h"

/*
 * Hands a snapshot's parts out, from the first to the last, and then all of them once more: both times the same. Texts
 * are borrowed until the next call, and "" is an unknown one. `process` is asked for the GPU before it.
 */
struct snapshot_feed {
    uint64_t taken_at_ns; /* since 1970 */
    uint64_t waiters;     /* or VRAM_UNKNOWN */
    uint64_t epoch;       /* or 0 */
    struct vram_driver driver;
    size_t gpu_count, problem_count;
    /* 0 or -ENOMEM. A GPU's `processes` are not looked at, its process_count is. */
    int (*gpu)(struct snapshot_feed *feed, size_t position, struct vram_gpu *ret_gpu);
    int (*process)(struct snapshot_feed *feed, size_t position, struct vram_process *ret_process);
    void (*problem)(struct snapshot_feed *feed, size_t position, struct vram_problem *ret_problem);
};

/* Processes come out largest first, whatever their order was, and a nameless one as "pid_N". 0 or -ENOMEM. */
MUST_CHECK int snapshot_lay(struct snapshot_feed *feed, struct vram_snapshot **ret_snapshot);

/* A snapshot in pieces: structures of the public header that point where they like. */
struct snapshot_view {
    uint64_t taken_at_ns, waiters, epoch;
    struct vram_driver driver;
    size_t gpu_count, problem_count;
    const struct vram_gpu *gpus;
    const struct vram_problem *problems;
};
/* A view of a snapshot, which it must not outlive. */
struct snapshot_view snapshot_view(const struct vram_snapshot *snapshot);
/* The snapshot that a view is a view of. 0 or -ENOMEM. */
MUST_CHECK int snapshot_copy(const struct snapshot_view *view, struct vram_snapshot **ret_snapshot);

/* Of a board. Clocks are passed in: `taken_at_ns` since 1970, `now_ns` of CLOCK_MONOTONIC. 0 or -ENOMEM. */
MUST_CHECK int snapshot_build(const struct board *board, struct identities *identities,
                              uint32_t take, uint64_t taken_at_ns, uint64_t now_ns,
                              struct vram_snapshot **ret_snapshot);

#endif
