/* SPDX-License-Identifier: MIT */
/* Moments and stretches of time that history is asked about. Pure. */
#ifndef VRAM_DAEMON_HISTORY_TIME_H
#define VRAM_DAEMON_HISTORY_TIME_H

#include "common/attr.h"
#include <stddef.h>
#include <stdint.h>

#define HISTORY_POINTS_MAX 5000 /* of one answer */
#define HISTORY_POINTS_USUAL 300

/* Unix seconds, with decimals or without ("1764201600.5"), or RFC 3339 ("2026-11-26T03:00:00Z", "…+01:00"; a '+' may have become
 * a blank on its way). Milliseconds since 1970. 0; -EINVAL: no moment, or not one between 1970 and 2500. */
MUST_CHECK int history_time_parse(const char *text, int64_t *ret_ms);

/* Steps of the same length, that begin at whole steps since 1970. */
struct history_window {
    int64_t from_s;
    uint64_t step_s;
    size_t count; /* 1 to HISTORY_POINTS_MAX */
};

/*
 * The steps that cover a stretch of time. `step_s` 0: so that there are not too many; else it is rounded up to what buckets
 * are made of. -EINVAL: `to` is not behind `from`; -E2BIG: more than HISTORY_POINTS_MAX.
 */
MUST_CHECK int history_window_plan(int64_t from_ms, int64_t to_ms, uint64_t step_s,
                                   struct history_window *ret_window);

#endif
