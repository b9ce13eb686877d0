/* SPDX-License-Identifier: MIT */
/* Leases that hold nothing: told that they end, and ended. Where that cannot be known they do not. */
#include "daemon/ledger_inner.h"

uint64_t lease_notice(uint64_t until_ns, uint64_t now_ns)
{
    bool is_far = until_ns != LEDGER_NEVER && until_ns > room_sum(now_ns, LEDGER_NOTICE_NS);
    return is_far ? until_ns - LEDGER_NOTICE_NS : LEDGER_NEVER;
}

void ledger_end_idle(struct ledger *ledger, uint64_t after_ns, uint64_t notice_ns)
{
    ledger->idle_after_ns = after_ns;
    ledger->idle_notice_ns = notice_ns;
    for (size_t i = 0; i < ledger->lease_count; i++) {
        ledger->leases[i]->idle_until_ns = LEDGER_NEVER; /* told anew, if it is still so */
    }
}

/* Whether it surely holds nothing, nor do those that have leases within it. */
static bool is_idle(const struct ledger *ledger, const struct lease *lease)
{
    const struct owner *owner = ledger_owner(ledger, lease->owner);
    if (lease->filled) {
        return false;
    }
    struct ledger_lease view = ledger_view(ledger, lease);
    for (size_t i = 0; i < lease->gpu_count; i++) {
        const struct gpu *gpu = &ledger->gpus[lease->gpus[i]];
        const struct account *account = ledger_account(owner, gpu->memory);
        if (!gpu->current || !gpu->uses_known || !account || !account->all_known ||
            account->spilt_bytes || view.gpus[i].held_bytes) {
            return false;
        }
    }
    return true;
}

void ledger_watch_idle(struct ledger *ledger, uint64_t now_ns)
{
    for (size_t i = 0; ledger->idle_after_ns && i < ledger->lease_count; i++) {
        struct lease *lease = ledger->leases[i];
        bool was_told = lease->idle_until_ns != LEDGER_NEVER;
        if (!is_idle(ledger, lease)) {
            lease->idle_since_ns = 0;
            lease->idle_until_ns = LEDGER_NEVER;
        } else if (!lease->idle_since_ns) {
            lease->idle_since_ns = now_ns;
        } else if (!was_told && now_ns - lease->idle_since_ns >= ledger->idle_after_ns) {
            lease->idle_until_ns = room_sum(now_ns, ledger->idle_notice_ns);
        }
        if (was_told != (lease->idle_until_ns != LEDGER_NEVER)) {
            struct ledger_lease view = ledger_view(ledger, lease);
            ledger->ops->notice(ledger->data, &view);
        }
    }
}
