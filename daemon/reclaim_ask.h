/* SPDX-License-Identifier: MIT */
/*
 * A talk with one holder: it is asked to give memory back, or whether it is busy. Over HTTP, call by call, or by a command.
 * What it answers says nothing of memory: that is the driver's word.
 */
#ifndef VRAM_DAEMON_RECLAIM_ASK_H
#define VRAM_DAEMON_RECLAIM_ASK_H

#include "daemon/config_holders.h"
#include "daemon/reclaim_http.h"
#include <stddef.h>

struct reclaim_ask;

struct reclaim_wanted {
    uint64_t bytes; /* how much is wanted of it */
    size_t gpu_count;
    const char *const *gpus; /* UUIDs of those that it holds memory of */
};

/* `failure`: "", or why it could not be asked. `busy`: of an inquiry. Called from the loop, once. */
typedef void (*reclaim_ask_function)(void *data, const char *failure, bool busy);

/* `holder` must outlive it. NULL: out of memory, or it cannot be started; nothing is called then. */
struct reclaim_ask *reclaim_ask_new(struct event_base *base, const struct config_holder *holder,
                                    const struct reclaim_wanted *wanted, reclaim_ask_function done,
                                    void *data);
struct reclaim_ask *reclaim_inquire(struct event_base *base, const struct config_holder *holder,
                                    reclaim_ask_function done, void *data);
/* Breaks it off, without a call; also from within `done`. Returns NULL. */
struct reclaim_ask *reclaim_ask_free(struct reclaim_ask *ask);

/* Whether it has a word of its own on being busy. */
bool reclaim_has_word(const struct config_holder *holder);

#endif
