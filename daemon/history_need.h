/* SPDX-License-Identifier: MIT */
/*
 * What a program needs, learned from what it held before. Pure.
 *
 * The most of its last runs, and something on top: what was looked at once a second may have been more in between, and one
 * run says less than several. A run that ended in a suspected out-of-memory needed more than it had. A program that
 * takes whatever it finds needs nothing that could be learned.
 *
 * What it held once it had started is told beside it: a program may need much for a moment, to compile, to load, and less
 * from then on. What it asks for has to do for its whole run.
 */
#ifndef VRAM_DAEMON_HISTORY_NEED_H
#define VRAM_DAEMON_HISTORY_NEED_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEED_RUNS_MAX 10 /* the last ones */

struct need_run {
    uint64_t peak_bytes;              /* known */
    uint64_t room_bytes, total_bytes; /* may be unknown */
    bool whole;                       /* else it ended out of memory, as it looked */
    uint64_t steady_bytes;            /* in its last half; may be unknown */
};

enum need_verdict {
    NEED_UNKNOWN = 0, /* no run tells it */
    NEED_KNOWN = 1,
    NEED_ELASTIC = 2, /* it takes what it finds */
};

struct need {
    uint32_t verdict; /* enum need_verdict */
    uint64_t bytes;   /* of NEED_KNOWN */
    uint64_t peak_bytes;
    uint64_t steady_bytes; /* the most of whole runs; may be unknown */
    size_t runs;           /* whole ones */
    uint32_t percent;      /* that are on top */
    bool starved;          /* the run that asks for most ended out of memory */
};

/* The newest first. */
struct need need_of(const struct need_run *runs, size_t count);

/* A sentence of it: "12.4 GiB: the most of 3 runs and 3 %". */
void need_say(const struct need *need, const char *label, char *text, size_t size);

#endif
