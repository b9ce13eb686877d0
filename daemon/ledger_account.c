/* SPDX-License-Identifier: MIT */
/* What the ledger is made of: GPUs, owners with an account for each memory, leases. */
#include "daemon/ledger_inner.h"

#include "common/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more element. */
int ledger_make_room(void **array, size_t *room, size_t count, size_t size)
{
    if (count < *room) {
        return 0;
    }
    size_t more = *room ? *room * 2 : 16;
    void *grown = reallocarray(*array, more, size);
    if (!grown) {
        return -ENOMEM;
    }
    *array = grown;
    *room = more;
    return 0;
}

struct lease *lease_new(const char *id, size_t gpu_count)
{
    struct lease *lease = calloc(1, sizeof(*lease));
    if (!lease) {
        return NULL;
    }
    lease->gpus = calloc(gpu_count, sizeof(*lease->gpus));
    lease->shares = calloc(gpu_count, sizeof(*lease->shares));
    if (!lease->gpus || !lease->shares) {
        return lease_free(lease);
    }
    lease->gpu_count = gpu_count;
    lease->notice_ns = lease->idle_until_ns = LEDGER_NEVER;
    (void)text_copy(lease->id, sizeof(lease->id), id);
    return lease;
}

struct lease *lease_free(struct lease *lease)
{
    if (lease) {
        if (lease->user) {
            user_leave(lease->user);
        }
        free(lease->gpus);
        free(lease->shares);
        free(lease);
    }
    return NULL;
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

size_t ledger_gpu(const struct ledger *ledger, const char *uuid)
{
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        if (strcmp(ledger->gpus[i].uuid, uuid) == 0) {
            return i;
        }
    }
    return NO_GPU;
}

size_t ledger_gpu_add(struct ledger *ledger, const char *uuid)
{
    size_t found = ledger_gpu(ledger, uuid);
    if (found != NO_GPU || ledger->gpu_count == LEDGER_GPUS) {
        return found;
    }
    struct gpu *gpu = &ledger->gpus[ledger->gpu_count];
    *gpu = (struct gpu){
        .memory = ledger->gpu_count,
        .total_bytes = VRAM_UNKNOWN,
        .reserved_bytes = VRAM_UNKNOWN,
        .free_bytes = VRAM_UNKNOWN,
        .margin_bytes = VRAM_UNKNOWN,
    };
    (void)text_copy(gpu->uuid, sizeof(gpu->uuid), uuid);
    return ledger->gpu_count++;
}

/* ---- Owners and accounts --------------------------------------------------------------------- */

