/* SPDX-License-Identifier: MIT */
/* The figures in the daemon: kept, compared, and asked for again while somebody waits. */
#include "common/clock.h"
#include "daemon/daemon.h"
#include "daemon/history.h"
#include "daemon/log.h"
#include "daemon/stream.h"

#include <errno.h>
#include <string.h>

#define WATCH_NS ((uint64_t)50000000) /* between samples while somebody waits for a change */
#define WATCH_SHARE 10                /* at most this part of the time is the driver's */

/* For metrics: memory each second, lists, which cost a driver most, now and then; and a driver that fails is left alone
 * for a while. A scrape in so long is enough to have it go on: two intervals of a minute, and some. */
#define MEMORY_NS ((uint64_t)1000000000)
#define LISTS_NS ((uint64_t)4500000000)
#define FAILING_NS ((uint64_t)10000000000)
#define WANTED_NS ((uint64_t)150000000000)
#define MOVED_BYTES ((uint64_t)16 << 20) /* since the last lists: these are looked at again */

static bool is_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Temperatures and loads change with every sample, and nobody waits for them. */
static bool same_memory(const struct vram_gpu *a, const struct vram_gpu *b)
{
    return a->state == b->state && is_text(a->uuid, b->uuid) && a->total_bytes == b->total_bytes &&
           a->used_bytes == b->used_bytes && a->free_bytes == b->free_bytes &&
           a->driver_reserved_bytes == b->driver_reserved_bytes;
}

static bool same_list(const struct vram_gpu *a, const struct vram_gpu *b)
{
    bool same = is_text(a->uuid, b->uuid) && a->processes_known == b->processes_known &&
                a->process_count == b->process_count;
    for (size_t i = 0; same && i < a->process_count; i++) {
        const struct vram_process *one = &a->processes[i], *other = &b->processes[i];
        same = one->pid == other->pid && one->start_time == other->start_time &&
               one->used_bytes == other->used_bytes;
    }
    return same;
}

static bool same_of_all(const struct vram_snapshot *a, const struct vram_snapshot *b,
                        bool (*same_of)(const struct vram_gpu *a, const struct vram_gpu *b))
{
    size_t count = vram_snapshot_gpu_count(a);
    bool same = count == vram_snapshot_gpu_count(b);
    for (size_t i = 0; same && i < count; i++) {
        same = same_of(vram_snapshot_gpu(a, i), vram_snapshot_gpu(b, i));
    }
    return same;
}

/* A sample that was not asked for process lists says nothing of them: they are compared with the last ones. */
static bool is_news(const struct daemon *daemon, const struct sample *sample)
{
    bool lists = daemon->listed && sample->take & VRAM_TAKE_PROCESSES;
    bool problems = daemon->snapshot && (daemon->snapshot_take ^ sample->take) == 0 &&
                    vram_snapshot_problem_count(daemon->snapshot) !=
                        vram_snapshot_problem_count(sample->snapshot);
    return !daemon->snapshot || problems ||
           !same_of_all(daemon->snapshot, sample->snapshot, same_memory) ||
           (lists && !same_of_all(daemon->listed, sample->snapshot, same_list));
}

static void keep_also(const struct sample *sample, uint32_t take, struct vram_snapshot **snapshot,
                      uint64_t *begun_ns)
{
    if (sample->take & take) {
        (void)vram_snapshot_unref(*snapshot);
        *snapshot = vram_snapshot_ref(sample->snapshot);
        *begun_ns = sample->begun_ns;
    }
}

static void keep(struct daemon *daemon, const struct sample *sample)
{
    bool news = is_news(daemon, sample);
    keep_also(sample, VRAM_TAKE_PROCESSES, &daemon->listed, &daemon->listed_ns);
    keep_also(sample, VRAM_TAKE_HEALTH, &daemon->healthy, &daemon->healthy_ns);
    (void)vram_snapshot_unref(daemon->snapshot);
    daemon->snapshot = vram_snapshot_ref(sample->snapshot);
    daemon->snapshot_take = sample->take;
    daemon->snapshot_begun_ns = sample->begun_ns;
    daemon->snapshot_ended_ns = sample->ended_ns;
    if (news) {
        daemon_changed(daemon);
    }
}

static void count(struct metrics_collector *collected, const struct sample *sample)
{
    collected->tried = true;
    collected->succeeded = sample->snapshot != NULL;
    collected->duration_ns = sample->ended_ns - sample->begun_ns;
    if (sample->snapshot) {
        collected->succeeded_at_ns = vram_snapshot_taken_at_ns(sample->snapshot);
    } else {
        collected->failures[sample->result == -ETIMEDOUT ? METRICS_TIMEOUT
                            : sample->result == -EIO     ? METRICS_ENDED
                                                         : METRICS_DRIVER]++;
    }
}

/* What all of the daemon sees of a sample: its processes' users as labels name them. */
static struct sample name_users(struct daemon *daemon, const struct sample *sample)
{
    struct sample named = *sample;
    if (sample->snapshot) {
        named.snapshot = containers_name(daemon->containers, sample->snapshot);
        named.snapshot = named.snapshot ? named.snapshot : vram_snapshot_ref(sample->snapshot);
    }
    return named;
}

