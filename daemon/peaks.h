/* SPDX-License-Identifier: MIT */
/*
 * The most that each GPU was seen to use within the last minute, for who looks at figures less often than the daemon. Pure.
 * Steps of 5 seconds: what is older than 65 is forgotten.
 */
#ifndef VRAM_DAEMON_PEAKS_H
#define VRAM_DAEMON_PEAKS_H

#include "include/vram.h"

#define PEAKS_STEP_NS ((uint64_t)5000000000)
#define PEAKS_STEPS 13 /* a minute, and the one that is not over */
#define PEAKS_UUID_MAX 96

struct peak {
    char uuid[PEAKS_UUID_MAX];
    struct {
        uint64_t number; /* since the clock began, from 1; 0: there was none */
        uint64_t bytes;
    } steps[PEAKS_STEPS];
};

/* Zeroed is empty; peaks_done() frees. */
struct peaks {
    struct peak *list;
    size_t count;
};

void peaks_take(struct peaks *peaks, uint64_t now_ns, const struct vram_snapshot *snapshot);
/* VRAM_UNKNOWN: nobody has looked within that time. */
uint64_t peaks_find(const struct peaks *peaks, uint64_t now_ns, const char *uuid);
void peaks_done(struct peaks *peaks);

#endif
