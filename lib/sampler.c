/* SPDX-License-Identifier: MIT */
#include "lib/sampler.h"

#include "common/clock.h"
#include "lib/thread.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One thread may be stuck in one device while another goes on; two stuck threads mean the driver. */
#define MOST_STUCK 2
#define TAKE_BITS 4 /* VRAM_TAKE_PROCESSES to VRAM_TAKE_SETTLED */

/* An open source and the threads that are inside it. The last to leave a discarded one closes it. */
struct opened {
    void *source;
    unsigned users;
    bool discarded;
};

/* One thread's way through the devices. */
struct source_watch {
    struct source_sink sink; /* first, so that the sink's functions find the rest */
    struct sampler *sampler;
    bool given_up;
    const char *call; /* NULL: not inside a driver call */
    size_t device;
    uint64_t since_ns;
};

struct sampler {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* everything below: one condition, few waiters */
    const struct source_ops *ops;
    struct source_config config;
    uint64_t limit_ns;
    unsigned threads; /* that exist, stuck ones included */
    unsigned stuck;   /* of them, given up */
    pthread_t worker; /* the one that is not stuck */
    bool has_worker;
    struct thread_home home;       /* where the worker may run when it is asked again */
    bool ending;                   /* no thread starts anything new */
    bool orphaned;                 /* its owner has left: the last thread frees it */
    struct source_watch *active;   /* the worker's pass, while it runs */
    struct opened *opened;         /* NULL: the source is not open */
    uint64_t asked, begun, served; /* tickets */
    unsigned wanting[TAKE_BITS];   /* callers inside sampler_sample() by what they want */
    uint32_t pass_take;            /* what the current pass asks for */
    bool resume;                   /* go on with the current pass: its first thread was given up */
    int result;                    /* of the pass that served last */
    struct err err;
    bool driver_hung; /* the driver as a whole */
    const char *driver_call;
    uint64_t driver_since_ns;
    struct source_identity identity;
    size_t count;
    struct board_entry *entries;
    bool *done; /* devices reported in the current pass */
};

/* ---- The board ------------------------------------------------------------------------------- */

/* Hands out what is known; called with the lock held. */
static int copy_board(struct sampler *s, struct board *ret_board, struct err *err)
{
    struct board board = {.identity = s->identity, .count = s->count};
    board.entries = calloc(s->count ? s->count : 1, sizeof(*board.entries));
    if (!board.entries) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < s->count; i++) {
        board.entries[i] = s->entries[i];
        if (s->driver_hung && !board.entries[i].hung) {
            board.entries[i].hung = true;
            board.entries[i].hung_call = s->driver_call;
            board.entries[i].hung_since_ns = s->driver_since_ns;
        }
        (void)report_ref(board.entries[i].report);
    }
    *ret_board = board;
    return 0;
}

/* ---- The sink and the watch: what the source calls ------------------------------------------- */

static struct source_watch *watch_of(struct source_sink *sink)
{
    return (struct source_watch *)sink;
}

static void sink_identity(struct source_sink *sink, const struct source_identity *identity)
{
    struct source_watch *watch = watch_of(sink);
    pthread_mutex_lock(&watch->sampler->lock);
    if (!watch->given_up) {
        watch->sampler->identity = *identity;
    }
    pthread_mutex_unlock(&watch->sampler->lock);
}

static int resize(struct sampler *s, size_t count)
{
    if (count > s->count) {
        struct board_entry *entries = realloc(s->entries, count * sizeof(*entries));
        if (!entries) {
            return -ENOMEM;
        }
        s->entries = entries;
        bool *done = realloc(s->done, count * sizeof(*done));
        if (!done) {
            return -ENOMEM;
        }
        s->done = done;
        memset(entries + s->count, 0, (count - s->count) * sizeof(*entries));
        memset(done + s->count, 0, (count - s->count) * sizeof(*done));
        s->count = count;
    }
    if (count < s->count) {
        board_entries_done(s->entries + count, s->count - count);
        s->count = count;
    }
    return 0;
}

static int sink_begin(struct source_sink *sink, size_t device_count)
{
    struct source_watch *watch = watch_of(sink);
    pthread_mutex_lock(&watch->sampler->lock);
    int r = watch->given_up ? -ECANCELED : resize(watch->sampler, device_count);
    pthread_mutex_unlock(&watch->sampler->lock);
    return r;
}

