/* SPDX-License-Identifier: MIT */
/* What must hold, and who counts for whom. */
#include "tests/simulation/play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const uuids[WORLD_GPUS] = {"GPU-0", "GPU-1", "GPU-2"};

uint64_t units(const struct play *play, uint64_t n)
{
    return n * play->world.unit_bytes;
}

int program_of_key(const struct play *play, uint64_t key)
{
    for (int i = 0; key && i < WORLD_PROGRAMS; i++) {
        if (play->world.programs[i].exists && play->world.programs[i].key == key) {
            return i;
        }
    }
    return -1;
}

/* The nearest of the program and its ancestors that the ledger knows; with `holding`, that holds. */
uint64_t nearest(const struct play *play, int program, bool holding, int *ret_at)
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

void attribute(const struct play *play, int program, struct ledger_use *use)
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

void show(const struct play *play)
{
    const struct world *world = &play->world;
    for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
        (void)printf("  GPU %zu: %" PRIu64 " in all, %" PRIu64 " free, %" PRIu64
                     " shown free, %" PRIu64 " draining, ceilings %" PRIu64 ", %" PRIu64 "\n",
                     gpu, world->capacity[gpu], world_free(world, gpu), world->shown_free[gpu],
                     world->draining[gpu], play->ceilings[0][gpu], play->ceilings[1][gpu]);
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        const struct program *program = &world->programs[i];
        if (program->exists) {
            (void)printf("  program %d of %d%s, key %" PRIu64 ", unit %u:", i, program->parent,
                         program->alive ? "" : " (dead)", program->key, program->unit);
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

/* From this program outwards, the nearest with an account; -1: none. */
static int nearest_account(const struct play *play, const bool *accounts, int i)
{
    while (i >= 0 && !accounts[i]) {
        i = play->world.programs[i].parent;
    }
    return i;
}

/* What is promised and used on a GPU, by owner's program. */
struct books {
    bool accounts[WORLD_PROGRAMS];
    int64_t targets[WORLD_PROGRAMS], used[WORLD_PROGRAMS];
    int64_t unleased[CEILINGS]; /* by processes with a ceiling that count for no lease */
};

static void read_promises(const struct play *play, size_t gpu, struct books *books)
{
    for (size_t i = 0; i < ledger_lease_count(play->ledger); i++) {
        struct ledger_lease lease = ledger_lease_at(play->ledger, i);
        int owner = program_of_key(play, lease.owner);
        for (size_t j = 0; owner >= 0 && j < lease.gpu_count; j++) {
            if (strcmp(lease.gpus[j].uuid, uuids[gpu]) == 0) {
                books->targets[owner] += books->accounts[owner] ? 0 : lease.gpus[j].base_bytes;
                books->targets[owner] += lease.filled ? 0 : (int64_t)lease.size_bytes;
                books->accounts[owner] = true;
            }
        }
    }
}

/* Uses, by who counts for them. What members use beyond their own owner's promise is used by those of the nearest
 * owner around it that was promised something on this GPU. */
static void read_uses(const struct play *play, uint64_t of[WORLD_PROGRAMS][WORLD_GPUS], size_t gpu,
                      struct books *books)
{
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        int counts_for = of[i][gpu] ? nearest_account(play, books->accounts, i) : -1;
        uint32_t unit = ceiling_of(play, i, gpu);
        if (counts_for >= 0) {
            books->used[counts_for] += (int64_t)units(play, of[i][gpu]);
        } else if (unit) {
            books->unleased[unit - 1] += (int64_t)units(play, of[i][gpu]);
        }
    }
    for (int depth = 0; depth < 4;
         depth++) { /* the innermost first: each excess moves outwards once */
        int64_t moved[WORLD_PROGRAMS] = {0};
        for (int i = 0; i < WORLD_PROGRAMS; i++) {
            int64_t promised = books->accounts[i] && books->targets[i] > 0 ? books->targets[i] : 0;
            int outer = books->accounts[i]
                            ? nearest_account(play, books->accounts, play->world.programs[i].parent)
                            : -1;
            if (outer >= 0 && books->used[i] > promised) {
                moved[outer] += books->used[i] - promised;
                books->used[i] = promised;
            }
        }
        for (int i = 0; i < WORLD_PROGRAMS; i++) {
            books->used[i] += moved[i];
        }
    }
}

static int64_t kept_by(const struct play *play, const struct books *books, size_t gpu,
                       uint32_t unit)
{
    int64_t left = (int64_t)units(play, play->ceilings[unit - 1][gpu]) - books->unleased[unit - 1];
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        if (books->accounts[i] && ceiling_of(play, i, gpu) == unit) {
            left -= books->targets[i] > books->used[i] ? books->targets[i] : books->used[i];
        }
    }
    return left > 0 ? left : 0;
}

