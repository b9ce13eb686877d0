/* SPDX-License-Identifier: MIT */
#include "lib/thread.h"

#include <signal.h>

#define STACK_SIZE ((size_t)1 << 20)

/* A thread inherits where it may run, so its maker goes before it: the other way, by an attribute, starts it on
 * another CPU and then calls it back. Left out where it cannot be undone. */
static bool confine(cpu_set_t *ret_allowed)
{
    int here = sched_getcpu();
    cpu_set_t one;
    if (here < 0 || here >= CPU_SETSIZE ||
        sched_getaffinity(0, sizeof(*ret_allowed), ret_allowed) != 0) {
        return false;
    }
    CPU_ZERO(&one);
    CPU_SET((size_t)here, &one);
    return sched_setaffinity(0, sizeof(one), &one) == 0;
}

int thread_start(pthread_t *ret_thread, void *(*work)(void *data), void *data,
                 struct thread_home *ret_home)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    cpu_set_t allowed;
    bool confined;
    int r = pthread_attr_init(&attributes);
    if (r != 0) {
        return r;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    confined = confine(&allowed);
    /* Theirs from here on: the new thread may have left home before pthread_create() returns. */
    *ret_home = (struct thread_home){.confined = confined};
    if (confined) {
        ret_home->allowed = allowed;
    }
    r = pthread_create(ret_thread, &attributes, work, data);
    if (confined) {
        (void)sched_setaffinity(0, sizeof(allowed), &allowed);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return r;
}

void thread_roam(struct thread_home *home)
{
    if (home->confined) {
        (void)sched_setaffinity(0, sizeof(home->allowed), &home->allowed);
        home->confined = false;
    }
}
