/* SPDX-License-Identifier: MIT */
/* The order of the queue: who is answered, who is granted, who waits on and for what. */
#include "daemon/ledger_inner.h"

#include "common/size.h"
#include "common/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A request's candidates, reckoned. */
struct reckoning {
    size_t count;
    struct room rooms[LEDGER_GPUS];
    size_t gpus[LEDGER_GPUS];
    const char *uuids[LEDGER_GPUS];
};

/* What a pass over the queue has come to. */
struct pass {
    struct ledger *ledger;
    const struct ledger_sample *sample;
    struct gpu_set barred;    /* memories that somebody has been passed over for often enough */
    struct gpu_set returning; /* memories that an absent waiter has a place before */
    struct reckoning *all, *open;
    size_t left; /* how many were not answered yet */
};

/* ---- Reckoning ------------------------------------------------------------------------------- */

static uint64_t margin_for(const struct waiter *waiter, const struct gpu *gpu)
{
    if (waiter->margin_millipercent) {
        return gpu->total_bytes == VRAM_UNKNOWN
                   ? VRAM_UNKNOWN
                   : margin_of(gpu->total_bytes, waiter->margin_millipercent);
    }
    return waiter->margin_bytes == VRAM_UNKNOWN ? gpu->margin_bytes : waiter->margin_bytes;
}

/* What is outstanding counts in full, the asker's own too: a further lease comes on top of it. Only what a ceiling keeps
 * for it does not, as far as this lease would come out of it. */
static void reckon(const struct ledger *ledger, const struct waiter *waiter,
                   struct reckoning *reckoning)
{
    const struct owner *owner = ledger->ceiling_count ? ledger_owner(ledger, waiter->owner) : NULL;
    reckoning->count = 0;
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        const struct gpu *gpu = &ledger->gpus[i], *memory = &ledger->gpus[gpu->memory];
        if (!waiter_wants(waiter, i)) {
            continue;
        }
        uint64_t kept = owner ? ledger_kept_for(ledger, owner, gpu->memory) : 0;
        uint64_t own = kept < waiter->size_bytes ? kept : waiter->size_bytes;
        reckoning->gpus[reckoning->count] = i;
        reckoning->uuids[reckoning->count] = gpu->uuid;
        reckoning->rooms[reckoning->count++] = (struct room){
            .total_bytes = gpu->total_bytes,
            .reserved_bytes = gpu->reserved_bytes,
            .free_bytes = gpu->free_bytes,
            .promised_bytes = memory->outstanding_bytes - own,
            .margin_bytes = margin_for(waiter, gpu),
            .pool = (uint32_t)gpu->memory,
            .usable = gpu->usable,
            .current = gpu->current,
            .closed = gpu->drained,
        };
    }
}

static bool is_doubtful(const struct gpu *memory, uint64_t now_ns)
{
    return memory->doubt_since_ns && now_ns - memory->doubt_since_ns < LEDGER_DOUBT_MAX_NS;
}

/* The candidates that may be had now. */
static void leave_open(const struct pass *pass, const struct waiter *waiter, struct reckoning *open)
{
    const struct ledger *ledger = pass->ledger;
    bool is_bound = waiter_is_bound_to_own_gpus(waiter);
    open->count = pass->all->count;
    for (size_t i = 0; i < open->count; i++) {
        open->gpus[i] = pass->all->gpus[i];
        open->rooms[i] = pass->all->rooms[i];
        size_t number = ledger->gpus[open->gpus[i]].memory;
        const struct gpu *memory = &ledger->gpus[number];
        bool closed = gpu_set_has(&pass->barred, number) || gpu_set_has(&pass->returning, number) ||
                      memory->unproven || memory->lowered_ns >= pass->sample->begun_ns ||
                      is_doubtful(memory, pass->sample->ended_ns) ||
                      (is_bound && !gpu_set_has(&waiter->user->gpus, open->gpus[i]));
        open->rooms[i].usable = open->rooms[i].usable && !closed;
    }
}

/* The candidate that lacks least. */
static void find_nearest(struct waiter *waiter, const struct reckoning *reckoning)
{
    waiter->nearest = NO_GPU;
    waiter->missing_bytes = VRAM_UNKNOWN;
    for (size_t i = 0; i < reckoning->count; i++) {
        const struct room *room = &reckoning->rooms[i];
        if (room->usable && room->answer != ROOM_NEVER && !room->closed &&
            (waiter->nearest == NO_GPU || room->shortfall_bytes < waiter->missing_bytes)) {
            waiter->nearest = reckoning->gpus[i];
            waiter->missing_bytes = room->shortfall_bytes;
        }
    }
}

