/* SPDX-License-Identifier: MIT */
/*
 * A snapshot as metrics: docs/metrics.md has the families. Pure: clocks are passed in.
 *
 * Bounded, whatever the snapshot holds: per GPU so many processes, users and containers, the rest summed up.
 */
#ifndef VRAM_LIB_METRICS_H
#define VRAM_LIB_METRICS_H

#include "common/attr.h"
#include "common/exposition.h"
#include "common/gpu_name.h"
#include "include/vram.h"

#define METRICS_PROCESSES 20 /* of a GPU, by themselves */
#define METRICS_PROCESS_BYTES ((uint64_t)64 << 20)
#define METRICS_PROCESS_AGE_S 30
#define METRICS_SUMS 50 /* users of a GPU, and containers */
#define METRICS_NAME_MAX 65
#define METRICS_REST "(other)"

/* Where process start times lie in time. */
struct metrics_clock {
    uint64_t boot_ns;          /* since 1970 */
    uint64_t now_ticks;        /* since then, in the units of start times */
    uint64_t ticks_per_second; /* not 0 */
};

/* A GPU on its way into the text. */
struct metrics_row {
    const struct vram_gpu *gpu;
    const struct vram_gpu *listed; /* the same where the processes are; NULL: it is not there */
    char label[GPU_NAME_LABEL_MAX];
    char uuid[METRICS_NAME_MAX]; /* else its PCI address */
    uint64_t margin_bytes;
    bool up;           /* its figures can be believed */
    bool shares;       /* its memory is that of a row before, which tells it */
    bool is_duplicate; /* of one before: no sample may come twice */
};

/* ---- metrics.c ---- */
MUST_CHECK int metrics_of_snapshot(struct exposition *out, const struct vram_snapshot *snapshot,
                                   const struct vram_metrics_options *options,
                                   const struct metrics_clock *clock);

/* ---- metrics_processes.c ---- */
/* What the processes of these GPUs hold. 0; -ENOMEM. */
MUST_CHECK int metrics_write_processes(struct exposition *out, const struct metrics_row *rows,
                                       size_t count, const struct metrics_clock *clock);

#endif
