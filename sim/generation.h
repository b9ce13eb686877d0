/* SPDX-License-Identifier: MIT */
/*
 * Which generation of the driver this library plays: the only thing in which the libraries differ
 * besides their exports. Each is linked with its own sim/generation.c.
 */
#ifndef VRAM_SIM_GENERATION_H
#define VRAM_SIM_GENERATION_H

#include <stdint.h>

/* Releases as numbers: branch * 1000 + release, so 535.104.05 is 535104. */
struct generation {
    const char *name; /* "r550" */
    const char
        *version;    /* of a release that it plays, where the scenario's is of another generation */
    uint32_t number; /* that release; it decides what the library exports and how it behaves */
    uint32_t first,
        end; /* releases from `first` up to, and without, `end` are of this generation */
};

extern const struct generation sim_generation;

#define RELEASE_LARGE_ENTRIES 535043u /* _v3 lists with 32 bytes per process … */
#define RELEASE_SMALL_ENTRIES 535098u /* … until here */
#define RELEASE_HIDES_PIDS 535113u
#define RELEASE_LISTS_ALL 610043u /* mode 3 of the detail list */

#endif
