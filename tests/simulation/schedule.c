/* SPDX-License-Identifier: MIT */
#include "tests/simulation/schedule.h"

#include "common/attr.h"
#include "daemon/ledger.h"
#include "lib/source/source.h"
#include "tests/simulation/world.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS 64
#define MOMENTS 64
#define STEPS 160
#define FIRST_KEY 1

enum stage { FREE, WAITING, HELD };

/* What the model knows of a request, and of the lease that it became: the journal, too. */
struct deal {
    enum stage stage;
    struct ledger_request request;
    size_t candidates[WORLD_GPUS], candidate_count; /* 0: all */
    uint64_t seq, arrived_ns, until_ns;
    uint64_t size_bytes;
    bool absent, filled;
    unsigned passed;
    uint64_t holder;
    size_t gpus[WORLD_GPUS], gpu_count;
};

/* What everybody used at one moment: a promise must have been good at one between asking and getting. */
struct moment {
    uint64_t used[WORLD_GPUS];
    uint64_t of[WORLD_PROGRAMS][WORLD_GPUS];
};

enum stop { FREE_1, USED_1, FREE_2, USED_2, FREE_3, DONE };

struct play {
    struct world world;
    struct ledger *ledger;
    struct tally *tally;
    bool leased_only;                         /* nobody allocates what it was not promised */
    bool records_fail, verbose, broken, calm; /* calm: nobody new comes */
    uint64_t next_key, next_id, next_seq;
    struct deal deals[REQUESTS];
    int64_t bases[WORLD_PROGRAMS * 4][WORLD_GPUS]; /* the journal's, by key modulo */
    /* the sample that is being taken */
    bool sampling;
    uint64_t begun_ns;
    enum stop stop;
    int rounds;
    bool differed;
    struct source_gpu rooms[WORLD_GPUS];
    size_t moment_count;
    struct moment moments[MOMENTS];
};

static const char *const uuids[WORLD_GPUS] = {"GPU-0", "GPU-1", "GPU-2"};

#define FAIL(play, ...)                                                                            \
    do {                                                                                           \
        (play)->broken = true;                                                                     \
        (void)fprintf(stderr, __VA_ARGS__);                                                        \
        (void)fputc('\n', stderr);                                                                 \
    } while (0)
#define SAY(play, ...)                                                                             \
    do {                                                                                           \
        if ((play)->verbose) {                                                                     \
            (void)printf(__VA_ARGS__);                                                             \
            (void)putchar('\n');                                                                   \
        }                                                                                          \
    } while (0)

static uint64_t units(const struct play *play, uint64_t n)
{
    return n * play->world.unit_bytes;
}

/* ---- Who counts for whom --------------------------------------------------------------------- */

static int program_of_key(const struct play *play, uint64_t key)
{
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        if (play->world.programs[i].exists && play->world.programs[i].key == key) {
            return i;
        }
    }
    return -1;
}

/* The nearest of the program and its ancestors that the ledger knows; with `holding`, that holds. */
static uint64_t nearest(const struct play *play, int program, bool holding, int *ret_at)
{
    for (int i = program; i >= 0; i = play->world.programs[i].parent) {
        uint64_t key = play->world.programs[i].key;
        if (key && (holding ? ledger_holds(play->ledger, key) : ledger_knows(play->ledger, key))) {
            *ret_at = i;
            return key;
        }
    }
    *ret_at = -1;
    return 0;
}

static void attribute(const struct play *play, int program, struct ledger_use *use)
{
    int at;
    use->owner = nearest(play, program, false, &at);
    use->is_owner = at == program;
    use->outer = 0;
    if (at >= 0 && play->world.programs[at].parent >= 0) {
        int beyond;
        use->outer = nearest(play, play->world.programs[at].parent, true, &beyond);
    }
}

