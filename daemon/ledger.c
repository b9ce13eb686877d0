/* SPDX-License-Identifier: MIT */
/* The ledger: life, requests, time, and what can be looked at. */
#include "daemon/ledger_inner.h"

#include "common/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More than any card has: sums of as many as there can be stay below what a signed number holds. */
#define SIZE_LIMIT ((uint64_t)1 << 50)

struct ledger *ledger_new(const struct ledger_ops *ops, void *data)
{
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    if (ledger) {
        ledger->ops = ops;
        ledger->data = data;
    }
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    if (!ledger) {
        return;
    }
    for (size_t i = 0; i < ledger->lease_count; i++) {
        (void)lease_free(ledger->leases[i]);
    }
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        free(ledger->waiters[i]);
    }
    for (size_t i = 0; i < ledger->owner_count; i++) {
        free(ledger->owners[i].accounts);
    }
    for (size_t i = 0; i < ledger->user_count; i++) {
        free(ledger->users[i]);
    }
    free(ledger->users);
    free(ledger->leases);
    free(ledger->waiters);
    free(ledger->turns);
    free(ledger->owners);
    free(ledger->ceilings);
    free(ledger->pasts);
    free(ledger->places);
    free(ledger);
}

/* ---- After a restart ------------------------------------------------------------------------- */

int ledger_restore_lease(struct ledger *ledger, const struct ledger_lease *from)
{
    int64_t bases[LEDGER_GPUS];
    if (ledger_lease_of_id(ledger, from->id)) {
        return -EEXIST;
    }
    if (!from->gpu_count || from->gpu_count > LEDGER_GPUS || !from->size_bytes ||
        from->size_bytes > SIZE_LIMIT || !from->owner) {
        return -EINVAL;
    }
    struct lease *lease = lease_new(from->id, from->gpu_count);
    if (!lease) {
        return -ENOMEM;
    }
    lease->owner = from->owner;
    lease->size_bytes = from->size_bytes;
    lease->until_ns = from->until_ns;
    lease->notice_ns = lease_notice(from->until_ns, 0);
    lease->filled = from->filled;
    lease->user = ledger_user(ledger, from->user);
    int r = lease->user ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < from->gpu_count; i++) {
        bases[i] = from->gpus[i].base_bytes;
        lease->gpus[i] = ledger_gpu_add(ledger, from->gpus[i].uuid);
        r = lease->gpus[i] == NO_GPU ? -ENOSPC : 0;
    }
    r = r < 0 ? r : ledger_add_lease(ledger, lease, from->holder, bases);
    if (r < 0) {
        (void)lease_free(lease);
    } else {
        lease->user->last_grant = ++ledger->grants;
    }
    return r;
}

/* ---- Requests -------------------------------------------------------------------------------- */

bool waiter_wants(const struct waiter *waiter, size_t gpu)
{
    return waiter->any_gpu || gpu_set_has(&waiter->candidates, gpu);
}

static struct waiter *waiter_of_id(const struct ledger *ledger, const char *id)
{
    int found = ledger_find_waiter(ledger, id);
    return found < 0 ? NULL : ledger->waiters[found];
}

static int check(const struct ledger_request *request)
{
    bool sized = request->size_bytes && request->size_bytes != VRAM_UNKNOWN;
    bool named = !request->candidates || request->candidate_count;
    return sized && request->gpu_count && request->id[0] && request->owner && named ? 0 : -EINVAL;
}

static int enqueue(struct ledger *ledger, struct waiter *waiter)
{
    struct owner *owner = ledger_owner_make(ledger, waiter->owner);
    if (!owner ||
        LEDGER_MAKE_ROOM(ledger->waiters, ledger->waiter_room, ledger->waiter_count) < 0 ||
        LEDGER_MAKE_ROOM(ledger->turns, ledger->turn_room, ledger->waiter_count) < 0) {
        ledger_owner_forget(ledger, waiter->owner);
        return -ENOMEM;
    }
    owner->requests++;
    waiter->seq = ++ledger->arrivals;
    ledger->turns[ledger->waiter_count] = waiter;
    ledger->waiters[ledger->waiter_count++] = waiter;
    ledger->numbered = false;
    return 0;
}