/* The place of a key among the owners, or where it belongs. */
static size_t owner_place(const struct ledger *ledger, uint64_t key)
{
    size_t low = 0, high = ledger->owner_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ledger->owners[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct owner *ledger_owner(const struct ledger *ledger, uint64_t key)
{
    size_t place = owner_place(ledger, key);
    bool found = place < ledger->owner_count && ledger->owners[place].key == key;
    return found ? &ledger->owners[place] : NULL;
}

struct owner *ledger_owner_make(struct ledger *ledger, uint64_t key)
{
    size_t place = owner_place(ledger, key);
    if (place < ledger->owner_count && ledger->owners[place].key == key) {
        return &ledger->owners[place];
    }
    if (LEDGER_MAKE_ROOM(ledger->owners, ledger->owner_room, ledger->owner_count) < 0) {
        return NULL;
    }
    struct owner *owner = &ledger->owners[place];
    memmove(owner + 1, owner, (ledger->owner_count - place) * sizeof(*owner));
    ledger->owner_count++;
    *owner = (struct owner){.key = key};
    return owner;
}

void ledger_owner_forget(struct ledger *ledger, uint64_t key)
{
    struct owner *owner = ledger_owner(ledger, key);
    if (owner && !owner->leases && !owner->requests) {
        free(owner->accounts);
        size_t behind = ledger->owner_count - (size_t)(owner - ledger->owners) - 1;
        memmove(owner, owner + 1, behind * sizeof(*owner));
        ledger->owner_count--;
    }
}

struct account *ledger_account(const struct owner *owner, size_t memory)
{
    for (size_t i = 0; owner && i < owner->account_count; i++) {
        if (owner->accounts[i].memory == memory) {
            return &owner->accounts[i];
        }
    }
    return NULL;
}

struct owner *ledger_nearest(const struct ledger *ledger, uint64_t key, size_t memory)
{
    struct owner *owner = ledger_owner(ledger, key);
    /* As many steps as there are owners, in case they should go in a circle. */
    for (size_t n = 0; owner && n < ledger->owner_count; n++) {
        if (ledger_account(owner, memory)) {
            return owner;
        }
        owner = ledger_owner(ledger, owner->holder);
    }
    return NULL;
}

static struct account *make_account(struct owner *owner, size_t memory, int64_t base)
{
    struct account *account = ledger_account(owner, memory);
    if (account) {
        return account;
    }
    struct account *grown =
        reallocarray(owner->accounts, owner->account_count + 1, sizeof(*owner->accounts));
    if (!grown) {
        return NULL;
    }
    owner->accounts = grown;
    account = &grown[owner->account_count++];
    *account = (struct account){.memory = memory, .base_bytes = base, .all_known = true};
    return account;
}

uint64_t account_outstanding(const struct account *account)
{
    int64_t target = account->base_bytes + (int64_t)account->unfilled_bytes;
    uint64_t used = account->used_bytes + account->spilt_bytes;
    return target > 0 ? room_difference((uint64_t)target, used) : 0;
}

uint64_t account_excess(const struct account *account)
{
    int64_t target = account->base_bytes + (int64_t)account->unfilled_bytes;
    uint64_t used = account->used_bytes + account->spilt_bytes;
    return target > 0 ? room_difference(used, (uint64_t)target) : used;
}

void ledger_sum_up(struct ledger *ledger, size_t memory)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ledger->owner_count; i++) {
        const struct account *account = ledger_account(&ledger->owners[i], memory);
        sum += account ? account_outstanding(account) : 0;
    }
    ledger->gpus[memory].outstanding_bytes = sum + ledger_keep(ledger, memory);
}

void ledger_sum_up_all(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        ledger->gpus[i].outstanding_bytes = 0;
    }
    for (size_t i = 0; i < ledger->owner_count; i++) {
        for (size_t j = 0; j < ledger->owners[i].account_count; j++) {
            const struct account *account = &ledger->owners[i].accounts[j];
            ledger->gpus[account->memory].outstanding_bytes += account_outstanding(account);
        }
    }
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        ledger->gpus[i].outstanding_bytes += ledger_keep(ledger, i);
    }
}

/* Takes one share of a lease off its owner's account there. */
static void debit(struct ledger *ledger, const struct lease *lease, size_t gpu)
{
    size_t memory = ledger->gpus[gpu].memory;
    struct owner *owner = ledger_owner(ledger, lease->owner);
    struct account *account = ledger_account(owner, memory);
    if (!account) {
        return;
    }
    account->sizes_bytes -= lease->size_bytes;
    account->unfilled_bytes -= lease->filled ? 0 : lease->size_bytes;
    if (--account->leases == 0) {
        *account = owner->accounts[--owner->account_count];
    }
    ledger_sum_up(ledger, memory);
}

/* ---- Leases ---------------------------------------------------------------------------------- */

struct lease *ledger_lease_of_id(const struct ledger *ledger, const char *id)
{
    for (size_t i = 0; i < ledger->lease_count; i++) {
        if (strcmp(ledger->leases[i]->id, id) == 0) {
            return ledger->leases[i];
        }
    }
    return NULL;
}

