/* SPDX-License-Identifier: MIT */
/* What the daemon does: samples, deaths that it hears of, its own end and return. */
#include "tests/simulation/play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void drop_sample(struct play *play)
{
    for (size_t gpu = 0; play->sampling && gpu < play->world.gpu_count; gpu++) {
        source_gpu_done(&play->rooms[gpu]);
    }
    play->sampling = false;
}

static void read_free(const struct play *play, size_t gpu, struct source_gpu *ret)
{
    source_gpu_init(ret);
    ret->state = VRAM_GPU_OK;
    ret->total_bytes = units(play, play->world.capacity[gpu]);
    ret->driver_reserved_bytes = 0;
    ret->free_bytes = units(play, play->world.shown_free[gpu]);
}

static void read_list(const struct play *play, size_t gpu, struct source_gpu *ret)
{
    ret->processes = calloc(WORLD_PROGRAMS, sizeof(*ret->processes));
    ret->processes_known = ret->processes != NULL;
    for (size_t i = 0; ret->processes && i < WORLD_PROGRAMS; i++) {
        const struct program *program = &play->world.programs[i];
        if (program->exists && program->listed[gpu]) {
            ret->processes[ret->process_count++] = (struct source_process){
                .pid = program->pid, .used_bytes = units(play, program->listed[gpu])};
        }
    }
}

void begin_sample(struct play *play)
{
    SAY(play, "sample begins");
    play->sampling = true;
    play->begun_ns = play->world.now_ns;
    play->stop = FREE_1;
    play->rounds = 0;
    play->moment_count = 0;
    for (size_t gpu = 0; gpu < play->world.gpu_count; gpu++) {
        source_gpu_init(&play->rooms[gpu]);
    }
    note_moment(play);
}

/* Goes one reading on: as the library reads a device for VRAM_TAKE_SETTLED. */
static void read_on(struct play *play)
{
    for (size_t gpu = 0; gpu < play->world.gpu_count; gpu++) {
        struct source_gpu *into = &play->rooms[gpu], later;
        switch (play->stop) {
        case FREE_1:
            source_gpu_done(into);
            read_free(play, gpu, into);
            break;
        case USED_1:
            read_list(play, gpu, into);
            break;
        case USED_2:
            source_gpu_init(&later);
            read_list(play, gpu, &later);
            play->differed |= source_processes_settle(into, &later) > 0;
            source_gpu_done(&later);
            break;
        default:
            read_free(play, gpu, &later);
            play->differed |= source_memory_settle(into, &later);
            source_gpu_done(&later);
        }
    }
    SAY(play, "reading %d", (int)play->stop);
    if (play->stop == FREE_1) {
        play->differed = false;
        memset(play->freed, 0, sizeof(play->freed));
    }
    if (++play->stop == DONE && play->differed && ++play->rounds < 4) {
        play->stop = FREE_1;
    }
}

static int program_of_pid(const struct play *play, uint32_t pid)
{
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        if (play->world.programs[i].exists && play->world.programs[i].pid == pid) {
            return i;
        }
    }
    return -1;
}

static void take_sample(struct play *play)
{
    struct world *world = &play->world;
    struct ledger_gpu gpus[WORLD_GPUS];
    static struct ledger_use uses[WORLD_GPUS * WORLD_PROGRAMS];
    struct ledger_ceiling ceilings[CEILINGS * WORLD_GPUS];
    struct ledger_sample sample = {.begun_ns = play->begun_ns,
                                   .ended_ns = world->now_ns,
                                   .gpus = gpus,
                                   .uses = uses,
                                   .ceilings = ceilings};
    for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
        struct source_gpu *room = &play->rooms[gpu];
        source_settle_free(room);
        gpus[sample.gpu_count++] = (struct ledger_gpu){
            .uuid = uuids[gpu],
            .pool = (uint32_t)gpu,
            .usable = true,
            .current = true,
            .uses_known = room->processes_known,
            .total_bytes = room->total_bytes,
            .reserved_bytes = 0,
            .free_bytes = room->free_bytes,
            .margin_bytes = 0,
            .drained = play->drained[gpu],
        };
        for (uint32_t unit = 1; unit <= CEILINGS; unit++) {
            if (play->ceilings[unit - 1][gpu]) {
                ceilings[sample.ceiling_count++] =
                    (struct ledger_ceiling){unit, gpu, units(play, play->ceilings[unit - 1][gpu])};
            }
        }
        for (size_t i = 0; i < room->process_count; i++) {
            int program = program_of_pid(play, room->processes[i].pid);
            struct ledger_use *use = &uses[sample.use_count++];
            *use = (struct ledger_use){
                .gpu = gpu,
                .pid = room->processes[i].pid,
                .age_ns = LEDGER_NEVER,
                .used_bytes = room->processes[i].used_bytes,
                .name = "program",
            };
            /* Of the dead the daemon may know no more. */
            if (program >= 0 && (world->programs[program].alive || world_chance(world, 50))) {
                attribute(play, program, use);
                use->ceiling = ceiling_of(play, program, gpu);
            }
        }
    }
    SAY(play, "sample taken");
    for (size_t gpu = 0; gpu < sample.gpu_count; gpu++) {
        SAY(play, "  GPU %zu: %" PRIu64 " free", gpu, gpus[gpu].free_bytes / world->unit_bytes);
    }
    for (size_t i = 0; i < sample.use_count; i++) {
        SAY(play, "  pid %u: %" PRIu64 " on GPU %zu for %" PRIu64 ", %" PRIu64, uses[i].pid,
            uses[i].used_bytes / world->unit_bytes, uses[i].gpu, uses[i].owner, uses[i].outer);
    }
    note_moment(play);
    play->tally->samples++;
    if (ledger_take(play->ledger, &sample, world->now_ns) < 0) {
        FAIL(play, "a sample was not taken");
    }
    drop_sample(play);
}

