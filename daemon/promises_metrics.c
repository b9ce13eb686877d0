/* SPDX-License-Identifier: MIT */
/* Leases and requests for the daemon's metrics. */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REST "(other)"

/* The GPUs on which leases without a series of their own are, each once. */
struct rest {
    size_t count;
    struct metrics_share shares[LEDGER_GPUS];
};

static void add_to_rest(struct rest *rest, const struct ledger_lease *lease,
                        const struct ledger_share *share)
{
    size_t i = 0;
    while (i < rest->count && strcmp(rest->shares[i].uuid, share->uuid) != 0) {
        i++;
    }
    if (i == LEDGER_GPUS) {
        return; /* the ledger knows no more */
    }
    if (i == rest->count) {
        rest->shares[rest->count++] =
            (struct metrics_share){.lease = REST, .uuid = share->uuid, .until_ns = VRAM_UNKNOWN};
    }
    rest->shares[i].size_bytes += lease->size_bytes;
    rest->shares[i].held_bytes += share->held_bytes;
    rest->shares[i].outstanding_bytes += share->outstanding_bytes;
}

static void add_lease(struct metrics_leases *into, const struct deal *deal,
                      const struct ledger_lease *lease)
{
    for (size_t i = 0; i < lease->gpu_count; i++) {
        struct metrics_share *share = &into->shares[into->count++];
        *share = (struct metrics_share){
            .lease = deal->id, /* which outlives the look */
            .label = deal->label,
            .uuid = lease->gpus[i].uuid,
            .first = i == 0,
            .until_ns =
                lease->until_ns == LEDGER_NEVER ? VRAM_UNKNOWN : view_date_of(lease->until_ns),
            .size_bytes = lease->size_bytes,
            .held_bytes = lease->gpus[i].held_bytes,
            .outstanding_bytes = lease->gpus[i].outstanding_bytes,
        };
        view_user(deal->user, share->user);
    }
}

static void add_holder(struct metrics_leases *into, const char *name,
                       const struct reclaim_tally *tally)
{
    struct metrics_holder *holder = &into->holders[into->holder_count++];
    _Static_assert(sizeof(holder->outcomes) == sizeof(tally->outcomes), "one for each");
    *holder = (struct metrics_holder){.name = name, .returned_bytes = tally->returned_bytes};
    memcpy(holder->outcomes, tally->outcomes, sizeof(holder->outcomes));
}

/* Configured ones by their names, and leases on offer, which come and go, together. */
static void add_holders(struct metrics_leases *into, const struct reclaim *reclaim)
{
    struct reclaim_tally leases = reclaim_lease_tally(reclaim);
    for (size_t i = 0; i < reclaim_count(reclaim) && i < HOLDERS_MAX; i++) {
        struct reclaim_view view = reclaim_view_at(reclaim, i, clock_now_ns());
        if (!view.lease) {
            add_holder(into, view.name, &view.tally);
        }
    }
    add_holder(into, "(leases)", &leases);
}

/* One that does not promise knows of nobody's promises. */
int promises_metrics(void *data, struct metrics_leases *into)
{
    const struct promises *promises = data;
    struct rest *rest = calloc(1, sizeof(*rest));
    into->shares = calloc(METRICS_SHARES + LEDGER_GPUS, sizeof(*into->shares));
    if (!rest || !into->shares) {
        free(rest);
        return -ENOMEM;
    }
    into->known = grantor_is_ours(promises->daemon->grantor) && !promises->trouble;
    into->waiters = ledger_waiter_count(promises->ledger);
    add_holders(into, promises->reclaim);
    memcpy(into->verdicts, promises->verdicts, sizeof(into->verdicts));
    for (size_t i = 0; into->known && i < ledger_lease_count(promises->ledger); i++) {
        struct ledger_lease lease = ledger_lease_at(promises->ledger, i);
        const struct deal *deal = deals_find(promises->deals, lease.id);
        bool fits = deal && into->count + lease.gpu_count <= METRICS_SHARES;
        into->states[lease.state < METRICS_STATES ? lease.state : LEDGER_OK]++;
        if (fits) {
            add_lease(into, deal, &lease);
        }
        for (size_t j = 0; !fits && j < lease.gpu_count; j++) {
            add_to_rest(rest, &lease, &lease.gpus[j]);
        }
        into->omitted += !fits;
    }
    memcpy(into->shares + into->count, rest->shares, rest->count * sizeof(*rest->shares));
    into->count += rest->count;
    free(rest);
    return 0;
}