static int queue_request(struct ledger *ledger, const struct ledger_request *request,
                         uint64_t now_ns, bool absent)
{
    struct waiter *waiter = calloc(1, sizeof(*waiter));
    if (!waiter) {
        return -ENOMEM;
    }
    *waiter = (struct waiter){
        .user = ledger_user(ledger, request->user),
        .owner = request->owner,
        .size_bytes = request->size_bytes,
        .margin_bytes = request->margin_bytes,
        .margin_millipercent = request->margin_millipercent,
        .gpu_count = request->gpu_count,
        .any_gpu = !request->candidates,
        .waits = request->waits,
        .absent = absent,
        .arrived_ns = now_ns,
        .deadline_ns = request->deadline_ns,
        .lasts_ns = request->lasts_ns,
        .nearest = NO_GPU,
        .missing_bytes = VRAM_UNKNOWN,
    };
    memcpy(waiter->id, request->id, sizeof(waiter->id));
    for (size_t i = 0; request->candidates && i < request->candidate_count; i++) {
        size_t gpu = ledger_gpu_add(ledger, request->candidates[i]);
        if (gpu != NO_GPU) { /* beyond what the table holds there is nothing to be had */
            gpu_set_add(&waiter->candidates, gpu);
        }
    }
    int r = waiter->user ? enqueue(ledger, waiter) : -ENOMEM;
    if (r < 0 && waiter->user) {
        user_leave(waiter->user);
    }
    if (r < 0) {
        free(waiter);
    }
    return r;
}

int ledger_ask(struct ledger *ledger, const struct ledger_request *request, uint64_t now_ns)
{
    int r = check(request);
    if (r < 0) {
        return r;
    }
    struct waiter *known = waiter_of_id(ledger, request->id);
    if (known && known->absent && known->owner == request->owner) {
        known->absent = false;
        known->arrived_ns = now_ns;
        known->deadline_ns = request->deadline_ns;
        return 0;
    }
    if (known || ledger_lease_of_id(ledger, request->id)) {
        return -EEXIST;
    }
    return queue_request(ledger, request, now_ns, false);
}

int ledger_restore_waiter(struct ledger *ledger, const struct ledger_request *request,
                          uint64_t now_ns)
{
    int r = check(request);
    if (r == 0 && (waiter_of_id(ledger, request->id) || ledger_lease_of_id(ledger, request->id))) {
        r = -EEXIST;
    }
    r = r < 0 ? r : queue_request(ledger, request, now_ns, true);
    if (r == 0) {
        ledger->grace_ns = now_ns + LEDGER_GRACE_NS;
    }
    return r;
}

void ledger_restrict(struct ledger *ledger, const char *id, const char *const *uuids, size_t count)
{
    struct waiter *waiter = waiter_of_id(ledger, id);
    struct gpu_set allowed = {{0}};
    for (size_t i = 0; waiter && i < count; i++) {
        size_t gpu = ledger_gpu_add(ledger, uuids[i]);
        if (gpu != NO_GPU && waiter_wants(waiter, gpu)) {
            gpu_set_add(&allowed, gpu);
        }
    }
    if (waiter) {
        waiter->any_gpu = false;
        waiter->candidates = allowed;
        ledger->numbered = false;
    }
}