static bool sink_skip(struct source_sink *sink, size_t device)
{
    struct source_watch *watch = watch_of(sink);
    struct sampler *s = watch->sampler;
    pthread_mutex_lock(&s->lock);
    bool skip = watch->given_up || device >= s->count || s->done[device] || s->entries[device].hung;
    pthread_mutex_unlock(&s->lock);
    return skip;
}

static int sink_device(struct source_sink *sink, size_t device, struct source_gpu *gpus,
                       size_t count)
{
    struct source_watch *watch = watch_of(sink);
    struct sampler *s = watch->sampler;
    struct report *report = report_new(gpus, count, clock_now_ns());
    if (!report) {
        return -ENOMEM;
    }
    pthread_mutex_lock(&s->lock);
    if (!watch->given_up && device < s->count) {
        struct report *old = s->entries[device].report;
        s->entries[device].report = report;
        s->done[device] = true;
        report = old;
    }
    pthread_mutex_unlock(&s->lock);
    report_unref(report);
    return 0;
}

bool watch_enter(struct source_watch *watch, size_t device, const char *call)
{
    pthread_mutex_lock(&watch->sampler->lock);
    watch->device = device;
    watch->call = call;
    watch->since_ns = clock_now_ns();
    bool wanted = !watch->given_up;
    pthread_mutex_unlock(&watch->sampler->lock);
    return wanted;
}

bool watch_leave(struct source_watch *watch)
{
    pthread_mutex_lock(&watch->sampler->lock);
    watch->call = NULL;
    bool wanted = !watch->given_up;
    pthread_mutex_unlock(&watch->sampler->lock);
    return wanted;
}

/* ---- The worker ------------------------------------------------------------------------------ */

static void close_opened(struct sampler *s, struct opened *opened)
{
    s->ops->close(opened->source);
    free(opened);
}

/* Leaves an open source; whoever leaves a discarded one last closes it. Called with the lock held,
 * which is given up meanwhile. */
static void leave(struct sampler *s, struct opened *opened)
{
    if (--opened->users == 0 && opened->discarded) {
        pthread_mutex_unlock(&s->lock);
        close_opened(s, opened);
        pthread_mutex_lock(&s->lock);
    }
}

/* The source is of no more use: the next pass opens it anew. Called with the lock held and one's own
 * use of it still counted. */
static void discard(struct sampler *s, struct opened *opened)
{
    opened->discarded = true;
    if (s->opened == opened) {
        s->opened = NULL;
    }
}

