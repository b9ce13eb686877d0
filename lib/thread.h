/* SPDX-License-Identifier: MIT */
/* The library's own threads. */
#ifndef VRAM_LIB_THREAD_H
#define VRAM_LIB_THREAD_H

#include "common/attr.h"
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

/* Where a thread may run once it roams. */
struct thread_home {
    bool confined;
    cpu_set_t allowed;
};

/*
 * Starts a thread with a small stack and all signals blocked, for they are the program's. It is kept on
 * the CPU of its maker, who waits for what it does: waking another, sleeping CPU for it costs a short-lived
 * program more than the work itself. 0, or a positive errno value.
 */
MUST_CHECK int thread_start(pthread_t *ret_thread, void *(*work)(void *data), void *data,
                            struct thread_home *ret_home);

/* Lets the calling thread run wherever its maker could. For a thread that turns out to live on. */
void thread_roam(struct thread_home *home);

#endif