static void show(const struct play *play)
{
    const struct world *world = &play->world;
    for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
        (void)printf("  GPU %zu: %" PRIu64 " in all, %" PRIu64 " free, %" PRIu64
                     " shown free, %" PRIu64 " draining\n",
                     gpu, world->capacity[gpu], world_free(world, gpu), world->shown_free[gpu],
                     world->draining[gpu]);
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        const struct program *program = &world->programs[i];
        if (program->exists) {
            (void)printf("  program %d of %d%s, key %" PRIu64 ":", i, program->parent,
                         program->alive ? "" : " (dead)", program->key);
            for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
                (void)printf(" %" PRIu64 "/%" PRIu64, program->used[gpu], program->listed[gpu]);
            }
            (void)putchar('\n');
        }
    }
    for (size_t i = 0; i < ledger_lease_count(play->ledger); i++) {
        struct ledger_lease lease = ledger_lease_at(play->ledger, i);
        (void)printf("  lease %s of %" PRIu64 ": %" PRIu64 "%s", lease.id, lease.owner,
                     lease.size_bytes / world->unit_bytes, lease.filled ? " filled" : "");
        for (size_t j = 0; j < lease.gpu_count; j++) {
            (void)printf(" %s base %" PRId64, lease.gpus[j].uuid,
                         lease.gpus[j].base_bytes / (int64_t)world->unit_bytes);
        }
        (void)putchar('\n');
    }
}

/* ---- What must hold -------------------------------------------------------------------------- */

/* What is outstanding by the ledger's bases and these uses: of all owners, or of one. What members use beyond their
 * own owner's promise is used by those of the owner around it. */
static int64_t owed(struct play *play, const uint64_t of[WORLD_PROGRAMS][WORLD_GPUS], size_t gpu,
                    uint64_t only)
{
    int64_t targets[WORLD_PROGRAMS] = {0}, used[WORLD_PROGRAMS] = {0}, sum = 0;
    int outer[WORLD_PROGRAMS];
    bool accounts[WORLD_PROGRAMS] = {false};
    for (size_t i = 0; i < ledger_lease_count(play->ledger); i++) {
        struct ledger_lease lease = ledger_lease_at(play->ledger, i);
        int owner = program_of_key(play, lease.owner);
        for (size_t j = 0; owner >= 0 && j < lease.gpu_count; j++) {
            if (strcmp(lease.gpus[j].uuid, uuids[gpu]) == 0) {
                targets[owner] += accounts[owner] ? 0 : lease.gpus[j].base_bytes;
                targets[owner] += lease.filled ? 0 : (int64_t)lease.size_bytes;
                outer[owner] = accounts[owner] ? outer[owner] : program_of_key(play, lease.holder);
                accounts[owner] = true;
            }
        }
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        for (int j = i; of[i][gpu] && j >= 0; j = play->world.programs[j].parent) {
            if (accounts[j]) {
                used[j] += (int64_t)units(play, of[i][gpu]);
                break;
            }
        }
    }
    for (int depth = 0; depth < 4;
         depth++) { /* the innermost first: each excess moves outwards once */
        int64_t moved[WORLD_PROGRAMS] = {0};
        for (int i = 0; i < WORLD_PROGRAMS; i++) {
            int64_t promised = accounts[i] && targets[i] > 0 ? targets[i] : 0;
            if (accounts[i] && outer[i] >= 0 && outer[i] != i && accounts[outer[i]] &&
                used[i] > promised) {
                moved[outer[i]] += used[i] - promised;
                used[i] = promised;
            }
        }
        for (int i = 0; i < WORLD_PROGRAMS; i++) {
            used[i] += moved[i];
        }
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        bool counts = accounts[i] && (!only || play->world.programs[i].key == only);
        sum += counts && targets[i] > used[i] ? targets[i] - used[i] : 0;
    }
    return sum;
}

static void copy_uses(const struct play *play, uint64_t of[WORLD_PROGRAMS][WORLD_GPUS])
{
    for (size_t i = 0; i < WORLD_PROGRAMS; i++) {
        memcpy(of[i], play->world.programs[i].used, sizeof(of[i]));
    }
}

static void note_moment(struct play *play)
{
    if (play->sampling && play->moment_count < MOMENTS) {
        struct moment *moment = &play->moments[play->moment_count++];
        copy_uses(play, moment->of);
        for (size_t gpu = 0; gpu < play->world.gpu_count; gpu++) {
            moment->used[gpu] = world_used(&play->world, gpu);
        }
    }
}

