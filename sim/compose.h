/* SPDX-License-Identifier: MIT */
/* From readings of a driver to the scenario that plays it: the machine as it began, and what changed. */
#ifndef VRAM_SIM_COMPOSE_H
#define VRAM_SIM_COMPOSE_H

#include "common/buf.h"
#include "sim/reading.h"

#define COMPOSE_KEYS 72

struct compose_options {
    bool names; /* of processes, as they are */
    bool ids;   /* UUIDs and serial numbers */
};

struct compose_memory {
    bool known;
    uint64_t total, reserved, overhead, shared;
};

/* A process as the scenario has it by now. */
struct compose_process {
    uint32_t pid, told_pid; /* the driver's, and the one that stands for it */
    int gpu;
    uint32_t gpu_instance, compute_instance, kinds;
    uint64_t used, peak, utilization;
    bool present, told;
    char name[WORLD_PROCESS_NAME_MAX];
};

struct composer {
    struct compose_options options;
    struct buf text;    /* the machine as it began */
    struct buf changes; /* lines that begin with "at" */
    uint64_t began_ns;
    bool lost[WORLD_GPUS];
    uint64_t values[WORLD_GPUS][COMPOSE_KEYS];
    struct compose_memory memory[WORLD_GPUS]
                                [WORLD_INSTANCES + 1]; /* the last is the whole card's */
    size_t process_count, process_room;
    struct compose_process *processes;
    uint32_t next_pid, next_name;
};

void composer_done(struct composer *composer);

/* The machine as it is in the first reading. Failure is in the buffers and in -ENOMEM. */
MUST_CHECK int compose_machine(struct composer *composer, const struct reading *reading);
/* What is different in a later one. */
MUST_CHECK int compose_change(struct composer *composer, const struct reading *reading);

/* The pid that stands for the driver's. */
uint32_t compose_pid(const struct composer *composer, uint32_t pid);

/*
 * Says by "fail" lines what the reading answers and `played`, one of the same scenario, does not, and in comments what no
 * line can say. How many those are.
 */
unsigned compose_difference(struct composer *composer, const struct reading *reading,
                            const struct reading *played);

/* A function as rules name it: a name without a version means all versions, so that the first is called _v1. */
void compose_function(struct buf *buf, enum function function);

/* "delay" lines of what takes long, and the rest as comments. */
void compose_latencies(struct buf *buf, const struct reading *reading);

#endif
