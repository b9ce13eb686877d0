/* SPDX-License-Identifier: MIT */
/* What programs do. */
#include "tests/simulation/play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct deal *some_deal(struct play *play, enum stage stage)
{
    size_t start = world_below(&play->world, REQUESTS);
    for (size_t n = 0; n < REQUESTS; n++) {
        struct deal *deal = &play->deals[(start + n) % REQUESTS];
        if (deal->stage == stage) {
            return deal;
        }
    }
    return NULL;
}

bool is_alive(const struct play *play, uint64_t key)
{
    int program = program_of_key(play, key);
    return program >= 0 && play->world.programs[program].alive;
}

/* All candidates, as the ledger wants them. */
const char *const *candidates_of(struct deal *deal, const char *names[WORLD_GPUS])
{
    for (size_t i = 0; i < deal->candidate_count; i++) {
        names[i] = uuids[deal->candidates[i]];
    }
    return deal->candidate_count ? names : NULL;
}

void ask(struct play *play, int program)
{
    struct world *world = &play->world;
    struct program *asker = &world->programs[program];
    struct deal *deal = some_deal(play, FREE);
    const char *names[WORLD_GPUS];
    if (!deal || !asker->alive) {
        return;
    }
    asker->key = asker->key ? asker->key : play->next_key++;
    memset(deal, 0, sizeof(*deal));
    struct ledger_request *request = &deal->request;
    for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
        if (world_chance(world, 70)) {
            deal->candidates[deal->candidate_count++] = gpu;
        }
    }
    (void)snprintf(request->id, sizeof(request->id), "%016" PRIx64, play->next_id++);
    request->owner = asker->key;
    request->user = (uint32_t)(asker->key % USERS);
    request->size_bytes = units(play, 1 + world_below(world, world->capacity[0] + 2));
    request->gpu_count = world_chance(world, 20) ? 2 : 1;
    request->margin_bytes = world_chance(world, 20) ? units(play, 1) : 0;
    request->waits = world_chance(world, 75);
    request->deadline_ns = world_chance(world, 20)
                               ? world->now_ns + world_below(world, 20) * 1000000000
                               : LEDGER_NEVER;
    bool lasts = world_chance(world, 5) && !world->lags; /* see lists_are_behind() */
    request->lasts_ns = lasts ? world_below(world, 9) * 1000000000 : LEDGER_NEVER;
    request->candidates = candidates_of(deal, names);
    request->candidate_count = deal->candidate_count;
    deal->seq = play->next_seq++;
    deal->arrived_ns = world->now_ns;
    int r = ledger_ask(play->ledger, request, world->now_ns);
    request->candidates = NULL;
    if (r == 0 && asker->unit && world_chance(world, 50)) {
        ledger_put_under(play->ledger, asker->key, (uint64_t)1 << (asker->unit - 1));
    }
    SAY(play, "program %d asks %" PRIu64 " x %u: %s", program,
        request->size_bytes / world->unit_bytes, request->gpu_count, request->id);
    if (r < 0) {
        FAIL(play, "a request was refused: %d", r);
    }
    deal->stage = WAITING;
}

/* Whether a program or those below it hold memory, but for what counts for another owner, and a list shows it: of
 * heirs that no list shows nobody can know. */
static bool is_seen_to_hold(const struct play *play, int top, size_t gpu)
{
    bool seen = false;
    int at;
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        const struct program *program = &play->world.programs[i];
        seen |= program->used[gpu] && program->listed[gpu] &&
                nearest(play, i, true, &at) == play->world.programs[top].key;
    }
    return seen;
}

/* Whether a program of this ceiling waits for a lease, which comes out of the ceiling. What the others allocate meanwhile
 * is between them. */
static bool is_wanted(const struct play *play, uint32_t unit)
{
    bool wanted = false;
    for (size_t i = 0; i < ledger_waiter_count(play->ledger); i++) {
        int owner = program_of_key(play, ledger_waiter_at(play->ledger, i).owner);
        wanted |= owner >= 0 && play->world.programs[owner].unit == unit;
    }
    return wanted;
}

/* How much a program may allocate without breaking its word. */
static uint64_t allowance(struct play *play, int program, size_t gpu)
{
    uint64_t of[WORLD_PROGRAMS][WORLD_GPUS];
    if (!play->leased_only) {
        return world_below(&play->world, play->world.capacity[gpu] / 2 + 1);
    }
    for (int i = program; i >= 0; i = play->world.programs[i].parent) {
        uint64_t key = play->world.programs[i].key;
        copy_uses(play, of);
        for (size_t j = 0; key && j < ledger_lease_count(play->ledger); j++) {
            struct ledger_lease lease = ledger_lease_at(play->ledger, j);
            for (size_t k = 0; lease.owner == key && k < lease.gpu_count; k++) {
                if (strcmp(lease.gpus[k].uuid, uuids[gpu]) == 0) {
                    /* Of the dead only those inherit who hold something. */
                    bool inherits = play->world.programs[i].alive || is_seen_to_hold(play, i, gpu);
                    return inherits ? (uint64_t)owed(play, of, gpu, key) / play->world.unit_bytes
                                    : 0;
                }
            }
        }
    }
    uint32_t unit = ceiling_of(play, program, gpu);
    copy_uses(play, of);
    bool may = unit && !is_wanted(play, unit);
    return may ? (uint64_t)kept(play, of, gpu, unit) / play->world.unit_bytes : 0;
}