/* A grant was good at some moment since it was asked for. */
static void check_grant(struct play *play, const struct ledger_lease *lease)
{
    for (size_t i = 0; i < lease->gpu_count && !play->world.lags; i++) {
        size_t gpu = (size_t)(lease->gpus[i].uuid[4] - '0');
        bool good = false;
        for (size_t m = 0; !good && m < play->moment_count; m++) {
            const struct moment *moment = &play->moments[m];
            good = (int64_t)units(play, moment->used[gpu]) + owed(play, moment->of, gpu, 0) <=
                   (int64_t)units(play, play->world.capacity[gpu]);
        }
        if (!good) {
            FAIL(play, "granted %s on GPU %zu: at no moment was it free", lease->id, gpu);
            for (size_t m = 0; play->verbose && m < play->moment_count; m++) {
                (void)printf("  moment %zu: %" PRIu64 " used, %" PRId64 " owed\n", m,
                             play->moments[m].used[gpu],
                             owed(play, play->moments[m].of, gpu, 0) /
                                 (int64_t)play->world.unit_bytes);
            }
            if (play->verbose) {
                show(play);
            }
        }
    }
}

/* Where everybody keeps to what it was promised, the promises can be kept. */
static void check_promises(struct play *play)
{
    uint64_t of[WORLD_PROGRAMS][WORLD_GPUS];
    copy_uses(play, of);
    for (size_t gpu = 0; play->leased_only && gpu < play->world.gpu_count; gpu++) {
        int64_t room =
            (int64_t)units(play, world_free(&play->world, gpu) + play->world.draining[gpu]);
        int64_t promised = owed(play, of, gpu, 0);
        if (promised > room) {
            FAIL(play, "GPU %zu: %" PRId64 " promised, %" PRId64 " free", gpu,
                 promised / (int64_t)play->world.unit_bytes,
                 room / (int64_t)play->world.unit_bytes);
        }
    }
}

/* ---- What the ledger says -------------------------------------------------------------------- */

static struct deal *deal_of(struct play *play, const char *id)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        if (play->deals[i].stage != FREE && strcmp(play->deals[i].request.id, id) == 0) {
            return &play->deals[i];
        }
    }
    return NULL;
}

static uint64_t holder(void *data, uint64_t owner)
{
    struct play *play = data;
    int program = program_of_key(play, owner), at;
    int parent = program < 0 ? -1 : play->world.programs[program].parent;
    return parent < 0 ? 0 : nearest(play, parent, true, &at);
}

static int64_t *base_of(struct play *play, uint64_t key, size_t gpu)
{
    return &play->bases[key % ARRAY_LENGTH(play->bases)][gpu];
}

static int record(void *data, const struct ledger_lease *lease, bool known)
{
    struct play *play = data;
    if (!known && play->records_fail && world_chance(&play->world, 20)) {
        play->tally->failed_records++;
        return -1;
    }
    struct deal *deal = deal_of(play, lease->id);
    if (!deal) {
        FAIL(play, "a grant for nobody: %s", lease->id);
        return 0;
    }
    for (size_t i = 0; i < lease->gpu_count; i++) {
        size_t gpu = (size_t)(lease->gpus[i].uuid[4] - '0');
        deal->gpus[i] = gpu;
        *base_of(play, lease->owner, gpu) = lease->gpus[i].base_bytes;
    }
    deal->gpu_count = lease->gpu_count;
    deal->size_bytes = lease->size_bytes;
    deal->until_ns = lease->until_ns;
    deal->filled = lease->filled;
    deal->holder = lease->holder;
    (void)known;
    return 0;
}

static bool wants(const struct deal *deal, size_t gpu)
{
    bool wanted = deal->candidate_count == 0;
    for (size_t i = 0; i < deal->candidate_count; i++) {
        wanted |= deal->candidates[i] == gpu;
    }
    return wanted;
}

static void check_order(struct play *play, const struct deal *granted)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        struct deal *other = &play->deals[i];
        bool passed = false;
        for (size_t j = 0; j < granted->gpu_count; j++) {
            passed |= wants(other, granted->gpus[j]);
        }
        if (other->stage == WAITING && other->seq < granted->seq && passed &&
            other->request.waits) {
            if (other->absent) {
                FAIL(play, "%s was granted before %s could return", granted->request.id,
                     other->request.id);
            }
            if (++other->passed > LEDGER_PASSES) {
                FAIL(play, "%s was passed over %u times", other->request.id, other->passed);
            }
        }
    }
}

