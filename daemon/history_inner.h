/* SPDX-License-Identifier: MIT */
#ifndef VRAM_DAEMON_HISTORY_INNER_H
#define VRAM_DAEMON_HISTORY_INNER_H

#include "daemon/history.h"
#include "daemon/history_core.h"
#include "daemon/history_counts.h"
#include "daemon/history_steady.h"
#include "daemon/history_store.h"

/* A lease that stands, or a request that waits. */
struct history_standing {
    struct history_lease row;
    bool is_dirty, is_from_before; /* and the desk has not named it since */
    bool is_mixed;        /* what its members held is not all its own, or was not all seen */
    uint32_t seen;        /* how many looks found them with memory */
    struct steady steady; /* the most of them on one GPU, as looks found it */
    struct history_held {
        uint64_t bytes, free_bytes, total_bytes;
    } held[HISTORY_GPUS_MAX]; /* in the look of now */
};

#define HISTORY_PATIENCE_MS 100 /* for what is not written yet, where a log is being begun anew */

struct history {
    struct daemon *daemon;
    struct history_core *core;
    struct history_store *store;    /* NULL: the file could not be opened; it is tried again */
    char path[HISTORY_PATH_MAX];    /* "": nothing is kept, events are told */
    char said[HISTORY_PROBLEM_MAX]; /* the last trouble that was told; "": all is well */
    struct history_counts counts;
    uint64_t bytes, since_ns; /* of the file, when it was last written to; VRAM_UNKNOWN */
    struct event *on_second;
    uint64_t sampled_ns,
        processes_ns; /* when the last sample came, and the last with process lists */
    uint64_t written_ns, pruned_ns, opened_ns;
    struct history_standing *standing;
    size_t standing_count;
    struct history_reports *reports; /* NULL: none was asked for yet */
};

int64_t history_wall_ms(void);

/* Writes all that there is. Whether the file has it now. */
bool history_flush(struct history *history);
/* For who asks: the file is waited for a moment, and has what there is where it can. False: there is none now. */
bool history_is_ready(struct history *history);
/* Where the last failure means that the file is damaged: sets it aside and begins another. */
void history_mend(struct history *history);

/* ---- history_report.c ---- */
/* Ends those that are being made. Returns NULL. */
struct history_reports *history_reports_free(struct history_reports *reports);

/* ---- history_leases.c ---- */
/* What the lease of this id is called: its label, else its id. */
const char *history_lease_name(const struct history *history, const char *id);
/* Takes over those that stood when the file was last written to, and what the desk has now; the rest has ended. */
void history_leases_know(void *data, const struct history_lease *lease);
void history_leases_compare(struct history *history);
/* Adds what has changed to the batch. */
void history_leases_put(struct history *history);

#endif