int ledger_grow(struct ledger *ledger, const char *id, const char *request_id, uint64_t more_bytes,
                uint64_t now_ns)
{
    const struct lease *lease = ledger_lease_of_id(ledger, id);
    if (!lease) {
        return -ENOENT;
    }
    struct ledger_request request = {
        .owner = lease->owner,
        .user = lease->user->id,
        .size_bytes = more_bytes,
        .gpu_count = (uint32_t)lease->gpu_count,
        .margin_bytes = VRAM_UNKNOWN,
        .deadline_ns = LEDGER_NEVER,
        .lasts_ns = LEDGER_NEVER,
    };
    (void)text_copy(request.id, sizeof(request.id), request_id);
    int r = ledger_ask(ledger, &request, now_ns);
    if (r == 0) {
        struct waiter *waiter = ledger->waiters[ledger->waiter_count - 1];
        (void)text_copy(waiter->grows, sizeof(waiter->grows), id);
        waiter->any_gpu = false;
        for (size_t i = 0; i < lease->gpu_count; i++) {
            gpu_set_add(&waiter->candidates, lease->gpus[i]);
        }
    }
    return r;
}

int ledger_shrink(struct ledger *ledger, const char *id, uint64_t size_bytes, uint64_t now_ns)
{
    struct lease *lease = ledger_lease_of_id(ledger, id);
    if (!lease) {
        return -ENOENT;
    }
    if (!size_bytes || size_bytes > lease->size_bytes) {
        return -EINVAL;
    }
    uint64_t less = lease->size_bytes - size_bytes;
    lease->size_bytes = size_bytes;
    ledger_lower(ledger, lease, now_ns);
    for (size_t i = 0; i < lease->gpu_count; i++) {
        size_t memory = ledger->gpus[lease->gpus[i]].memory;
        struct account *account = ledger_account(ledger_owner(ledger, lease->owner), memory);
        account->sizes_bytes -= less;
        account->unfilled_bytes -= lease->filled ? 0 : less;
        ledger_sum_up(ledger, memory);
    }
    return 0;
}

/* What the members have allocated of it becomes their base: they are promised no more, and what they give
 * back is nobody's promise. */
int ledger_fill(struct ledger *ledger, const char *id, uint64_t now_ns)
{
    struct lease *lease = ledger_lease_of_id(ledger, id);
    if (!lease) {
        return -ENOENT;
    }
    if (lease->filled) {
        return 0;
    }
    lease->filled = true;
    ledger_lower(ledger, lease, now_ns);
    for (size_t i = 0; i < lease->gpu_count; i++) {
        const struct gpu *gpu = &ledger->gpus[lease->gpus[i]];
        struct account *account = ledger_account(ledger_owner(ledger, lease->owner), gpu->memory);
        int64_t over_base = (int64_t)account->used_bytes - account->base_bytes;
        int64_t size = (int64_t)lease->size_bytes;
        account->unfilled_bytes -= lease->size_bytes;
        if (over_base > 0) {
            account->base_bytes += over_base < size ? over_base : size;
            ledger->ops->base(ledger->data, lease->owner, gpu->uuid, account->base_bytes);
        }
        ledger_sum_up(ledger, gpu->memory);
    }
    return 0;
}

int ledger_until(struct ledger *ledger, const char *id, uint64_t until_ns, uint64_t now_ns)
{
    struct lease *lease = ledger_lease_of_id(ledger, id);
    if (!lease) {
        return -ENOENT;
    }
    lease->until_ns = until_ns;
    lease->notice_ns = lease_notice(until_ns, now_ns);
    return 0;
}

/* ---- Ends ------------------------------------------------------------------------------------ */

void ledger_forget_waiter(struct ledger *ledger, struct waiter *waiter)
{
    struct owner *owner = ledger_owner(ledger, waiter->owner);
    owner->requests--;
    user_leave(waiter->user);
    ledger_owner_forget(ledger, waiter->owner);
    ledger->numbered = false;
    free(waiter);
}

static void take_out(struct waiter **list, size_t count, size_t i)
{
    memmove(&list[i], &list[i + 1], (count - i - 1) * sizeof(*list));
}

