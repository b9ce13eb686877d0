/* SPDX-License-Identifier: MIT */
/*
 * vram_fit() against a model that is too simple to be wrong: every subset of the candidates is tried, in
 * arithmetic too wide to wrap. Snapshots and requests are random; VRAM_TEST_SEED=N repeats a run.
 */
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define ROUNDS 20000
#define MOST 6

__extension__ typedef __int128 wide;

static uint64_t random_state;

static uint64_t next_random(void) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717u;
}

static uint64_t below(uint64_t limit)
{
    return next_random() % limit;
}

/* Small amounts, so that boundaries are met often; now and then an extreme or unknown one. */
static uint64_t amount(void)
{
    static const uint64_t odd[] = {VRAM_UNKNOWN, UINT64_MAX - 1, UINT64_MAX / 2, (uint64_t)1 << 63,
                                   0};
    return below(12) ? below(24) : odd[below(ARRAY_LENGTH(odd))];
}

/* ---- What is asked --------------------------------------------------------------------------- */

struct question {
    struct vram_snapshot *snapshot;
    struct vram_fit_request request;
    size_t candidates[MOST];
};

static void make_gpu(struct machine *machine)
{
    static const uint32_t others[] = {VRAM_GPU_HUNG, VRAM_GPU_ASLEEP, VRAM_GPU_LOST,
                                      VRAM_GPU_DENIED};
    bool shared = machine->board.count && below(3) == 0 &&
                  machine->reports[machine->board.count - 1].count < MACHINE_POOLS;
    if (!shared) {
        (void)machine_gpu(machine);
    }
    struct source_gpu *gpu = machine_instance(machine, below(2), 0, 0, 0);
    gpu->state = below(4) ? VRAM_GPU_OK : others[below(ARRAY_LENGTH(others))];
    gpu->total_bytes = below(12) ? 12 + below(24) : amount();
    gpu->driver_reserved_bytes = below(3) ? below(3) : amount();
    gpu->free_bytes = amount();
}

static void make_question(struct machine *machine, struct question *question)
{
    size_t count = 1 + below(MOST);
    for (size_t i = 0; i < count; i++) {
        make_gpu(machine);
    }
    question->snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    for (size_t i = 0; i < count; i++) {
        if (below(2)) {
            machine_promise(question->snapshot, i, amount());
            machine_own_promise(question->snapshot, i, below(2) ? VRAM_UNKNOWN : amount());
        }
    }
    struct vram_fit_request *request = &question->request;
    *request = (struct vram_fit_request)VRAM_FIT_REQUEST_INIT;
    do {
        request->size_bytes = below(12) ? below(16) : amount();
    } while (!request->size_bytes || request->size_bytes == VRAM_UNKNOWN);
    do {
        request->margin_bytes = below(2) ? below(4) : amount();
    } while (request->margin_bytes == VRAM_UNKNOWN);
    request->margin_millipercent = below(3) ? 0 : (uint32_t)below(120000);
    request->gpu_count = below(2) ? 1 : 1 + (uint32_t)below(4);
    if (below(2)) {
        request->candidate_count = below(MOST + 1);
        request->candidates = question->candidates;
        for (size_t i = 0; i < request->candidate_count; i++) {
            question->candidates[i] = below(count);
        }
    }
}

/* ---- The model ------------------------------------------------------------------------------- */

struct verdict {
    uint32_t answer;
    bool usable, known;
    uint32_t pool;
    wide headroom;
};

