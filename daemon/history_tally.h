/* SPDX-License-Identifier: MIT */
/*
 * Who had the memory: rows of history, summed up over time. Pure: no clock, no file.
 *
 *   leased    the size of a lease on each of its GPUs, while it stands
 *   held      what processes held, whoever they are
 *   unleased  of that, what those held that counted for no lease on that GPU
 *   idle      of a lease on one GPU, what its processes together held less than its size, moment by moment
 *
 * What is held under a lease counts for the lease's user and label; what is held without one, for the process's user. What nobody
 * looked at, or the driver did not tell, is neither held nor idle: how long that was is told beside it.
 *
 * The time may be cut into pieces that follow one another, each with the rows that touch it: only one has to be in memory.
 */
#ifndef VRAM_DAEMON_HISTORY_TALLY_H
#define VRAM_DAEMON_HISTORY_TALLY_H

#include "daemon/history_rows.h"

#define TALLY_WAIT_MS 1000 /* who was granted it sooner did not wait */

enum tally_by { TALLY_BY_USER, TALLY_BY_LABEL, TALLY_BY_GPU };

/* What is needed of a process. */
struct tally_process {
    uint64_t id;
    uint32_t gpu;
    int64_t began_ms, ended_ms; /* HISTORY_RUNNING */
    char user[HISTORY_NAME_MAX];
};

/* The rows of a piece. Of steps, members and looks also the last one before it. */
struct tally_rows {
    const struct history_gpu *gpus; /* those that are reported on */
    size_t gpu_count;
    const struct history_look *looks; /* by GPU and moment */
    size_t look_count;
    const struct history_lease *leases; /* by id */
    size_t lease_count;
    const struct history_resize *resizes; /* by lease and moment */
    size_t resize_count;
    const struct tally_process *processes; /* by id */
    size_t process_count;
    const struct history_step *steps; /* by process and moment */
    size_t step_count;
    const struct history_member *members; /* by process and moment */
    size_t member_count;
};

/* Amounts are bytes times milliseconds. */
struct tally_sum {
    double leased, held, idle, unleased;
    double unknown_idle_ms; /* of leases, on each of their GPUs */
    double unknown_held_ms; /* of processes, on each of their GPUs */
    uint64_t granted;       /* leases */
    uint64_t
        waited; /* those of them that had to wait, and how long: together, in the middle, at most */
    uint64_t waited_ms, median_ms, longest_ms;
    uint64_t gave_up; /* requests that ended without a grant */
    uint64_t waiting; /* that wait at the end of the time */
};

enum tally_kind {
    TALLY_TOTAL,
    TALLY_NAMED,    /* of this user, label or GPU (its UUID) */
    TALLY_NAMELESS, /* of no known user, or without a label */
    TALLY_UNLEASED, /* by label: what was held without a lease */
};

struct tally_row {
    enum tally_kind kind;
    char name[HISTORY_TEXT_MAX];
    struct tally_sum sum;
};

struct tally;

/* NULL: out of memory. */
struct tally *tally_new(enum tally_by by);
struct tally *tally_free(struct tally *tally); /* returns NULL */

/* A piece of the time; of the last one it is told which requests wait. -ENOMEM. */
MUST_CHECK int tally_add(struct tally *tally, int64_t from_ms, int64_t to_ms, bool last,
                         const struct tally_rows *rows);
/* How long the processes of a GPU of `rows` were looked at in this time. */
int64_t tally_seen_ms(const struct tally_rows *rows, uint32_t gpu, int64_t from_ms, int64_t to_ms);

/* Ends it: the first row is the total of all, those that had most, leased or held without a lease, follow. */
const struct tally_row *tally_rows(struct tally *tally, size_t *ret_count);

#endif
