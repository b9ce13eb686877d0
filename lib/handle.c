/* SPDX-License-Identifier: MIT */
/* The handle: options, errors by thread, fork, and the way from a question to a snapshot. */
#include "lib/handle.h"

#include "common/clock.h"
#include "common/size.h"
#include "lib/remote.h"
#include "lib/sampler.h"
#include "lib/snapshot.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_CALL_TIMEOUT_NS 10000000000ull
#define REST_AFTER_NS 30000000000ull
#define DAEMON_SLACK_NS 3000000000ull /* for a daemon whose driver takes all the time it may */
#define ERROR_SLOTS 32                /* threads whose last error is remembered */

struct error_slot {
    pthread_t thread;
    uint64_t used; /* 0: free; else when, for finding the oldest */
    struct err err;
};

/* Memory that the kernel empties in a forked child, so that a child is known even where it got its
 * parent's pid. */
enum fork_mark {
    MARK_FORKED = 0, /* what the kernel leaves */
    MARK_RENEWING,
    MARK_OURS,
};

struct vram {
    atomic_int *mark;
    pid_t owner; /* the second proof, where the kernel cannot empty memory (before 4.14) */
    atomic_bool may_start; /* a daemon */
    char *driver_text;
    struct driver driver; /* made of driver_text by the first call */
    char *root;
    struct source_config config;
    uint64_t call_timeout_ns;
    bool direct; /* no daemon is asked */
    uint64_t max_age_ms;
    pthread_mutex_t lock; /* the sampler's making, the identities */
    struct sampler *sampler;
    struct identities *identities;
    pthread_mutex_t error_lock;
    uint64_t error_count;
    struct error_slot errors[ERROR_SLOTS];
};

/* ---- Errors ---------------------------------------------------------------------------------- */

static struct error_slot *find_slot(struct vram *vram, bool make)
{
    pthread_t self = pthread_self();
    struct error_slot *oldest = &vram->errors[0];
    for (size_t i = 0; i < ERROR_SLOTS; i++) {
        struct error_slot *slot = &vram->errors[i];
        if (slot->used && pthread_equal(slot->thread, self)) {
            return slot;
        }
        if (slot->used < oldest->used) {
            oldest = slot;
        }
    }
    if (make) {
        oldest->thread = self;
    }
    return make ? oldest : NULL;
}

int handle_fail(struct vram *vram, const struct err *err)
{
    pthread_mutex_lock(&vram->error_lock);
    struct error_slot *slot = find_slot(vram, true);
    slot->used = ++vram->error_count;
    slot->err = *err;
    pthread_mutex_unlock(&vram->error_lock);
    return err->result;
}

int handle_fail_with(struct vram *vram, int result, const char *code, const char *message)
{
    struct err err;
    (void)err_set(&err, result, code, "%s", message);
    return handle_fail(vram, &err);
}

/* A thread's slot is its own until 32 other threads have failed, so what is returned stays as it is. */
static const struct err *last_error(const struct vram *vram)
{
    static const struct err none = {.code = "none", .message = "no error"};
    static const struct err no_handle = {.code = "no_handle",
                                         .message = "the handle could not be made"};
    if (!vram) {
        return &no_handle;
    }
    struct vram *writable =
        (struct vram *)(uintptr_t)vram; /* a lock is no part of what is promised */
    pthread_mutex_lock(&writable->error_lock);
    const struct error_slot *slot = find_slot(writable, false);
    pthread_mutex_unlock(&writable->error_lock);
    return slot ? &slot->err : &none;
}

const char *vram_error(const struct vram *vram)
{
    return last_error(vram)->message;
}

const char *vram_error_hint(const struct vram *vram)
{
    return last_error(vram)->hint;
}

const char *vram_error_code(const struct vram *vram)
{
    return last_error(vram)->code;
}

/* ---- Fork ------------------------------------------------------------------------------------ */

static int make_mark(struct vram *vram)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -ENOMEM;
    }
    (void)madvise(page, size, MADV_WIPEONFORK);
    vram->mark = page;
    atomic_store(vram->mark, MARK_OURS);
    vram->owner = getpid();
    return 0;
}

/* In a child: locks and the sampler's thread are the parent's. One thread makes them anew, the others
 * wait for it. */
