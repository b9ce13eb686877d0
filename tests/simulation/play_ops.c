/* SPDX-License-Identifier: MIT */
/* What the ledger says, and the journal that is kept of it. */
#include "tests/simulation/play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct deal *deal_of(struct play *play, const char *id)
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

int64_t *base_of(struct play *play, uint64_t key, size_t gpu)
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
        check_limits(play, lease);
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
    if (why == LEDGER_IDLE && !play->idle_after_ns) {
        FAIL(play, "%s ended for being idle", id);
    }
    if (why == LEDGER_EXPIRED && deal->until_ns > play->world.now_ns) {
        FAIL(play, "%s ended too early", id);
    }
    deal->stage = FREE;
}

static struct ledger_limits limits(void *data, uint32_t user)
{
    return ((const struct play *)data)->limits[user];
}

static void notice(void *data, const struct ledger_lease *lease)
{
    struct play *play = data;
    SAY(play, "  %s is told that it ends", lease->id);
    play->tally->notices++;
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

const struct ledger_ops play_ops = {.holder = holder,
                                    .record = record,
                                    .answer = answer,
                                    .ended = ended,
                                    .limits = limits,
                                    .notice = notice,
                                    .base = base,
                                    .state = state};
