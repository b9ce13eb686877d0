/* SPDX-License-Identifier: MIT */
/*
 * A simulated machine in use: its scenario lived through up to this moment, together with what other
 * processes of the instance added to it and hold on it. Read by the driver (sim/session.c, sim/nvml_*.c)
 * and by vram-sim. Not safe for several threads at once.
 */
#ifndef VRAM_SIM_SIM_H
#define VRAM_SIM_SIM_H

#include "sim/holder.h"

struct sim {
    char title[80]; /* for messages */
    char instance[STATE_NAME_MAX];
    struct state_file file;
    uint32_t epoch;    /* of the state, when its text was read */
    size_t log_offset; /* up to which the log was read */
    uint32_t log_lines;
    struct scenario scenario;
    size_t line_count, line_room;
    struct line *lines; /* the timeline: the scenario's and the log's, by time */
    size_t added_count, added_room;
    char **added; /* texts of the log's lines, which `lines` and rules point into; owned */
    uint64_t next_change;
    struct world *now;
    struct world *past;  /* as lists or free memory are still told where the scenario has skew */
    struct world *lists; /* which of the two process lists tell of */
    struct world *free;  /* which of the two memory figures tell of */
};

/*
 * Opens "NAME[@INSTANCE]" or "PATH[@INSTANCE]". 0; -EINVAL (the words or the scenario are wrong),
 * -ENOENT, another errno, or -ENOMEM, with a complaint and nothing to close.
 */
MUST_CHECK int sim_open(struct sim *sim, const char *spec, struct complaint *complaint);
void sim_close(struct sim *sim);

/* Brings the world up to now. -ENOMEM: it is as it was. */
int sim_refresh(struct sim *sim);

/* Adds a scenario line, "at" counting from now. 0; -EINVAL, -ENOSPC with a complaint. Takes the state's
 * lock. */
MUST_CHECK int sim_inject(struct sim *sim, const char *line, struct complaint *complaint);

/* ---- Figures ---- */

/* The v2 "used" of a GPU (instance -1; its instances' included) or of an instance. */
uint64_t sim_used(struct sim *sim, const struct world *world, uint32_t gpu, int instance);
/* What the driver keeps there; a divided GPU's instances' included. */
uint64_t sim_reserved(const struct world *world, uint32_t gpu, int instance);
/* total - reserved - used. */
uint64_t sim_free(struct sim *sim, const struct world *world, uint32_t gpu, int instance);

/* A process as lists show it. */
struct listing {
    uint32_t pid, kinds;
    int instance;
    uint64_t used; /* or WORLD_UNKNOWN */
    uint64_t utilization;
};

/*
 * Calls `take` for each process on a GPU (instance -1: everywhere on it) or on an instance that is of one
 * of `kinds`. Processes whose pid the caller's PID namespace does not show are left out where `hide`.
 */
void sim_list(struct sim *sim, const struct world *world, uint32_t gpu, int instance,
              uint32_t kinds, bool hide, void (*take)(void *data, const struct listing *listing),
              void *data);

/* The name of the process with that pid, as scenario or holder gives it; NULL. */
const char *sim_process_name(struct sim *sim, uint32_t pid, char name[WORLD_PROCESS_NAME_MAX]);

/* The pid of a scenario's process for who reads. */
uint32_t sim_pid(const struct process *process);

#endif
