/* SPDX-License-Identifier: MIT */
/* Makes a snapshot of a board: one allocation that holds everything it points to. */
#ifndef VRAM_LIB_SNAPSHOT_H
#define VRAM_LIB_SNAPSHOT_H

#include "lib/board.h"
#include "lib/identity.h"

/* Clocks are passed in: `taken_at_ns` since 1970, `now_ns` of CLOCK_MONOTONIC. 0 or -ENOMEM. */
MUST_CHECK int snapshot_build(const struct board *board, struct identities *identities,
                              uint32_t take, uint64_t taken_at_ns, uint64_t now_ns,
                              struct vram_snapshot **ret_snapshot);

#endif
