/* SPDX-License-Identifier: MIT */
/* Who holds what, who is idle, and who may be asked. */
#include "daemon/reclaim_inner.h"

#include "common/clock.h"
#include "common/text.h"
#include "daemon/reclaim_match.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLIND_NS (2 * SECOND_NS) /* without a look for so long nobody was seen to be idle */
#define WORD_NS SECOND_NS        /* how long its own word counts */

/* ---- A look ---------------------------------------------------------------------------------- */

static struct holder *holder_of(const struct reclaim *reclaim, const struct vram_process *process)
{
    for (size_t i = 0; i < reclaim->configured; i++) {
        if (reclaim_is_of(reclaim->holders[i]->config.match, process)) {
            return reclaim->holders[i];
        }
    }
    return NULL;
}

static int make_room_for(struct reclaim *reclaim, size_t gpu_count)
{
    for (size_t i = 0; i < reclaim->count; i++) {
        if (reclaim->holders[i]->held && reclaim->gpu_count == gpu_count) {
            continue;
        }
        uint64_t *held = reallocarray(reclaim->holders[i]->held, gpu_count + 1, sizeof(*held));
        if (!held) {
            reclaim->gpu_count = 0; /* they are of several sizes now */
            return -ENOMEM;
        }
        reclaim->holders[i]->held = held;
    }
    reclaim->gpu_count = gpu_count;
    for (size_t i = 0; i < reclaim->count; i++) {
        struct holder *holder = reclaim->holders[i];
        memset(holder->held, 0, (gpu_count + 1) * sizeof(*holder->held));
        holder->held_bytes = holder->leased_bytes = 0;
        holder->load = LOAD_LOW;
    }
    return 0;
}

/* ---- Leases ---------------------------------------------------------------------------------- */

static struct holder *find_lease(const struct reclaim *reclaim, const char *lease)
{
    for (size_t i = reclaim->configured; i < reclaim->count; i++) {
        if (strcmp(reclaim->holders[i]->lease, lease) == 0) {
            return reclaim->holders[i];
        }
    }
    return NULL;
}

static struct holder *add_lease(struct reclaim *reclaim, const struct reclaim_offer *offer)
{
    struct holder **grown =
        reallocarray(reclaim->holders, reclaim->count + 1, sizeof(struct holder *));
    if (!grown) {
        return NULL;
    }
    reclaim->holders = grown;
    struct holder *holder = holder_new(reclaim, offer->name);
    uint64_t *held = calloc(reclaim->gpu_count + 1, sizeof(*held));
    if (!holder || !held) {
        free(held);
        return holder_free(holder);
    }
    holder->held = held;
    holder->config.busy = HOLDER_BUSY_NEVER; /* but for what it says when it is asked */
    holder->config.timeout_ns = RECLAIM_TIMEOUT_NS;
    holder->config.again_ns = RECLAIM_AGAIN_NS;
    (void)text_copy(holder->lease, sizeof(holder->lease), offer->id);
    grown[reclaim->count++] = holder;
    return holder;
}

/* Those that the list does not have any more go. */
static void forget_unseen(struct reclaim *reclaim)
{
    size_t kept = reclaim->configured;
    for (size_t i = reclaim->configured; i < reclaim->count; i++) {
        struct holder *holder = reclaim->holders[i];
        if (holder->seen) {
            holder->seen = false;
            reclaim->holders[kept++] = holder;
        } else {
            (void)holder_free(holder);
        }
    }
    reclaim->count = kept;
}

static void set_held(struct holder *holder, const uint64_t *held_bytes)
{
    holder->held_bytes = 0;
    for (size_t i = 0; i < holder->reclaim->gpu_count; i++) {
        holder->held[i] = held_bytes[i];
        holder->held_bytes += held_bytes[i];
    }
}

/* They are in the list's order mostly, and found where they were. */
static int take_offers(struct reclaim *reclaim, const struct reclaim_offer *offers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct reclaim_offer *offer = &offers[i];
        size_t place = reclaim->configured + i;
        struct holder *holder = place < reclaim->count ? reclaim->holders[place] : NULL;
        if (!holder || strcmp(holder->lease, offer->id) != 0) {
            holder = find_lease(reclaim, offer->id);
        }
        holder = holder ? holder : add_lease(reclaim, offer);
        if (!holder) {
            return -ENOMEM;
        }
        holder->seen = true;
        holder->ready = offer->ready;
        holder->config.cost = offer->cost;
        set_held(holder, offer->held_bytes);
    }
    forget_unseen(reclaim);
    return 0;
}

void reclaim_answer(struct reclaim *reclaim, const char *lease, enum reclaim_answer answer,
                    uint64_t now_ns)
{
    static const char *const failures[] = {
        [RECLAIM_DONE] = "",
        [RECLAIM_FAILED] = "it could not",
        [RECLAIM_BROKEN] = "it does not know that it was asked",
    };
    struct holder *holder = find_lease(reclaim, lease);
    if (!holder || !holder->is_open || holder->answered) {
        return;
    }
    if (answer == RECLAIM_BUSY) {
        holder_busy(holder, now_ns);
    } else {
        holder_asked(holder, failures[answer], false);
    }
}

/* ---- Processes ------------------------------------------------------------------------------- */

