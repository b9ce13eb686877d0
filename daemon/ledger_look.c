/* SPDX-License-Identifier: MIT */
/* What can be looked at: leases and waiters as others see them. */
#include "daemon/ledger_inner.h"

#include <string.h>

/* What of an account is one lease's: the earlier ones are filled first. */
static void split(const struct ledger *ledger, const struct lease *lease,
                  const struct account *account, struct ledger_share *share)
{
    int64_t over_base = (int64_t)account->used_bytes - account->base_bytes;
    uint64_t left = over_base > 0 ? (uint64_t)over_base : 0;
    for (size_t i = 0; i < ledger->lease_count; i++) {
        const struct lease *other = ledger->leases[i];
        bool there = false;
        for (size_t j = 0; j < other->gpu_count; j++) {
            there |= ledger->gpus[other->gpus[j]].memory == account->memory;
        }
        if (other->owner != lease->owner || !there || (other->filled && other != lease)) {
            continue;
        }
        uint64_t held = left < other->size_bytes ? left : other->size_bytes;
        if (other == lease) {
            share->held_bytes = held;
            share->outstanding_bytes = lease->filled ? 0 : lease->size_bytes - held;
            return;
        }
        left -= held;
    }
}

struct ledger_lease ledger_view(const struct ledger *ledger, const struct lease *lease)
{
    const struct owner *owner = ledger_owner(ledger, lease->owner);
    for (size_t i = 0; i < lease->gpu_count; i++) {
        const struct gpu *gpu = &ledger->gpus[lease->gpus[i]];
        const struct account *account = ledger_account(owner, gpu->memory);
        lease->shares[i] = (struct ledger_share){.uuid = gpu->uuid};
        if (account) {
            lease->shares[i].base_bytes = account->base_bytes;
            split(ledger, lease, account, &lease->shares[i]);
        }
    }
    return (struct ledger_lease){
        .id = lease->id,
        .owner = lease->owner,
        .holder = owner->holder,
        .size_bytes = lease->size_bytes,
        .user = lease->user->id,
        .until_ns = lease->until_ns,
        .idle_until_ns = lease->idle_until_ns,
        .filled = lease->filled,
        .state = lease->state,
        .gpu_count = lease->gpu_count,
        .gpus = lease->shares,
    };
}

/* ---- To look at ------------------------------------------------------------------------------ */

bool ledger_wants_sample(const struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        if (!ledger->waiters[i]->absent) {
            return true;
        }
    }
    for (size_t i = 0; i < ledger->owner_count; i++) {
        if (ledger->owners[i].ended && !ledger->owners[i].looked_at) {
            return true;
        }
    }
    return false;
}

size_t ledger_lease_count(const struct ledger *ledger)
{
    return ledger->lease_count;
}

struct ledger_lease ledger_lease_at(const struct ledger *ledger, size_t i)
{
    return ledger_view(ledger, ledger->leases[i]);
}

bool ledger_awaits_return(const struct ledger *ledger)
{
    return ledger->grace_ns != 0;
}

size_t ledger_waiter_count(const struct ledger *ledger)
{
    return ledger->waiter_count;
}

struct ledger_waiter ledger_waiter_at(struct ledger *ledger, size_t i)
{
    ledger_number(ledger);
    const struct waiter *waiter = ledger->waiters[i];
    const struct gpu *nearest = waiter->nearest == NO_GPU ? NULL : &ledger->gpus[waiter->nearest];
    const struct gpu *memory = nearest ? &ledger->gpus[nearest->memory] : NULL;
    return (struct ledger_waiter){
        .id = waiter->id,
        .owner = waiter->owner,
        .size_bytes = waiter->size_bytes,
        .gpu_count = waiter->gpu_count,
        .absent = waiter->absent,
        .user = waiter->user->id,
        .position = waiter->position,
        .reason = waiter->reason,
        .uuid = nearest ? nearest->uuid : NULL,
        .missing_bytes = waiter->missing_bytes,
        .pid = memory ? memory->grower : 0,
        .name = memory ? memory->grower_name : "",
    };
}

/* Whole ids are told apart from beginnings, so that no id can hide behind a longer one. While the queue is gone
 * through it has holes. */
#define FIND(ledger, things, count, text)                                                          \
    int found = -1;                                                                                \
    size_t length = strlen(text);                                                                  \
    for (size_t i = 0; length && i < (ledger)->count; i++) {                                       \
        if (!(ledger)->things[i]) {                                                                \
            continue;                                                                              \
        }                                                                                          \
        if (strcmp((ledger)->things[i]->id, (text)) == 0) {                                        \
            return (int)i;                                                                         \
        }                                                                                          \
        if (strncmp((ledger)->things[i]->id, (text), length) == 0) {                               \
            found = found == -1 ? (int)i : -2;                                                     \
        }                                                                                          \
    }                                                                                              \
    return found

int ledger_find_lease(const struct ledger *ledger, const char *id)
{
    FIND(ledger, leases, lease_count, id);
}

int ledger_find_waiter(const struct ledger *ledger, const char *id)
{
    FIND(ledger, waiters, waiter_count, id);
}

uint64_t ledger_outstanding(const struct ledger *ledger, const char *uuid)
{
    size_t gpu = ledger_gpu(ledger, uuid);
    return gpu == NO_GPU ? 0 : ledger->gpus[ledger->gpus[gpu].memory].outstanding_bytes;
}

uint64_t ledger_outstanding_of(const struct ledger *ledger, const char *uuid, uint64_t owner)
{
    size_t gpu = ledger_gpu(ledger, uuid);
    uint64_t sum = 0;
    /* As many steps as there are owners, in case they should go in a circle. */
    for (size_t n = 0; gpu != NO_GPU && owner && n < ledger->owner_count; n++) {
        size_t memory = ledger->gpus[gpu].memory;
        const struct owner *nearest = ledger_nearest(ledger, owner, memory);
        sum += nearest ? account_outstanding(ledger_account(nearest, memory)) : 0;
        owner = nearest ? nearest->holder : 0;
    }
    return sum;
}

struct ledger_claim ledger_claim_of(const struct ledger *ledger, const char *uuid, uint64_t owner)
{
    size_t gpu = ledger_gpu(ledger, uuid);
    const struct account *account =
        gpu == NO_GPU ? NULL
                      : ledger_account(ledger_owner(ledger, owner), ledger->gpus[gpu].memory);
    int64_t promised = account ? account->base_bytes + (int64_t)account->unfilled_bytes : 0;
    return (struct ledger_claim){
        .promised_bytes = promised > 0 ? (uint64_t)promised : 0,
        .spilt_bytes = account ? account->spilt_bytes : 0,
    };
}

bool ledger_knows(const struct ledger *ledger, uint64_t owner)
{
    return ledger_owner(ledger, owner) != NULL;
}

bool ledger_holds(const struct ledger *ledger, uint64_t owner)
{
    const struct owner *found = ledger_owner(ledger, owner);
    return found && found->leases;
}

bool ledger_waits(const struct ledger *ledger, uint64_t owner)
{
    const struct owner *found = ledger_owner(ledger, owner);
    return found && found->requests;
}
