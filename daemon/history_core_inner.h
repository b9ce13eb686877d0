/* SPDX-License-Identifier: MIT */
/* What the two halves of the core share: memory (history_core.c) and processes (history_processes.c). */
#ifndef VRAM_DAEMON_HISTORY_CORE_INNER_H
#define VRAM_DAEMON_HISTORY_CORE_INNER_H

#include "daemon/history_core.h"

/* A process that runs, as far as is known. */
struct core_process {
    struct history_process row;
    uint64_t pass;          /* the last sample that had it */
    bool is_dirty;          /* its row is another than the one that was written */
    bool is_from_before;    /* and has not been seen since */
    int64_t seen_ms;        /* of one from before: when it was */
    uint64_t stepped_bytes; /* what its last step says */
    uint64_t written_bytes, written_peak_bytes;
    char lease[HISTORY_ID_MAX]; /* that it counts for now; "": none */
};

struct core_gpu {
    struct history_gpu row;
    bool described; /* its row was put out */
    bool present, was_lost;
    uint64_t pass; /* the last sample that had it */

    bool known; /* it told its memory in the last sample */
    uint64_t looked_ns, written_ns, written_bytes;
    struct history_bucket bucket; /* weight 0: nothing is in it */
    double sum;                   /* bytes times ms */

    bool full;
    uint64_t least_bytes; /* free, since it is full */
    uint64_t pressed_ns;  /* when it became full, or fuller; 0: it is not */

    bool listed;        /* its processes were looked at before */
    bool seen;          /* they are looked at, as its last row says */
    uint64_t listed_ns; /* when they were the last time */
    int64_t listed_ms;
    struct core_process *processes;
    size_t process_count, process_capacity;
};

struct history_core {
    history_lease_function lease;
    history_told_function told;
    void *data; /* of both */
    bool has_begun;
    uint64_t now_ns, pass;
    int64_t wall_ms, seen_wall_ms; /* of this sample; of the one before */
    struct core_gpu *gpus;
    size_t gpu_count;
    uint32_t last_gpu;
    uint64_t last_process;
    struct history_batch batch;
};

/* From which difference on something has changed. */
uint64_t history_step_bytes(uint64_t total_bytes);
bool history_is_step(uint64_t a, uint64_t b, uint64_t step_bytes);

/* Tells who listens; what is to be kept too goes to history_core_event(). */
void history_core_tell(const struct history_core *core, const struct history_event *event);

/* ---- history_processes.c ---- */
/* Its processes were looked at just now, or are known to be none; from then on nobody looks. */
void history_processes_seen(struct history_core *core, struct core_gpu *gpu);
void history_processes_unseen(struct history_core *core, struct core_gpu *gpu, int64_t at_ms);
void history_processes_take(struct history_core *core, struct core_gpu *gpu,
                            const struct vram_gpu *from);
void history_processes_end_all(struct history_core *core, struct core_gpu *gpu);
/* Puts the rows out that have changed. */
void history_processes_put(struct history_core *core, struct core_gpu *gpu);
MUST_CHECK int history_processes_know(struct history_core *core, struct core_gpu *gpu,
                                      const struct history_process *row, int64_t seen_ms);

#endif