/* Whether nothing new is promised wherever it could be. */
static bool is_drained(const struct reckoning *reckoning)
{
    bool any = false;
    for (size_t i = 0; i < reckoning->count; i++) {
        const struct room *room = &reckoning->rooms[i];
        bool could = room->usable && room->answer != ROOM_NEVER;
        if (could && !room->closed) {
            return false;
        }
        any |= could;
    }
    return any;
}

/* Why it cannot have what there is room for. */
static uint32_t reason_closed(const struct pass *pass, const struct waiter *waiter)
{
    bool turn = false, returning = false;
    for (size_t i = 0; i < pass->all->count; i++) {
        size_t number = pass->ledger->gpus[pass->all->gpus[i]].memory;
        turn |= gpu_set_has(&pass->barred, number);
        returning |= gpu_set_has(&pass->returning, number);
    }
    bool bound = waiter_is_bound_to_own_gpus(waiter);
    return returning ? LEDGER_FOR_RETURN
           : turn    ? LEDGER_FOR_TURN
           : bound   ? LEDGER_FOR_LIMIT
                     : LEDGER_FOR_QUIET;
}

/* Whether only a look is missing: at a process of unknown past, or after a promise that has just ended. */
static bool is_look_wanted(const struct pass *pass)
{
    bool wanted = false;
    for (size_t i = 0; i < pass->all->count; i++) {
        const struct gpu *memory =
            &pass->ledger->gpus[pass->ledger->gpus[pass->all->gpus[i]].memory];
        wanted |= (memory->unproven || memory->lowered_ns >= pass->sample->begun_ns) &&
                  !is_doubtful(memory, pass->sample->ended_ns) &&
                  pass->all->rooms[i].answer == ROOM_FITS;
    }
    return wanted;
}

/* Whether some candidate does not tell its figures only for now. */
static bool may_tell_later(const struct reckoning *reckoning)
{
    for (size_t i = 0; i < reckoning->count; i++) {
        const struct room *room = &reckoning->rooms[i];
        if (room->usable && room->answer == ROOM_CANNOT_TELL && !room->current) {
            return true;
        }
    }
    return false;
}

/* ---- Granting -------------------------------------------------------------------------------- */

static void tell(struct pass *pass, const struct waiter *waiter, uint32_t verdict,
                 const struct lease *lease)
{
    struct ledger *ledger = pass->ledger;
    struct ledger_sum sum = {pass->all->count, pass->all->rooms, pass->all->uuids, pass->left - 1};
    struct ledger_lease view = {0};
    if (lease) {
        view = ledger_view(ledger, lease);
    }
    ledger->ops->answer(ledger->data, waiter->id, verdict, lease ? &view : NULL, &sum);
}

/* The room that was chosen is shown as chosen where all candidates are shown. */
static void copy_choice(struct pass *pass)
{
    for (size_t i = 0; i < pass->all->count; i++) {
        pass->all->rooms[i].chosen = pass->open->rooms[i].chosen;
    }
}

static struct lease *new_lease(const struct pass *pass, const struct waiter *waiter)
{
    const struct reckoning *open = pass->open;
    struct lease *lease = lease_new(waiter->id, waiter->gpu_count);
    if (!lease) {
        return NULL;
    }
    lease->gpu_count = 0;
    lease->owner = waiter->owner;
    lease->user = waiter->user;
    lease->user->references++;
    lease->size_bytes = waiter->size_bytes;
    lease->until_ns = waiter->lasts_ns == LEDGER_NEVER
                          ? LEDGER_NEVER
                          : room_sum(pass->sample->ended_ns, waiter->lasts_ns);
    lease->notice_ns = lease_notice(lease->until_ns, pass->sample->ended_ns);
    for (size_t i = 0; i < open->count && lease->gpu_count < waiter->gpu_count; i++) {
        if (open->rooms[i].chosen) {
            lease->gpus[lease->gpu_count++] = open->gpus[i];
        }
    }
    return lease;
}

