/* SPDX-License-Identifier: MIT */
/*
 * Whose turn it is. Requests of one user are served as they came. Among users the one comes first that would have least:
 * each request is tagged with what its user has leased and has asked for before it. So ten requests of one user and one
 * of another are not eleven in a row: the one is first or second. Of equals the user who was not served longest comes first.
 *
 * Nobody waits for ever. A request that is the first of its user's (among those that want the memory) is passed over at
 * most LEDGER_PASSES times by later ones, be it by turn or because it cannot run; by its own user's later ones no request
 * is more often. Then it goes before all others, with what its user asked for before it, and nobody passes it.
 */
#include "daemon/ledger_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REMEMBERED 256 /* users, with those that have nothing and were served once */

/* ---- Users ----------------------------------------------------------------------------------- */

static void forget_users(struct ledger *ledger)
{
    size_t kept = 0;
    for (size_t i = 0; i < ledger->user_count; i++) {
        if (ledger->users[i]->references) {
            ledger->users[kept++] = ledger->users[i];
        } else {
            free(ledger->users[i]);
        }
    }
    ledger->user_count = kept;
}

static struct user *find_user(const struct ledger *ledger, uint32_t id)
{
    for (size_t i = 0; i < ledger->user_count; i++) {
        if (ledger->users[i]->id == id) {
            return ledger->users[i];
        }
    }
    return NULL;
}

struct user *ledger_user(struct ledger *ledger, uint32_t id)
{
    struct user *user = find_user(ledger, id);
    if (!user && ledger->user_count >= REMEMBERED) {
        forget_users(ledger);
    }
    if (!user && LEDGER_MAKE_ROOM(ledger->users, ledger->user_room, ledger->user_count) == 0) {
        user = calloc(1, sizeof(*user));
        if (user) {
            user->id = id;
            ledger->users[ledger->user_count++] = user;
        }
    }
    if (user) {
        user->references++;
    }
    return user;
}

static uint64_t bytes_of(uint64_t size_bytes, size_t gpu_count)
{
    return size_bytes <= UINT64_MAX / LEDGER_GPUS ? size_bytes * gpu_count : UINT64_MAX;
}

void ledger_weigh_users(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->user_count; i++) {
        struct user *user = ledger->users[i];
        user->bytes = user->asked_bytes = 0;
        user->leases = 0;
        user->gpus = (struct gpu_set){{0}};
        user->promoted = false;
    }
    for (size_t i = 0; i < ledger->lease_count; i++) {
        const struct lease *lease = ledger->leases[i];
        struct user *user = lease->user;
        user->leases++;
        user->bytes = room_sum(user->bytes, bytes_of(lease->size_bytes, lease->gpu_count));
        for (size_t j = 0; j < lease->gpu_count; j++) {
            gpu_set_add(&user->gpus, lease->gpus[j]);
        }
    }
}

static uint32_t gpu_set_count(const struct gpu_set *set)
{
    uint32_t count = 0;
    for (size_t i = 0; i < LEDGER_GPUS; i++) {
        count += gpu_set_has(set, i);
    }
    return count;
}

struct ledger_tally ledger_tally_of(const struct ledger *ledger, uint32_t id)
{
    struct ledger_tally tally = {0};
    struct gpu_set gpus = {{0}};
    for (size_t i = 0; i < ledger->lease_count; i++) {
        const struct lease *lease = ledger->leases[i];
        if (lease->user->id == id) {
            tally.leases++;
            tally.bytes = room_sum(tally.bytes, bytes_of(lease->size_bytes, lease->gpu_count));
            for (size_t j = 0; j < lease->gpu_count; j++) {
                gpu_set_add(&gpus, lease->gpus[j]);
            }
        }
    }
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        const struct waiter *waiter = ledger->waiters[i];
        tally.waiters += waiter && waiter->waits && waiter->user->id == id;
    }
    tally.gpus = gpu_set_count(&gpus);
    return tally;
}

/* ---- Limits ---------------------------------------------------------------------------------- */

/* Once for a pass: it asks for names, and a thousand requests may be one user's. */
static void find_limits(struct ledger *ledger)
{
    static const struct ledger_limits none = {UINT64_MAX, UINT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < ledger->user_count; i++) {
        struct user *user = ledger->users[i];
        if (user->references) {
            user->limits = ledger->ops->limits ? ledger->ops->limits(ledger->data, user->id) : none;
        }
    }
}

enum limited ledger_limit(const struct ledger *ledger, const struct waiter *waiter)
{
    const struct ledger_limits limits = waiter->user->limits;
    const struct lease *grows = waiter->grows[0] ? ledger_lease_of_id(ledger, waiter->grows) : NULL;
    const struct user *user = waiter->user;
    uint64_t more = bytes_of(waiter->size_bytes, waiter->gpu_count);
    uint64_t whole = grows ? room_sum(more, bytes_of(grows->size_bytes, grows->gpu_count)) : more;
    bool is_new = !waiter->grows[0];
    if (whole > limits.bytes ||
        (is_new && (waiter->gpu_count > limits.gpus || limits.leases == 0))) {
        return LIMIT_NEVER;
    }
    bool later =
        room_sum(user->bytes, more) > limits.bytes || (is_new && user->leases >= limits.leases);
    return later ? LIMIT_LATER : LIMIT_ALLOWS;
}

