/* SPDX-License-Identifier: MIT */
/*
 * Runs a source in a thread of its own, so that a driver call that never returns costs an answer its
 * freshness, not its caller. Keeps each device's last report.
 *
 * One pass serves everybody who asked before it began. When one device's call outlasts the limit, its
 * thread is left to itself, the device is marked hung, and a second thread goes on with the others. A
 * second hang elsewhere means that the driver as a whole is stuck (it has global locks), and nobody
 * else is sent after it. A thread that comes back at last is welcome: its device is asked again.
 */
#ifndef VRAM_LIB_SAMPLER_H
#define VRAM_LIB_SAMPLER_H

#include "lib/board.h"

struct sampler;

/* `config` is copied but for its texts, which must outlive the sampler. NULL: out of memory. */
struct sampler *sampler_new(const struct source_ops *ops, const struct source_config *config,
                            uint64_t call_timeout_ns);

/*
 * Asks every device, beginning after this call. 0 with the board, which the caller gives back;
 * -ETIMEDOUT: the driver as a whole does not answer and nothing is known from before; else the source's
 * failure.
 */
int sampler_sample(struct sampler *sampler, uint32_t take, struct board *ret_board,
                   struct err *err);

/* What the source says of itself; nothing where it is not open or busy. */
void sampler_describe(struct sampler *sampler, source_fact_function fact, void *data);

/* Closes the source and ends the thread, waiting no longer than a call may take. NULL is fine. */
void sampler_free(struct sampler *sampler);

/* In a forked child, where the thread is missing: gives back what is safe to give back. */
void sampler_abandon(struct sampler *sampler);

#endif
