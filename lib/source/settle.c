/* SPDX-License-Identifier: MIT */
/* Several readings of one pool made one on which a promise may rest: whatever moved between them counts as not
 * free, and as nobody's. */
#include "lib/source/source.h"

#include <errno.h>
#include <stdlib.h>

/* ---- Memory ---------------------------------------------------------------------------------- */

/* total = used + free + reserved holds again, with the smallest free. Figures that contradict each other give
 * nothing. */
static uint64_t used_of(const struct source_gpu *gpu)
{
    uint64_t reserved = gpu->used_includes_reserved ? 0 : gpu->driver_reserved_bytes;
    if (gpu->total_bytes == VRAM_UNKNOWN || gpu->free_bytes == VRAM_UNKNOWN ||
        reserved == VRAM_UNKNOWN || gpu->free_bytes > gpu->total_bytes ||
        reserved > gpu->total_bytes - gpu->free_bytes) {
        return VRAM_UNKNOWN;
    }
    return gpu->total_bytes - gpu->free_bytes - reserved;
}

static void forget_memory(struct source_gpu *gpu)
{
    gpu->total_bytes = gpu->used_bytes = gpu->free_bytes = VRAM_UNKNOWN;
    gpu->driver_reserved_bytes = VRAM_UNKNOWN;
}

bool source_memory_settle(struct source_gpu *into, const struct source_gpu *later)
{
    if (later->state != VRAM_GPU_OK) {
        into->state = later->state;
        forget_memory(into);
        return true;
    }
    if (into->free_bytes == VRAM_UNKNOWN || later->free_bytes == VRAM_UNKNOWN ||
        into->total_bytes != later->total_bytes || into->memory_kind != later->memory_kind) {
        bool differed = into->free_bytes != later->free_bytes ||
                        into->total_bytes != later->total_bytes ||
                        into->memory_kind != later->memory_kind;
        into->free_bytes = VRAM_UNKNOWN;
        into->used_bytes = VRAM_UNKNOWN;
        return differed;
    }
    /* The machine's own memory is never still: asking again would not settle it. */
    bool differed =
        into->free_bytes != later->free_bytes && into->memory_kind != VRAM_MEMORY_UNIFIED;
    if (later->free_bytes < into->free_bytes) {
        into->free_bytes = later->free_bytes;
    }
    into->driver_reserved_bytes = later->driver_reserved_bytes;
    into->used_includes_reserved = later->used_includes_reserved;
    if (into->memory_kind != VRAM_MEMORY_UNIFIED) {
        into->used_bytes = used_of(into);
    }
    return differed;
}

/* ---- Processes ------------------------------------------------------------------------------- */

static struct source_process *find(const struct source_gpu *gpu, uint32_t pid)
{
    for (size_t i = 0; i < gpu->process_count; i++) {
        if (gpu->processes[i].pid == pid) {
            return &gpu->processes[i];
        }
    }
    return NULL;
}

static void forget_processes(struct source_gpu *gpu)
{
    source_processes_done(gpu);
    gpu->processes_known = false;
}

/* Keeps those that are in both, each with the smaller figure. Returns whether anything differed. */
static bool intersect(struct source_gpu *into, const struct source_gpu *later)
{
    bool differed = false;
    size_t kept = 0;
    for (size_t i = 0; i < into->process_count; i++) {
        struct source_process process = into->processes[i];
        const struct source_process *again = find(later, process.pid);
        if (!again) {
            free(process.name);
            differed = true;
            continue;
        }
        differed |= again->used_bytes != process.used_bytes;
        process.kind |= again->kind;
        if (again->used_bytes == VRAM_UNKNOWN || process.used_bytes == VRAM_UNKNOWN) {
            process.used_bytes = VRAM_UNKNOWN;
        } else if (again->used_bytes < process.used_bytes) {
            process.used_bytes = again->used_bytes;
        }
        into->processes[kept++] = process;
    }
    into->process_count = kept;
    return differed;
}

/* Adds those that have come, who may have held nothing before. Returns how many, or -ENOMEM. */
static int add_new(struct source_gpu *into, const struct source_gpu *later)
{
    int added = 0;
    if (!later->process_count) {
        return 0;
    }
    struct source_process *processes =
        realloc(into->processes, (into->process_count + later->process_count) * sizeof(*processes));
    if (!processes) {
        return -ENOMEM;
    }
    into->processes = processes;
    for (size_t i = 0; i < later->process_count; i++) {
        const struct source_process *process = &later->processes[i];
        if (!find(into, process->pid)) {
            processes[into->process_count++] = (struct source_process){
                .pid = process->pid,
                .kind = process->kind,
                .used_bytes = process->used_bytes == VRAM_UNKNOWN ? VRAM_UNKNOWN : 0,
            };
            added = 1;
        }
    }
    return added;
}

static uint64_t listed(const struct source_gpu *gpu)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < gpu->process_count; i++) {
        uint64_t used = gpu->processes[i].used_bytes;
        sum += used == VRAM_UNKNOWN ? 0 : used < UINT64_MAX - sum ? used : UINT64_MAX - sum;
    }
    return sum;
}

static void note_listed(struct source_gpu *into, const struct source_gpu *list)
{
    uint64_t sum = listed(list);
    into->listed_bytes = sum > into->listed_bytes ? sum : into->listed_bytes;
}

int source_processes_settle(struct source_gpu *into, const struct source_gpu *later)
{
    note_listed(into, into);
    note_listed(into, later);
    if (!into->processes_known || !later->processes_known) {
        bool differed = into->processes_known != later->processes_known;
        forget_processes(into);
        return differed;
    }
    bool differed = intersect(into, later);
    int r = add_new(into, later);
    return r < 0 ? r : differed || r > 0;
}

void source_settle_free(struct source_gpu *gpu)
{
    uint64_t reserved = gpu->driver_reserved_bytes == VRAM_UNKNOWN ? 0 : gpu->driver_reserved_bytes;
    if (gpu->memory_kind == VRAM_MEMORY_UNIFIED || gpu->total_bytes == VRAM_UNKNOWN ||
        gpu->free_bytes == VRAM_UNKNOWN || reserved > gpu->total_bytes) {
        return;
    }
    uint64_t room = gpu->total_bytes - reserved;
    uint64_t left = gpu->listed_bytes < room ? room - gpu->listed_bytes : 0;
    if (left < gpu->free_bytes) {
        gpu->free_bytes = left;
        gpu->used_bytes = used_of(gpu);
    }
}
