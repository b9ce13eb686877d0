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
    uint64_t taken_at_ns;
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

static void fill_process(struct layout *layout, struct vram_process *to,
                         const struct source_process *from, const struct identity *who)
{
    char number[24];
    (void)snprintf(number, sizeof(number), "pid_%" PRIu32, from->pid);
    bool visible = who && who->visible;
    const char *name = visible && who->name[0]       ? who->name
                       : from->name && from->name[0] ? from->name
                                                     : number;
    struct vram_process process = {
        .pid = from->pid,
        .kind = from->kind,
        .start_time = visible ? who->start_time : VRAM_UNKNOWN,
        .name = place_text(layout, name),
        .command = place_text(layout, visible ? who->command : NULL),
        .user = place_text(layout, visible ? who->user : NULL),
        .container = place_text(layout, visible ? who->container : NULL),
        .unit = place_text(layout, visible ? who->unit : NULL),
        .used_bytes = from->used_bytes,
        .visible = visible,
    };
    if (to) {
        *to = process;
    }
}

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

static int lay_processes(struct layout *layout, const struct source_gpu *from,
                         struct identities *identities, uint32_t take, struct vram_process **ret)
{
    struct vram_process *processes = PLACE_ARRAY(layout, struct vram_process, from->process_count);
    for (size_t i = 0; i < from->process_count; i++) {
        const struct identity *who = NULL;
        if (!from->pids_are_foreign) {
            int r = identities_find(identities, from->processes[i].pid, take & VRAM_TAKE_COMMANDS,
                                    &who);
            if (r < 0) {
                return r;
            }
        }
        fill_process(layout, processes ? &processes[i] : NULL, &from->processes[i], who);
    }
    if (processes && from->process_count) {
        qsort(processes, from->process_count, sizeof(*processes), by_size);
    }
    *ret = processes;
    return 0;
}

/* What of `used` no listed process accounts for. Lists and memory are read one after the other, so that the
 * sum may be the larger: then nothing is unattributed. Of a list that is not shown nothing is subtracted. */
