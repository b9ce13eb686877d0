/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of room on several GPUs, which answers to "does it fit?" and promises share:
 *
 *     headroom = free - promised - margin
 *
 * Pure, and nothing in it wraps: amounts are compared before they are subtracted, and sums stop at the largest
 * number. ROOM_UNKNOWN stands for what cannot be known.
 */
#ifndef VRAM_COMMON_ROOM_H
#define VRAM_COMMON_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROOM_UNKNOWN UINT64_MAX

/* The values of enum vram_answer. */
enum room_answer {
    ROOM_FITS = 0,
    ROOM_NOT_NOW = 1,
    ROOM_NEVER = 2,
    ROOM_CANNOT_TELL = 3,
};

/* One candidate. */
struct room {
    uint64_t total_bytes, reserved_bytes, free_bytes; /* each may be unknown */
    uint64_t promised_bytes; /* to others than who asks; 0 where nobody promises */
    uint64_t margin_bytes;   /* may be unknown */
    uint32_t pool;           /* candidates with the same number share one memory */
    bool usable;             /* false: no candidate at all, as it is lost or forbidden */
    bool current;            /* its figures are of now; others promise nothing */
    bool closed;             /* nothing new may be had there now, whatever is free */

    /* set by room_decide() */
    uint32_t answer; /* enum room_answer, for this candidate alone */
    bool chosen;
    bool headroom_known;
    int64_t headroom_bytes;
    uint64_t shortfall_bytes; /* unknown where headroom is */
    uint64_t
        capacity_bytes; /* what an empty card has: total - reserved; all of it where that is unknown,
                                 for "never" must be certain */
};

/*
 * Whether `size_bytes` fit on each of `gpu_count` candidates with memories of their own. Of those on which they
 * fit the fullest are chosen, so that the emptiest stay whole. Returns enum room_answer.
 */
uint32_t room_decide(struct room *rooms, size_t count, uint64_t size_bytes, uint32_t gpu_count);

/* Whether any candidate is usable. */
bool room_any_usable(const struct room *rooms, size_t count);

/* Sum and difference that stop at the ends. */
uint64_t room_sum(uint64_t a, uint64_t b);
uint64_t room_difference(uint64_t a, uint64_t b);

#endif
