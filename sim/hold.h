/* SPDX-License-Identifier: MIT */
/* Holding simulated memory, for vram-sim.c. */
#ifndef VRAM_SIM_HOLD_H
#define VRAM_SIM_HOLD_H

#include "sim/sim.h"

struct hold_options {
    const char
        *gpu; /* a number among what CUDA_VISIBLE_DEVICES shows, or a UUID; NULL: the first */
    uint64_t size;
    uint64_t ramp;     /* ns until all of it is held */
    uint64_t duration; /* ns; WORLD_NEVER: until killed */
    uint32_t kinds;
    const char *name; /* NULL: the program's own */
};

/* Allocates, says so in one line on stdout, and holds. The exit status: 0 when the time is over, 1 where
 * it cannot, with the reason on stderr. */
int hold(struct sim *sim, const struct hold_options *options);

#endif