static uint64_t unattributed(const struct source_gpu *gpu)
{
    uint64_t rest = gpu->used_bytes;
    for (size_t i = 0; rest != VRAM_UNKNOWN && gpu->processes_known && i < gpu->process_count;
         i++) {
        uint64_t used = gpu->processes[i].used_bytes;
        if (used != VRAM_UNKNOWN) {
            rest -= used < rest ? used : rest;
        }
    }
    return rest;
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

/* MIG devices of one GPU instance share its memory. */
static uint32_t pool_of(const struct vram_gpu *gpus, size_t count, const struct source_gpu *gpu)
{
    for (size_t i = 0; gpus && i < count; i++) {
        const struct vram_gpu *other = &gpus[i];
        if (gpu->memory_kind == VRAM_MEMORY_MIG && other->memory_kind == VRAM_MEMORY_MIG &&
            gpu->gpu_instance_id != VRAM_UNKNOWN &&
            other->gpu_instance_id == gpu->gpu_instance_id && other->parent_uuid &&
            strcmp(other->parent_uuid, gpu->parent_uuid) == 0) {
            return other->pool;
        }
    }
    return (uint32_t)count;
}

static int lay_gpu(struct layout *layout, struct vram_gpu *gpus, size_t position,
                   const struct source_gpu *from, const struct board_entry *entry,
                   struct identities *identities, uint32_t take, uint64_t now_ns)
{
    struct vram_process *processes = NULL;
    bool listed = from->processes_known && take & VRAM_TAKE_PROCESSES;
    if (listed) {
        int r = lay_processes(layout, from, identities, take, &processes);
        if (r < 0) {
            return r;
        }
    }
    bool has_figures = from->total_bytes != VRAM_UNKNOWN || from->used_bytes != VRAM_UNKNOWN;
    struct vram_gpu gpu = {
        .index = from->index,
        .state = entry->hung ? VRAM_GPU_HUNG : from->state,
        .memory_kind = from->memory_kind,
        .pool = pool_of(gpus, position, from),
        .uuid = place_text(layout, from->uuid),
        .name = place_text(layout, from->name),
        .pci = place_text(layout, from->pci),
        .parent_uuid = place_text(layout, from->parent_uuid),
        .mig_index = from->mig_index,
        .gpu_instance_id = from->gpu_instance_id,
        .compute_instance_id = from->compute_instance_id,
        .total_bytes = from->total_bytes,
        .used_bytes = from->used_bytes,
        .free_bytes = from->free_bytes,
        .driver_reserved_bytes = from->driver_reserved_bytes,
        .unattributed_bytes = take & VRAM_TAKE_PROCESSES ? unattributed(from) : VRAM_UNKNOWN,
        .outstanding_bytes = VRAM_UNKNOWN, /* only a daemon knows promises */
        .temperature_c = from->temperature_c,
        .utilization_percent = from->utilization_percent,
        .age_ms = has_figures ? (now_ns - entry->report->taken_ns) / 1000000 : VRAM_UNKNOWN,
        .used_includes_reserved = from->used_includes_reserved,
        .processes_known = listed,
        .process_count = listed ? from->process_count : 0,
        .processes = processes,
    };
    if (gpus) {
        gpus[position] = gpu;
    }
    return 0;
}

/* ---- Problems -------------------------------------------------------------------------------- */

static void lay_problem(struct layout *layout, struct vram_problem *problems, size_t position,
                        const struct source_gpu *gpu, const char *what, const char *code,
                        const char *message)
{
    char index[24];
    (void)snprintf(index, sizeof(index), "%" PRIu32, gpu->index);
    struct vram_problem problem = {
        .gpu = place_text(layout, gpu->uuid[0] ? gpu->uuid : index),
        .what = place_text(layout, what),
        .code = place_text(layout, code),
        .message = place_text(layout, message),
    };
    if (problems) {
        problems[position] = problem;
    }
}

static void lay_hang(struct layout *layout, struct vram_problem *problems, size_t position,
                     const struct source_gpu *gpu, const struct board_entry *entry, uint64_t now_ns)
{
    char message[192];
    uint64_t tenths = (now_ns - entry->hung_since_ns) / 100000000u;
    (void)snprintf(message, sizeof(message), "%s has not returned for %" PRIu64 ".%u s",
                   entry->hung_call ? entry->hung_call : "a driver call", tenths / 10,
                   (unsigned)(tenths % 10));
    lay_problem(layout, problems, position, gpu, "device", "driver_hung", message);
}

/* ---- The whole ------------------------------------------------------------------------------- */

/* The devices' pools one after the other. A device that has never answered stands as one of which
 * nothing is known but its index. */
struct walk {
    const struct board *board;
    size_t device, pool;
    struct source_gpu nobody;
};

static const struct source_gpu *next(struct walk *walk, const struct board_entry **ret_entry)
{
    while (walk->device < walk->board->count) {
        const struct board_entry *entry = &walk->board->entries[walk->device];
        const struct source_gpu *gpu = NULL;
        if (entry->report && walk->pool < entry->report->count) {
            gpu = &entry->report->gpus[walk->pool];
        } else if (!entry->report && walk->pool == 0) {
            source_gpu_init(&walk->nobody);
            walk->nobody.index = (uint32_t)walk->device;
            gpu = &walk->nobody;
        }
        if (gpu) {
            walk->pool++;
            *ret_entry = entry;
            return gpu;
        }
        walk->device++;
        walk->pool = 0;
    }
    return NULL;
}

static void count_all(const struct board *board, size_t *ret_gpus, size_t *ret_problems)
{
    struct walk walk = {.board = board};
    const struct board_entry *entry;
    const struct source_gpu *gpu;
    *ret_gpus = *ret_problems = 0;
    while ((gpu = next(&walk, &entry))) {
        (*ret_gpus)++;
        *ret_problems += entry->hung;
        for (const struct source_problem *p = gpu->problems; p; p = p->next) {
            (*ret_problems)++;
        }
    }
}

static int lay_out(struct layout *layout, const struct board *board, struct identities *identities,
                   uint32_t take, uint64_t now_ns)
{
    size_t gpu_count, problem_count, gpu_position = 0, problem_position = 0;
    count_all(board, &gpu_count, &problem_count);
    struct vram_snapshot *snapshot = PLACE_ARRAY(layout, struct vram_snapshot, 1);
    struct vram_gpu *gpus = PLACE_ARRAY(layout, struct vram_gpu, gpu_count);
    struct vram_problem *problems = PLACE_ARRAY(layout, struct vram_problem, problem_count);
    struct vram_driver driver = {
        .kind = place_text(layout, board->identity.kind),
        .version = place_text(layout, board->identity.version),
        .cuda = place_text(layout, board->identity.cuda),
        .library = place_text(layout, board->identity.library),
    };
    struct walk walk = {.board = board};
    const struct board_entry *entry;
    const struct source_gpu *gpu;
    while ((gpu = next(&walk, &entry))) {
        int r = lay_gpu(layout, gpus, gpu_position++, gpu, entry, identities, take, now_ns);
        if (r < 0) {
            return r;
        }
        if (entry->hung) {
            lay_hang(layout, problems, problem_position++, gpu, entry, now_ns);
        }
        for (const struct source_problem *p = gpu->problems; p; p = p->next) {
            lay_problem(layout, problems, problem_position++, gpu, p->what, p->code, p->message);
        }
    }
    if (snapshot) {
        *snapshot = (struct vram_snapshot){
            .driver = driver,
            .gpu_count = gpu_count,
            .problem_count = problem_count,
            .gpus = gpus,
            .problems = problems,
        };
        atomic_init(&snapshot->references, 1);
    }
    return 0;
}

int snapshot_build(const struct board *board, struct identities *identities, uint32_t take,
                   uint64_t taken_at_ns, uint64_t now_ns, struct vram_snapshot **ret_snapshot)
{
    struct layout layout = {0};
    identities_begin(identities);
    int r = lay_out(&layout, board, identities, take, now_ns);
    if (r < 0) {
        return r;
    }
    layout.base = malloc(layout.used);
    if (!layout.base) {
        return -ENOMEM;
    }
    layout.used = 0;
    struct vram_snapshot *snapshot = (struct vram_snapshot *)(void *)layout.base;
    r = lay_out(&layout, board, identities, take, now_ns); /* the same identities: one round */
    if (r < 0) {
        free(snapshot);
        return r;
    }
    identities_sweep(identities);
    snapshot->taken_at_ns = taken_at_ns;
    *ret_snapshot = snapshot;
    return 0;
}

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