static void renew_after_fork(struct vram *vram)
{
    int mark = atomic_load(vram->mark);
    if (mark == MARK_OURS && vram->owner == getpid()) {
        return;
    }
    int expected = mark == MARK_OURS ? MARK_OURS : MARK_FORKED;
    if (mark != MARK_RENEWING &&
        atomic_compare_exchange_strong(vram->mark, &expected, MARK_RENEWING)) {
        if (pthread_mutex_trylock(&vram->lock) == 0) {
            identities_free(vram->identities);
        } /* else another thread was writing in them at the time of the fork: they are left alone */
        (void)pthread_mutex_init(&vram->lock, NULL);
        (void)pthread_mutex_init(&vram->error_lock, NULL);
        sampler_abandon(vram->sampler);
        vram->sampler = NULL;
        vram->identities = NULL;
        vram->owner = getpid();
        atomic_store(vram->mark, MARK_OURS);
    }
    while (atomic_load(vram->mark) != MARK_OURS) {
        (void)sched_yield();
    }
}

/* ---- Life ------------------------------------------------------------------------------------ */

/* A file name that a setuid program's caller must not choose. */
static const char *environment(const char *name)
{
    const char *value = secure_getenv(name);
    return value && value[0] ? value : NULL;
}

static void quiet(void *data, int level, const char *message)
{
    (void)data;
    (void)level;
    (void)message;
}

static uint64_t choose_timeout(const struct vram_options *options)
{
    uint64_t ns = 0;
    const char *text = environment("VRAM_CALL_TIMEOUT");
    if (options->call_timeout_ms) {
        return options->call_timeout_ms < INT64_MAX / 1000000 ? options->call_timeout_ms * 1000000
                                                              : INT64_MAX;
    }
    return text && duration_parse(text, &ns) == 0 && ns ? ns : DEFAULT_CALL_TIMEOUT_NS;
}

static int choose_root(struct vram *vram, const struct vram_options *options)
{
    const char *root = options->root ? options->root : environment("VRAM_SYSROOT");
    vram->root = strdup(root ? root : "");
    if (!vram->root) {
        return -ENOMEM;
    }
    for (size_t length = strlen(vram->root); length && vram->root[length - 1] == '/'; length--) {
        vram->root[length - 1] = '\0';
    }
    return 0;
}

static int choose_driver(struct vram *vram, const struct vram_options *options)
{
    const char *driver = options->driver ? options->driver : environment("VRAM_DRIVER");
    vram->driver_text = strdup(driver ? driver : "auto");
    return vram->driver_text ? 0 : -ENOMEM;
}

/* Who names NVML means it; a root is another machine's files; a daemon wakes nobody. */
static bool is_direct(const struct vram *vram, uint32_t flags)
{
    bool may_ask =
        strcmp(vram->driver_text, "auto") == 0 || strncmp(vram->driver_text, "sim:", 4) == 0;
    return !may_ask || vram->root[0] || flags & (VRAM_OPEN_DIRECT | VRAM_OPEN_WAKE);
}

static struct vram *handle_free(struct vram *vram)
{
    sampler_free(vram->sampler);
    identities_free(vram->identities);
    driver_done(&vram->driver);
    if (vram->mark) {
        (void)munmap(vram->mark, (size_t)sysconf(_SC_PAGESIZE));
    }
    pthread_mutex_destroy(&vram->lock);
    pthread_mutex_destroy(&vram->error_lock);
    free(vram->driver_text);
    free(vram->root);
    free(vram);
    return NULL;
}

int vram_open(struct vram **ret_vram, const struct vram_options *options)
{
    struct vram_options chosen = VRAM_OPTIONS_INIT;
    if (options) {
        /* A program built against a newer header hands a larger structure, whose end is not ours to read. */
        size_t size = options->size < sizeof(chosen) ? options->size : sizeof(chosen);
        if (size < sizeof(options->size)) {
            return -EINVAL;
        }
        memcpy(&chosen, options, size);
    }
    struct vram *vram = calloc(1, sizeof(*vram));
    if (!vram) {
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&vram->lock, NULL);
    (void)pthread_mutex_init(&vram->error_lock, NULL);
    if (make_mark(vram) < 0 || choose_root(vram, &chosen) < 0 || choose_driver(vram, &chosen) < 0) {
        (void)handle_free(vram);
        return -ENOMEM;
    }
    vram->call_timeout_ns = choose_timeout(&chosen);
    vram->direct = is_direct(vram, chosen.flags);
    vram->max_age_ms = chosen.max_age_ms;
    vram->config = (struct source_config){
        .root = vram->root,
        .wake = chosen.flags & VRAM_OPEN_WAKE,
        .rest_after_ns = REST_AFTER_NS,
        .log = chosen.log ? chosen.log : quiet,
        .log_data = chosen.log_data,
    };
    *ret_vram = vram;
    return 0;
}

