/* SPDX-License-Identifier: MIT */
/*
 * A sampler over a source that fails and hangs on demand, under a clock that stands still. Functions here fail
 * the test where something cannot be done.
 */
#ifndef VRAM_TESTS_SAMPLER_RIG_H
#define VRAM_TESTS_SAMPLER_RIG_H

#include "tests/unit/fake_source.h"
#include "tests/unit/unit.h"

#include "lib/sampler.h"
#include <pthread.h>

#define LIMIT_NS 1000000000u

/* The test's own, made and ended around it; what is opened must have been closed then. */
extern struct sampler *sampler;
extern struct board board;
extern struct err err;
int sampler_set_up(void **state);
int sampler_tear_down(void **state);

/* Asks into `board` and `err`. */
int sample(uint32_t take);

/* The pass in which a device's figures were read. */
uint64_t pass_of(const struct board *from, size_t device);

/* Somebody else who asks. */
struct caller {
    pthread_t thread;
    uint32_t take;
    int result;
    struct board board;
    struct err err;
};

void caller_start(struct caller *caller, uint32_t take);
void caller_join(struct caller *caller);

/* A question during which `call` hangs until its time is up. */
void ask_into_hang(struct caller *caller, size_t call, unsigned hanging);

#endif
