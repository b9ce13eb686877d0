/* SPDX-License-Identifier: MIT */
/*
 * Time that stands still until the test moves it, for a program linked with
 * -Wl,--wrap=clock_gettime,--wrap=pthread_cond_timedwait. No call can outlast its limit because the
 * machine is busy, and a wait that should not have been one never ends, which the runner's limit tells.
 *
 * Serves one condition variable at a time, as the sampler has one.
 */
#ifndef VRAM_TESTS_STILL_CLOCK_H
#define VRAM_TESTS_STILL_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Moves every clock, and wakes who waits for a time. */
void still_clock_advance(uint64_t ns);

/* Returns when this many threads wait for a time. */
void still_clock_await_waiters(size_t count);

/* The next waiter to be woken by the clock is kept from going on, without the lock it needs, as
 * a busy machine might, until it is let go. */
void still_clock_detain_one(void);
void still_clock_let_go(void);

#endif
