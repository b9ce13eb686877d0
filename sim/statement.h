/* SPDX-License-Identifier: MIT */
/*
 * Scenario lines as changes of the world. Shared by sim/statement.c (the machine: gpu, mig, proc,
 * exit, event and the switches) and sim/statement_rule.c (what calls meet). The language is told in
 * docs/man/vram-scenario.5. Everything here takes hostile input.
 */
#ifndef VRAM_SIM_STATEMENT_H
#define VRAM_SIM_STATEMENT_H

#include "sim/world.h"

/* How a line is run. */
struct statement {
    struct world *world;
    uint32_t id; /* of the line: names the shared counter of the rule that it makes */
    bool setup;  /* a line of the machine's description, not of its later life: may define GPUs */
    bool dry;    /* only say whether it could be run */
    struct words words;
    struct complaint *complaint;
};

/* Takes a leading "at +T" off: *ret_time is T, 0 where there is none, and *line the rest. */
MUST_CHECK int statement_time(const char **line, uint64_t *ret_time, struct complaint *complaint);

/*
 * Runs one line without its "at", with `id`, at the world's time. `line` must live as long as the
 * world where it is an `after` line. 0, or -EINVAL with a complaint and the world as it was.
 */
int statement_run(struct world *world, const char *line, uint32_t id, bool setup, bool dry,
                  struct complaint *complaint);

/* ---- Between the two files ---- */

/* The rest of fail, delay, hang, crash, grow and release. -ENOENT: `verb` is none of them. */
MUST_CHECK int statement_rule(struct statement *s, const char *verb);
/* A whole `after` line. */
MUST_CHECK int statement_after(struct statement *s, const char *line);
/* The next word as the number of a defined GPU. */
MUST_CHECK int statement_gpu(struct statement *s, uint32_t *ret_gpu);

#endif
