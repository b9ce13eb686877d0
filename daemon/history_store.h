/* SPDX-License-Identifier: MIT */
/*
 * The file of history: rows in tables of SQLite, rolled up into tiers, bounded in size. It knows nothing of samples.
 *
 * Of each GPU the changes are kept for hours, and buckets in tiers of 10 s for 2 days, 1 min for 30 days and 15 min for 2 years;
 * coarser tiers are made of finer ones in the transaction that writes these. Where that is more than the file may have the
 * oldest goes first.
 *
 * A file that is damaged, or of a newer vram, is renamed (FILE.damaged, FILE.newer) and a new one is begun; one that is no
 * history at all is left alone. One process at a time has a file, by a lock beside it (FILE.lock).
 */
#ifndef VRAM_DAEMON_HISTORY_STORE_H
#define VRAM_DAEMON_HISTORY_STORE_H

#include "daemon/history_need.h"
#include "daemon/history_rows.h"

#define HISTORY_PROBLEM_MAX 512
#define HISTORY_PATH_MAX 512
#define HISTORY_LEAST_BYTES ((uint64_t)1 << 20) /* a file cannot be bounded to less */

struct history_store;

struct history_store_options {
    const char *path;
    uint64_t max_bytes;
    const char *boot; /* this boot's id: start times of another mean nothing */
    int64_t now_ms;
};

/*
 * Opens the file, or makes it with its directory. 0, with a sentence in `problem` where one was set aside, else "".
 * -EBUSY: another process has it; -EEXIST: it is something else; another errno; `problem` says which, and why.
 */
MUST_CHECK int history_store_open(const struct history_store_options *options,
                                  struct history_store **ret_store,
                                  char problem[HISTORY_PROBLEM_MAX]);
struct history_store *history_store_close(struct history_store *store); /* returns NULL */

/* Whether files may be read in other threads meanwhile. */
bool history_store_has_threads(void);
const char *history_store_path(const struct history_store *store);
void history_store_bound(struct history_store *store, uint64_t max_bytes);
/* How long a call waits where another connection writes: at first not at all. */
void history_store_wait(struct history_store *store, int ms);
/* What the file takes, without what is freed in it. */
uint64_t history_store_bytes(struct history_store *store);
/* What went wrong in the last call that failed. */
const char *history_store_error(const struct history_store *store);
/* Whether the last failure means that the file is damaged, and must be opened anew. */
bool history_store_is_damaged(const struct history_store *store);
/* Renames the file of a store that is closed by this. What it is called now is in `problem`. */
void history_store_set_aside(struct history_store *store, char problem[HISTORY_PROBLEM_MAX]);

/* ---- What is known from before --------------------------------------------------------------- */

/* When it was last written to; 0: never. */
int64_t history_store_alive_ms(const struct history_store *store);
/* Since when there is history; 0: there is none. */
int64_t history_store_since_ms(struct history_store *store);

typedef void (*history_gpu_function)(void *data, const struct history_gpu *gpu);
typedef void (*history_process_function)(void *data, const struct history_process *process);
typedef void (*history_lease_row_function)(void *data, const struct history_lease *lease);
MUST_CHECK int history_store_gpus(struct history_store *store, history_gpu_function each,
                                  void *data);
/* The processes that ran when it was last written to, if that was in this boot. */
MUST_CHECK int history_store_running(struct history_store *store, history_process_function each,
                                     void *data);
MUST_CHECK int history_store_standing(struct history_store *store, history_lease_row_function each,
                                      void *data);
/* Ends what ran and stood, and all that is known of memory, as of when it was last written to: before the first write. */
MUST_CHECK int history_store_cut(struct history_store *store);
uint64_t history_store_last_process(struct history_store *store);

/* ---- Writing --------------------------------------------------------------------------------- */

/* All of it in one transaction, or nothing of it. 0; -ENOSPC; -EIO; -EBUSY: in a moment; -EBADMSG: the file is damaged. */
MUST_CHECK int history_store_write(struct history_store *store, const struct history_batch *batch,
                                   int64_t now_ms);
/* Drops what is too old, and a part of the oldest where there is too much: a little of it each time, so that nobody waits. */
MUST_CHECK int history_store_prune(struct history_store *store, int64_t now_ms);

/* ---- Asking ---------------------------------------------------------------------------------- */

/* One point: a step of the time that was asked for. */
struct history_point {
    uint64_t low_bytes, mean_bytes, high_bytes, free_bytes; /* unknown where nobody looked */
    uint64_t weight_ms;
};

/*
 * Memory of a GPU in `count` steps of `step_s` from `from_s` on, from the tier that fits: from changes where steps are
 * shorter than the finest.
 */
MUST_CHECK int history_store_memory(struct history_store *store, uint32_t gpu, int64_t from_s,
                                    uint64_t step_s, size_t count,
                                    struct history_point *ret_points);

/* What to look for; moments from inclusive, to exclusive. */
struct history_question {
    int64_t from_ms, to_ms;
    const char *gpus; /* their numbers, with commas around each: ",1,12,"; "": all */
    size_t limit;
};

/* With what it held at both ends of the time, as far as that is known, and most within it. */
struct history_interval {
    struct history_process process;
    uint64_t from_bytes, to_bytes, most_bytes;
};
typedef void (*history_interval_function)(void *data, const struct history_interval *interval);
typedef void (*history_event_function)(void *data, const struct history_event *event);

/* Those that ran in that time, the largest peak first. */
MUST_CHECK int history_store_processes(struct history_store *store,
                                       const struct history_question *question,
                                       history_interval_function each, void *data);
/* What one of them held from which moment on: from the last change before `from_ms` to `to_ms`, the newest `limit`, newest first. */
typedef void (*history_step_function)(void *data, const struct history_step *step);
MUST_CHECK int history_store_steps(struct history_store *store, uint64_t process, int64_t from_ms,
                                   int64_t to_ms, size_t limit, history_step_function each,
                                   void *data);
/* Those that stood or waited in that time, in the order of their requests. */
MUST_CHECK int history_store_leases(struct history_store *store,
                                    const struct history_question *question,
                                    history_lease_row_function each, void *data);
/* A label and its user, of leases that something was learned from. */
typedef void (*history_label_function)(void *data, const char *label, const char *user);
MUST_CHECK int history_store_labels(struct history_store *store, history_label_function each,
                                    void *data);
/* The last runs of a label that tell what it needs, the newest first; their number, at most NEED_RUNS_MAX, or negative. */
MUST_CHECK int history_store_runs(struct history_store *store, const char *label, const char *user,
                                  struct need_run *ret_runs);
/* Forgets what was learned from them. How many; or negative. */
MUST_CHECK int history_store_forget(struct history_store *store, const char *label,
                                    const char *user);

/* The last ones of that time, the newest first. `kinds`: a bit for each; processes' begins and ends among them. */
MUST_CHECK int history_store_events(struct history_store *store,
                                    const struct history_question *question, uint32_t kinds,
                                    history_event_function each, void *data);

#endif