static struct verdict judge(const struct vram_gpu *gpu, const struct vram_fit_request *request)
{
    bool total_known = gpu->total_bytes != VRAM_UNKNOWN;
    bool margin_known = !request->margin_millipercent || total_known;
    wide margin = (wide)request->margin_bytes;
    if (request->margin_millipercent && total_known) {
        wide part = request->margin_millipercent > 100000 ? 100000 : request->margin_millipercent;
        margin = ((wide)gpu->total_bytes * part + 99999) / 100000;
    }
    wide capacity = (wide)gpu->total_bytes;
    if (gpu->driver_reserved_bytes != VRAM_UNKNOWN) {
        capacity -= (wide)gpu->driver_reserved_bytes;
    }
    wide promised = gpu->outstanding_bytes == VRAM_UNKNOWN ? 0 : (wide)gpu->outstanding_bytes;
    wide own = gpu->own_outstanding_bytes == VRAM_UNKNOWN ? 0 : (wide)gpu->own_outstanding_bytes;
    promised = own < promised ? promised - own : 0;
    struct verdict verdict = {
        .usable = gpu->state != VRAM_GPU_LOST && gpu->state != VRAM_GPU_DENIED,
        .known = gpu->state == VRAM_GPU_OK && gpu->free_bytes != VRAM_UNKNOWN && margin_known,
        .pool = gpu->pool,
        .headroom = (wide)gpu->free_bytes - promised - margin,
    };
    wide size = (wide)request->size_bytes;
    bool never = total_known && margin_known && size + margin > capacity;
    verdict.answer = never                      ? VRAM_NEVER
                     : !verdict.known           ? VRAM_CANNOT_TELL
                     : size <= verdict.headroom ? VRAM_FITS
                                                : VRAM_NOT_NOW;
    return verdict;
}

/* Whether the candidates in `set` are `wanted` usable ones with memories of their own, none of whose answers is
 * among `barred`. */
static bool serves(const struct verdict *verdicts, size_t count, unsigned set, unsigned wanted,
                   unsigned barred)
{
    unsigned chosen = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(set >> i & 1)) {
            continue;
        }
        chosen++;
        if (!verdicts[i].usable || barred >> verdicts[i].answer & 1) {
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (set >> j & 1 && verdicts[j].pool == verdicts[i].pool) {
                return false;
            }
        }
    }
    return chosen == wanted;
}

static bool any_serves(const struct verdict *verdicts, size_t count, unsigned wanted,
                       unsigned barred)
{
    for (unsigned set = 0; set < 1u << count; set++) {
        if (serves(verdicts, count, set, wanted, barred)) {
            return true;
        }
    }
    return false;
}

#define BIT(answer) (1u << (answer))

static uint32_t answer_all(const struct verdict *verdicts, size_t count, unsigned wanted)
{
    if (any_serves(verdicts, count, wanted,
                   BIT(VRAM_NEVER) | BIT(VRAM_NOT_NOW) | BIT(VRAM_CANNOT_TELL))) {
        return VRAM_FITS;
    }
    if (!any_serves(verdicts, count, wanted, BIT(VRAM_NEVER))) {
        return VRAM_NEVER;
    }
    return any_serves(verdicts, count, wanted, BIT(VRAM_NEVER) | BIT(VRAM_NOT_NOW))
               ? VRAM_CANNOT_TELL
               : VRAM_NOT_NOW;
}

/* The headroom of a choice: of all choices that serve, the one with the least is to be made. Clamped as the
 * library's figures are. */
static wide headroom_of(const struct verdict *verdicts, size_t count, unsigned set)
{
    wide sum = 0;
    for (size_t i = 0; i < count; i++) {
        wide headroom = verdicts[i].headroom > INT64_MAX ? INT64_MAX : verdicts[i].headroom;
        sum += set >> i & 1 ? headroom : 0;
    }
    return sum;
}

/* ---- The comparison -------------------------------------------------------------------------- */

#define CHECK(round, condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("round %u: not so: %s", round, #condition);                                   \
        }                                                                                          \
    } while (0)

static void check_choice(unsigned round, const struct vram_fit *fit, const struct verdict *verdicts)
{
    unsigned barred = BIT(VRAM_NEVER) | BIT(VRAM_NOT_NOW) | BIT(VRAM_CANNOT_TELL);
    unsigned chosen = 0;
    for (size_t i = 0; i < fit->count; i++) {
        chosen |= (unsigned)fit->gpus[i].chosen << i;
    }
    if (fit->answer != VRAM_FITS) {
        CHECK(round, chosen == 0);
        return;
    }
    CHECK(round, serves(verdicts, fit->count, chosen, fit->gpu_count, barred));
    wide headroom = headroom_of(verdicts, fit->count, chosen);
    for (unsigned set = 0; set < 1u << fit->count; set++) {
        if (serves(verdicts, fit->count, set, fit->gpu_count, barred)) {
            CHECK(round, headroom <= headroom_of(verdicts, fit->count, set));
        }
    }
}

