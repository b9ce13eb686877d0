/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_source.h"

#include "common/text.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct failure {
    int result;
    unsigned times;
};

/* Guarded by `lock`; never held while the sampler is called. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct {
    size_t device_count;
    bool hang[FAKE_CALLS];
    bool disobedient;
    unsigned hanging;
    struct failure open, sample;
    struct fake_counts counts;
} fake;

/* Counts a call and stays in it for as long as it is to hang. */
static void call(size_t number)
{
    pthread_mutex_lock(&lock);
    fake.counts.asked[number]++;
    if (fake.hang[number]) {
        fake.hanging++;
        pthread_cond_broadcast(&changed);
        while (fake.hang[number]) {
            pthread_cond_wait(&changed, &lock);
        }
        fake.hanging--;
    }
    pthread_mutex_unlock(&lock);
}

static int take_failure(struct failure *failure, struct err *err)
{
    pthread_mutex_lock(&lock);
    int r = failure->times ? failure->result : 0;
    failure->times -= failure->times != 0;
    pthread_mutex_unlock(&lock);
    return r < 0 ? err_set(err, r, "fake", "it was told to fail") : 0;
}

static int fake_open(void **ret_source, const struct source_config *config,
                     struct source_watch *watch, struct err *err)
{
    sigset_t blocked;
    (void)config;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    pthread_mutex_lock(&lock);
    fake.counts.opens++;
    fake.counts.signals_blocked =
        sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGINT) == 1;
    pthread_mutex_unlock(&lock);
    if (!watch_enter(watch, WATCH_NO_DEVICE, "fake_open")) {
        return -ECANCELED;
    }
    call(FAKE_OPEN);
    bool wanted = watch_leave(watch);
    int r = take_failure(&fake.open, err);
    if (r < 0) {
        return r;
    }
    void *source = malloc(1); /* one that is not closed is a leak */
    if (!source) {
        return err_no_memory(err);
    }
    if (!wanted && !fake.disobedient) {
        free(source);
        return -ECANCELED;
    }
    pthread_mutex_lock(&lock);
    fake.counts.opened++;
    pthread_mutex_unlock(&lock);
    *ret_source = source;
    return 0;
}

/* A device's GPU as it is in this pass. */
static int report(struct source_sink *sink, size_t device, unsigned pass)
{
    struct source_gpu *gpu = malloc(sizeof(*gpu));
    if (!gpu) {
        return -ENOMEM;
    }
    source_gpu_init(gpu);
    gpu->index = (uint32_t)device;
    gpu->total_bytes = 1000;
    gpu->used_bytes = pass;
    gpu->free_bytes = 1000 - pass;
    (void)snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%zu", device);
    return sink->device(sink, device, gpu, 1);
}

/* What a thread that was given up must not do. Whatever it hands on is to be ignored. */
static int disobey(struct source_sink *sink, size_t device)
{
    static const struct source_identity wrong = {.kind = "wrong"};
    unsigned believed = sink->begin(sink, 0) == 0;
    sink->identity(sink, &wrong);
    believed += !sink->skip(sink, device);
    (void)report(sink, device, 666);
    pthread_mutex_lock(&lock);
    fake.counts.believed += believed;
    pthread_mutex_unlock(&lock);
    return 0;
}

static int ask_devices(struct source_sink *sink, struct source_watch *watch, size_t count,
                       unsigned pass)
{
    for (size_t i = 0; i < count; i++) {
        if (sink->skip(sink, i)) {
            continue;
        }
        if (!watch_enter(watch, i, "fake_ask")) {
            return -ECANCELED;
        }
        call(i);
        if (!watch_leave(watch)) {
            return fake.disobedient ? disobey(sink, i) : -ECANCELED;
        }
        int r = report(sink, i, pass);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int fake_sample(void *source, uint32_t take, struct source_sink *sink,
                       struct source_watch *watch, struct err *err)
{
    (void)source;
    pthread_mutex_lock(&lock);
    unsigned pass = ++fake.counts.passes;
    size_t count = fake.device_count;
    fake.counts.last_take = take;
    pthread_mutex_unlock(&lock);
    sink->identity(sink, &(struct source_identity){.kind = "fake"});
    if (!watch_enter(watch, WATCH_NO_DEVICE, "fake_begin")) {
        return -ECANCELED;
    }
    call(FAKE_BEGIN);
    if (!watch_leave(watch)) {
        return -ECANCELED;
    }
    int r = take_failure(&fake.sample, err);
    if (r < 0) {
        return r;
    }
    r = sink->begin(sink, count);
    if (r < 0) {
        return r == -ENOMEM ? err_no_memory(err) : r;
    }
    r = ask_devices(sink, watch, count, pass);
    return r == -ENOMEM ? err_no_memory(err) : r;
}

static void fake_describe(void *source, source_fact_function fact, void *data)
{
    (void)source;
    fact(data, "fake", "yes");
}

static void fake_close(void *source)
{
    call(FAKE_CLOSE);
    free(source);
    pthread_mutex_lock(&lock);
    fake.counts.closes++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void fake_abandon(void *source)
{
    free(source);
    fake.counts.abandons++; /* in a forked child, which has one thread */
}

const struct source_ops fake_source = {
    .kind = "fake",
    .open = fake_open,
    .sample = fake_sample,
    .describe = fake_describe,
    .close = fake_close,
    .abandon = fake_abandon,
};

/* ---- What the test says ---------------------------------------------------------------------- */

void fake_reset(size_t device_count)
{
    pthread_mutex_lock(&lock);
    fake.device_count = device_count;
    for (size_t i = 0; i < FAKE_CALLS; i++) {
        fake.hang[i] = false;
    }
    fake.disobedient = false;
    fake.open = fake.sample = (struct failure){0, 0};
    fake.counts = (struct fake_counts){0};
    pthread_mutex_unlock(&lock);
}

void fake_set_devices(size_t device_count)
{
    pthread_mutex_lock(&lock);
    fake.device_count = device_count;
    pthread_mutex_unlock(&lock);
}

void fake_fail_open(int result, unsigned times)
{
    pthread_mutex_lock(&lock);
    fake.open = (struct failure){result, times};
    pthread_mutex_unlock(&lock);
}

void fake_fail_sample(int result, unsigned times)
{
    pthread_mutex_lock(&lock);
    fake.sample = (struct failure){result, times};
    pthread_mutex_unlock(&lock);
}

void fake_disobey(void)
{
    pthread_mutex_lock(&lock);
    fake.disobedient = true;
    pthread_mutex_unlock(&lock);
}

static void set_hang(size_t number, bool hang)
{
    pthread_mutex_lock(&lock);
    fake.hang[number] = hang;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void fake_hang(size_t number)
{
    set_hang(number, true);
}

void fake_release(size_t number)
{
    set_hang(number, false);
}

void fake_await_hanging(unsigned count)
{
    pthread_mutex_lock(&lock);
    while (fake.hanging != count) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void fake_await_closes(unsigned count)
{
    pthread_mutex_lock(&lock);
    while (fake.counts.closes != count) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

struct fake_counts fake_counts(void)
{
    pthread_mutex_lock(&lock);
    struct fake_counts counts = fake.counts;
    pthread_mutex_unlock(&lock);
    return counts;
}
