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
    for (size_t i = 0; i < reclaim->count; i++) {
        if (reclaim_is_of(reclaim->holders[i].config.match, process)) {
            return &reclaim->holders[i];
        }
    }
    return NULL;
}

static int make_room_for(struct reclaim *reclaim, size_t gpu_count)
{
    for (size_t i = 0; reclaim->gpu_count != gpu_count && i < reclaim->count; i++) {
        uint64_t *held = reallocarray(reclaim->holders[i].held, gpu_count + 1, sizeof(*held));
        if (!held) {
            reclaim->gpu_count = 0; /* they are of several sizes now */
            return -ENOMEM;
        }
        reclaim->holders[i].held = held;
    }
    reclaim->gpu_count = gpu_count;
    for (size_t i = 0; i < reclaim->count; i++) {
        struct holder *holder = &reclaim->holders[i];
        memset(holder->held, 0, (gpu_count + 1) * sizeof(*holder->held));
        holder->held_bytes = holder->leased_bytes = 0;
        holder->load = LOAD_LOW;
    }
    return 0;
}

static void count_process(struct reclaim *reclaim, size_t place, const struct vram_gpu *gpu,
                          const struct vram_process *process)
{
    struct holder *holder = holder_of(reclaim, process);
    if (!holder || process->used_bytes == VRAM_UNKNOWN) {
        return;
    }
    uint64_t promised = reclaim->promised(reclaim->data, gpu, process);
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
    if (holder->is_open && holder->held_bytes < holder->least_bytes) {
        holder->least_bytes = holder->held_bytes;
        holder->least_ns = now_ns;
    }
    if (holder->is_open) {
        holder_judge(holder, now_ns);
    }
}

int reclaim_look(struct reclaim *reclaim, const struct vram_snapshot *snapshot, uint64_t now_ns)
{
    size_t count = vram_snapshot_gpu_count(snapshot);
    if (!reclaim->count) {
        return 0;
    }
    if (make_room_for(reclaim, count) < 0) {
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
        look_at(&reclaim->holders[i], now_ns);
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

enum readiness readiness_of(const struct holder *holder, uint64_t now_ns)
{
    return holder->is_open || holder->ask   ? ASKED
           : !holder->held_bytes            ? ABSENT
           : now_ns < holder->rest_until_ns ? RESTING
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