/* The ceiling that there is for a program on a GPU; 0: none. */
uint32_t ceiling_of(const struct play *play, int program, size_t gpu)
{
    uint32_t unit = play->world.programs[program].unit;
    return unit && play->ceilings[unit - 1][gpu] ? unit : 0;
}

/* What is kept there for the programs of a ceiling, besides their leases. */
int64_t kept(struct play *play, uint64_t of[WORLD_PROGRAMS][WORLD_GPUS], size_t gpu, uint32_t unit)
{
    struct books books = {0};
    read_promises(play, gpu, &books);
    read_uses(play, of, gpu, &books);
    return kept_by(play, &books, gpu, unit);
}

/* What is outstanding by the ledger's bases and these uses: of all owners and ceilings, or of one owner. */
int64_t owed(struct play *play, uint64_t of[WORLD_PROGRAMS][WORLD_GPUS], size_t gpu, uint64_t only)
{
    struct books books = {0};
    int64_t sum = 0;
    read_promises(play, gpu, &books);
    read_uses(play, of, gpu, &books);
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        bool counts = books.accounts[i] && (!only || play->world.programs[i].key == only);
        sum += counts && books.targets[i] > books.used[i] ? books.targets[i] - books.used[i] : 0;
    }
    for (uint32_t unit = 1; !only && unit <= CEILINGS; unit++) {
        sum += kept_by(play, &books, gpu, unit);
    }
    return sum;
}

void copy_uses(const struct play *play, uint64_t of[WORLD_PROGRAMS][WORLD_GPUS])
{
    for (size_t i = 0; i < WORLD_PROGRAMS; i++) {
        memcpy(of[i], play->world.programs[i].used, sizeof(of[i]));
    }
}

void note_moment(struct play *play)
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
void check_grant(struct play *play, const struct ledger_lease *lease)
{
    for (size_t i = 0; i < lease->gpu_count && !play->world.lags; i++) {
        size_t gpu = (size_t)(lease->gpus[i].uuid[4] - '0');
        bool good = false;
        for (size_t m = 0; !good && m < play->moment_count; m++) {
            struct moment *moment = &play->moments[m];
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
void check_promises(struct play *play)
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

bool wants(const struct deal *deal, size_t gpu)
{
    bool wanted = deal->candidate_count == 0;
    for (size_t i = 0; i < deal->candidate_count; i++) {
        wanted |= deal->candidates[i] == gpu;
    }
    return wanted;
}

/* Nobody has more than it may, and nothing new is where nothing is to be. */
void check_limits(struct play *play, const struct ledger_lease *lease)
{
    struct ledger_limits limits = play->limits[lease->user];
    struct ledger_tally tally = ledger_tally_of(play->ledger, lease->user);
    if (tally.bytes > limits.bytes || tally.gpus > limits.gpus || tally.leases > limits.leases) {
        FAIL(play, "user %u has %" PRIu64 " on %u GPUs in %u leases", lease->user,
             tally.bytes / play->world.unit_bytes, tally.gpus, tally.leases);
    }
    for (size_t i = 0; i < lease->gpu_count; i++) {
        if (play->drained[lease->gpus[i].uuid[4] - '0']) {
            FAIL(play, "granted %s on %s, which is drained", lease->id, lease->gpus[i].uuid);
        }
    }
}

/* Whether its own user's limit is all that it waits for. */
static bool is_limited(const struct play *play, const struct deal *deal)
{
    int found = ledger_find_waiter(play->ledger, deal->request.id);
    return found >= 0 && ledger_waiter_at(play->ledger, (size_t)found).reason == LEDGER_FOR_LIMIT;
}

/* Later requests pass a user's first so often and no more, and the others of their own user's. */
void check_order(struct play *play, const struct deal *granted)
{
    uint64_t first[USERS];
    memset(first, 0xFF, sizeof(first));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < REQUESTS; i++) {
            struct deal *other = &play->deals[i];
            uint32_t user = other->request.user;
            bool passed = false;
            for (size_t j = 0; j < granted->gpu_count; j++) {
                passed |= wants(other, granted->gpus[j]);
            }
            if (other->stage != WAITING || other->seq >= granted->seq || !passed ||
                is_limited(play, other)) {
                continue;
            }
            if (round == 0) {
                first[user] = other->seq < first[user] ? other->seq : first[user];
                continue;
            }
            bool is_own = user == granted->request.user;
            if (other->absent && is_own) {
                FAIL(play, "%s was granted before %s could return", granted->request.id,
                     other->request.id);
            }
            if ((is_own || first[user] == other->seq) && ++other->passed > LEDGER_PASSES) {
                FAIL(play, "%s was passed over %u times", other->request.id, other->passed);
            }
        }
    }
}

void check_kept(struct play *play)
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