static void answer(void *data, const char *id, uint32_t verdict, const struct ledger_lease *lease,
                   const struct ledger_sum *sum)
{
    struct play *play = data;
    struct deal *deal = deal_of(play, id);
    (void)sum;
    SAY(play, "  %s: verdict %u", id, verdict);
    if (verdict == LEDGER_GRANTED) {
        play->tally->grants++;
        check_grant(play, lease);
    } else {
        play->tally->refusals++;
        play->tally->time_outs += verdict == LEDGER_TIMED_OUT;
    }
    if (!deal) {
        return; /* the growth of a lease has no deal of its own */
    }
    if (deal->stage != WAITING || deal->absent) {
        FAIL(play, "%s was answered twice, or in its absence", id);
    }
    if (verdict == LEDGER_GRANTED) {
        deal->stage = HELD;
        check_order(play, deal);
    } else {
        if (verdict == LEDGER_NOT_NOW && deal->request.waits &&
            !ledger_holds(play->ledger, deal->request.owner) &&
            !holder(play, deal->request.owner)) {
            FAIL(play, "%s would have waited", id);
        }
        deal->stage = FREE;
    }
}

static void ended(void *data, const char *id, uint32_t why)
{
    struct play *play = data;
    struct deal *deal = deal_of(play, id);
    SAY(play, "  %s: ended, %u", id, why);
    if (!deal || deal->stage != HELD) {
        FAIL(play, "%s ended and was none", id);
        return;
    }
    int owner = program_of_key(play, deal->request.owner);
    bool alive = owner >= 0 && play->world.programs[owner].alive;
    if (why == LEDGER_OWNER_GONE && alive) {
        FAIL(play, "%s ended under its living owner", id);
    }
    if (why == LEDGER_EXPIRED && deal->until_ns > play->world.now_ns) {
        FAIL(play, "%s ended too early", id);
    }
    deal->stage = FREE;
}

static void base(void *data, uint64_t owner, const char *uuid, int64_t base_bytes)
{
    *base_of(data, owner, (size_t)(uuid[4] - '0')) = base_bytes;
}

static void state(void *data, const struct ledger_lease *lease, uint32_t pid, const char *name)
{
    struct play *play = data;
    play->tally->inherited += lease->state == LEDGER_INHERITED;
    if (lease->state == LEDGER_SQUEEZED && !pid && play->leased_only && !play->world.lags) {
        SAY(play, "  %s squeezed by nobody%s", lease->id, name);
    }
}

static const struct ledger_ops ops = {.holder = holder,
                                      .record = record,
                                      .answer = answer,
                                      .ended = ended,
                                      .base = base,
                                      .state = state};

/* ---- What programs do ------------------------------------------------------------------------ */

static struct deal *some_deal(struct play *play, enum stage stage)
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

static bool is_alive(const struct play *play, uint64_t key)
{
    int program = program_of_key(play, key);
    return program >= 0 && play->world.programs[program].alive;
}

/* All candidates, as the ledger wants them. */
static const char *const *candidates_of(struct deal *deal, const char *names[WORLD_GPUS])
{
    for (size_t i = 0; i < deal->candidate_count; i++) {
        names[i] = uuids[deal->candidates[i]];
    }
    return deal->candidate_count ? names : NULL;
}

static void ask(struct play *play, int program)
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
    request->size_bytes = units(play, 1 + world_below(world, world->capacity[0] + 2));
    request->gpu_count = world_chance(world, 20) ? 2 : 1;
    request->margin_bytes = world_chance(world, 20) ? units(play, 1) : 0;
    request->waits = world_chance(world, 75);
    request->deadline_ns = world_chance(world, 20)
                               ? world->now_ns + world_below(world, 20) * 1000000000
                               : LEDGER_NEVER;
    request->lasts_ns = world_chance(world, 5) ? world_below(world, 9) * 1000000000 : LEDGER_NEVER;
    request->candidates = candidates_of(deal, names);
    request->candidate_count = deal->candidate_count;
    deal->seq = play->next_seq++;
    deal->arrived_ns = world->now_ns;
    int r = ledger_ask(play->ledger, request, world->now_ns);
    request->candidates = NULL;
    SAY(play, "program %d asks %" PRIu64 " x %u: %s", program,
        request->size_bytes / world->unit_bytes, request->gpu_count, request->id);
    if (r < 0) {
        FAIL(play, "a request was refused: %d", r);
    }
    deal->stage = WAITING;
}

