/* SPDX-License-Identifier: MIT */
#include "sim/holder.h"

#include <errno.h>
#include <string.h>

#define KEPT_DEAD 128u

size_t holders_room(const struct state *state)
{
    size_t used = atomic_load_explicit(&state->slots_used, memory_order_acquire);
    return used < STATE_SLOTS ? used : STATE_SLOTS;
}

/* What the slot held at `when`. Where the history does not reach back so far, its oldest amount. */
static uint64_t amount_at(const struct slot *slot, uint64_t when, bool *ret_begun)
{
    uint32_t changes = atomic_load_explicit(&slot->changes, memory_order_acquire);
    uint32_t kept = changes < STATE_HISTORY ? changes : STATE_HISTORY;
    for (uint32_t i = 1; i <= kept; i++) {
        uint32_t at = (changes - i) % STATE_HISTORY;
        if (atomic_load(&slot->history[at].time) <= when || (i == kept && changes > kept)) {
            *ret_begun = true;
            return atomic_load(&slot->history[at].bytes);
        }
    }
    *ret_begun = false;
    return 0;
}

/* Whether the slot's process lives; the first who finds it dead writes down when. */
static bool look(struct state_file *file, size_t number, uint64_t now)
{
    struct slot *slot = &file->state->slots[number];
    int owner = state_owner(file, number);
    if (owner) {
        file->seen[number].own = slot->pid;
        file->seen[number].shown = owner > 0 ? (uint32_t)owner : 0;
        return true;
    }
    uint64_t never = WORLD_NEVER;
    (void)atomic_compare_exchange_strong(&slot->died, &never, now);
    uint32_t live = SLOT_LIVE;
    (void)atomic_compare_exchange_strong(&slot->state, &live, SLOT_DEAD);
    return false;
}

bool holder_read(struct state_file *file, size_t number, uint64_t now, uint64_t when, uint64_t lag,
                 struct holder *ret_holder)
{
    struct slot *slot = &file->state->slots[number];
    uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
    if (state == SLOT_FREE || slot->gpu >= WORLD_GPUS || slot->instance >= WORLD_INSTANCES) {
        return false;
    }
    struct holder holder = {.gpu = slot->gpu,
                            .instance = slot->instance < 0 ? -1 : slot->instance,
                            .kinds = slot->kinds & KIND_ALL,
                            .own_pid = slot->pid,
                            .peak = atomic_load(&slot->peak)};
    if (state == SLOT_LIVE) {
        (void)look(file, number, now);
    }
    /* Of the dead nobody can tell any more who they were to whom, but who saw them alive. */
    bool known = file->seen[number].own == holder.own_pid;
    holder.seen_pid = known ? file->seen[number].shown : 0;
    uint64_t died = holder.died = atomic_load(&slot->died);
    bool begun;
    uint64_t amount = amount_at(slot, when, &begun);
    holder.listed = begun && when < died;
    holder.used = holder.listed ? amount : 0;
    holder.held = died == WORLD_NEVER || when < world_add(died, lag) ? amount : 0;
    memcpy(holder.name, slot->name, sizeof(holder.name));
    holder.name[sizeof(holder.name) - 1] = '\0';
    *ret_holder = holder;
    return true;
}

/* The slot whose holder died first, if its memory is free again; -ENOENT. */
static int find_dead(struct state_file *file, uint64_t now, uint64_t lag)
{
    int oldest = -ENOENT;
    uint64_t oldest_death = WORLD_NEVER;
    for (size_t i = 0; i < holders_room(file->state); i++) {
        struct slot *slot = &file->state->slots[i];
        if (atomic_load(&slot->state) == SLOT_LIVE) {
            (void)look(file, i, now);
        }
        uint64_t died = atomic_load(&slot->died);
        if (died < oldest_death && now >= world_add(died, lag)) {
            oldest = (int)i;
            oldest_death = died;
        }
    }
    return oldest;
}

/* The first KEPT_DEAD slots are not used again before others are, for accounting tells of the dead. */
static int find_slot(struct state_file *file, uint64_t now, uint64_t lag)
{
    size_t used = holders_room(file->state);
    int dead = used < KEPT_DEAD ? -ENOENT : find_dead(file, now, lag);
    if (dead < 0 && used < STATE_SLOTS) {
        return (int)used;
    }
    return dead < 0 ? -EUSERS : dead;
}

int holder_claim(struct state_file *file, const struct holder *holder, uint64_t lag)
{
    int number = find_slot(file, state_now(file->state), lag);
    if (number < 0 || state_claim(file, (size_t)number) < 0) {
        return -EUSERS;
    }
    struct slot *slot = &file->state->slots[number];
    atomic_store(&slot->state, SLOT_FREE);
    slot->gpu = holder->gpu;
    slot->instance = holder->instance;
    slot->kinds = holder->kinds;
    slot->pid = holder->own_pid;
    memcpy(slot->name, holder->name, sizeof(slot->name));
    atomic_store(&slot->changes, 0);
    atomic_store(&slot->peak, 0);
    atomic_store(&slot->died, WORLD_NEVER);
    atomic_store_explicit(&slot->state, SLOT_LIVE, memory_order_release);
    if ((size_t)number == holders_room(file->state)) {
        atomic_store_explicit(&file->state->slots_used, (uint32_t)number + 1, memory_order_release);
    }
    return number;
}

void holder_set(struct state *state, int number, uint64_t bytes)
{
    struct slot *slot = &state->slots[number];
    uint32_t changes = atomic_load(&slot->changes);
    atomic_store(&slot->history[changes % STATE_HISTORY].time, state_now(state));
    atomic_store(&slot->history[changes % STATE_HISTORY].bytes, bytes);
    if (bytes > atomic_load(&slot->peak)) {
        atomic_store(&slot->peak, bytes);
    }
    atomic_store_explicit(&slot->changes, changes + 1, memory_order_release);
}
