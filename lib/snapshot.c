/* SPDX-License-Identifier: MIT */
#include "lib/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vram_snapshot {
    atomic_uint references;
    uint64_t taken_at_ns, waiters, epoch;
    struct vram_driver driver;
    size_t gpu_count, problem_count;
    struct vram_gpu *gpus;
    struct vram_problem *problems;
};

/*
 * The snapshot is laid out twice by the same code: once over nothing, to learn how much room it takes,
 * once over the room. While measuring, `base` is NULL and nothing is written.
 */
struct layout {
    char *base;
    size_t used;
};

static void *place(struct layout *layout, size_t size, size_t alignment)
{
    layout->used = (layout->used + alignment - 1) / alignment * alignment;
    char *at = layout->base ? layout->base + layout->used : NULL;
    layout->used += size;
    return at;
}

#define PLACE_ARRAY(layout, type, count)                                                           \
    ((type *)place(layout, (count) * sizeof(type), _Alignof(type)))

/* NULL for "": an unknown text. */
static const char *place_text(struct layout *layout, const char *text)
{
    if (!text || !text[0]) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *at = place(layout, size, 1);
    return at ? memcpy(at, text, size) : NULL;
}

/* ---- Processes ------------------------------------------------------------------------------- */

/* Largest first, unknown last, then by pid. */
static int by_size(const void *a, const void *b)
{
    const struct vram_process *left = a, *right = b;
    bool left_known = left->used_bytes != VRAM_UNKNOWN,
         right_known = right->used_bytes != VRAM_UNKNOWN;
    if (left_known != right_known) {
        return left_known ? -1 : 1;
    }
    if (left->used_bytes != right->used_bytes) {
        return left->used_bytes > right->used_bytes ? -1 : 1;
    }
    return left->pid < right->pid ? -1 : left->pid > right->pid;
}

