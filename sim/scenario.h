/* SPDX-License-Identifier: MIT */
/*
 * A scenario: the text that describes a simulated machine and what happens to it, taken apart into
 * lines with times. The language is told in docs/man/vram-scenario.5. Read by sim/sim.c and vram-sim; takes
 * hostile input.
 */
#ifndef VRAM_SIM_SCENARIO_H
#define VRAM_SIM_SCENARIO_H

#include "sim/world.h"

#define SCENARIO_TEXT_MAX ((size_t)256 << 10)
#define SCENARIO_LINES_MAX 8192

/* A line with the time at which it happens; `text` is without "at". */
struct line {
    uint64_t time;
    const char *text;
    uint32_t id;     /* its place in the file, comments and heading not counted */
    uint32_t number; /* for messages */
    bool setup;      /* it had no "at" */
};

struct scenario {
    char driver[80]; /* "550.54.14" */
    uint32_t cuda;   /* 12040 for 12.4, 0 where not given */
    bool virtual_clock;
    size_t line_count;
    struct line *lines; /* in the order of time; what happens at one time in that of the file */
    char *text;         /* what the lines point into */
};

/*
 * Reads a text of `length` bytes, which need not end with a NUL. The lines are also run once, so that
 * what is accepted here does run. `name` stands before messages ("rtx.scenario:12: …").
 * 0; -EINVAL or -ENOMEM with a complaint and nothing to free.
 */
MUST_CHECK int scenario_parse(const char *text, size_t length, const char *name,
                              struct scenario *ret_scenario, struct complaint *complaint);
void scenario_done(struct scenario *scenario);

#endif
