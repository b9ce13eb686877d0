/* SPDX-License-Identifier: MIT */
/*
 * Ceilings: room kept for programs that never ask. In one memory
 *
 *     kept = max(0, size - used by its processes without a lease there - what leases that stand for them take up)
 *
 * An account takes up what it is promised, or uses where that is more. Where it spills into an outer one, which takes
 * that up in its turn, it is what it is promised alone. So memory that passes from a process to a lease, from one
 * owner to another or back leaves the sum of what is used, promised and kept as it was.
 */
#include "daemon/ledger_inner.h"

#include <errno.h>
#include <stdlib.h>

static struct ceiling *find_ceiling(const struct ledger *ledger, uint32_t number, size_t memory)
{
    for (size_t i = 0; number && i < ledger->ceiling_count; i++) {
        struct ceiling *ceiling = &ledger->ceilings[i];
        if (ceiling->number == number && ceiling->memory == memory) {
            return ceiling;
        }
    }
    return NULL;
}

/* The ceiling in a memory that an owner's leases stand for: of several the first. NULL: none. */
static struct ceiling *ceiling_over(const struct ledger *ledger, const struct owner *owner,
                                    size_t memory)
{
    struct ceiling *found = NULL;
    for (size_t i = 0; owner && owner->ceilings && i < ledger->ceiling_count; i++) {
        struct ceiling *ceiling = &ledger->ceilings[i];
        bool over = ceiling->memory == memory && owner->ceilings >> (ceiling->number - 1) & 1;
        found = over && (!found || ceiling->number < found->number) ? ceiling : found;
    }
    return found;
}

static uint64_t kept_by(const struct ceiling *ceiling)
{
    return room_difference(ceiling->size_bytes,
                           room_sum(ceiling->used_bytes, ceiling->leased_bytes));
}

/* ---- Booking --------------------------------------------------------------------------------- */

int ledger_book_ceilings(struct ledger *ledger, const struct ledger_sample *sample)
{
    struct ceiling *ceilings = calloc(sample->ceiling_count + 1, sizeof(*ceilings));
    if (!ceilings) {
        return -ENOMEM;
    }
    free(ledger->ceilings);
    ledger->ceilings = ceilings;
    ledger->ceiling_count = 0;
    for (size_t i = 0; i < sample->ceiling_count; i++) {
        const struct ledger_ceiling *from = &sample->ceilings[i];
        size_t place = ledger->places[from->gpu];
        bool known = place != NO_GPU && from->number >= 1 && from->number <= LEDGER_CEILINGS;
        if (known && !find_ceiling(ledger, from->number, ledger->gpus[place].memory)) {
            ceilings[ledger->ceiling_count++] = (struct ceiling){
                .number = from->number,
                .memory = ledger->gpus[place].memory,
                .size_bytes = from->size_bytes,
            };
        }
    }
    ledger_book_ceiling_uses(ledger, sample);
    ledger_sum_up_all(ledger);
    return 0;
}

void ledger_book_ceiling_uses(struct ledger *ledger, const struct ledger_sample *sample)
{
    for (size_t i = 0; i < ledger->ceiling_count; i++) {
        ledger->ceilings[i].used_bytes = 0;
    }
    for (size_t i = 0; ledger->ceiling_count && i < sample->use_count; i++) {
        const struct ledger_use *use = &sample->uses[i];
        size_t place = ledger->places[use->gpu];
        struct ceiling *ceiling =
            place == NO_GPU ? NULL : find_ceiling(ledger, use->ceiling, ledger->gpus[place].memory);
        if (!ceiling) {
            continue;
        }
        struct owner *asker = ledger_owner(ledger, use->owner);
        struct owner *owner = ledger_counts_for(ledger, use, ceiling->memory);
        uint64_t bit = (uint64_t)1 << (ceiling->number - 1);
        if (asker) {
            asker->ceilings |= bit;
        }
        if (owner) {
            owner->ceilings |= bit;
        } else if (ledger_believed(use->used_bytes) != VRAM_UNKNOWN) {
            ceiling->used_bytes += use->used_bytes;
        }
    }
}

static void take_up(const struct ledger *ledger, const struct owner *owner,
                    const struct account *account, struct ceiling *ceiling)
{
    uint64_t used = account->used_bytes + account->spilt_bytes;
    if (ledger_nearest(ledger, owner->holder, account->memory)) {
        used -= account_excess(account);
    }
    ceiling->leased_bytes += used + account_outstanding(account);
    ceiling->leased_used_bytes += used;
}