static int lay_processes(struct layout *layout, struct snapshot_feed *feed, size_t count,
                         struct vram_process **ret_processes)
{
    struct vram_process *processes = PLACE_ARRAY(layout, struct vram_process, count);
    for (size_t i = 0; i < count; i++) {
        struct vram_process process;
        int r = feed->process(feed, i, &process);
        if (r < 0) {
            return r;
        }
        char number[24];
        (void)snprintf(number, sizeof(number), "pid_%" PRIu32, process.pid);
        bool named = process.name && process.name[0];
        process.name = place_text(layout, named ? process.name : number);
        process.command = place_text(layout, process.command);
        process.user = place_text(layout, process.user);
        process.container = place_text(layout, process.container);
        process.unit = place_text(layout, process.unit);
        process.lease = place_text(layout, process.lease);
        if (processes) {
            processes[i] = process;
        }
    }
    if (processes && count) {
        qsort(processes, count, sizeof(*processes), by_size);
    }
    *ret_processes = processes;
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int lay_gpus(struct layout *layout, struct snapshot_feed *feed, struct vram_gpu *gpus)
{
    for (size_t i = 0; i < feed->gpu_count; i++) {
        struct vram_gpu gpu;
        struct vram_process *processes;
        int r = feed->gpu(feed, i, &gpu);
        if (r < 0) {
            return r;
        }
        gpu.uuid = place_text(layout, gpu.uuid);
        gpu.name = place_text(layout, gpu.name);
        gpu.pci = place_text(layout, gpu.pci);
        gpu.parent_uuid = place_text(layout, gpu.parent_uuid);
        r = lay_processes(layout, feed, gpu.process_count, &processes);
        if (r < 0) {
            return r;
        }
        gpu.processes = processes;
        if (gpus) {
            gpus[i] = gpu;
        }
    }
    return 0;
}

static void lay_problems(struct layout *layout, struct snapshot_feed *feed,
                         struct vram_problem *problems)
{
    for (size_t i = 0; i < feed->problem_count; i++) {
        struct vram_problem problem;
        feed->problem(feed, i, &problem);
        problem.gpu = place_text(layout, problem.gpu);
        problem.what = place_text(layout, problem.what);
        problem.code = place_text(layout, problem.code);
        problem.message = place_text(layout, problem.message);
        if (problems) {
            problems[i] = problem;
        }
    }
}

static int lay_out(struct layout *layout, struct snapshot_feed *feed)
{
    struct vram_snapshot *snapshot = PLACE_ARRAY(layout, struct vram_snapshot, 1);
    struct vram_gpu *gpus = PLACE_ARRAY(layout, struct vram_gpu, feed->gpu_count);
    struct vram_problem *problems = PLACE_ARRAY(layout, struct vram_problem, feed->problem_count);
    struct vram_driver driver = {
        .kind = place_text(layout, feed->driver.kind),
        .version = place_text(layout, feed->driver.version),
        .cuda = place_text(layout, feed->driver.cuda),
        .library = place_text(layout, feed->driver.library),
    };
    int r = lay_gpus(layout, feed, gpus);
    if (r < 0) {
        return r;
    }
    lay_problems(layout, feed, problems);
    if (snapshot) {
        *snapshot = (struct vram_snapshot){
            .taken_at_ns = feed->taken_at_ns,
            .waiters = feed->waiters,
            .epoch = feed->epoch,
            .driver = driver,
            .gpu_count = feed->gpu_count,
            .problem_count = feed->problem_count,
            .gpus = gpus,
            .problems = problems,
        };
        atomic_init(&snapshot->references, 1);
    }
    return 0;
}

int snapshot_lay(struct snapshot_feed *feed, struct vram_snapshot **ret_snapshot)
{
    struct layout layout = {0};
    int r = lay_out(&layout, feed);
    if (r < 0) {
        return r;
    }
    layout.base = malloc(layout.used);
    if (!layout.base) {
        return -ENOMEM;
    }
    layout.used = 0;
    struct vram_snapshot *snapshot = (struct vram_snapshot *)(void *)layout.base;
    r = lay_out(&layout, feed);
    if (r < 0) {
        free(snapshot);
        return r;
    }
    *ret_snapshot = snapshot;
    return 0;
}

/* ---- Copies ---------------------------------------------------------------------------------- */

struct copy {
    struct snapshot_feed feed; /* first, so that its functions find the rest */
    const struct snapshot_view *view;
    const struct vram_gpu *gpu;
};

static int copy_gpu(struct snapshot_feed *feed, size_t position, struct vram_gpu *ret_gpu)
{
    struct copy *copy = (struct copy *)feed;
    copy->gpu = &copy->view->gpus[position];
    *ret_gpu = *copy->gpu;
    return 0;
}

static int copy_process(struct snapshot_feed *feed, size_t position,
                        struct vram_process *ret_process)
{
    *ret_process = ((struct copy *)feed)->gpu->processes[position];
    return 0;
}

static void copy_problem(struct snapshot_feed *feed, size_t position,
                         struct vram_problem *ret_problem)
{
    *ret_problem = ((struct copy *)feed)->view->problems[position];
}

struct snapshot_view snapshot_view(const struct vram_snapshot *snapshot)
{
    return (struct snapshot_view){
        .taken_at_ns = snapshot->taken_at_ns,
        .waiters = snapshot->waiters,
        .epoch = snapshot->epoch,
        .driver = snapshot->driver,
        .gpu_count = snapshot->gpu_count,
        .problem_count = snapshot->problem_count,
        .gpus = snapshot->gpus,
        .problems = snapshot->problems,
    };
}

int snapshot_copy(const struct snapshot_view *view, struct vram_snapshot **ret_snapshot)
{
    struct copy copy = {
        .feed = {.taken_at_ns = view->taken_at_ns,
                 .waiters = view->waiters,
                 .epoch = view->epoch,
                 .driver = view->driver,
                 .gpu_count = view->gpu_count,
                 .problem_count = view->problem_count,
                 .gpu = copy_gpu,
                 .process = copy_process,
                 .problem = copy_problem},
        .view = view,
    };
    return snapshot_lay(&copy.feed, ret_snapshot);
}

/* ---- What the header promises ---------------------------------------------------------------- */

struct vram_snapshot *vram_snapshot_ref(struct vram_snapshot *snapshot)
{
    if (snapshot) {
        atomic_fetch_add(&snapshot->references, 1);
    }
    return snapshot;
}

struct vram_snapshot *vram_snapshot_unref(struct vram_snapshot *snapshot)
{
    if (snapshot && atomic_fetch_sub(&snapshot->references, 1) == 1) {
        free(snapshot);
    }
    return NULL;
}

uint64_t vram_snapshot_taken_at_ns(const struct vram_snapshot *snapshot)
{
    return snapshot->taken_at_ns;
}

uint64_t vram_snapshot_waiters(const struct vram_snapshot *snapshot)
{
    return snapshot->waiters;
}

uint64_t vram_snapshot_epoch(const struct vram_snapshot *snapshot)
{
    return snapshot->epoch;
}

const struct vram_driver *vram_snapshot_driver(const struct vram_snapshot *snapshot)
{
    return &snapshot->driver;
}

size_t vram_snapshot_gpu_count(const struct vram_snapshot *snapshot)
{
    return snapshot->gpu_count;
}

const struct vram_gpu *vram_snapshot_gpu(const struct vram_snapshot *snapshot, size_t position)
{
    return position < snapshot->gpu_count ? &snapshot->gpus[position] : NULL;
}

size_t vram_snapshot_problem_count(const struct vram_snapshot *snapshot)
{
    return snapshot->problem_count;
}

const struct vram_problem *vram_snapshot_problem(const struct vram_snapshot *snapshot,
                                                 size_t position)
{
    return position < snapshot->problem_count ? &snapshot->problems[position] : NULL;
}
