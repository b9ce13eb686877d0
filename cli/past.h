/* SPDX-License-Identifier: MIT */
/*
 * What the daemon remembers, as structures: its answers under /v1/history, /v1/processes, /v1/events, /v1/report, /v1/holders and /v1/needs. Texts and
 * arrays belong to the answer. Unknown amounts are VRAM_UNKNOWN, moments that have not come PAST_NEVER.
 */
#ifndef VRAM_CLI_PAST_H
#define VRAM_CLI_PAST_H

#include "common/buf.h"
#include "include/vram.h"
#include <errno.h>

struct cli;

#define PAST_NEVER INT64_MIN
#define PAST_TARGET_MAX 512

struct past_gpu {
    const char *uuid, *name;
    uint64_t index, mig_index, total_bytes;
    uint64_t *used, *min, *max, *free; /* one for each step */
};

struct past_process {
    const char *gpu, *name, *user, *container, *unit, *lease;
    uint64_t gpu_index, gpu_mig_index, pid, start_time;
    int64_t began_ms, ended_ms;
    uint64_t peak_bytes, last_bytes, from_bytes, to_bytes, most_bytes;
    void *document; /* as the daemon has it */
};

struct past_holder {
    const char *name, *ask, *state, *last;
    uint64_t held_bytes, leased_bytes;
    int64_t last_ms, again_ms;
};

struct past_need {
    const char *label, *user, *verdict, *message;
    uint64_t need_bytes, peak_bytes, steady_bytes, runs;
};

/* Who had memory: GiB-hours, hours, and seconds; below 0: not known, or nobody waited. */
struct past_sum {
    double leased, held, idle, unleased, unknown_held_h, unknown_idle_h;
    double wait_mean_s, wait_median_s, wait_longest_s;
    uint64_t granted, waited, gave_up, waiting;
};

struct past_row {
    const char *user, *label, *gpu; /* as it is by */
    bool has_lease;                 /* by label: else it is what was held without one */
    uint64_t gpu_index, gpu_mig_index;
    double seen_h; /* of a GPU */
    struct past_sum sum;
};

struct past_lease {
    const char *id, *label, *user;
    uint64_t size_bytes, gpu_count;
    const char *first_gpu;
    int64_t asked_ms, granted_ms, ended_ms;
    void *document;
};

struct past_event {
    const char *kind, *gpu, *name, *user, *lease, *text;
    uint64_t gpu_index, gpu_mig_index, pid, bytes;
    int64_t at_ms;
    void *document;
};

/* An answer; each call fills in its own part. */
struct past {
    void *document;
    int64_t since_ms; /* since when there is history; PAST_NEVER: there is none */
    uint64_t step_s;
    size_t step_count, count;
    int64_t *t; /* Unix seconds */
    struct past_gpu *gpus;
    struct past_process *processes;
    struct past_lease *leases;
    struct past_event *events;
    struct past_holder *holders;
    struct past_need *needs;
    double hours;                        /* of a report */
    struct past_row *rows, *seen, total; /* and its GPUs, as far as they were looked at */
    size_t seen_count;
    uint64_t left_out;
};

void past_done(struct past *past); /* for CLEANUP() */

/* Each asks for `target`, "/v1/history?…". 0; -ENODATA: none is kept; -ENOSYS: built without a reader; PAST_UNREADABLE: the answer is
 * no such answer; else as vram_daemon_get(). */
#define PAST_UNREADABLE (-EILSEQ)
MUST_CHECK int past_take_memory(struct vram *vram, const char *target, struct past *ret_past);
MUST_CHECK int past_take_processes(struct vram *vram, const char *target, struct past *ret_past);
MUST_CHECK int past_take_leases(struct vram *vram, const char *target, struct past *ret_past);
MUST_CHECK int past_take_events(struct vram *vram, const char *target, struct past *ret_past);
MUST_CHECK int past_take_holders(struct vram *vram, struct past *ret_past);
MUST_CHECK int past_take_report(struct vram *vram, const char *target, struct past *ret_past);
/* `label` NULL: all; else the caller's of this label. */
MUST_CHECK int past_take_needs(struct vram *vram, const char *label, struct past *ret_past);

/* The same, told to who gave the command: an exit status, 0 to go on. */
MUST_CHECK int past_memory(struct cli *cli, const char *target, struct past *ret_past);
MUST_CHECK int past_processes(struct cli *cli, const char *target, struct past *ret_past);
MUST_CHECK int past_leases(struct cli *cli, const char *target, struct past *ret_past);
MUST_CHECK int past_events(struct cli *cli, const char *target, struct past *ret_past);
MUST_CHECK int past_report(struct cli *cli, const char *target, struct past *ret_past);
MUST_CHECK int past_holders(struct cli *cli, struct past *ret_past);
MUST_CHECK int past_needs(struct cli *cli, const char *label, struct past *ret_past);

/* "PATH?from=…&to=…", and the GPUs that --gpu names. An exit status, 0 to go on. */
MUST_CHECK int past_target(struct cli *cli, const char *path, int64_t from_ms, int64_t to_ms,
                           char target[PAST_TARGET_MAX]);

/* Adds the JSON that came: all of an answer; one thing in it. */
void past_print(struct buf *out, const void *document);

#endif
