/* SPDX-License-Identifier: MIT */
/* What history hears of leases and of requests that wait. */
#include "daemon/promises_inner.h"

#include "daemon/history.h"

/* `user`: where the name is kept. */
static struct history_deal deal_of(const struct promises *promises, const struct deal *deal,
                                   char user[METRICS_USER_MAX])
{
    const struct owner_process *owner = owners_find(promises->owners, deal->owner);
    view_user(deal->user, user);
    return (struct history_deal){
        .id = deal->id,
        .label = deal->label,
        .user = user,
        .pid = owner ? owner->pid : deal->asker,
        .size_bytes = deal->request.size_bytes,
        .since_ns = deal->since_ns,
    };
}

void promises_tell_queued(struct promises *promises, const struct deal *deal)
{
    if (promises->daemon->history) {
        char user[METRICS_USER_MAX];
        struct history_deal told = deal_of(promises, deal, user);
        history_lease_queued(promises->daemon, &told);
    }
}

/* Whether its owner has other leases too, or held memory before it: what its members hold is not the lease's alone. */
static bool is_mixed(const struct promises *promises, const struct deal *deal,
                     const struct ledger_lease *lease)
{
    for (size_t i = 0; i < lease->gpu_count; i++) {
        if (lease->gpus[i].base_bytes > 0) {
            return true;
        }
    }
    for (size_t i = 0; i < deals_count(promises->deals); i++) {
        const struct deal *other = deals_at(promises->deals, i);
        if (other != deal && other->kind == DEAL_HELD && other->owner == deal->owner) {
            return true;
        }
    }
    return false;
}

static void tell_granted(const struct promises *promises, const struct deal *deal,
                         const struct ledger_lease *lease, promises_each_function each, void *data)
{
    const char *gpus[LEDGER_GPUS];
    char user[METRICS_USER_MAX];
    struct history_deal told = deal_of(promises, deal, user);
    told.size_bytes = lease->size_bytes;
    told.is_mixed = is_mixed(promises, deal, lease);
    told.gpus = gpus;
    for (size_t i = 0; i < lease->gpu_count && i < LEDGER_GPUS; i++) {
        gpus[told.gpu_count++] = lease->gpus[i].uuid;
    }
    each(data, &told, true);
}

static void pass_on(void *data, const struct history_deal *deal, bool granted)
{
    (void)granted;
    history_lease_granted(data, deal);
}

/* With each sample. */
void promises_tell_held(struct promises *promises, const struct vram_snapshot *snapshot)
{
    struct daemon *daemon = promises->daemon;
    if (!daemon->history || !ledger_lease_count(promises->ledger)) {
        return;
    }
    history_leases_look(daemon);
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        for (size_t j = 0; j < gpu->process_count; j++) {
            const char *id = daemon->promises->lease(promises, &gpu->processes[j]);
            if (id) {
                history_lease_saw(daemon, id, gpu, gpu->processes[j].used_bytes);
            }
        }
    }
    history_leases_looked(daemon);
}

void promises_tell_granted(struct promises *promises, const struct deal *deal,
                           const struct ledger_lease *lease)
{
    if (!promises->daemon->history) {
        return;
    }
    tell_granted(promises, deal, lease, pass_on, promises->daemon);
    for (size_t i = 0; i < ledger_lease_count(promises->ledger); i++) { /* they are mixed now */
        struct ledger_lease other = ledger_lease_at(promises->ledger, i);
        const struct deal *others = deals_find(promises->deals, other.id);
        if (others && others != deal && others->owner == deal->owner) {
            tell_granted(promises, others, &other, pass_on, promises->daemon);
        }
    }
}

void promises_each(struct daemon *daemon, promises_each_function each, void *data)
{
    const struct promises *promises = daemon->promises_data;
    for (size_t i = 0; promises && i < ledger_lease_count(promises->ledger); i++) {
        struct ledger_lease lease = ledger_lease_at(promises->ledger, i);
        const struct deal *deal = deals_find(promises->deals, lease.id);
        if (deal) {
            tell_granted(promises, deal, &lease, each, data);
        }
    }
}