/* What a program and those below it use, but for what counts for another owner. */
static uint64_t used_below(const struct play *play, int top, size_t gpu)
{
    uint64_t sum = 0;
    int at;
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        if (play->world.programs[i].used[gpu] &&
            nearest(play, i, true, &at) == play->world.programs[top].key) {
            sum += play->world.programs[i].used[gpu];
        }
    }
    return sum;
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
                    bool inherits = play->world.programs[i].alive || used_below(play, i, gpu);
                    return inherits ? (uint64_t)owed(play, of, gpu, key) / play->world.unit_bytes
                                    : 0;
                }
            }
        }
    }
    return 0;
}

static void allocate(struct play *play, int program)
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

static void give_back(struct play *play, int program)
{
    struct world *world = &play->world;
    size_t gpu = world_below(world, world->gpu_count);
    uint64_t used = world->programs[program].used[gpu];
    uint64_t amount = world_chance(world, 50) ? used : world_below(world, used + 1);
    world_release(world, program, gpu, amount);
    SAY(play, "program %d frees %" PRIu64 " on GPU %zu", program, amount, gpu);
}

/* One child frees what its sibling takes: a driver that is read in between shows both, or neither. */
static void hand_over(struct play *play, int program)
{
    struct world *world = &play->world;
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        const struct program *other = &world->programs[i];
        size_t gpu = world_below(world, world->gpu_count);
        uint64_t used = world->programs[program].used[gpu];
        int owner, other_owner;
        if (other->exists && other->alive && i != program && used &&
            nearest(play, i, true, &other_owner) == nearest(play, program, true, &owner) &&
            owner >= 0) {
            world_release(world, program, gpu, used);
            note_moment(play);
            (void)world_allocate(world, i, gpu, used);
            SAY(play, "program %d hands %" PRIu64 " to %d on GPU %zu", program, used, i, gpu);
            return;
        }
    }
}

static void change_lease(struct play *play)
{
    struct deal *deal = some_deal(play, HELD);
    if (!deal || !is_alive(play, deal->request.owner)) {
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

static void hang_up(struct play *play)
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

/* The daemon hears of deaths when it hears of them. */
static void tell_deaths(struct play *play)
{
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
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

/* ---- The daemon ------------------------------------------------------------------------------ */

static void drop_sample(struct play *play)
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

static void begin_sample(struct play *play)
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
    struct ledger_sample sample = {
        .begun_ns = play->begun_ns, .ended_ns = world->now_ns, .gpus = gpus, .uses = uses};
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
        };
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
            }
        }
    }
    SAY(play, "sample taken");
    note_moment(play);
    play->tally->samples++;
    if (ledger_take(play->ledger, &sample, world->now_ns) < 0) {
        FAIL(play, "a sample was not taken");
    }
    drop_sample(play);
}

static void go_on(struct play *play)
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
static void restart(struct play *play)
{
    struct world *world = &play->world;
    SAY(play, "restart");
    play->tally->restarts++;
    drop_sample(play);
    ledger_free(play->ledger);
    play->ledger = ledger_new(&ops, play);
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

static void come_back(struct play *play)
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

static void pass_time(struct play *play)
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

/* ---- The schedule ---------------------------------------------------------------------------- */

static void act(struct play *play)
{
    struct world *world = &play->world;
    int program = world_pick(world);
    uint64_t what = world_below(world, 100);
    play->world.now_ns += 1000;
    if (program < 0 || (what < 12 && !play->calm)) {
        int parent = program >= 0 && world_chance(world, 25) ? program : -1;
        int started = play->calm ? -1 : world_start(world, parent);
        if (started >= 0 && world_chance(world, 80)) {
            ask(play, started);
        }
    } else if (what < 20) {
        if (!play->calm && world->programs[program].key && world_chance(world, 20)) {
            ask(play, program);
        }
    } else if (what < 50) {
        allocate(play, program);
    } else if (what < 60) {
        give_back(play, program);
    } else if (what < 68) {
        (void)world_start(world, program);
    } else if (what < 74) {
        SAY(play, "program %d is killed", program);
        world_kill(world, program);
    } else if (what < 78) {
        hand_over(play, program);
    } else if (what < 86) {
        change_lease(play);
    } else if (what < 88) {
        hang_up(play);
    } else if (what < 93) {
        world_catch_up(world);
    } else if (what < 97) {
        tell_deaths(play);
    } else {
        pass_time(play);
    }
    note_moment(play);
}

static void check_kept(struct play *play)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct deal *deal = &play->deals[i];
        if (deal->stage == HELD && ledger_find_lease(play->ledger, deal->request.id) < 0) {
            FAIL(play, "%s was lost", deal->request.id);
        }
        if (deal->stage == WAITING && ledger_find_waiter(play->ledger, deal->request.id) < 0) {
            FAIL(play, "%s was forgotten", deal->request.id);
        }
    }
}

