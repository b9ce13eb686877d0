/* SPDX-License-Identifier: MIT */
/*
 * A model of GPUs and of the programs that use them, for the ledger's simulation. Memory is counted in units; what
 * a driver would tell may lag behind the truth, the lists and the free figure each in its own way.
 */
#ifndef VRAM_TESTS_SIMULATION_WORLD_H
#define VRAM_TESTS_SIMULATION_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_GPUS 3
#define WORLD_PROGRAMS 28
#define WORLD_CLIENTS 12 /* of these, how many may ask for leases at a time */

struct program {
    bool exists, alive;
    bool death_told; /* the daemon's watch has fired, or it was never watched */
    int parent;      /* -1: none; kept when the parent dies */
    uint64_t key;    /* as owner; 0: it never asked */
    uint32_t pid;
    uint32_t
        unit; /* the number of the ceiling that is for it, as for those that it starts; 0: none */
    uint64_t used[WORLD_GPUS];
    uint64_t listed[WORLD_GPUS]; /* what the driver's lists say of it */
};

struct world {
    uint64_t seed;
    uint64_t now_ns;
    size_t gpu_count;
    uint64_t unit_bytes;
    uint64_t capacity[WORLD_GPUS]; /* total - reserved, in units */
    uint64_t draining[WORLD_GPUS]; /* given back by the dead and not yet free */
    uint64_t shown_free[WORLD_GPUS];
    bool lags;                  /* lists and free figure may be of different moments: */
    bool lists_lag[WORLD_GPUS]; /* the lists are behind; else the free figure is */
    uint32_t next_pid;
    struct program programs[WORLD_PROGRAMS];
};

uint64_t world_random(struct world *world);
uint64_t world_below(struct world *world, uint64_t limit); /* 0 where limit is 0 */
bool world_chance(struct world *world, unsigned percent);

uint64_t world_used(const struct world *world, size_t gpu);
uint64_t world_free(const struct world *world,
                    size_t gpu); /* the truth, draining memory being in use */

/* A new program with that parent; -1: there is no room. */
int world_start(struct world *world, int parent);
void world_kill(struct world *world, int program);
/* False: out of memory. */
bool world_allocate(struct world *world, int program, size_t gpu, uint64_t units);
void world_release(struct world *world, int program, size_t gpu, uint64_t units);
/* Places of dead programs that nobody's memory or name depends on become free again. */
void world_bury(struct world *world);
/* What the driver shows of some GPU catches up with the truth, or memory of the dead becomes free there. */
void world_catch_up(struct world *world);
void world_show_all(struct world *world);

/* Some living program; -1: there is none. */
int world_pick(struct world *world);

#endif