static void remove_waiter(struct ledger *ledger, size_t i)
{
    struct waiter *waiter = ledger->waiters[i];
    size_t turn = 0;
    while (ledger->turns[turn] != waiter) {
        turn++;
    }
    take_out(ledger->turns, ledger->waiter_count, turn);
    take_out(ledger->waiters, ledger->waiter_count--, i);
    ledger_forget_waiter(ledger, waiter);
}

int ledger_end(struct ledger *ledger, const char *id, uint64_t now_ns)
{
    int found = -1;
    for (size_t i = 0; found < 0 && i < ledger->lease_count; i++) {
        found = strcmp(ledger->leases[i]->id, id) == 0 ? (int)i : -1;
    }
    if (found >= 0) {
        ledger_lower(ledger, ledger->leases[found], now_ns);
        ledger_remove_lease(ledger, (size_t)found, LEDGER_RELEASED);
        return 1;
    }
    found = ledger_find_waiter(ledger, id);
    if (found < 0 || strcmp(ledger->waiters[found]->id, id) != 0) {
        return -ENOENT;
    }
    remove_waiter(ledger, (size_t)found);
    return 0;
}

void ledger_owner_ended(struct ledger *ledger, uint64_t key, uint64_t now_ns)
{
    struct owner *owner = ledger_owner(ledger, key);
    if (!owner) {
        return;
    }
    owner->ended = true;
    owner->looked_at = false;
    owner->ended_ns = now_ns;
    for (size_t i = ledger->waiter_count; i-- > 0;) {
        if (ledger->waiters[i]->owner == key) {
            remove_waiter(ledger, i); /* the last one may take its owner along */
        }
    }
}

void ledger_tick(struct ledger *ledger, uint64_t now_ns)
{
    bool grace_is_over = ledger->grace_ns && ledger->grace_ns <= now_ns;
    for (size_t i = ledger->waiter_count; i-- > 0;) {
        struct waiter *waiter = ledger->waiters[i];
        if (waiter->absent && grace_is_over) {
            remove_waiter(ledger, i);
        } else if (!waiter->absent && waiter->deadline_ns <= now_ns) {
            char id[LEDGER_ID_MAX];
            memcpy(id, waiter->id, sizeof(id));
            remove_waiter(ledger, i);
            ledger->ops->answer(ledger->data, id, LEDGER_TIMED_OUT, NULL, NULL);
        }
    }
    if (grace_is_over) {
        ledger->grace_ns = 0;
    }
    for (size_t i = ledger->lease_count; i-- > 0;) {
        struct lease *lease = ledger->leases[i];
        bool is_idle = lease->idle_until_ns <= now_ns;
        if (is_idle || lease->until_ns <= now_ns) {
            ledger_lower(ledger, lease, now_ns);
            ledger_remove_lease(ledger, i, is_idle ? LEDGER_IDLE : LEDGER_EXPIRED);
        } else if (lease->notice_ns <= now_ns) {
            struct ledger_lease view = ledger_view(ledger, lease);
            lease->notice_ns = LEDGER_NEVER;
            ledger->ops->notice(ledger->data, &view);
        }
    }
}

uint64_t ledger_next_ns(const struct ledger *ledger)
{
    uint64_t next = ledger->grace_ns ? ledger->grace_ns : LEDGER_NEVER;
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        const struct waiter *waiter = ledger->waiters[i];
        if (!waiter->absent && waiter->deadline_ns < next) {
            next = waiter->deadline_ns;
        }
    }
    for (size_t i = 0; i < ledger->lease_count; i++) {
        const struct lease *lease = ledger->leases[i];
        next = lease->until_ns < next ? lease->until_ns : next;
        next = lease->idle_until_ns < next ? lease->idle_until_ns : next;
        next = lease->notice_ns < next ? lease->notice_ns : next;
    }
    return next;
}

int ledger_take(struct ledger *ledger, const struct ledger_sample *sample, uint64_t now_ns)
{
    ledger_tick(ledger, now_ns);
    int r = ledger_book(ledger, sample);
    if (r == 0) {
        ledger_decide(ledger, sample);
    }
    return r;
}
