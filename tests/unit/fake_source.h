/* SPDX-License-Identifier: MIT */
/*
 * A source that does what a test tells it to: its calls return, fail, or hang until they are let go. There
 * is one at a time. Each device is one GPU; used_bytes is the number of the pass that it was asked in.
 */
#ifndef VRAM_TESTS_FAKE_SOURCE_H
#define VRAM_TESTS_FAKE_SOURCE_H

#include "lib/source/source.h"

#define FAKE_DEVICES 8

/* The calls that can hang: a device's number, or one of these. */
#define FAKE_OPEN FAKE_DEVICES
#define FAKE_BEGIN (FAKE_DEVICES + 1) /* in a pass, before the first device, and of none */
#define FAKE_CLOSE (FAKE_DEVICES + 2)
#define FAKE_CALLS (FAKE_DEVICES + 3)

/* What has happened so far. */
struct fake_counts {
    unsigned opens, opened, closes, abandons, passes; /* opens: tried, opened: to be closed */
    unsigned asked[FAKE_CALLS];
    uint32_t last_take;
    bool signals_blocked;
    unsigned believed; /* questions of a thread that was given up which were not turned away */
};

extern const struct source_ops fake_source;

void fake_reset(size_t device_count);
void fake_set_devices(size_t device_count);
/* What open and sample return: negative errno with the code "fake"; for the next `times` calls. */
void fake_fail_open(int result, unsigned times);
void fake_fail_sample(int result, unsigned times);
/* A thread that was given up goes on all the same, as none should. */
void fake_disobey(void);

void fake_hang(size_t call);
void fake_release(size_t call);
/* Returns when this many threads are inside calls that hang. */
void fake_await_hanging(unsigned count);
/* Returns when the source has been closed this often. */
void fake_await_closes(unsigned count);
struct fake_counts fake_counts(void);

#endif
