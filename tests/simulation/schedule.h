/* SPDX-License-Identifier: MIT */
/*
 * One random schedule: programs ask, allocate, fork, free and die, a daemon samples, promises, dies and comes back,
 * and after every step what must hold is checked.
 */
#ifndef VRAM_TESTS_SIMULATION_SCHEDULE_H
#define VRAM_TESTS_SIMULATION_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* What schedules came to, so that a run that did nothing shows. */
struct tally {
    uint64_t schedules, grants, refusals, time_outs, restarts, samples, inherited, failed_records,
        notices;
};

/* Plays the schedule of this seed. False: something did not hold; said on stderr. */
bool schedule_play(uint64_t seed, bool verbose, struct tally *tally);

#endif
