/* SPDX-License-Identifier: MIT */
/*
 * What becomes of samples: pure. Samples and the time go in; rows come out, into a batch. No clock, no file.
 *
 * Memory is a row when it changes by 16 MiB or 1 %, and once a minute; besides, what ten seconds saw becomes a bucket. What a
 * process holds is an interval with its peak. What is not known, or was not looked at, has no row: it is a gap, and gaps
 * are told (a change to unknown).
 *
 * Both clocks are handed in. Distances are by the monotonic one; the other is only what moments are called, and may jump.
 */
#ifndef VRAM_DAEMON_HISTORY_CORE_H
#define VRAM_DAEMON_HISTORY_CORE_H

#include "daemon/history_rows.h"
#include "include/vram.h"

#define HISTORY_GAP_NS ((uint64_t)10000000000) /* without a sample: nobody looked */
#define HISTORY_UNSEEN_NS                                                                          \
    ((uint64_t)20000000000) /* without a process list: nobody looked at those */
#define HISTORY_KEEP_ALIVE_NS ((uint64_t)60000000000)
#define HISTORY_PRESSED_NS                                                                         \
    ((uint64_t)15000000000) /* who ends so soon after it became full is suspected */
#define HISTORY_HOLDER_BYTES ((uint64_t)64 << 20) /* and held so much */

struct history_core;

/* The id of the lease that a process counts for, and what it is called; NULL: none. */
typedef const char *(*history_lease_function)(void *data, const struct vram_process *process,
                                              const char **ret_name);

/* NULL: out of memory. `lease` may be NULL. */
struct history_core *history_core_new(history_lease_function lease, void *data);
struct history_core *history_core_free(struct history_core *core); /* returns NULL */

/* Each event as it happens, begins and ends of processes among them; `data` is that of history_core_new(). NULL: nobody listens.
 * `gpu` NULL: none's. */
typedef void (*history_told_function)(void *data, const struct history_event *event,
                                      const struct history_gpu *gpu);
void history_core_listen(struct history_core *core, history_told_function told);

/* ---- What is known from before --------------------------------------------------------------- */

/* -ENOMEM; -EINVAL: its id or its UUID is none, or is there. */
MUST_CHECK int history_core_know_gpu(struct history_core *core, const struct history_gpu *gpu);
/* A process that was running when last looked at, at `seen_ms`: where it does so still its interval goes on, else it ended
 * then. -ENOMEM; -EINVAL. */
MUST_CHECK int history_core_know_process(struct history_core *core,
                                         const struct history_process *process, int64_t seen_ms);
/* The highest id of a process that was ever given. */
void history_core_know_ids(struct history_core *core, uint64_t process);

/* ---- Samples --------------------------------------------------------------------------------- */

/* A sample: begun, then each GPU of it, then ended. */
void history_core_begin(struct history_core *core, uint64_t now_ns, int64_t wall_ms);
void history_core_gpu(struct history_core *core, const struct vram_gpu *gpu);
void history_core_end(struct history_core *core);

/* Nothing is seen for now (the end, a pause): gaps begin. */
void history_core_rest(struct history_core *core, int64_t wall_ms);

/* An event beside those that samples make. What listens is told. */
void history_core_event(struct history_core *core, const struct history_event *event);

/* Whether process lists are wanted soon: a GPU is filling up. */
bool history_core_is_pressed(const struct history_core *core);

/* ---- What comes out -------------------------------------------------------------------------- */

/* All rows so far, with buckets and intervals as they stand. */
struct history_batch *history_core_batch(struct history_core *core);
/* Call it before the batch is written. */
void history_core_complete(struct history_core *core);
/* The number of a GPU; 0: it was never seen. */
uint32_t history_core_find_gpu(const struct history_core *core, const char *uuid);

#endif
