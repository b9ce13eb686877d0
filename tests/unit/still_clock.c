/* SPDX-License-Identifier: MIT */
#include "tests/unit/still_clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_pthread_cond_timedwait(pthread_cond_t *changed, pthread_mutex_t *lock,
                                  const struct timespec *deadline);

static _Atomic uint64_t now_ns = 1000000000000;

/* Guarded by `guard`, which is never held while a waiter's own lock is taken. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed_here = PTHREAD_COND_INITIALIZER;
static size_t waiters;
static pthread_cond_t *waited_for;
static pthread_mutex_t *waited_with;
static bool detain, detained;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    uint64_t now = atomic_load(&now_ns);
    (void)clock;
    ret->tv_sec = (time_t)(now / 1000000000);
    ret->tv_nsec = (long)(now % 1000000000);
    return 0;
}

static void count_waiter(pthread_cond_t *changed, pthread_mutex_t *lock)
{
    pthread_mutex_lock(&guard);
    waited_for = changed;
    waited_with = lock;
    waiters++;
    pthread_cond_broadcast(&changed_here);
    pthread_mutex_unlock(&guard);
}

/* Returns whether this waiter is to be detained. */
static bool discount_waiter(bool in_time)
{
    pthread_mutex_lock(&guard);
    waiters--;
    bool mine = detain && !in_time;
    if (mine) {
        detain = false;
        detained = true;
    }
    pthread_mutex_unlock(&guard);
    return mine;
}

static void stay(pthread_mutex_t *lock)
{
    pthread_mutex_unlock(lock);
    pthread_mutex_lock(&guard);
    while (detained) {
        pthread_cond_wait(&changed_here, &guard);
    }
    pthread_mutex_unlock(&guard);
    pthread_mutex_lock(lock);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *changed, pthread_mutex_t *lock,
                                  const struct timespec *deadline)
{
    uint64_t end = (uint64_t)deadline->tv_sec * 1000000000 + (uint64_t)deadline->tv_nsec;
    count_waiter(changed, lock);
    /* Counted before looking at the clock, so that whoever moves it sees either the waiter or its effect. */
    if (atomic_load(&now_ns) < end) {
        (void)pthread_cond_wait(changed, lock);
    }
    bool in_time = atomic_load(&now_ns) < end;
    if (discount_waiter(in_time)) {
        stay(lock);
    }
    return in_time ? 0 : ETIMEDOUT;
}

void still_clock_advance(uint64_t ns)
{
    atomic_fetch_add(&now_ns, ns);
    pthread_mutex_lock(&guard);
    pthread_cond_t *changed = waiters ? waited_for : NULL;
    pthread_mutex_t *lock = waited_with;
    pthread_mutex_unlock(&guard);
    if (changed) {
        pthread_mutex_lock(lock);
        pthread_cond_broadcast(changed);
        pthread_mutex_unlock(lock);
    }
}

void still_clock_await_waiters(size_t count)
{
    pthread_mutex_lock(&guard);
    while (waiters != count) {
        pthread_cond_wait(&changed_here, &guard);
    }
    pthread_mutex_unlock(&guard);
}

void still_clock_detain_one(void)
{
    pthread_mutex_lock(&guard);
    detain = true;
    pthread_mutex_unlock(&guard);
}

void still_clock_let_go(void)
{
    pthread_mutex_lock(&guard);
    detained = false;
    pthread_cond_broadcast(&changed_here);
    pthread_mutex_unlock(&guard);
}