/* Enters the open source, opening it first where need be. Called without the lock. */
static int enter(struct sampler *s, struct source_watch *watch, struct opened **ret_opened,
                 struct err *err)
{
    pthread_mutex_lock(&s->lock);
    struct opened *opened = s->opened;
    if (opened) {
        opened->users++;
    }
    pthread_mutex_unlock(&s->lock);
    if (opened) {
        *ret_opened = opened;
        return 0;
    }
    opened = calloc(1, sizeof(*opened));
    if (!opened) {
        (void)err_no_memory(err);
        return -ENOMEM;
    }
    int r = s->ops->open(&opened->source, &s->config, watch, err);
    if (r < 0) {
        free(opened);
        return r;
    }
    opened->users = 1;
    pthread_mutex_lock(&s->lock);
    if (watch->given_up) {
        opened->discarded = true;
        leave(s, opened);
        r = -ECANCELED;
    } else {
        s->opened = opened;
        *ret_opened = opened;
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* One way through the devices, and a second with a fresh source where the first says that the driver was
 * restarted underneath. */
static int run_pass(struct sampler *s, struct source_watch *watch, uint32_t take, struct err *err)
{
    for (int try = 0;; try++) {
        struct opened *opened = NULL;
        int r = enter(s, watch, &opened, err);
        if (r < 0) {
            return r;
        }
        r = s->ops->sample(opened->source, take, &watch->sink, watch, err);
        pthread_mutex_lock(&s->lock);
        if (r < 0 && r != -ECANCELED && r != -ENOMEM) {
            discard(s, opened);
        }
        leave(s, opened);
        pthread_mutex_unlock(&s->lock);
        if (r != -EAGAIN || try) {
            return r == -EAGAIN ? -EIO : r;
        }
    }
}

/* A thread that was given up has come back: its device may be asked again. Called with the lock held. */
static void come_back(struct sampler *s, const struct source_watch *watch)
{
    s->stuck--;
    if (watch->device < s->count) {
        s->entries[watch->device].hung = false;
    }
    s->driver_hung = false;
}

static void free_sampler(struct sampler *s)
{
    board_entries_done(s->entries, s->count);
    free(s->entries);
    free(s->done);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* The end of a thread. Called with the lock held; gives it up. */
static void end_thread(struct sampler *s)
{
    s->threads--;
    bool last = s->threads == 0 && s->orphaned;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (last) {
        free_sampler(s);
    }
}

/* Closes the source on the way out, unless somebody is stuck in it. Called with the lock held. */
static void close_source(struct sampler *s)
{
    struct opened *opened = s->opened;
    if (opened) {
        opened->users++;
        discard(s, opened);
        leave(s, opened);
    }
}

/*
 * What everybody inside wants, also those whose own pass has just ended: the board that they are about to
 * copy may be the next pass's already, and must not be poorer. Called with the lock held.
 */
static uint32_t wanted(const struct sampler *s)
{
    uint32_t take = 0;
    for (unsigned bit = 0; bit < TAKE_BITS; bit++) {
        take |= s->wanting[bit] ? 1u << bit : 0;
    }
    return take;
}

static void count_wish(struct sampler *s, uint32_t take, int step)
{
    for (unsigned bit = 0; bit < TAKE_BITS; bit++) {
        s->wanting[bit] += take & 1u << bit ? (unsigned)step : 0;
    }
}

/* Waits for something to do. False: the end. Called with the lock held. */
static bool next_pass(struct sampler *s)
{
    while (s->begun == s->asked && !s->resume && !s->ending) {
        pthread_cond_wait(&s->changed, &s->lock);
    }
    if (!s->resume && !s->ending) {
        s->begun = s->asked;
        s->pass_take = wanted(s);
        if (s->count) {
            memset(s->done, 0, s->count * sizeof(*s->done));
        }
    }
    s->resume = false;
    return !s->ending;
}

static void *work(void *data)
{
    struct sampler *s = data;
    pthread_mutex_lock(&s->lock);
    for (bool again = false;; again = true) {
        if (!next_pass(s)) {
            close_source(s);
            break;
        }
        if (again) {
            thread_roam(&s->home);
        }
        struct source_watch watch = {
            .sink = {sink_identity, sink_begin, sink_skip, sink_device},
            .sampler = s,
            .device = WATCH_NO_DEVICE,
        };
        struct err err = {0};
        uint64_t ticket = s->begun;
        uint32_t take = s->pass_take;
        s->active = &watch;
        pthread_mutex_unlock(&s->lock);

        int r = run_pass(s, &watch, take, &err);

        pthread_mutex_lock(&s->lock);
        if (watch.given_up) {
            come_back(s, &watch);
            break;
        }
        s->active = NULL;
        s->result = r;
        s->err = err;
        s->served = ticket;
        s->driver_hung = false;
        /* Told without the lock, or whoever wakes would wait for it at once. */
        pthread_mutex_unlock(&s->lock);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_lock(&s->lock);
    }
    end_thread(s);
    return NULL;
}

/* Called with the lock held. */
static int start_worker(struct sampler *s, struct err *err)
{
    int r = thread_start(&s->worker, work, s, &s->home);
    if (r != 0) {
        return err_set(err, -ENOMEM, "out_of_memory", "no thread could be started: %s",
                       strerror(r));
    }
    s->threads++;
    s->has_worker = true;
    return 0;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static void wait_until(struct sampler *s, uint64_t deadline_ns)
{
    struct timespec deadline = {(time_t)(deadline_ns / 1000000000u),
                                (long)(deadline_ns % 1000000000u)};
    (void)pthread_cond_timedwait(&s->changed, &s->lock, &deadline);
}

/* Lets the worker's current call be, and sends a second worker after the other devices. Called with
 * the lock held. */
static void give_up(struct sampler *s)
{
    struct source_watch *watch = s->active;
    watch->given_up = true;
    s->active = NULL;
    s->stuck++;
    s->has_worker = false;
    (void)pthread_detach(s->worker);
    if (watch->device < s->count) {
        s->entries[watch->device].hung = true;
        s->entries[watch->device].hung_call = watch->call;
        s->entries[watch->device].hung_since_ns = watch->since_ns;
    }
    bool whole = watch->device == WATCH_NO_DEVICE || s->stuck >= MOST_STUCK;
    if (!whole) {
        s->resume = true; /* the same pass again, without what is done and what hangs */
        whole = start_worker(s, NULL) < 0;
    }
    if (whole) {
        s->driver_hung = true;
        s->driver_call = watch->call;
        s->driver_since_ns = watch->since_ns;
    }
    pthread_cond_broadcast(&s->changed);
}

/* Waits for the pass that serves `ticket`, giving up calls that outlast the limit, or until the driver as
 * a whole does not answer. Called with the lock held. */
static int await(struct sampler *s, uint64_t ticket, struct err *err)
{
    int r = 0;
    while (r == 0 && s->served < ticket && !s->driver_hung) {
        struct source_watch *watch = s->active;
        uint64_t now = clock_now_ns();
        bool inside = watch && watch->call;
        if (!s->has_worker) {
            /* A pass of ours that is under way all the same was given up with the driver, which came
             * back before this thread woke to see it. */
            s->resume |= ticket <= s->begun;
            r = start_worker(s, err);
        } else if (inside && now - watch->since_ns >= s->limit_ns) {
            give_up(s);
        } else {
            wait_until(s, (inside ? watch->since_ns : now) + s->limit_ns);
        }
    }
    return r;
}

static int answer(struct sampler *s, bool served, struct board *ret_board, struct err *err)
{
    if (served && s->result < 0) {
        if (err) {
            *err = s->err;
        }
        return s->result;
    }
    if (!served && !s->count) {
        uint64_t tenths = (clock_now_ns() - s->driver_since_ns) / 100000000u;
        return err_set(err, -ETIMEDOUT, "driver_hung",
                       "the NVIDIA driver does not answer: %s has not returned for %" PRIu64
                       ".%u s",
                       s->driver_call, tenths / 10, (unsigned)(tenths % 10));
    }
    return copy_board(s, ret_board, err);
}

int sampler_sample(struct sampler *s, uint32_t take, struct board *ret_board, struct err *err)
{
    pthread_mutex_lock(&s->lock);
    count_wish(s, take, 1);
    if (s->begun == s->asked) { /* nobody else waits for the next pass to begin */
        s->asked++;
    }
    uint64_t ticket = s->asked;
    pthread_cond_broadcast(&s->changed);
    int r = await(s, ticket, err);
    if (r == 0) {
        r = answer(s, s->served >= ticket, ret_board, err);
    }
    count_wish(s, take, -1);
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct sampler *sampler_new(const struct source_ops *ops, const struct source_config *config,
                            uint64_t call_timeout_ns)
{
    struct sampler *s = calloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        free(s);
        return NULL;
    }
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    s->ops = ops;
    s->config = *config;
    s->limit_ns = call_timeout_ns;
    return s;
}

void sampler_describe(struct sampler *s, source_fact_function fact, void *data)
{
    pthread_mutex_lock(&s->lock);
    if (s->opened && !s->opened->users) {
        s->ops->describe(s->opened->source, fact, data);
    }
    pthread_mutex_unlock(&s->lock);
}

void sampler_free(struct sampler *s)
{
    if (!s) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    if (s->opened && !s->has_worker) {
        (void)start_worker(s,
                           NULL); /* the last one was given up: somebody has to close the source */
    }
    pthread_cond_broadcast(&s->changed);
    /* The source's own closing is a driver call too, with the same patience. */
    uint64_t deadline = clock_now_ns() + s->limit_ns;
    while (s->threads > s->stuck && clock_now_ns() < deadline) {
        wait_until(s, deadline);
    }
    bool ended = s->threads == s->stuck;
    bool has_worker = s->has_worker;
    pthread_t worker = s->worker;
    s->orphaned = true;
    bool last = s->threads == 0;
    pthread_mutex_unlock(&s->lock);
    if (has_worker) {
        (void)(ended ? pthread_join(worker, NULL) : pthread_detach(worker));
    }
    if (last) {
        free_sampler(s);
    }
}

void sampler_abandon(struct sampler *s)
{
    /* A thread that was inside at the time of the fork left locks taken and structures half changed: then all is
     * left as it is. The condition's waiters are threads that do not exist here. */
    if (!s || pthread_mutex_trylock(&s->lock) != 0) {
        return;
    }
    bool quiet = !s->active && !s->stuck && (!s->opened || !s->opened->users);
    pthread_mutex_unlock(&s->lock);
    if (!quiet) {
        return;
    }
    if (s->opened) {
        s->ops->abandon(s->opened->source);
        free(s->opened);
    }
    board_entries_done(s->entries, s->count);
    free(s->entries);
    free(s->done);
    free(s);
}
