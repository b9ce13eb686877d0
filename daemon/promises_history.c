/* SPDX-License-Identifier: MIT */
/* What history hears of leases and of requests that wait. */
#include "daemon/promises_inner.h"

#include "daemon/history.h"

/* `user`: where the name is kept. */
static struct history_deal deal_of(const struct promises *promises, const struct deal *deal,
                                   char user[METRICS_USER_MAX])
{
    const struct owner_process *owner = owners_find(promises->owners, deal->owner);
    view_user(deal->uid, user);
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

static void tell_granted(const struct promises *promises, const struct deal *deal,
                         const struct ledger_lease *lease, promises_each_function each, void *data)
{
    const char *gpus[LEDGER_GPUS];
    char user[METRICS_USER_MAX];
    struct history_deal told = deal_of(promises, deal, user);
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