/* Returns the verdict. Nobody sees the lease before it is written down. */
static uint32_t grant_new(struct pass *pass, const struct waiter *waiter, struct lease **ret_lease)
{
    struct ledger *ledger = pass->ledger;
    bool first[LEDGER_GPUS];
    const int64_t bases[LEDGER_GPUS] = {0};
    struct lease *lease = new_lease(pass, waiter);
    if (!lease) {
        return LEDGER_UNRECORDED;
    }
    struct owner *owner = ledger_owner(ledger, waiter->owner);
    for (size_t i = 0; i < lease->gpu_count; i++) {
        first[i] = !ledger_account(owner, ledger->gpus[lease->gpus[i]].memory);
    }
    bool is_first = !owner->leases;
    uint64_t holder = is_first ? ledger->ops->holder(ledger->data, waiter->owner) : owner->holder;
    if (ledger_add_lease(ledger, lease, holder, bases) < 0) {
        (void)lease_free(lease);
        return LEDGER_UNRECORDED;
    }
    if (is_first) {
        ledger_step_in(ledger, owner);
    }
    ledger_book_first(ledger, pass->sample, lease, first);
    struct ledger_lease view = ledger_view(ledger, lease);
    if (ledger->ops->record(ledger->data, &view, false) < 0) {
        (void)lease_free(ledger_take_lease(ledger, ledger->lease_count - 1));
        ledger_book_uses(ledger, pass->sample);
        return LEDGER_UNRECORDED;
    }
    if (is_first) {
        ledger_record_members(ledger, owner);
    }
    lease->user->last_grant = ++ledger->grants;
    *ret_lease = lease;
    return LEDGER_GRANTED;
}

static void add_to_lease(struct ledger *ledger, struct lease *lease, int64_t bytes)
{
    const struct owner *owner = ledger_owner(ledger, lease->owner);
    lease->size_bytes += (uint64_t)bytes;
    for (size_t i = 0; i < lease->gpu_count; i++) {
        size_t memory = ledger->gpus[lease->gpus[i]].memory;
        struct account *account = ledger_account(owner, memory);
        account->sizes_bytes += (uint64_t)bytes;
        account->unfilled_bytes += lease->filled ? 0 : (uint64_t)bytes;
        ledger_sum_up(ledger, memory);
    }
}

/* What a filled lease has allocated is in its owner's base, and its size in no sum. */
static void set_filled(const struct ledger *ledger, struct lease *lease, bool filled)
{
    int64_t size = filled ? (int64_t)lease->size_bytes : -(int64_t)lease->size_bytes;
    lease->filled = filled;
    for (size_t i = 0; i < lease->gpu_count; i++) {
        struct account *account =
            ledger_account(ledger_owner(ledger, lease->owner), ledger->gpus[lease->gpus[i]].memory);
        account->unfilled_bytes -= (uint64_t)size;
        account->base_bytes += size;
    }
}

/* More for a lease that is there. One whose owner had said that it is filled is no longer. */
static uint32_t grant_more(struct pass *pass, const struct waiter *waiter, struct lease **ret_lease)
{
    struct ledger *ledger = pass->ledger;
    struct lease *lease = ledger_lease_of_id(ledger, waiter->grows);
    if (!lease) {
        return LEDGER_NOT_NOW; /* it ended meanwhile */
    }
    bool was_filled = lease->filled;
    if (was_filled) {
        set_filled(ledger, lease, false);
    }
    add_to_lease(ledger, lease, (int64_t)waiter->size_bytes);
    struct ledger_lease view = ledger_view(ledger, lease);
    if (ledger->ops->record(ledger->data, &view, true) < 0) {
        add_to_lease(ledger, lease, -(int64_t)waiter->size_bytes);
        if (was_filled) {
            set_filled(ledger, lease, true);
        }
        return LEDGER_UNRECORDED;
    }
    ledger_book_uses(ledger, pass->sample);
    *ret_lease = lease;
    return LEDGER_GRANTED;
}

static void count_grant(struct pass *pass, const struct waiter *waiter)
{
    struct gpu_set taken = {{0}};
    for (size_t i = 0; i < pass->open->count; i++) {
        if (pass->open->rooms[i].chosen) {
            gpu_set_add(&taken, pass->ledger->gpus[pass->open->gpus[i]].memory);
        }
    }
    ledger_weigh_users(pass->ledger);
    ledger_count_passes(pass->ledger, waiter, &taken, &pass->barred);
}

/* ---- The queue ------------------------------------------------------------------------------- */

