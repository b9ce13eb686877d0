/* SPDX-License-Identifier: MIT */
#include "tests/unit/counted_threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

int __real_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *data);
int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *data);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static size_t count;
static unsigned refused;

struct start {
    void *(*function)(void *);
    void *data;
};

static void add(size_t step)
{
    pthread_mutex_lock(&lock);
    count += step;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void *run(void *data)
{
    struct start start = *(struct start *)data;
    free(data);
    void *result = start.function(start.data);
    add((size_t)-1);
    return result;
}

int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *data)
{
    pthread_mutex_lock(&lock);
    bool refuse = refused != 0;
    refused -= refuse;
    pthread_mutex_unlock(&lock);
    struct start *start = refuse ? NULL : malloc(sizeof(*start));
    if (!start) {
        return EAGAIN;
    }
    *start = (struct start){function, data};
    add(1);
    int r = __real_pthread_create(ret_thread, attributes, run, start);
    if (r != 0) {
        add((size_t)-1);
        free(start);
    }
    return r;
}

void threads_await(size_t wanted)
{
    pthread_mutex_lock(&lock);
    while (count != wanted) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void threads_refuse(unsigned times)
{
    pthread_mutex_lock(&lock);
    refused = times;
    pthread_mutex_unlock(&lock);
}
