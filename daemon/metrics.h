/* SPDX-License-Identifier: MIT */
/*
 * The daemon's own metrics: leases, its collector, its clients, itself. Those of the GPUs are the library's
 * (vram_snapshot_metrics()), and come before them. Pure: all that is written is in the facts.
 */
#ifndef VRAM_DAEMON_METRICS_H
#define VRAM_DAEMON_METRICS_H

#include "common/exposition.h"
#include "daemon/config_holders.h"
#include "daemon/history_counts.h"
#include "daemon/hook.h"
#include "daemon/http.h"
#include "daemon/peaks.h"
#include "include/vram.h"

#define METRICS_SHARES 256 /* leases on GPUs that are told by themselves */
#define METRICS_USER_MAX 65
#define METRICS_STATES 5   /* of leases: enum ledger_state */
#define METRICS_VERDICTS 6 /* of requests: enum ledger_verdict */
#define METRICS_OUTCOMES 3 /* of asking holders: enum reclaim_outcome */
#define METRICS_HOLDERS (HOLDERS_MAX + 1)

/* One lease on one GPU; or, with `lease` "(other)", what is left of many there. Texts are borrowed. */
struct metrics_share {
    const char *lease, *label, *uuid;
    char user[METRICS_USER_MAX];
    bool first;        /* of its lease */
    uint64_t until_ns; /* since 1970; VRAM_UNKNOWN: with its holders */
    uint64_t size_bytes, held_bytes, outstanding_bytes;
};

/* Who is asked to give memory back. */
struct metrics_holder {
    const char *name; /* borrowed; "(leases)": those on offer, together */
    uint64_t outcomes[METRICS_OUTCOMES], returned_bytes; /* since it is known */
};

struct metrics_leases {
    bool known; /* false: another daemon promises, or nobody */
    uint64_t states[METRICS_STATES], waiters, omitted;
    uint64_t verdicts[METRICS_VERDICTS]; /* since the daemon's start */
    size_t count;
    struct metrics_share *shares; /* for free(3) */
    size_t holder_count;
    struct metrics_holder holders[METRICS_HOLDERS];
};

/* Why a collection failed. */
enum metrics_failure {
    METRICS_TIMEOUT, /* the driver does not answer */
    METRICS_ENDED,   /* the process that asks it was ended by it */
    METRICS_DRIVER,  /* it says so */
    METRICS_FAILURES,
};

struct metrics_collector {
    bool tried;               /* at least once */
    bool succeeded;           /* the last time */
    uint64_t succeeded_at_ns; /* since 1970; 0: never */
    uint64_t duration_ns;     /* of the last one */
    uint64_t running_ns;      /* of the one that runs now; 0: none does */
    uint64_t failures[METRICS_FAILURES];
};

/* The daemon as a process; VRAM_UNKNOWN where /proc does not tell. */
struct metrics_self {
    uint64_t cpu_ns, started_ns, resident_bytes, virtual_bytes, descriptors, descriptors_max;
};

struct metrics_facts {
    const struct vram_snapshot *snapshot; /* for the names of GPUs; may be NULL */
    bool stale;                           /* its figures are not of now */
    uint64_t now_ns;                      /* monotonic */
    const struct peaks *peaks;
    const struct history_counts *counts;      /* of events; NULL: nobody looks */
    const uint64_t *commands;                 /* HOOK_RESULTS of them; NULL: none is run */
    uint64_t history_bytes, history_since_ns; /* may be unknown */
    const char *backend;                      /* "nvml", "sim" */
    bool promising;
    struct metrics_leases leases;
    struct metrics_collector collector;
    const struct http_counts *http;
    struct metrics_self self;
};

void metrics_write(struct exposition *out, const struct metrics_facts *facts);

#endif
