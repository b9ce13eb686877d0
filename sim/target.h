/* SPDX-License-Identifier: MIT */
/* A file that is there whole or not at all, and takes no other's place unless that was asked for. */
#ifndef VRAM_SIM_TARGET_H
#define VRAM_SIM_TARGET_H

#include "sim/words.h"

struct target {
    const char *path; /* "-": standard output */
    bool force;
    int fd;
    char temporary[520];
};

/* Each: 0; negative errno with a complaint. Opening says early what would be said in the end. */
MUST_CHECK int target_open(struct target *target, const char *path, bool force,
                           struct complaint *complaint);
/* Writes it all and puts it in place. */
MUST_CHECK int target_write(struct target *target, const char *text, size_t length,
                            struct complaint *complaint);
/* Leaves nothing behind of what was not put in place. */
void target_drop(struct target *target);

#endif