uint64_t ledger_keep(struct ledger *ledger, size_t memory)
{
    uint64_t kept = 0;
    for (size_t i = 0; i < ledger->ceiling_count; i++) {
        if (ledger->ceilings[i].memory == memory) {
            ledger->ceilings[i].leased_bytes = ledger->ceilings[i].leased_used_bytes = 0;
        }
    }
    for (size_t i = 0; ledger->ceiling_count && i < ledger->owner_count; i++) {
        const struct owner *owner = &ledger->owners[i];
        const struct account *account = ledger_account(owner, memory);
        struct ceiling *ceiling = account ? ceiling_over(ledger, owner, memory) : NULL;
        if (ceiling) {
            take_up(ledger, owner, account, ceiling);
        }
    }
    for (size_t i = 0; i < ledger->ceiling_count; i++) {
        kept += ledger->ceilings[i].memory == memory ? kept_by(&ledger->ceilings[i]) : 0;
    }
    ledger->gpus[memory].kept_bytes = kept;
    return kept;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

uint64_t ledger_kept_for(const struct ledger *ledger, const struct owner *owner, size_t memory)
{
    const struct ceiling *ceiling = ceiling_over(ledger, owner, memory);
    if (!ceiling) {
        return 0;
    }
    /* What is asked for within another's lease is promised there already. */
    uint64_t around = owner->leases ? owner->holder : ledger->ops->holder(ledger->data, owner->key);
    return ledger_nearest(ledger, around, memory) ? 0 : kept_by(ceiling);
}

bool ledger_is_kept(const struct ledger *ledger, const struct ledger_use *use, size_t memory)
{
    const struct ceiling *ceiling = find_ceiling(ledger, use->ceiling, memory);
    return ceiling && room_sum(ceiling->used_bytes, ceiling->leased_bytes) <= ceiling->size_bytes;
}

void ledger_put_under(struct ledger *ledger, uint64_t key, uint64_t ceilings)
{
    struct owner *owner = ledger_owner(ledger, key);
    if (owner) {
        owner->ceilings = ceilings;
        ledger_sum_up_all(ledger);
    }
}

void ledger_forget_ceilings(struct ledger *ledger)
{
    ledger->ceiling_count = 0;
    for (size_t i = 0; i < ledger->owner_count; i++) {
        ledger->owners[i].ceilings = 0;
    }
    ledger_sum_up_all(ledger);
}

/* ---- To look at ------------------------------------------------------------------------------ */

uint64_t ledger_kept(const struct ledger *ledger, const char *uuid)
{
    size_t gpu = ledger_gpu(ledger, uuid);
    return gpu == NO_GPU ? 0 : ledger->gpus[ledger->gpus[gpu].memory].kept_bytes;
}

uint64_t ledger_kept_of(const struct ledger *ledger, const char *uuid, uint64_t ceilings)
{
    size_t gpu = ledger_gpu(ledger, uuid);
    const struct owner asker = {.ceilings = ceilings};
    const struct ceiling *ceiling =
        gpu == NO_GPU ? NULL : ceiling_over(ledger, &asker, ledger->gpus[gpu].memory);
    return ceiling ? kept_by(ceiling) : 0;
}

uint64_t ledger_beyond(const struct ledger *ledger, const char *uuid, uint32_t number)
{
    size_t gpu = ledger_gpu(ledger, uuid);
    const struct ceiling *ceiling =
        gpu == NO_GPU ? NULL : find_ceiling(ledger, number, ledger->gpus[gpu].memory);
    return ceiling ? room_difference(room_sum(ceiling->used_bytes, ceiling->leased_bytes),
                                     ceiling->size_bytes)
                   : 0;
}

size_t ledger_ceiling_count(const struct ledger *ledger)
{
    return ledger->ceiling_count;
}

struct ledger_ceiling_share ledger_ceiling_at(const struct ledger *ledger, size_t i)
{
    const struct ceiling *ceiling = &ledger->ceilings[i];
    return (struct ledger_ceiling_share){
        .number = ceiling->number,
        .uuid = ledger->gpus[ceiling->memory].uuid,
        .size_bytes = ceiling->size_bytes,
        .held_bytes = room_sum(ceiling->used_bytes, ceiling->leased_used_bytes),
        .outstanding_bytes = kept_by(ceiling),
    };
}
