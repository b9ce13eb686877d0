/* SPDX-License-Identifier: MIT */
/* What a board becomes in a snapshot: figures as they are, processes with their identity, hangs as problems. */
#include "lib/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The devices' pools one after the other. A device that has never answered stands as one of which
 * nothing is known but its index. */
struct walk {
    size_t device, pool;
    struct source_gpu nobody;
};

struct board_feed {
    struct snapshot_feed feed; /* first, so that its functions find the rest */
    const struct board *board;
    struct identities *identities;
    uint32_t take;
    uint64_t now_ns;
    struct walk gpus;
    const struct source_gpu *gpu; /* the last that was handed out */
    struct walk problems;
    const struct board_entry *problem_entry;
    const struct source_gpu *problem_gpu;
    const struct source_problem *next_problem;
    char number[24];   /* a GPU's name where it has no UUID */
    char message[192]; /* of a hang */
};

static const struct source_gpu *next(const struct board *board, struct walk *walk,
                                     const struct board_entry **ret_entry)
{
    while (walk->device < board->count) {
        const struct board_entry *entry = &board->entries[walk->device];
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

/* ---- Processes ------------------------------------------------------------------------------- */

static int feed_process(struct snapshot_feed *base, size_t position, struct vram_process *ret)
{
    struct board_feed *feed = (struct board_feed *)base;
    const struct source_process *from = &feed->gpu->processes[position];
    const struct identity *who = NULL;
    if (!feed->gpu->pids_are_foreign) {
        int r = identities_find(feed->identities, from->pid, feed->take & VRAM_TAKE_COMMANDS, &who);
        if (r < 0) {
            return r;
        }
    }
    bool visible = who && who->visible;
    *ret = (struct vram_process){
        .pid = from->pid,
        .kind = from->kind,
        .start_time = visible ? who->start_time : VRAM_UNKNOWN,
        .name = visible && who->name[0] ? who->name : from->name,
        .command = visible ? who->command : NULL,
        .user = visible ? who->user : NULL,
        .container = visible ? who->container : NULL,
        .unit = visible ? who->unit : NULL,
        .used_bytes = from->used_bytes,
        .visible = visible,
    };
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

/* The position of the first that has the same memory: MIG devices of one GPU instance share it. */
static uint32_t pool_of(const struct board *board, const struct source_gpu *gpu, size_t position)
{
    struct walk walk = {0};
    const struct board_entry *entry;
    bool shares = gpu->memory_kind == VRAM_MEMORY_MIG && gpu->gpu_instance_id != VRAM_UNKNOWN;
    for (size_t i = 0; shares && i < position; i++) {
        const struct source_gpu *other = next(board, &walk, &entry);
        if (other && other->memory_kind == VRAM_MEMORY_MIG && other->parent_uuid[0] &&
            other->gpu_instance_id == gpu->gpu_instance_id &&
            strcmp(other->parent_uuid, gpu->parent_uuid) == 0) {
            return (uint32_t)i;
        }
    }
    return (uint32_t)position;
}

static int feed_gpu(struct snapshot_feed *base, size_t position, struct vram_gpu *ret)
{
    struct board_feed *feed = (struct board_feed *)base;
    const struct board_entry *entry = NULL;
    if (position == 0) {
        feed->gpus = (struct walk){0};
    }
    const struct source_gpu *from = next(feed->board, &feed->gpus, &entry);
    bool listed = from->processes_known && feed->take & VRAM_TAKE_PROCESSES;
    bool has_figures = from->total_bytes != VRAM_UNKNOWN || from->used_bytes != VRAM_UNKNOWN;
    feed->gpu = from;
    *ret = (struct vram_gpu){
        .index = from->index,
        .state = entry->hung ? VRAM_GPU_HUNG : from->state,
        .memory_kind = from->memory_kind,
        .pool = pool_of(feed->board, from, position),
        .uuid = from->uuid,
        .name = from->name,
        .pci = from->pci,
        .parent_uuid = from->parent_uuid,
        .mig_index = from->mig_index,
        .gpu_instance_id = from->gpu_instance_id,
        .compute_instance_id = from->compute_instance_id,
        .total_bytes = from->total_bytes,
        .used_bytes = from->used_bytes,
        .free_bytes = from->free_bytes,
        .driver_reserved_bytes = from->driver_reserved_bytes,
        .unattributed_bytes = feed->take & VRAM_TAKE_PROCESSES ? unattributed(from) : VRAM_UNKNOWN,
        .outstanding_bytes = VRAM_UNKNOWN, /* only a daemon knows promises */
        .temperature_c = from->temperature_c,
        .utilization_percent = from->utilization_percent,
        .age_ms = has_figures ? (feed->now_ns - entry->report->taken_ns) / 1000000 : VRAM_UNKNOWN,
        .used_includes_reserved = from->used_includes_reserved,
        .processes_known = listed,
        .process_count = listed ? from->process_count : 0,
        .own_outstanding_bytes = VRAM_UNKNOWN,
        .ceiling_bytes = VRAM_UNKNOWN,
    };
    return 0;
}

/* ---- Problems -------------------------------------------------------------------------------- */

static void describe_hang(struct board_feed *feed, const struct board_entry *entry,
                          struct vram_problem *problem)
{
    uint64_t tenths = (feed->now_ns - entry->hung_since_ns) / 100000000u;
    (void)snprintf(feed->message, sizeof(feed->message), "%s has not returned for %" PRIu64 ".%u s",
                   entry->hung_call ? entry->hung_call : "a driver call", tenths / 10,
                   (unsigned)(tenths % 10));
    problem->what = "device";
    problem->code = "driver_hung";
    problem->message = feed->message;
}

/* A GPU's hang, then what it would not tell, then the next GPU's. */
static void feed_problem(struct snapshot_feed *base, size_t position, struct vram_problem *ret)
{
    struct board_feed *feed = (struct board_feed *)base;
    struct vram_problem problem = {0};
    if (position == 0) {
        feed->problems = (struct walk){0};
        feed->next_problem = NULL;
    }
    while (!feed->next_problem && !problem.what) {
        feed->problem_gpu = next(feed->board, &feed->problems, &feed->problem_entry);
        feed->next_problem = feed->problem_gpu->problems;
        if (feed->problem_entry->hung) {
            describe_hang(feed, feed->problem_entry, &problem);
        }
    }
    if (!problem.what) {
        problem.what = feed->next_problem->what;
        problem.code = feed->next_problem->code;
        problem.message = feed->next_problem->message;
        feed->next_problem = feed->next_problem->next;
    }
    (void)snprintf(feed->number, sizeof(feed->number), "%" PRIu32, feed->problem_gpu->index);
    problem.gpu = feed->problem_gpu->uuid[0] ? feed->problem_gpu->uuid : feed->number;
    *ret = problem;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void count_all(const struct board *board, size_t *ret_gpus, size_t *ret_problems)
{
    struct walk walk = {0};
    const struct board_entry *entry;
    const struct source_gpu *gpu;
    *ret_gpus = *ret_problems = 0;
    while ((gpu = next(board, &walk, &entry))) {
        (*ret_gpus)++;
        *ret_problems += entry->hung;
        for (const struct source_problem *p = gpu->problems; p; p = p->next) {
            (*ret_problems)++;
        }
    }
}

int snapshot_build(const struct board *board, struct identities *identities, uint32_t take,
                   uint64_t taken_at_ns, uint64_t now_ns, struct vram_snapshot **ret_snapshot)
{
    struct board_feed feed = {
        .feed = {.taken_at_ns = taken_at_ns,
                 .waiters = VRAM_UNKNOWN,
                 .driver = {.kind = board->identity.kind,
                            .version = board->identity.version,
                            .cuda = board->identity.cuda,
                            .library = board->identity.library},
                 .gpu = feed_gpu,
                 .process = feed_process,
                 .problem = feed_problem},
        .board = board,
        .identities = identities,
        .take = take,
        .now_ns = now_ns,
    };
    count_all(board, &feed.feed.gpu_count, &feed.feed.problem_count);
    identities_begin(identities);
    int r = snapshot_lay(&feed.feed, ret_snapshot); /* the same identities twice: one round */
    if (r == 0) {
        identities_sweep(identities);
    }
    return r;
}
