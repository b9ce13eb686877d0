/* SPDX-License-Identifier: MIT */
/* Whom to ask: the cheapest set of holders whose memory is enough. Pure. */
#ifndef VRAM_DAEMON_RECLAIM_PLAN_H
#define VRAM_DAEMON_RECLAIM_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* A GPU that a request could have, and what it lacks there. */
struct reclaim_lack {
    size_t gpu; /* position in `held` */
    uint64_t missing_bytes;
};

struct reclaim_choice {
    uint32_t cost;
    const uint64_t *held_bytes; /* that it could give back, for each GPU of the sample */
};

/*
 * Which of the choices, a bit for each, make room for the request on `wanted` of the GPUs: those that cost least together,
 * then the fewest, then those that hold least. 0: all together are not enough, or nothing is lacking.
 */
uint32_t reclaim_plan(const struct reclaim_lack *lacks, size_t lack_count, uint32_t wanted,
                      const struct reclaim_choice *choices, size_t choice_count);

#endif