static void count_process(struct reclaim *reclaim, size_t place, const struct vram_gpu *gpu,
                          const struct vram_process *process)
{
    struct holder *holder = holder_of(reclaim, process);
    if (!holder || process->used_bytes == VRAM_UNKNOWN) {
        return;
    }
    uint64_t promised = reclaim->ops->promised(reclaim->data, gpu, process);
    holder->leased_bytes += promised;
    if (promised == process->used_bytes) {
        return;
    }
    holder->held[place] += process->used_bytes - promised;
    holder->held_bytes += process->used_bytes - promised;
    if (gpu->utilization_percent == VRAM_UNKNOWN) {
        holder->load = holder->load == LOAD_HIGH ? LOAD_HIGH : LOAD_UNKNOWN;
    } else if (gpu->utilization_percent >= holder->config.busy_percent) {
        holder->load = LOAD_HIGH;
    }
}

static void note_least(struct holder *holder, uint64_t now_ns)
{
    if (holder->is_open && holder->held_bytes < holder->least_bytes) {
        holder->least_bytes = holder->held_bytes;
        holder->least_ns = now_ns;
    }
}

void reclaim_hold(struct reclaim *reclaim, const char *lease, const uint64_t *held_bytes,
                  uint64_t now_ns)
{
    struct holder *holder = find_lease(reclaim, lease);
    if (holder) {
        set_held(holder, held_bytes);
        note_least(holder, now_ns);
    }
}

static void look_at(struct holder *holder, uint64_t now_ns)
{
    bool was_blind = now_ns - holder->reclaim->looked_ns > BLIND_NS;
    bool has_word = reclaim_has_word(&holder->config);
    bool is_idle =
        has_word ? holder->word_ns && now_ns - holder->word_ns < BLIND_NS && !holder->word_busy
                 : holder->load == LOAD_LOW;
    if (!is_idle || was_blind) {
        holder->idle_since_ns = 0;
    }
    if (is_idle && !has_word && !holder->idle_since_ns) {
        holder->idle_since_ns = now_ns;
    }
    note_least(holder, now_ns);
    if (holder->is_open) {
        holder_judge(holder, now_ns);
    }
}

int reclaim_look(struct reclaim *reclaim, const struct vram_snapshot *snapshot,
                 const struct reclaim_offer *offers, size_t offer_count, uint64_t now_ns)
{
    size_t count = vram_snapshot_gpu_count(snapshot);
    if (!reclaim->count && !offer_count) {
        return 0;
    }
    if (make_room_for(reclaim, count) < 0 || take_offers(reclaim, offers, offer_count) < 0) {
        return -ENOMEM;
    }
    (void)vram_snapshot_unref(reclaim->kept);
    reclaim->kept = vram_snapshot_ref((struct vram_snapshot *)(uintptr_t)snapshot);
    for (size_t i = 0; i < count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        for (size_t j = 0; j < gpu->process_count; j++) {
            count_process(reclaim, i, gpu, &gpu->processes[j]);
        }
    }
    for (size_t i = 0; i < reclaim->count; i++) {
        look_at(reclaim->holders[i], now_ns);
    }
    reclaim->looked_ns = now_ns;
    return 0;
}

/* ---- Who may be asked ------------------------------------------------------------------------ */

static enum readiness rested(const struct holder *holder, uint64_t now_ns)
{
    bool idle_long_enough =
        holder->idle_since_ns && now_ns - holder->idle_since_ns >= holder->config.idle_ns;
    if (holder->config.busy == HOLDER_BUSY_NEVER) {
        return READY;
    }
    if (reclaim_has_word(&holder->config)) {
        bool is_fresh = holder->word_ns && now_ns - holder->word_ns < WORD_NS;
        return holder->word_ns && holder->word_busy ? BUSY
               : is_fresh && idle_long_enough       ? READY
                                                    : SOON;
    }
    return holder->load == LOAD_UNKNOWN ? UNTOLD
           : holder->load == LOAD_HIGH  ? BUSY
           : idle_long_enough           ? READY
                                        : SOON;
}

/* Of a lease: it says itself whether it is busy, and that counts for a while. */
static enum readiness offered(const struct holder *holder, uint64_t now_ns)
{
    bool is_busy = holder->word_busy && now_ns - holder->word_ns < RECLAIM_BUSY_NS;
    return !holder->ready ? ABSENT : is_busy ? BUSY : READY;
}

enum readiness readiness_of(const struct holder *holder, uint64_t now_ns)
{
    return holder->is_open || holder->ask   ? ASKED
           : !holder->held_bytes            ? ABSENT
           : now_ns < holder->rest_until_ns ? RESTING
           : holder->lease[0]               ? offered(holder, now_ns)
                                            : rested(holder, now_ns);
}

static void on_word(void *data, const char *failure, bool busy)
{
    struct holder *holder = data;
    uint64_t now_ns = clock_now_ns();
    holder->inquiry = reclaim_ask_free(holder->inquiry);
    if (failure[0]) { /* who cannot be asked whether it is busy cannot be asked for memory */
        holder->before_bytes = holder->least_bytes = 0;
        holder->asked_ns = holder->least_ns = now_ns;
        holder->id[0] = '\0';
        (void)text_copy(holder->failure, sizeof(holder->failure), failure);
        holder_conclude(holder, now_ns);
        return;
    }
    holder->word_ns = now_ns;
    holder->word_busy = busy;
    holder->idle_since_ns = busy ? 0 : holder->idle_since_ns ? holder->idle_since_ns : now_ns;
}

void holder_inquire(struct holder *holder, uint64_t now_ns)
{
    bool is_fresh = holder->word_ns && now_ns - holder->word_ns < WORD_NS;
    if (!reclaim_has_word(&holder->config) || is_fresh || holder->inquiry) {
        return;
    }
    holder->inquiry = reclaim_inquire(holder->reclaim->base, &holder->config, on_word, holder);
    if (!holder->inquiry) {
        on_word(holder, "it cannot be asked whether it is busy", false);
    }
}
