/* SPDX-License-Identifier: MIT */
/*
 * Real processes that hold simulated memory. Each has a slot in the shared state; a lock on a byte
 * of its own tells that it lives, and ends with it, whatever ends it. Read by sim/sim.c and
 * sim/hold.c.
 */
#ifndef VRAM_SIM_HOLDER_H
#define VRAM_SIM_HOLDER_H

#include "sim/state.h"

/* A holder at a moment, copied out of its slot. */
struct holder {
    uint32_t gpu;
    int instance; /* -1: none */
    uint32_t kinds;
    uint32_t own_pid; /* as it knows itself */
    uint32_t
        seen_pid;  /* as this PID namespace knows it; 0: it does not, or it never saw it alive */
    bool listed;   /* it lived at that moment */
    uint64_t died; /* when that was noticed; WORLD_NEVER */
    uint64_t used, peak;
    uint64_t held; /* what it takes from the GPU: `used`, also for a while after its end */
    char name[WORLD_NAME_MAX];
};

/* How many slots there are to ask holder_read() for. */
size_t holders_room(const struct state *state);

/*
 * Reads one slot as it was at `when`, which may be a little before `now`; `lag` is how long memory
 * stays taken after a death. Notices deaths. False: nobody's.
 */
bool holder_read(struct state_file *file, size_t slot, uint64_t now, uint64_t when, uint64_t lag,
                 struct holder *ret_holder);

/*
 * Makes the calling process a holder of nothing yet. Its life is the slot's: it must never close a
 * descriptor of the state's file. A dead one's slot is taken when its memory has been free for `lag`.
 * To be called with the state locked. The slot, or -EUSERS.
 */
MUST_CHECK int holder_claim(struct state_file *file, const struct holder *holder, uint64_t lag);
/* Sets what it holds. To be called with the state locked. */
void holder_set(struct state *state, int slot, uint64_t bytes);

#endif