bool waiter_is_bound_to_own_gpus(const struct waiter *waiter)
{
    const struct user *user = waiter->user;
    return !waiter->grows[0] && user->limits.gpus != UINT32_MAX &&
           gpu_set_count(&user->gpus) + waiter->gpu_count > user->limits.gpus;
}

/* ---- Order ----------------------------------------------------------------------------------- */

static int compare(const void *a_place, const void *b_place)
{
    const struct waiter *a = *(struct waiter *const *)a_place,
                        *b = *(struct waiter *const *)b_place;
    if (a->promoted != b->promoted) {
        return a->promoted ? -1 : 1;
    }
    if (!a->promoted && a->user != b->user) {
        if (a->tag != b->tag) {
            return a->tag < b->tag ? -1 : 1;
        }
        if (a->user->last_grant != b->user->last_grant) {
            return a->user->last_grant < b->user->last_grant ? -1 : 1;
        }
    }
    return a->seq < b->seq ? -1 : 1;
}

/* Whether more than one user waits: else they are in order as they stand. */
static bool tag_all(struct ledger *ledger)
{
    bool several = false;
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        struct waiter *waiter = ledger->waiters[i];
        struct user *user = waiter->user;
        waiter->tag = room_sum(user->bytes, user->asked_bytes);
        user->asked_bytes =
            room_sum(user->asked_bytes, bytes_of(waiter->size_bytes, waiter->gpu_count));
        several |= user != ledger->waiters[0]->user;
    }
    for (size_t i = ledger->waiter_count; i-- > 0;) { /* what stood before it stays before it */
        struct waiter *waiter = ledger->waiters[i];
        waiter->user->promoted |= waiter->passes >= LEDGER_PASSES;
        waiter->promoted = waiter->user->promoted;
    }
    return several;
}

void ledger_order(struct ledger *ledger)
{
    ledger_weigh_users(ledger);
    find_limits(ledger);
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        ledger->waiters[i]->place = i;
        ledger->turns[i] = ledger->waiters[i];
    }
    if (tag_all(ledger)) {
        qsort(ledger->turns, ledger->waiter_count, sizeof(struct waiter *), compare);
    }
    ledger->numbered = false;
}

static bool want_the_same(const struct waiter *a, const struct waiter *b)
{
    return a->any_gpu == b->any_gpu && memcmp(&a->memories, &b->memories, sizeof(a->memories)) == 0;
}

static bool overlap(const struct waiter *a, const struct waiter *b)
{
    bool any = a->any_gpu || b->any_gpu;
    for (size_t i = 0; !any && i < LEDGER_GPUS / 64; i++) {
        any = a->memories.bits[i] & b->memories.bits[i];
    }
    return any;
}

/* As thousands may wait, and most for the same GPUs, they are counted by kinds. */
void ledger_number(struct ledger *ledger)
{
    struct waiter *kinds = NULL;
    if (ledger->numbered) {
        return;
    }
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        struct waiter *waiter = ledger->turns[i], *own = NULL;
        if (!waiter) {
            continue;
        }
        waiter->memories = (struct gpu_set){{0}};
        waiter_add_memories(ledger, waiter, &waiter->memories);
        waiter->position = 1;
        for (struct waiter *kind = kinds; kind; kind = kind->next_kind) {
            waiter->position += overlap(kind, waiter) ? kind->alike : 0;
            own = want_the_same(kind, waiter) ? kind : own;
        }
        if (own) {
            own->alike++;
        } else {
            waiter->alike = 1;
            waiter->next_kind = kinds;
            kinds = waiter;
        }
    }
    ledger->numbered = true;
}

/* ---- Passing --------------------------------------------------------------------------------- */

void waiter_add_memories(const struct ledger *ledger, const struct waiter *waiter,
                         struct gpu_set *set)
{
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        if (waiter_wants(waiter, i)) {
            gpu_set_add(set, ledger->gpus[i].memory);
        }
    }
}

static bool wants_any(const struct ledger *ledger, const struct waiter *waiter,
                      const struct gpu_set *memories)
{
    bool wants = false;
    for (size_t i = 0; !wants && i < ledger->gpu_count; i++) {
        wants = waiter_wants(waiter, i) && gpu_set_has(memories, ledger->gpus[i].memory);
    }
    return wants;
}

/* Whom its own user's limit keeps waiting was passed over by nobody. */
void ledger_count_passes(struct ledger *ledger, const struct waiter *granted,
                         const struct gpu_set *taken, struct gpu_set *barred)
{
    for (size_t i = 0; i < ledger->user_count; i++) {
        ledger->users[i]->passed = false;
    }
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        struct waiter *earlier = ledger->waiters[i];
        if (!earlier || earlier->seq >= granted->seq || earlier->reason == LEDGER_FOR_LIMIT ||
            (earlier->user != granted->user && earlier->user->passed) ||
            !wants_any(ledger, earlier, taken)) {
            continue;
        }
        earlier->user->passed = true;
        if (++earlier->passes >= LEDGER_PASSES) {
            waiter_add_memories(ledger, earlier, barred);
        }
    }
}