void figures_sampled(void *data, const struct sample *taken)
{
    struct daemon *daemon = data;
    const struct sample named = name_users(daemon, taken), *sample = &named;
    count(&daemon->collected, sample);
    if (sample->snapshot) {
        keep(daemon, sample);
        peaks_take(&daemon->peaks, sample->ended_ns, sample->snapshot);
    }
    if (daemon->promises) {
        daemon->promises->sampled(daemon->promises_data, sample);
    }
    history_sampled(daemon, sample);
    parking_sampled(daemon->parking, sample);
    streams_sampled(daemon, sample);
    (void)vram_snapshot_unref(named.snapshot);
    figures_poll(daemon);
}

/* Streams show what a scrape would, and cost the driver no more. */
bool figures_are_kept(const struct daemon *daemon)
{
    return clock_now_ns() < daemon->metrics_until_ns || streams_are_open(daemon);
}

/* Whether somebody took memory, or gave some back, since the lists were looked at. */
static bool has_moved(const struct daemon *daemon)
{
    size_t count = daemon->listed ? vram_snapshot_gpu_count(daemon->listed) : 0;
    bool moved = false;
    for (size_t i = 0; i < count && i < vram_snapshot_gpu_count(daemon->snapshot); i++) {
        uint64_t then = vram_snapshot_gpu(daemon->listed, i)->used_bytes;
        uint64_t now = vram_snapshot_gpu(daemon->snapshot, i)->used_bytes;
        moved = moved || (then > now ? then - now : now - then) >= MOVED_BYTES;
    }
    return moved;
}

/* How often the driver is to be asked; 0: not at all. *ret_take: for what. */
static uint64_t plan(const struct daemon *daemon, uint32_t *ret_take)
{
    uint32_t take = 0;
    uint64_t every_ns = 0, spent_ns = daemon->snapshot_ended_ns - daemon->snapshot_begun_ns;
    if (daemon->promises) {
        every_ns = daemon->promises->poll_ns(daemon->promises_data, &take);
    }
    if (parking_watchers(daemon->parking) > 0 && (every_ns == 0 || every_ns > WATCH_NS)) {
        every_ns = WATCH_NS > spent_ns * WATCH_SHARE ? WATCH_NS : spent_ns * WATCH_SHARE;
    }
    *ret_take = every_ns ? take | VRAM_TAKE_PROCESSES : 0;
    if (figures_are_kept(daemon)) {
        bool lists_are_due = clock_now_ns() - daemon->listed_ns > LISTS_NS || has_moved(daemon);
        uint64_t metrics_ns =
            daemon->collected.tried && !daemon->collected.succeeded ? FAILING_NS : MEMORY_NS;
        every_ns = every_ns && every_ns < metrics_ns ? every_ns : metrics_ns;
        *ret_take |= VRAM_TAKE_HEALTH | (lists_are_due ? VRAM_TAKE_PROCESSES : 0) |
                     (daemon->promises ? daemon->promises->take(daemon->promises_data) : 0);
    }
    return every_ns;
}

void figures_poll(struct daemon *daemon)
{
    uint32_t take;
    uint64_t every_ns = plan(daemon, &take), due_ns = clock_now_ns() + every_ns;
    if (every_ns == 0 || daemon->ending || collector_is_paused(daemon->collector)) {
        (void)event_del(daemon->on_poll);
    } else if (!collector_is_asked(daemon->collector) &&
               (!event_pending(daemon->on_poll, EV_TIMEOUT, NULL) ||
                due_ns < daemon->poll_due_ns)) {
        struct timeval wait = {(time_t)(every_ns / 1000000000u),
                               (suseconds_t)(every_ns % 1000000000u / 1000)};
        daemon->poll_due_ns = due_ns;
        (void)event_add(daemon->on_poll, &wait);
    }
}

void figures_want(struct daemon *daemon)
{
    uint64_t now_ns = clock_now_ns();
    if (!figures_are_kept(daemon)) {
        daemon->metrics_since_ns = now_ns;
    }
    daemon->metrics_until_ns = now_ns + WANTED_NS;
    figures_poll(daemon);
}

static void on_poll(evutil_socket_t none, short what, void *data)
{
    struct daemon *daemon = data;
    uint32_t take;
    (void)none;
    (void)what;
    if (plan(daemon, &take)) {
        collector_ask(daemon->collector, take);
    }
}

static void on_epoch(evutil_socket_t none, short what, void *data)
{
    struct daemon *daemon = data;
    (void)none;
    (void)what;
    parking_epoch(daemon->parking, daemon->epoch);
    streams_changed(daemon);
}

void daemon_changed(struct daemon *daemon)
{
    daemon->epoch++;
    event_active(daemon->on_epoch, 0, 0);
}

int figures_init(struct daemon *daemon)
{
    daemon->on_epoch = event_new(daemon->base, -1, 0, on_epoch, daemon);
    daemon->on_poll = event_new(daemon->base, -1, 0, on_poll, daemon);
    daemon->parking = parking_new(daemon->base);
    return daemon->on_epoch && daemon->on_poll && daemon->parking ? streams_init(daemon) : -ENOMEM;
}

void figures_done(struct daemon *daemon)
{
    daemon->parking = parking_free(daemon->parking);
    streams_done(daemon);
    daemon->snapshot = vram_snapshot_unref(daemon->snapshot);
    daemon->listed = vram_snapshot_unref(daemon->listed);
    daemon->healthy = vram_snapshot_unref(daemon->healthy);
    peaks_done(&daemon->peaks);
    if (daemon->on_epoch) {
        event_free(daemon->on_epoch);
    }
    if (daemon->on_poll) {
        event_free(daemon->on_poll);
    }
}