static void step(struct play *play)
{
    if (!play->sampling && ledger_wants_sample(play->ledger) && world_chance(&play->world, 40)) {
        begin_sample(play);
    }
    if (play->sampling && world_chance(&play->world, 50)) {
        go_on(play);
    } else {
        act(play);
    }
    if (world_chance(&play->world, 1)) {
        restart(play);
    }
    if (world_chance(&play->world, 10)) {
        come_back(play);
    }
    check_promises(play);
    check_kept(play);
    world_bury(&play->world);
}

/* Samples without anything moving, until nothing changes any more. */
static void settle(struct play *play)
{
    for (int i = 0; i < 6; i++) {
        play->world.now_ns += 3000000000;
        world_show_all(&play->world);
        tell_deaths(play);
        pass_time(play);
        drop_sample(play);
        begin_sample(play);
        while (play->sampling) {
            go_on(play);
        }
    }
}

/* When nobody new comes and holders finish, everybody is answered, and nothing is left. */
static void finish(struct play *play)
{
    play->calm = true;
    play->records_fail = false;
    come_back(play);
    for (int i = 0; i < 2 * REQUESTS && !play->broken; i++) {
        settle(play);
        struct deal *deal = some_deal(play, HELD);
        if (!deal) {
            break;
        }
        int owner = program_of_key(play, deal->request.owner);
        for (int j = 0; j < WORLD_PROGRAMS; j++) { /* with all that is below it */
            for (int up = j; up >= 0; up = play->world.programs[up].parent) {
                if (up == owner && play->world.programs[j].exists &&
                    play->world.programs[j].alive) {
                    world_kill(&play->world, j);
                    break;
                }
            }
        }
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) { /* what never asked and grew, makes room too */
        if (play->world.programs[i].exists && play->world.programs[i].alive &&
            !play->world.programs[i].key) {
            world_kill(&play->world, i);
        }
    }
    for (int i = 0; i < REQUESTS && some_deal(play, WAITING) && !play->broken; i++) {
        settle(play);
        struct deal *deal = some_deal(play, HELD);
        if (deal) {
            world_kill(&play->world, program_of_key(play, deal->request.owner));
        }
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        if (play->world.programs[i].exists && play->world.programs[i].alive) {
            world_kill(&play->world, i);
        }
    }
    settle(play);
    if (!play->broken && (ledger_waiter_count(play->ledger) || ledger_lease_count(play->ledger))) {
        FAIL(play, "%zu waiters and %zu leases are left", ledger_waiter_count(play->ledger),
             ledger_lease_count(play->ledger));
    }
}

bool schedule_play(uint64_t seed, bool verbose, struct tally *tally)
{
    struct play *play = calloc(1, sizeof(*play));
    if (!play || !(play->ledger = ledger_new(&ops, play))) {
        free(play);
        return false;
    }
    struct world *world = &play->world;
    world->seed = (seed + 1) * 0x9E3779B97F4A7C15u;
    world->now_ns = 1000000000;
    world->gpu_count = 1 + world_below(world, WORLD_GPUS);
    world->unit_bytes = world_chance(world, 30) ? (uint64_t)256 << 20 : (uint64_t)1 << 20;
    world->lags = world_chance(world, 30);
    play->leased_only = world_chance(world, 60);
    play->records_fail = world_chance(world, 20);
    play->verbose = verbose;
    play->tally = tally;
    play->next_key = FIRST_KEY;
    for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
        world->capacity[gpu] = 4 + world_below(world, 20);
    }
    world_show_all(world);
    for (int i = 0; i < STEPS && !play->broken; i++) {
        step(play);
    }
    if (!play->broken) {
        finish(play);
    }
    bool held = !play->broken;
    if (!held && verbose) {
        show(play);
    }
    drop_sample(play);
    ledger_free(play->ledger);
    free(play);
    tally->schedules++;
    return held;
}
