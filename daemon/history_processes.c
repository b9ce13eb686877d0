/* SPDX-License-Identifier: MIT */
/* The processes of the core: intervals with their peaks, the steps between, and whose end is suspicious. */
#include "daemon/history_core_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct core_process *find(struct core_gpu *gpu, uint32_t pid, uint64_t start_time)
{
    for (size_t i = 0; i < gpu->process_count; i++) {
        struct core_process *process = &gpu->processes[i];
        if (process->row.pid == pid && process->row.start_time == start_time) {
            return process;
        }
    }
    return NULL;
}

static struct core_process *add(struct core_gpu *gpu)
{
    if (gpu->process_count == gpu->process_capacity) {
        size_t capacity = gpu->process_capacity ? gpu->process_capacity * 2 : 16;
        struct core_process *grown = reallocarray(gpu->processes, capacity, sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        gpu->processes = grown;
        gpu->process_capacity = capacity;
    }
    struct core_process *process = &gpu->processes[gpu->process_count++];
    memset(process, 0, sizeof(*process));
    return process;
}

static uint64_t known_or_0(uint64_t bytes)
{
    return bytes == VRAM_UNKNOWN ? 0 : bytes;
}

/* ---- Seen ------------------------------------------------------------------------------------ */

static void put_step(struct history_core *core, struct core_process *process)
{
    struct history_step step = {
        .process = process->row.id, .at_ms = core->wall_ms, .used_bytes = process->row.last_bytes};
    HISTORY_ADD(&core->batch, steps, step);
    process->stepped_bytes = process->row.last_bytes;
}

/* Which lease it counts for may change, and is a row each time; it is called by the first one. */
static void take_lease(struct history_core *core, struct core_process *process,
                       const struct vram_process *from, bool is_new)
{
    struct history_process *row = &process->row;
    struct history_member member = {.process = row->id, .at_ms = core->wall_ms};
    const char *name = NULL, *id = core->lease ? core->lease(core->data, from, &name) : NULL;
    history_text(member.lease, sizeof(member.lease), id);
    if (is_new ? member.lease[0] : strcmp(member.lease, process->lease) != 0) {
        memcpy(process->lease, member.lease, sizeof(process->lease));
        HISTORY_ADD(&core->batch, members, member);
    }
    if (id && name && !row->lease[0]) {
        history_text(row->lease, sizeof(row->lease), name);
        process->is_dirty = true;
    }
}

/* Its begin and its end are events that are told and not kept: the interval says both. */
static void tell(const struct history_core *core, const struct history_process *row, uint32_t kind,
                 int64_t at_ms, uint64_t bytes)
{
    struct history_event event = {
        .at_ms = at_ms, .kind = kind, .gpu = row->gpu, .pid = row->pid, .bytes = bytes};
    memcpy(event.name, row->name, sizeof(event.name));
    memcpy(event.user, row->user, sizeof(event.user));
    memcpy(event.text, row->lease, sizeof(event.text));
    history_core_tell(core, &event);
}

static void begin(struct history_core *core, struct core_gpu *gpu, const struct vram_process *from)
{
    struct core_process *process = add(gpu);
    if (!process) {
        core->batch.lost++;
        return;
    }
    struct history_process *row = &process->row;
    row->id = ++core->last_process;
    row->gpu = gpu->row.id;
    row->pid = from->pid;
    row->start_time = from->start_time;
    row->began_ms = core->wall_ms;
    row->ended_ms = HISTORY_RUNNING;
    row->was_running = !gpu->listed;
    row->first_bytes = row->last_bytes = row->peak_bytes = from->used_bytes;
    history_text(row->name, sizeof(row->name), from->name);
    history_text(row->user, sizeof(row->user), from->user);
    history_text(row->container, sizeof(row->container), from->container);
    history_text(row->unit, sizeof(row->unit), from->unit);
    process->pass = core->pass;
    process->is_dirty = true;
    take_lease(core, process, from, true);
    put_step(core, process);
    if (!row->was_running) {
        tell(core, row, HISTORY_PROCESS_STARTED, row->began_ms, row->first_bytes);
    }
}

static void go_on(struct history_core *core, const struct core_gpu *gpu,
                  struct core_process *process, const struct vram_process *from)
{
    struct history_process *row = &process->row;
    uint64_t step = history_step_bytes(gpu->row.total_bytes), used = from->used_bytes;
    if (process->is_from_before) { /* what it did meanwhile nobody saw, but it is the same */
        process->is_from_before = false;
        process->is_dirty = true;
    }
    process->pass = core->pass;
    if (!row->first_bytes || row->first_bytes == VRAM_UNKNOWN) {
        row->first_bytes = used; /* it came while it was looked at */
    }
    take_lease(core, process, from, false);
    row->last_bytes = used;
    if (used != VRAM_UNKNOWN && (row->peak_bytes == VRAM_UNKNOWN || used > row->peak_bytes)) {
        row->peak_bytes = used;
    }
    if (history_is_step(used, process->stepped_bytes, step)) {
        put_step(core, process);
    }
    process->is_dirty = process->is_dirty || history_is_step(used, process->written_bytes, step) ||
                        history_is_step(row->peak_bytes, process->written_peak_bytes, step);
}

/* ---- Gone ------------------------------------------------------------------------------------ */

static void suspect(struct history_core *core, const struct core_gpu *gpu,
                    const struct history_process *row)
{
    bool is_suspect = gpu->pressed_ns && core->now_ns - gpu->pressed_ns <= HISTORY_PRESSED_NS &&
                      known_or_0(row->peak_bytes) >= HISTORY_HOLDER_BYTES;
    if (is_suspect) {
        struct history_event event = {.at_ms = core->wall_ms,
                                      .kind = HISTORY_OOM_SUSPECTED,
                                      .gpu = gpu->row.id,
                                      .pid = row->pid,
                                      .bytes = row->last_bytes};
        memcpy(event.name, row->name, sizeof(event.name));
        memcpy(event.user, row->user, sizeof(event.user));
        memcpy(event.text, row->lease, sizeof(event.text));
        history_core_event(core, &event);
    }
}

/* The last one takes its place in the list. */
static void end(struct history_core *core, struct core_gpu *gpu, struct core_process *process)
{
    struct history_process *row = &process->row;
    row->ended_ms = process->is_from_before ? process->seen_ms : core->wall_ms;
    if (row->ended_ms < row->began_ms) {
        row->ended_ms = row->began_ms; /* the clock was put back meanwhile */
    }
    if (!process->is_from_before) {
        suspect(core, gpu, row);
    }
    tell(core, row, HISTORY_PROCESS_ENDED, row->ended_ms, row->peak_bytes);
    HISTORY_ADD(&core->batch, processes, *row);
    *process = gpu->processes[--gpu->process_count];
}

void history_processes_end_all(struct history_core *core, struct core_gpu *gpu)
{
    while (gpu->process_count > 0) {
        end(core, gpu, &gpu->processes[gpu->process_count - 1]);
    }
}

/* ---- Looks ----------------------------------------------------------------------------------- */

static void put_look(struct history_core *core, struct core_gpu *gpu, int64_t at_ms, bool seen)
{
    struct history_look look = {.gpu = gpu->row.id, .at_ms = at_ms, .seen = seen};
    if (gpu->seen != seen) {
        HISTORY_ADD(&core->batch, looks, look);
        gpu->seen = seen;
    }
}

void history_processes_seen(struct history_core *core, struct core_gpu *gpu)
{
    put_look(core, gpu, core->wall_ms, true);
    gpu->listed_ns = core->now_ns;
    gpu->listed_ms = core->wall_ms;
}

void history_processes_unseen(struct history_core *core, struct core_gpu *gpu, int64_t at_ms)
{
    put_look(core, gpu, at_ms, false);
}

/* ---- What the core calls --------------------------------------------------------------------- */

void history_processes_take(struct history_core *core, struct core_gpu *gpu,
                            const struct vram_gpu *from)
{
    for (size_t i = 0; i < from->process_count; i++) {
        const struct vram_process *process = &from->processes[i];
        struct core_process *known = find(gpu, process->pid, process->start_time);
        if (known) {
            go_on(core, gpu, known, process);
        } else {
            begin(core, gpu, process);
        }
    }
    gpu->listed = true;
    for (size_t i = gpu->process_count; i-- > 0;) {
        if (gpu->processes[i].pass != core->pass) {
            end(core, gpu, &gpu->processes[i]);
        }
    }
}

void history_processes_put(struct history_core *core, struct core_gpu *gpu)
{
    for (size_t i = 0; i < gpu->process_count; i++) {
        struct core_process *process = &gpu->processes[i];
        if (process->is_dirty) {
            HISTORY_ADD(&core->batch, processes, process->row);
            process->is_dirty = false;
            process->written_bytes = process->row.last_bytes;
            process->written_peak_bytes = process->row.peak_bytes;
        }
    }
}

int history_processes_know(struct history_core *core, struct core_gpu *gpu,
                           const struct history_process *row, int64_t seen_ms)
{
    if (find(gpu, row->pid, row->start_time)) {
        return -EINVAL;
    }
    struct core_process *process = add(gpu);
    if (!process) {
        return -ENOMEM;
    }
    process->row = *row;
    process->row.ended_ms = HISTORY_RUNNING;
    process->is_from_before = true;
    process->seen_ms = seen_ms;
    process->stepped_bytes = process->written_bytes = row->last_bytes;
    (void)snprintf(process->lease, sizeof(process->lease), "?"); /* no id: it is told anew */
    process->written_peak_bytes = row->peak_bytes;
    history_core_know_ids(core, row->id);
    return 0;
}
