/* SPDX-License-Identifier: MIT */
/* Which GPUs those who ask can open. */
#include "daemon/promises_inner.h"

#include "daemon/reach.h"
#include <string.h>

/* A request is for the GPUs that its owner can open: known with the first sample that it meets. Who has nothing of the
 * driver's asks for somebody else, who may use any. */
static void find_reach(struct promises *promises, const struct vram_snapshot *snapshot,
                       struct deal *deal)
{
    const struct owner_process *owner = owners_find(promises->owners, deal->owner);
    const char *uuids[LEDGER_GPUS];
    size_t count = 0, all = vram_snapshot_gpu_count(snapshot);
    deal->reached = true;
    for (size_t i = 0; owner && i < all && count < LEDGER_GPUS; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        if (gpu->uuid && (!gpu->pci || reach_may_open("", owner->pid, gpu->pci))) {
            uuids[count++] = gpu->uuid;
        }
    }
    if (owner && count < all && (count > 0 || reach_has_driver("", owner->pid))) {
        ledger_restrict(promises->ledger, deal->id, uuids, count);
        deal_restrict(deal, uuids, count);
    }
}

void reach_find_all(struct promises *promises, const struct vram_snapshot *snapshot)
{
    /* A simulated GPU has no node: whoever asks can use it. */
    if (strcmp(vram_snapshot_driver(snapshot)->kind, "nvml") != 0) {
        return;
    }
    for (size_t i = 0; i < deals_count(promises->deals); i++) {
        struct deal *deal = deals_at(promises->deals, i);
        if (deal->kind == DEAL_ASKED && !deal->reached) {
            find_reach(promises, snapshot, deal);
        }
    }
}