static void check_line(unsigned round, const struct vram_fit_gpu *line,
                       const struct verdict *verdict, uint64_t size)
{
    CHECK(round, line->usable == verdict->usable);
    CHECK(round, line->answer == verdict->answer);
    CHECK(round, line->headroom_known == verdict->known);
    if (verdict->known) {
        wide shortfall = (wide)size > verdict->headroom ? (wide)size - verdict->headroom : 0;
        bool beyond = shortfall + (wide)line->free_bytes >= (wide)UINT64_MAX; /* saturated */
        CHECK(round, beyond || line->shortfall_bytes == (uint64_t)shortfall);
        CHECK(round, !beyond || line->shortfall_bytes > 0);
        bool wide_apart = verdict->headroom > INT64_MAX || verdict->headroom < -(wide)INT64_MAX;
        CHECK(round, beyond || wide_apart || line->headroom_bytes == (int64_t)verdict->headroom);
        CHECK(round, (line->headroom_bytes < 0) == (verdict->headroom < 0));
    } else {
        CHECK(round, line->shortfall_bytes == VRAM_UNKNOWN);
    }
}

static uint32_t check_question(unsigned round, const struct question *question)
{
    const struct vram_fit_request *request = &question->request;
    struct verdict verdicts[MOST];
    struct vram_fit *fit = NULL;
    bool usable = false;
    size_t count = request->candidates ? request->candidate_count
                                       : vram_snapshot_gpu_count(question->snapshot);
    for (size_t i = 0; i < count; i++) {
        size_t position = request->candidates ? request->candidates[i] : i;
        verdicts[i] = judge(vram_snapshot_gpu(question->snapshot, position), request);
        usable |= verdicts[i].usable;
    }
    int r = vram_fit(question->snapshot, request, &fit);
    CHECK(round, r == (usable ? 0 : -ENODEV));
    if (r < 0) {
        return VRAM_CANNOT_TELL + 1;
    }
    CHECK(round, fit->count == count);
    for (size_t i = 0; i < count; i++) {
        check_line(round, &fit->gpus[i], &verdicts[i], request->size_bytes);
    }
    CHECK(round, fit->answer == answer_all(verdicts, count, request->gpu_count));
    check_choice(round, fit, verdicts);
    uint32_t answer = fit->answer;
    (void)vram_fit_free(fit);
    return answer;
}

static void test_fit_model__agrees_with_brute_force(void **state)
{
    size_t seen[VRAM_CANNOT_TELL + 2] = {0};
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct machine *machine = machine_new(NULL);
        struct question question = {0};
        make_question(machine, &question);
        seen[check_question(round, &question)]++;
        (void)vram_snapshot_unref(question.snapshot);
        machine_free(machine);
    }
    print_message(
        "%d rounds: %zu fit, %zu not now, %zu never, %zu unknown, %zu without a usable GPU\n",
        ROUNDS, seen[0], seen[1], seen[2], seen[3], seen[4]);
    for (size_t i = 0; i < ARRAY_LENGTH(seen); i++) {
        assert_true(seen[i] > ROUNDS / 200); /* else the questions are not telling */
    }
}

int main(void)
{
    const char *seed = getenv("VRAM_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    random_state |= 1; /* never 0, where the generator would stay */
    print_message("VRAM_TEST_SEED=%ju\n", (uintmax_t)random_state);
    const struct CMUnitTest tests[] = {
        TEST(test_fit_model__agrees_with_brute_force),
    };
    return cmocka_run_group_tests_name("fit_model", tests, NULL, NULL);
}
