/* SPDX-License-Identifier: MIT */
/* The figures in the daemon: kept, compared, and asked for again while somebody waits. */
#include "common/clock.h"
#include "daemon/daemon.h"
#include "daemon/history.h"
#include "daemon/log.h"

#include <errno.h>
#include <string.h>

#define WATCH_NS ((uint64_t)50000000) /* between samples while somebody waits for a change */
#define WATCH_SHARE 10                /* at most this part of the time is the driver's */

static bool is_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Temperatures and loads change with every sample, and nobody waits for them. */
static bool same_gpu(const struct vram_gpu *a, const struct vram_gpu *b, bool with_processes)
{
    bool same = a->state == b->state && is_text(a->uuid, b->uuid) &&
                a->total_bytes == b->total_bytes && a->used_bytes == b->used_bytes &&
                a->free_bytes == b->free_bytes &&
                a->driver_reserved_bytes == b->driver_reserved_bytes;
    if (with_processes) {
        same = same && a->processes_known == b->processes_known &&
               a->process_count == b->process_count;
    }
    for (size_t i = 0; same && with_processes && i < a->process_count; i++) {
        const struct vram_process *one = &a->processes[i], *other = &b->processes[i];
        same = one->pid == other->pid && one->start_time == other->start_time &&
               one->used_bytes == other->used_bytes;
    }
    return same;
}

static bool same_figures(const struct vram_snapshot *a, const struct vram_snapshot *b,
                         bool with_processes)
{
    size_t count = vram_snapshot_gpu_count(a);
    bool same = count == vram_snapshot_gpu_count(b) &&
                vram_snapshot_problem_count(a) == vram_snapshot_problem_count(b);
    for (size_t i = 0; same && i < count; i++) {
        same = same_gpu(vram_snapshot_gpu(a, i), vram_snapshot_gpu(b, i), with_processes);
    }
    return same;
}

static void keep(struct daemon *daemon, const struct sample *sample)
{
    /* One that was not asked for process lists says nothing of them. */
    bool with_processes = daemon->snapshot_take & sample->take & VRAM_TAKE_PROCESSES;
    bool same =
        daemon->snapshot && same_figures(daemon->snapshot, sample->snapshot, with_processes);
    if (same && (daemon->snapshot_take & ~sample->take & VRAM_TAKE_PROCESSES)) {
        return; /* what is kept says more, and nothing else */
    }
    (void)vram_snapshot_unref(daemon->snapshot);
    daemon->snapshot = vram_snapshot_ref(sample->snapshot);
    daemon->snapshot_take = sample->take;
    daemon->snapshot_begun_ns = sample->begun_ns;
    daemon->snapshot_ended_ns = sample->ended_ns;
    if (!same) {
        daemon_changed(daemon);
    }
}

void figures_sampled(void *data, const struct sample *sample)
{
    struct daemon *daemon = data;
    if (sample->snapshot) {
        keep(daemon, sample);
    }
    if (daemon->promises) {
        daemon->promises->sampled(daemon->promises_data, sample);
    }
    history_sampled(daemon, sample);
    parking_sampled(daemon->parking, sample);
    figures_poll(daemon);
}

void figures_poll(struct daemon *daemon)
{
    uint32_t take = 0;
    uint64_t every_ns = 0, spent_ns = daemon->snapshot_ended_ns - daemon->snapshot_begun_ns;
    if (daemon->promises) {
        every_ns = daemon->promises->poll_ns(daemon->promises_data, &take);
    }
    if (parking_watchers(daemon->parking) > 0 && (every_ns == 0 || every_ns > WATCH_NS)) {
        every_ns = WATCH_NS > spent_ns * WATCH_SHARE ? WATCH_NS : spent_ns * WATCH_SHARE;
    }
    if (every_ns == 0 || daemon->ending || collector_is_paused(daemon->collector)) {
        (void)event_del(daemon->on_poll);
    } else if (!event_pending(daemon->on_poll, EV_TIMEOUT, NULL) &&
               !collector_is_asked(daemon->collector)) {
        struct timeval wait = {(time_t)(every_ns / 1000000000u),
                               (suseconds_t)(every_ns % 1000000000u / 1000)};
        (void)event_add(daemon->on_poll, &wait);
    }
}

static void on_poll(evutil_socket_t none, short what, void *data)
{
    struct daemon *daemon = data;
    uint32_t take = VRAM_TAKE_PROCESSES;
    (void)none;
    (void)what;
    if (daemon->promises) {
        (void)daemon->promises->poll_ns(daemon->promises_data, &take);
    }
    collector_ask(daemon->collector, take | VRAM_TAKE_PROCESSES);
}

static void on_epoch(evutil_socket_t none, short what, void *data)
{
    struct daemon *daemon = data;
    (void)none;
    (void)what;
    parking_epoch(daemon->parking, daemon->epoch);
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
    return daemon->on_epoch && daemon->on_poll && daemon->parking ? 0 : -ENOMEM;
}

void figures_done(struct daemon *daemon)
{
    daemon->parking = parking_free(daemon->parking);
    daemon->snapshot = vram_snapshot_unref(daemon->snapshot);
    if (daemon->on_epoch) {
        event_free(daemon->on_epoch);
    }
    if (daemon->on_poll) {
        event_free(daemon->on_poll);
    }
}