struct vram *vram_close(struct vram *vram)
{
    if (vram) {
        renew_after_fork(vram);
        (void)handle_free(vram);
    }
    return NULL;
}

bool handle_is_direct(const struct vram *vram)
{
    return vram->direct;
}

const char *handle_root(const struct vram *vram)
{
    return vram->root;
}

const char *handle_driver_text(const struct vram *vram)
{
    return vram->driver_text;
}

bool handle_may_start(const struct vram *vram)
{
    return atomic_load(&vram->may_start);
}

void handle_set_may_start(struct vram *vram)
{
    atomic_store(&vram->may_start, true);
}

const struct driver *handle_driver(const struct vram *vram)
{
    return &vram->driver;
}

/* ---- The snapshot ---------------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Makes what a call needs and no call before has made. Called with the lock held. */
static int prepare(struct vram *vram, struct err *err)
{
    if (!vram->driver.ops) {
        int r = driver_parse(&vram->driver, vram->driver_text, err);
        if (r < 0) {
            return r;
        }
        vram->config.path = vram->driver.path;
        vram->config.simulation = vram->driver.simulation;
    }
    if (!vram->sampler) {
        vram->sampler = sampler_new(vram->driver.ops, &vram->config, vram->call_timeout_ns);
    }
    if (!vram->identities) {
        vram->identities = identities_new(vram->root);
    }
    return vram->sampler && vram->identities ? 0 : err_no_memory(err);
}

int handle_take(struct vram *vram, uint32_t take, struct vram_snapshot **ret_snapshot,
                struct err *err)
{
    struct board board;
    take |= take & VRAM_TAKE_SETTLED ? VRAM_TAKE_PROCESSES : 0;
    renew_after_fork(vram);
    pthread_mutex_lock(&vram->lock);
    int r = prepare(vram, err);
    pthread_mutex_unlock(&vram->lock);
    if (r == 0) {
        r = sampler_sample(vram->sampler, take, &board, err);
    }
    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&vram->lock);
    r = snapshot_build(&board, vram->identities, take, clock_ns(CLOCK_REALTIME),
                       clock_ns(CLOCK_MONOTONIC), ret_snapshot);
    pthread_mutex_unlock(&vram->lock);
    board_done(&board);
    return r < 0 ? err_no_memory(err) : 0;
}

/* The daemon's snapshot, else the driver's. */
static int take_anywhere(struct vram *vram, uint32_t take, struct vram_snapshot **ret_snapshot,
                         struct err *err)
{
    enum remote_outcome outcome = REMOTE_ABSENT;
    if (!vram->direct && !(take & VRAM_TAKE_SETTLED)) {
        const struct remote_request request = {
            .driver = vram->driver_text,
            .take = take,
            .max_age_ms = vram->max_age_ms,
            .deadline_ns = clock_now_ns() + vram->call_timeout_ns + DAEMON_SLACK_NS,
        };
        outcome = remote_snapshot(&request, ret_snapshot, err);
    }
    if (outcome == REMOTE_TAKEN || outcome == REMOTE_FAILED) {
        return outcome == REMOTE_TAKEN ? 0 : err->result;
    }
    if (outcome == REMOTE_UNUSABLE) {
        vram->config.log(vram->config.log_data, VRAM_LOG_WARNING, err->message);
        *err = (struct err){0};
    }
    return handle_take(vram, take, ret_snapshot, err);
}

int vram_snapshot_take(struct vram *vram, uint32_t take, struct vram_snapshot **ret_snapshot)
{
    struct err err = {0};
    renew_after_fork(vram);
    int r = take_anywhere(vram, take, ret_snapshot, &err);
    if (r < 0) {
        vram->config.log(vram->config.log_data, VRAM_LOG_ERROR, err.message);
        (void)handle_fail(vram, &err);
    }
    return r;
}

void handle_describe(struct vram *vram, source_fact_function fact, void *data)
{
    if (vram->sampler) {
        sampler_describe(vram->sampler, fact, data);
    }
}
