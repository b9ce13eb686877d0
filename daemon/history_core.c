/* SPDX-License-Identifier: MIT */
#include "daemon/history_core.h"

#include "daemon/history_core_inner.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGE_BYTES ((uint64_t)16 << 20)
#define FULL_LEAST_BYTES ((uint64_t)64 << 20)
#define FULL_MOST_BYTES ((uint64_t)1 << 30)
#define MS_NS 1000000
#define JUMP_MS                                                                                    \
    5000 /* of the wall clock against the other; less is a clock that is being corrected */
#define BUCKET_MS (HISTORY_BUCKET_S * 1000)

uint64_t history_step_bytes(uint64_t total_bytes)
{
    uint64_t part = total_bytes == VRAM_UNKNOWN ? CHANGE_BYTES : total_bytes / 100;
    return part < CHANGE_BYTES ? part + 1 : CHANGE_BYTES;
}

bool history_is_step(uint64_t a, uint64_t b, uint64_t step_bytes)
{
    if (a == VRAM_UNKNOWN || b == VRAM_UNKNOWN) {
        return a != b;
    }
    return (a > b ? a - b : b - a) >= step_bytes;
}

/* A fiftieth of a GPU: what a program that is about to fail leaves. */
static uint64_t full_bytes(uint64_t total_bytes)
{
    uint64_t part = total_bytes == VRAM_UNKNOWN ? FULL_LEAST_BYTES : total_bytes / 50;
    return part < FULL_LEAST_BYTES  ? FULL_LEAST_BYTES
           : part > FULL_MOST_BYTES ? FULL_MOST_BYTES
                                    : part;
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

static struct core_gpu *find_gpu(const struct history_core *core, const char *uuid)
{
    for (size_t i = 0; i < core->gpu_count; i++) {
        if (strcmp(core->gpus[i].row.uuid, uuid) == 0) {
            return &core->gpus[i];
        }
    }
    return NULL;
}

static struct core_gpu *add_gpu(struct history_core *core, const struct history_gpu *row)
{
    struct core_gpu *gpus = realloc(core->gpus, (core->gpu_count + 1) * sizeof(*gpus));
    if (!gpus) {
        return NULL;
    }
    core->gpus = gpus;
    struct core_gpu *gpu = &gpus[core->gpu_count++];
    *gpu = (struct core_gpu){.row = *row};
    core->last_gpu = row->id > core->last_gpu ? row->id : core->last_gpu;
    return gpu;
}

/* What a GPU is called may change with every boot; its UUID is what it is. */
static void describe(struct history_core *core, struct core_gpu *gpu, const struct vram_gpu *from)
{
    struct history_gpu row = gpu->row;
    row.index = from->index;
    row.mig_index = from->mig_index;
    row.total_bytes = from->total_bytes != VRAM_UNKNOWN ? from->total_bytes : row.total_bytes;
    if (from->name) {
        history_text(row.name, sizeof(row.name), from->name);
    }
    if (from->pci) {
        history_text(row.pci, sizeof(row.pci), from->pci);
    }
    if (!gpu->described || row.index != gpu->row.index || row.mig_index != gpu->row.mig_index ||
        row.total_bytes != gpu->row.total_bytes || strcmp(row.name, gpu->row.name) != 0 ||
        strcmp(row.pci, gpu->row.pci) != 0) {
        gpu->row = row;
        gpu->described = true;
        HISTORY_ADD(&core->batch, gpus, row);
    }
}

static struct core_gpu *meet_gpu(struct history_core *core, const struct vram_gpu *from)
{
    struct history_gpu row = {.id = core->last_gpu + 1, .total_bytes = VRAM_UNKNOWN};
    if (!from->uuid || !from->uuid[0]) {
        return NULL;
    }
    history_text(row.uuid, sizeof(row.uuid), from->uuid);
    struct core_gpu *gpu = find_gpu(core, row.uuid);
    gpu = gpu ? gpu : add_gpu(core, &row);
    if (gpu) {
        describe(core, gpu, from);
    }
    return gpu;
}

/* ---- Events ---------------------------------------------------------------------------------- */

void history_core_listen(struct history_core *core, history_told_function told)
{
    core->told = told;
}

void history_core_tell(const struct history_core *core, const struct history_event *event)
{
    const struct history_gpu *gpu = NULL;
    for (size_t i = 0; i < core->gpu_count; i++) {
        gpu = core->gpus[i].row.id == event->gpu ? &core->gpus[i].row : gpu;
    }
    if (core->told) {
        core->told(core->data, event, gpu);
    }
}

void history_core_event(struct history_core *core, const struct history_event *event)
{
    history_core_tell(core, event);
    HISTORY_ADD(&core->batch, events, *event);
}

static void gpu_event(struct history_core *core, const struct core_gpu *gpu, uint32_t kind,
                      uint64_t bytes, const char *text)
{
    struct history_event event = {
        .at_ms = core->wall_ms, .kind = kind, .gpu = gpu->row.id, .bytes = bytes};
    history_text(event.text, sizeof(event.text), text);
    history_core_event(core, &event);
}

static void watch_presence(struct history_core *core, struct core_gpu *gpu, bool present,
                           const char *how)
{
    if (gpu->present && !present) {
        gpu_event(core, gpu, HISTORY_GPU_LOST, VRAM_UNKNOWN, how);
    } else if (!gpu->present && present && gpu->was_lost) {
        gpu_event(core, gpu, HISTORY_GPU_BACK, VRAM_UNKNOWN, NULL);
    }
    gpu->was_lost = present ? false : gpu->was_lost || gpu->present;
    gpu->present = present;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void put_bucket(struct history_core *core, struct core_gpu *gpu)
{
    struct history_bucket *bucket = &gpu->bucket;
    if (bucket->weight_ms) {
        bucket->mean_bytes = (uint64_t)(gpu->sum / (double)bucket->weight_ms + 0.5);
        HISTORY_ADD(&core->batch, buckets, *bucket);
    }
    *bucket = (struct history_bucket){.weight_ms = 0};
    gpu->sum = 0;
}

static int64_t bucket_of(int64_t wall_ms)
{
    int64_t rest = wall_ms % BUCKET_MS;
    return (wall_ms - (rest < 0 ? rest + BUCKET_MS : rest)) / 1000;
}

static void fill_bucket(struct history_core *core, struct core_gpu *gpu, uint64_t used_bytes,
                        uint64_t free_bytes, uint64_t passed_ns)
{
    struct history_bucket *bucket = &gpu->bucket;
    int64_t at_s = bucket_of(core->wall_ms);
    uint64_t weight_ms = passed_ns / MS_NS ? passed_ns / MS_NS : 1;
    if (bucket->weight_ms && bucket->at_s != at_s) {
        put_bucket(core, gpu);
    }
    if (!bucket->weight_ms) {
        *bucket = (struct history_bucket){.gpu = gpu->row.id,
                                          .at_s = at_s,
                                          .low_bytes = used_bytes,
                                          .high_bytes = used_bytes,
                                          .free_bytes = free_bytes};
    }
    bucket->low_bytes = used_bytes < bucket->low_bytes ? used_bytes : bucket->low_bytes;
    bucket->high_bytes = used_bytes > bucket->high_bytes ? used_bytes : bucket->high_bytes;
    bucket->free_bytes = free_bytes < bucket->free_bytes ? free_bytes : bucket->free_bytes;
    bucket->weight_ms += weight_ms;
    gpu->sum += (double)used_bytes * (double)weight_ms;
}

static void put_change(struct history_core *core, struct core_gpu *gpu, int64_t at_ms,
                       uint64_t used_bytes, uint64_t free_bytes)
{
    struct history_change change = {
        .gpu = gpu->row.id, .at_ms = at_ms, .used_bytes = used_bytes, .free_bytes = free_bytes};
    HISTORY_ADD(&core->batch, changes, change);
    gpu->written_bytes = used_bytes;
    gpu->written_ns = core->now_ns;
}

/* From here on nothing is known of it. */
static void begin_gap(struct history_core *core, struct core_gpu *gpu, int64_t at_ms)
{
    if (gpu->known) {
        put_bucket(core, gpu);
        put_change(core, gpu, at_ms, VRAM_UNKNOWN, VRAM_UNKNOWN);
        gpu->known = false;
        gpu->full = false;
        gpu->pressed_ns = 0;
    }
}

static void watch_fullness(struct history_core *core, struct core_gpu *gpu, uint64_t free_bytes)
{
    uint64_t limit = full_bytes(gpu->row.total_bytes);
    if (free_bytes == VRAM_UNKNOWN) {
        return;
    }
    if (!gpu->full && free_bytes <= limit) {
        gpu_event(core, gpu, HISTORY_NEARLY_FULL, free_bytes, NULL);
        gpu->full = true;
        gpu->pressed_ns = core->now_ns;
        gpu->least_bytes = free_bytes;
    } else if (gpu->full && free_bytes < gpu->least_bytes) {
        if (gpu->least_bytes - free_bytes >= history_step_bytes(gpu->row.total_bytes)) {
            gpu->pressed_ns = core->now_ns;
        }
        gpu->least_bytes = free_bytes;
    } else if (free_bytes > 2 * limit) {
        gpu->full = false; /* not at once: what hovers there would be told each second */
    }
}

static uint64_t free_of(const struct vram_gpu *gpu)
{
    uint64_t reserved = gpu->driver_reserved_bytes == VRAM_UNKNOWN ? 0 : gpu->driver_reserved_bytes;
    if (gpu->free_bytes != VRAM_UNKNOWN || gpu->total_bytes == VRAM_UNKNOWN ||
        gpu->used_bytes > gpu->total_bytes || reserved > gpu->total_bytes - gpu->used_bytes) {
        return gpu->free_bytes;
    }
    return gpu->total_bytes - gpu->used_bytes - reserved;
}

static void take_memory(struct history_core *core, struct core_gpu *gpu,
                        const struct vram_gpu *from)
{
    uint64_t passed_ns = gpu->known ? core->now_ns - gpu->looked_ns : 0;
    uint64_t used_bytes = from->used_bytes, free_bytes = free_of(from);
    /* A device that hangs has its last figures, which are not of now. */
    if (from->state != VRAM_GPU_OK || used_bytes == VRAM_UNKNOWN) {
        begin_gap(core, gpu, core->wall_ms);
        return;
    }
    fill_bucket(core, gpu, used_bytes, free_bytes, passed_ns);
    if (!gpu->known ||
        history_is_step(used_bytes, gpu->written_bytes, history_step_bytes(gpu->row.total_bytes)) ||
        core->now_ns - gpu->written_ns >= HISTORY_KEEP_ALIVE_NS) {
        put_change(core, gpu, core->wall_ms, used_bytes, free_bytes);
    }
    gpu->known = true;
    gpu->looked_ns = core->now_ns;
    watch_fullness(core, gpu, free_bytes);
}

/* ---- Samples --------------------------------------------------------------------------------- */

static void begin_gaps(struct history_core *core, int64_t at_ms)
{
    for (size_t i = 0; i < core->gpu_count; i++) {
        begin_gap(core, &core->gpus[i], at_ms);
        history_processes_unseen(core, &core->gpus[i], at_ms);
    }
}

/* The wall clock against the other: set by somebody, or the machine has slept. */
static void watch_clock(struct history_core *core, int64_t passed_ms, int64_t wall_passed_ms)
{
    int64_t jump_ms = wall_passed_ms - passed_ms;
    if (jump_ms > -JUMP_MS && jump_ms < JUMP_MS) {
        return;
    }
    struct history_event event = {
        .at_ms = core->wall_ms, .kind = HISTORY_CLOCK_CHANGED, .bytes = VRAM_UNKNOWN};
    (void)snprintf(event.text, sizeof(event.text), "by %+" PRId64 " s", jump_ms / 1000);
    begin_gaps(core, core->seen_wall_ms + 1);
    history_core_event(core, &event);
}

void history_core_begin(struct history_core *core, uint64_t now_ns, int64_t wall_ms)
{
    uint64_t passed_ns = now_ns > core->now_ns ? now_ns - core->now_ns : 0;
    int64_t wall_passed_ms = wall_ms - core->wall_ms;
    bool first = !core->has_begun;
    core->seen_wall_ms = first ? wall_ms : core->wall_ms;
    core->now_ns = now_ns > core->now_ns ? now_ns : core->now_ns;
    core->wall_ms = wall_ms;
    core->has_begun = true;
    core->pass++;
    if (first) {
        return;
    }
    watch_clock(core, (int64_t)(passed_ns / MS_NS), wall_passed_ms);
    if (passed_ns >= HISTORY_GAP_NS) {
        begin_gaps(core, core->seen_wall_ms + 1);
    }
}

/* Whether it is known who holds its memory: of one that sleeps it is. */
static void watch_lists(struct history_core *core, struct core_gpu *gpu,
                        const struct vram_gpu *from)
{
    if ((from->processes_known && from->state == VRAM_GPU_OK) || from->state == VRAM_GPU_ASLEEP) {
        history_processes_seen(core, gpu);
    } else if (from->state == VRAM_GPU_LOST) {
        history_processes_unseen(core, gpu, core->wall_ms);
    } else if (core->now_ns - gpu->listed_ns >= HISTORY_UNSEEN_NS) {
        history_processes_unseen(core, gpu, gpu->listed_ms + 1);
    }
}

void history_core_gpu(struct history_core *core, const struct vram_gpu *from)
{
    struct core_gpu *gpu = meet_gpu(core, from);
    if (!gpu) {
        return;
    }
    gpu->pass = core->pass;
    watch_presence(core, gpu, from->state != VRAM_GPU_LOST, "it has fallen off the bus");
    take_memory(core, gpu, from);
    if (from->processes_known && from->state == VRAM_GPU_OK) {
        history_processes_take(core, gpu, from);
    } else if (from->state == VRAM_GPU_ASLEEP || from->state == VRAM_GPU_LOST) {
        history_processes_end_all(core, gpu); /* nobody holds what is not there */
    }
    watch_lists(core, gpu, from);
}

void history_core_end(struct history_core *core)
{
    for (size_t i = 0; i < core->gpu_count; i++) {
        struct core_gpu *gpu = &core->gpus[i];
        if (gpu->pass != core->pass) {
            watch_presence(core, gpu, false, "the driver does not list it any more");
            begin_gap(core, gpu, core->wall_ms);
            history_processes_end_all(core, gpu);
            history_processes_unseen(core, gpu, core->wall_ms);
        }
    }
}

void history_core_rest(struct history_core *core, int64_t wall_ms)
{
    begin_gaps(core, wall_ms > core->wall_ms ? wall_ms : core->wall_ms + 1);
}

bool history_core_is_pressed(const struct history_core *core)
{
    for (size_t i = 0; i < core->gpu_count; i++) {
        uint64_t pressed_ns = core->gpus[i].pressed_ns;
        if (pressed_ns && core->now_ns - pressed_ns <= HISTORY_PRESSED_NS) {
            return true;
        }
    }
    return false;
}

/* ---- What comes out -------------------------------------------------------------------------- */

struct history_batch *history_core_batch(struct history_core *core)
{
    return &core->batch;
}

void history_core_complete(struct history_core *core)
{
    for (size_t i = 0; i < core->gpu_count; i++) {
        put_bucket(core, &core->gpus[i]);
        history_processes_put(core, &core->gpus[i]);
    }
}

uint32_t history_core_find_gpu(const struct history_core *core, const char *uuid)
{
    const struct core_gpu *gpu = find_gpu(core, uuid);
    return gpu ? gpu->row.id : 0;
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct history_core *history_core_new(history_lease_function lease, void *data)
{
    struct history_core *core = calloc(1, sizeof(*core));
    if (core) {
        core->lease = lease;
        core->data = data;
    }
    return core;
}

struct history_core *history_core_free(struct history_core *core)
{
    if (core) {
        for (size_t i = 0; i < core->gpu_count; i++) {
            free(core->gpus[i].processes);
        }
        free(core->gpus);
        history_batch_done(&core->batch);
        free(core);
    }
    return NULL;
}

int history_core_know_gpu(struct history_core *core, const struct history_gpu *gpu)
{
    if (!gpu->id || !gpu->uuid[0] || find_gpu(core, gpu->uuid)) {
        return -EINVAL;
    }
    struct core_gpu *added = add_gpu(core, gpu);
    if (!added) {
        return -ENOMEM;
    }
    added->described = true;
    return 0;
}

int history_core_know_process(struct history_core *core, const struct history_process *process,
                              int64_t seen_ms)
{
    for (size_t i = 0; i < core->gpu_count; i++) {
        if (core->gpus[i].row.id == process->gpu && process->id) {
            return history_processes_know(core, &core->gpus[i], process, seen_ms);
        }
    }
    return -EINVAL;
}

void history_core_know_ids(struct history_core *core, uint64_t process)
{
    core->last_process = process > core->last_process ? process : core->last_process;
}
