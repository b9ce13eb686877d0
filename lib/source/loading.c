/* SPDX-License-Identifier: MIT */
#include "lib/source/loading.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define FORK_WAITS_S 2

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool
    is_loading; /* this thread: a library that forks as it is loaded is not waited for */
static _Thread_local bool is_held; /* by the fork that this thread makes */

static void before_fork(void)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += FORK_WAITS_S;
    is_held = !is_loading && pthread_mutex_timedlock(&loading, &until) == 0;
}

static void in_parent(void)
{
    if (is_held) {
        (void)pthread_mutex_unlock(&loading);
        is_held = false;
    }
}

/* Who held it otherwise is no thread of the child's, or is this one, which gives back what it took in loading_open(). */
static void in_child(void)
{
    if (!is_held && !is_loading) {
        loading = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    }
    in_parent();
}

static void set_up(void)
{
    (void)pthread_atfork(before_fork, in_parent, in_child);
}

void *loading_open(const char *path)
{
    (void)pthread_once(&once, set_up);
    (void)pthread_mutex_lock(&loading);
    is_loading = true;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    is_loading = false;
    (void)pthread_mutex_unlock(&loading);
    return library;
}