void go_on(struct play *play)
{
    if (play->stop == DONE) {
        take_sample(play);
    } else {
        read_on(play);
    }
}

static void restore(struct play *play, const struct deal *deal)
{
    struct ledger_share shares[WORLD_GPUS];
    struct ledger_lease lease = {
        .id = deal->request.id,
        .owner = deal->request.owner,
        .holder = deal->holder,
        .size_bytes = deal->size_bytes,
        .user = deal->request.user,
        .until_ns = deal->until_ns,
        .filled = deal->filled,
        .gpu_count = deal->gpu_count,
        .gpus = shares,
    };
    for (size_t j = 0; j < deal->gpu_count; j++) {
        shares[j] = (struct ledger_share){
            .uuid = uuids[deal->gpus[j]],
            .base_bytes = *base_of(play, deal->request.owner, deal->gpus[j]),
        };
    }
    if (ledger_restore_lease(play->ledger, &lease) < 0) {
        FAIL(play, "%s cannot be restored", deal->request.id);
    }
}

/* The daemon dies and comes back: what the journal has must be all that it needs. */
void restart(struct play *play)
{
    struct world *world = &play->world;
    SAY(play, "restart");
    play->tally->restarts++;
    drop_sample(play);
    ledger_free(play->ledger);
    play->ledger = ledger_new(&play_ops, play);
    ledger_end_idle(play->ledger, play->idle_after_ns, 1000000000);
    world->now_ns += world_below(world, 3) * 500000000;
    for (size_t i = 0; i < REQUESTS; i++) {
        struct deal *deal = &play->deals[i];
        if (deal->stage == HELD) {
            restore(play, deal);
        }
    }
    for (uint64_t seq = 0; seq < play->next_seq; seq++) {
        for (size_t i = 0; i < REQUESTS; i++) {
            struct deal *deal = &play->deals[i];
            const char *names[WORLD_GPUS];
            if (deal->stage != WAITING || deal->seq != seq) {
                continue;
            }
            if (!is_alive(play, deal->request.owner)) {
                deal->stage = FREE;
                continue;
            }
            deal->request.candidates = candidates_of(deal, names);
            if (ledger_restore_waiter(play->ledger, &deal->request, world->now_ns) < 0) {
                FAIL(play, "%s cannot be restored", deal->request.id);
            }
            deal->request.candidates = NULL;
            deal->absent = true;
            deal->passed = 0;
        }
    }
    for (size_t i = 0; i < REQUESTS; i++) { /* the dead are found dead when they are looked for */
        if (play->deals[i].stage == HELD && !is_alive(play, play->deals[i].request.owner)) {
            ledger_owner_ended(play->ledger, play->deals[i].request.owner, world->now_ns);
        }
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        world->programs[i].death_told |= !world->programs[i].alive;
    }
}

void come_back(struct play *play)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        struct deal *deal = &play->deals[i];
        const char *names[WORLD_GPUS];
        if (deal->stage == WAITING && deal->absent && world_chance(&play->world, 60)) {
            if (ledger_find_waiter(play->ledger, deal->request.id) < 0) {
                deal->stage = FREE; /* too late */
                continue;
            }
            deal->absent = false;
            deal->request.candidates = candidates_of(deal, names);
            if (ledger_ask(play->ledger, &deal->request, play->world.now_ns) < 0) {
                FAIL(play, "%s did not get its place back", deal->request.id);
            }
            deal->request.candidates = NULL;
        }
    }
}

void pass_time(struct play *play)
{
    static const uint64_t spans[] = {1, 20, 100, 700, 2500, 11000};
    play->world.now_ns += spans[world_below(&play->world, ARRAY_LENGTH(spans))] * 1000000;
    ledger_tick(play->ledger, play->world.now_ns);
    for (size_t i = 0; i < REQUESTS; i++) {
        struct deal *deal = &play->deals[i];
        if (deal->stage == WAITING && deal->absent &&
            ledger_find_waiter(play->ledger, deal->request.id) < 0) {
            deal->stage = FREE; /* it did not return in time */
        }
    }
}
