/* SPDX-License-Identifier: MIT */
/*
 * What a run holds once it has started: the median of its last half. Pure, and of the same size however long it runs.
 *
 * The time since the first look is cut into STEADY_STRETCHES stretches of one length, of each of which the most is kept. When
 * time runs out of them, each two neighbours become one of double length. So there are always between half and all of them
 * in use, and the last half of a run is known to 1/32 of it when it ends, which nobody knows before. The median is that of
 * stretches, not of looks, which come more often while somebody waits; a peak in the last half moves one stretch and not
 * the median.
 */
#ifndef VRAM_DAEMON_HISTORY_STEADY_H
#define VRAM_DAEMON_HISTORY_STEADY_H

#include <stdbool.h>
#include <stdint.h>

#define STEADY_STRETCHES 64

/* All 0 is one that has seen nothing. */
struct steady {
    bool has_begun;
    uint64_t first_ms, last_ms; /* of CLOCK_MONOTONIC: looks */
    uint64_t stretch_ms;
    uint64_t most_bytes[STEADY_STRETCHES]; /* 0: nobody looked */
};

/* So much was held then, which is more than 0; looks come in their order. */
void steady_look(struct steady *steady, uint64_t at_ms, uint64_t bytes);

/* VRAM_UNKNOWN: nothing was seen. */
uint64_t steady_bytes(const struct steady *steady);

#endif
