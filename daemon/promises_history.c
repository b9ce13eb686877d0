/* SPDX-License-Identifier: MIT */
/* What history hears of leases and of requests that wait. */
#include "daemon/promises_inner.h"

#include "daemon/history.h"

static struct history_deal deal_of(const struct promises *promises, const struct deal *deal)
{
    const struct owner_process *owner = owners_find(promises->owners, deal->owner);
    return (struct history_deal){
        .id = deal->id,
        .label = deal->label,
        .user = view_user(deal->uid),
        .pid = owner ? owner->pid : deal->asker,
        .size_bytes = deal->request.size_bytes,
        .since_ns = deal->since_ns,
    };
}

void promises_tell_queued(struct promises *promises, const struct deal *deal)
{
    if (promises->daemon->history) {
        struct history_deal told = deal_of(promises, deal);
        history_lease_queued(promises->daemon, &told);
    }
}

static void tell_granted(const struct promises *promises, const struct deal *deal,
                         const struct ledger_lease *lease, promises_each_function each, void *data)
{
    const char *gpus[LEDGER_GPUS];
    struct history_deal told = deal_of(promises, deal);
    told.size_bytes = lease->size_bytes;
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

void promises_tell_granted(struct promises *promises, const struct deal *deal,
                           const struct ledger_lease *lease)
{
    if (promises->daemon->history) {
        tell_granted(promises, deal, lease, pass_on, promises->daemon);
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
