/* SPDX-License-Identifier: MIT */
/* A daemon's life with its journal, and what of it was acknowledged: the records {"n":N}, which it may throw away. */
#ifndef VRAM_TESTS_JOURNAL_STORY_H
#define VRAM_TESTS_JOURNAL_STORY_H

#include "tests/unit/journal_rig.h"

/* What was acknowledged, and what the step at work would make of it. Shared with the process that dies. */
#define LIVE_MAX 64
struct story {
    unsigned live[LIVE_MAX], count;
    unsigned next_live[LIVE_MAX], next_count;
    unsigned ghost; /* the first record that was refused since; 0: none */
};

/* Both return what the journal does. Rewriting keeps the younger half. */
int append_step(struct journal *journal, struct story *story, unsigned n);
int rewrite_step(struct journal *journal, struct story *story);

/* What a daemon that ended now would leave to the next one: what was acknowledged, and at most one record more. */
void expect_no_loss_now(void *story);
/* The same of the next one, which opens the journal. */
void expect_story(const struct story *story);

#endif