/* Whoever holds something when it asks is answered at once: it must not wait for what it could itself give back. */
static bool is_holder(const struct ledger *ledger, const struct waiter *waiter)
{
    bool holds = ledger_holds(ledger, waiter->owner);
    uint64_t key = holds ? waiter->owner : ledger->ops->holder(ledger->data, waiter->owner);
    for (size_t i = 0; i < ledger->gpu_count; i++) {
        if (waiter_wants(waiter, i) && ledger_nearest(ledger, key, ledger->gpus[i].memory)) {
            return true;
        }
    }
    return false;
}

/* Decides about one request. True: it has been answered. */
static bool consider(struct pass *pass, struct waiter *waiter)
{
    struct ledger *ledger = pass->ledger;
    struct lease *lease = NULL;
    if (waiter->absent || waiter->arrived_ns > pass->sample->begun_ns) {
        waiter->reason = LEDGER_FOR_SAMPLE;
        return false;
    }
    reckon(ledger, waiter, pass->all);
    uint32_t answer =
        room_decide(pass->all->rooms, pass->all->count, waiter->size_bytes, waiter->gpu_count);
    find_nearest(waiter, pass->all);
    if (answer == ROOM_NEVER && room_any_usable(pass->all->rooms, pass->all->count)) {
        tell(pass, waiter, LEDGER_WILL_NEVER, NULL);
        return true;
    }
    enum limited limited = ledger_limit(ledger, waiter);
    if (limited == LIMIT_NEVER) {
        waiter->reason = LEDGER_FOR_LIMIT;
        tell(pass, waiter, LEDGER_WILL_NEVER, NULL);
        return true;
    }
    leave_open(pass, waiter, pass->open);
    if (answer == ROOM_FITS && !limited &&
        room_decide(pass->open->rooms, pass->open->count, waiter->size_bytes, waiter->gpu_count) ==
            ROOM_FITS) {
        copy_choice(pass);
        uint32_t verdict =
            waiter->grows[0] ? grant_more(pass, waiter, &lease) : grant_new(pass, waiter, &lease);
        if (verdict == LEDGER_GRANTED) {
            count_grant(pass, waiter);
        }
        tell(pass, waiter, verdict, lease);
        return true;
    }
    bool unknown = answer == ROOM_CANNOT_TELL || answer == ROOM_NEVER; /* or none can be used */
    waiter->reason = unknown                  ? LEDGER_FOR_GPU
                     : limited                ? LEDGER_FOR_LIMIT
                     : is_drained(pass->all)  ? LEDGER_FOR_DRAIN
                     : answer == ROOM_NOT_NOW ? LEDGER_FOR_ROOM
                                              : reason_closed(pass, waiter);
    waiter->queued = waiter->queued || !is_holder(ledger, waiter);
    bool stays = waiter->waits && waiter->queued;
    if (unknown ? stays && may_tell_later(pass->all)
                : stays || (answer == ROOM_FITS && !limited && is_look_wanted(pass))) {
        return false;
    }
    tell(pass, waiter, unknown ? LEDGER_CANNOT_TELL : LEDGER_NOT_NOW, NULL);
    return true;
}

/* Goes through the requests by their turns; those that were answered are holes from then on. */
static void go_through(struct pass *pass)
{
    struct ledger *ledger = pass->ledger;
    for (size_t i = 0; i < ledger->waiter_count; i++) {
        struct waiter *waiter = ledger->turns[i];
        if (consider(pass, waiter)) {
            ledger->waiters[waiter->place] = ledger->turns[i] = NULL;
            pass->left--;
            ledger_forget_waiter(ledger, waiter);
        } else if (waiter->absent) {
            waiter_add_memories(ledger, waiter, &pass->returning);
        } else if (waiter->passes >= LEDGER_PASSES && waiter->reason != LEDGER_FOR_LIMIT) {
            waiter_add_memories(ledger, waiter, &pass->barred);
        }
    }
}

static size_t close_holes(struct waiter **list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i]) {
            list[kept++] = list[i];
        }
    }
    return kept;
}

void ledger_decide(struct ledger *ledger, const struct ledger_sample *sample)
{
    struct reckoning *both = malloc(2 * sizeof(*both));
    struct pass pass = {.ledger = ledger,
                        .sample = sample,
                        .all = both,
                        .open = both + 1,
                        .left = ledger->waiter_count};
    ledger_order(ledger);
    if (both) { /* else nobody is promised anything; the next sample may do better */
        go_through(&pass);
        (void)close_holes(ledger->turns, ledger->waiter_count);
        ledger->waiter_count = close_holes(ledger->waiters, ledger->waiter_count);
    }
    free(both);
}