int ledger_add_lease(struct ledger *ledger, struct lease *lease, uint64_t holder,
                     const int64_t *bases)
{
    struct owner *owner = ledger_owner_make(ledger, lease->owner);
    if (!owner || LEDGER_MAKE_ROOM(ledger->leases, ledger->lease_room, ledger->lease_count) < 0) {
        ledger_owner_forget(ledger, lease->owner);
        return -ENOMEM;
    }
    size_t before = owner->account_count;
    for (size_t i = 0; i < lease->gpu_count; i++) {
        if (!make_account(owner, ledger->gpus[lease->gpus[i]].memory, bases[i])) {
            owner->account_count = before;
            ledger_owner_forget(ledger, lease->owner);
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < lease->gpu_count; i++) {
        struct account *account = ledger_account(owner, ledger->gpus[lease->gpus[i]].memory);
        account->leases++;
        account->sizes_bytes += lease->size_bytes;
        account->unfilled_bytes += lease->filled ? 0 : lease->size_bytes;
    }
    owner->holder = owner->leases ? owner->holder : holder;
    owner->leases++;
    ledger->leases[ledger->lease_count++] = lease;
    for (size_t i = 0; i < lease->gpu_count; i++) {
        ledger_sum_up(ledger, ledger->gpus[lease->gpus[i]].memory);
    }
    return 0;
}

void ledger_lower(struct ledger *ledger, const struct lease *lease, uint64_t now_ns)
{
    for (size_t i = 0; i < lease->gpu_count; i++) {
        ledger->gpus[ledger->gpus[lease->gpus[i]].memory].lowered_ns = now_ns;
    }
}

/* ---- Nests ----------------------------------------------------------------------------------- */

void ledger_step_in(struct ledger *ledger, const struct owner *owner)
{
    for (size_t i = 0; i < ledger->owner_count; i++) {
        struct owner *inner = &ledger->owners[i];
        if (inner != owner && inner->leases && inner->holder == owner->holder &&
            ledger->ops->holder(ledger->data, inner->key) == owner->key) {
            inner->holder = owner->key;
        }
    }
}

static void record_all(struct ledger *ledger, const struct owner *owner)
{
    for (size_t i = 0; i < ledger->lease_count; i++) {
        if (ledger->leases[i]->owner == owner->key) {
            struct ledger_lease view = ledger_view(ledger, ledger->leases[i]);
            (void)ledger->ops->record(ledger->data, &view, true);
        }
    }
}

void ledger_record_members(struct ledger *ledger, const struct owner *owner)
{
    for (size_t i = 0; i < ledger->owner_count; i++) {
        if (ledger->owners[i].holder == owner->key) {
            record_all(ledger, &ledger->owners[i]);
        }
    }
}

/* An owner without a lease stands between nobody any more: who was its member is its holder's from now on. */
static void step_out(struct ledger *ledger, struct owner *owner)
{
    for (size_t i = 0; i < ledger->owner_count; i++) {
        struct owner *inner = &ledger->owners[i];
        if (inner->holder == owner->key) {
            inner->holder = owner->holder == inner->key ? 0 : owner->holder;
            record_all(ledger, inner);
        }
    }
    owner->holder = 0;
}

struct lease *ledger_take_lease(struct ledger *ledger, size_t i)
{
    struct lease *lease = ledger->leases[i];
    for (size_t j = 0; j < lease->gpu_count; j++) {
        debit(ledger, lease, lease->gpus[j]);
    }
    struct owner *owner = ledger_owner(ledger, lease->owner);
    memmove(&ledger->leases[i], &ledger->leases[i + 1],
            (ledger->lease_count - i - 1) * sizeof(struct lease *));
    ledger->lease_count--;
    if (--owner->leases == 0) {
        step_out(ledger, owner);
    }
    ledger_owner_forget(ledger, lease->owner);
    return lease;
}

void ledger_remove_lease(struct ledger *ledger, size_t i, uint32_t why)
{
    struct lease *lease = ledger_take_lease(ledger, i);
    ledger->ops->ended(ledger->data, lease->id, why);
    (void)lease_free(lease);
}

void ledger_drop_share(struct ledger *ledger, struct lease *lease, size_t which)
{
    debit(ledger, lease, lease->gpus[which]);
    lease->gpus[which] = lease->gpus[--lease->gpu_count];
}