void allocate(struct play *play, int program)
{
    struct world *world = &play->world;
    size_t gpu = world_below(world, world->gpu_count);
    uint64_t most = allowance(play, program, gpu);
    uint64_t amount = world_chance(world, 40) ? most : world_below(world, most + 1);
    if (amount && !world_allocate(world, program, gpu, amount) && play->leased_only &&
        amount > world_free(world, gpu) + world->draining[gpu]) {
        FAIL(play, "program %d: out of memory within its lease", program);
    }
    SAY(play, "program %d allocates %" PRIu64 " on GPU %zu", program, amount, gpu);
}

/* Who takes and frees twice between five readings, in step with them, has it in both lists and in none of the free
 * figures, and nothing tells: once is what readings are proof against. */
static uint64_t may_free(struct play *play, int program, size_t gpu)
{
    bool *freed = &play->freed[program][gpu];
    if (play->sampling && *freed) {
        return 0;
    }
    *freed = true;
    return play->world.programs[program].used[gpu];
}

void give_back(struct play *play, int program)
{
    struct world *world = &play->world;
    size_t gpu = world_below(world, world->gpu_count);
    uint64_t most = may_free(play, program, gpu);
    uint64_t amount = world_chance(world, 50) ? most : world_below(world, most + 1);
    world_release(world, program, gpu, amount);
    SAY(play, "program %d frees %" PRIu64 " on GPU %zu", program, amount, gpu);
}

/* One child frees what its sibling takes: a driver that is read in between shows both, or neither. */
void hand_over(struct play *play, int program)
{
    struct world *world = &play->world;
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        const struct program *other = &world->programs[i];
        size_t gpu = world_below(world, world->gpu_count);
        int owner, other_owner;
        if (!other->exists || !other->alive || i == program ||
            nearest(play, i, true, &other_owner) != nearest(play, program, true, &owner) ||
            owner < 0) {
            continue;
        }
        uint64_t used = may_free(play, program, gpu);
        if (used) {
            world_release(world, program, gpu, used);
            note_moment(play);
            (void)world_allocate(world, i, gpu, used);
            SAY(play, "program %d hands %" PRIu64 " to %d on GPU %zu", program, used, i, gpu);
            return;
        }
    }
}

/* Whether some list does not show yet what was allocated. Were a lease given back now, that memory would be neither
 * promised nor listed, and where another list still shows what its process has freed, nothing tells: no reckoning can
 * be right then. */
static bool lists_are_behind(const struct play *play)
{
    const struct world *world = &play->world;
    bool behind = false;
    for (size_t i = 0; i < WORLD_PROGRAMS; i++) {
        for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
            behind |= world->programs[i].used[gpu] > world->programs[i].listed[gpu];
        }
    }
    return behind;
}

void change_lease(struct play *play)
{
    struct deal *deal = some_deal(play, HELD);
    if (!deal || !is_alive(play, deal->request.owner) || lists_are_behind(play)) {
        return;
    }
    const char *id = deal->request.id;
    uint64_t unit = play->world.unit_bytes;
    char growth[LEDGER_ID_MAX];
    switch (world_below(&play->world, 4)) {
    case 0:
        SAY(play, "release %s", id);
        (void)ledger_end(play->ledger, id, play->world.now_ns);
        break;
    case 1:
        if (deal->size_bytes > unit &&
            ledger_shrink(play->ledger, id, deal->size_bytes - unit, play->world.now_ns) == 0) {
            deal->size_bytes -= unit;
        }
        SAY(play, "shrink %s", id);
        break;
    case 2:
        SAY(play, "grow %s", id);
        (void)snprintf(growth, sizeof(growth), "%016" PRIx64, play->next_id++);
        if (ledger_grow(play->ledger, id, growth, unit, play->world.now_ns) < 0) {
            FAIL(play, "%s cannot grow", id);
        }
        break;
    default:
        SAY(play, "fill %s", id);
        if (ledger_fill(play->ledger, id, play->world.now_ns) == 0) {
            deal->filled = true;
        }
    }
}

void hang_up(struct play *play)
{
    struct deal *deal = some_deal(play, WAITING);
    if (deal && !deal->absent) {
        SAY(play, "%s hangs up", deal->request.id);
        if (ledger_end(play->ledger, deal->request.id, play->world.now_ns) != 0) {
            FAIL(play, "%s was no request", deal->request.id);
        }
        deal->stage = FREE;
    }
}

/* The daemon hears of deaths when it hears of them. A death gives leases back, see lists_are_behind(). */
void tell_deaths(struct play *play)
{
    for (int i = 0; i < WORLD_PROGRAMS && !lists_are_behind(play); i++) {
        struct program *program = &play->world.programs[i];
        if (program->exists && !program->alive && !program->death_told) {
            program->death_told = true;
            SAY(play, "death of program %d is told", i);
            for (size_t j = 0; j < REQUESTS; j++) {
                if (play->deals[j].stage == WAITING &&
                    play->deals[j].request.owner == program->key) {
                    play->deals[j].stage = FREE;
                }
            }
            ledger_owner_ended(play->ledger, program->key, play->world.now_ns);
        }
    }
}
