/* SPDX-License-Identifier: MIT */
/* What is promised of a snapshot's figures, as somebody is to see it. */
#include "daemon/promises_inner.h"

#include <errno.h>
#include <stdlib.h>

static int make_figure_room(struct promises *promises, size_t count)
{
    if (count <= promises->figure_room) {
        return 0;
    }
    uint64_t *outstanding = reallocarray(promises->outstanding, count, sizeof(uint64_t));
    promises->outstanding = outstanding ? outstanding : promises->outstanding;
    uint64_t *own = reallocarray(promises->own, count, sizeof(uint64_t));
    promises->own = own ? own : promises->own;
    uint64_t *kept = reallocarray(promises->kept, count, sizeof(uint64_t));
    promises->kept = kept ? kept : promises->kept;
    bool *closed = reallocarray(promises->closed, count, sizeof(bool));
    promises->closed = closed ? closed : promises->closed;
    if (!outstanding || !own || !kept || !closed) {
        return -ENOMEM;
    }
    promises->figure_room = count;
    return 0;
}

/* One that does not promise knows of nobody's promises. */
int promises_fill(void *data, const struct peer *peer, const struct vram_snapshot *snapshot,
                  struct vram_promises *into)
{
    struct promises *promises = data;
    size_t count = vram_snapshot_gpu_count(snapshot);
    int r = make_figure_room(promises, count);
    bool known = grantor_is_ours(promises->daemon->grantor) && !promises->trouble;
    uint64_t holder = peer ? promises_holder_of(promises, peer->pid, peer->start_time) : 0;
    uint64_t under =
        peer ? ceilings_of_process(promises, peer->pid, peer->start_time, peer->uid) : 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const char *uuid = vram_snapshot_gpu(snapshot, i)->uuid;
        bool told = known && uuid;
        promises->outstanding[i] = told ? ledger_outstanding(promises->ledger, uuid) : VRAM_UNKNOWN;
        promises->own[i] = told ? ledger_outstanding_of(promises->ledger, uuid, holder) +
                                      ledger_kept_of(promises->ledger, uuid, under)
                                : VRAM_UNKNOWN;
        promises->closed[i] = drain_has(promises, uuid) ||
                              drain_has(promises, vram_snapshot_gpu(snapshot, i)->parent_uuid);
        promises->kept[i] = told ? ledger_kept(promises->ledger, uuid) : VRAM_UNKNOWN;
    }
    into->outstanding_bytes = promises->outstanding;
    into->own_outstanding_bytes = promises->own;
    into->ceiling_bytes = promises->kept;
    into->drained = promises->closed;
    into->waiters = known ? ledger_waiter_count(promises->ledger) : VRAM_UNKNOWN;
    return r;
}

uint64_t promises_counts_for(struct promises *promises, const struct vram_process *process)
{
    struct members_verdict verdict = {0};
    if (!process->visible || !ledger_lease_count(promises->ledger) ||
        members_resolve(promises->members, (pid_t)process->pid, process->start_time,
                        process->container, process->unit, &verdict) < 0) {
        return 0;
    }
    return ledger_holds(promises->ledger, verdict.key) ? verdict.key : verdict.outer;
}

const char *promises_lease(void *data, const struct vram_process *process)
{
    struct promises *promises = data;
    uint64_t key = promises_counts_for(promises, process);
    for (size_t i = 0; key && i < deals_count(promises->deals); i++) {
        const struct deal *deal = deals_at(promises->deals, i);
        if (deal->owner == key && deal->kind == DEAL_HELD) {
            return deal->id;
        }
    }
    return NULL;
}
