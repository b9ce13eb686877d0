/* SPDX-License-Identifier: MIT */
/* Leases in history: what the desk tells of them becomes intervals and events. */
#include "daemon/history_inner.h"

#include "common/clock.h"
#include "daemon/promises.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEN_LEAST 2 /* looks at a run from which something is learned */

static struct history_standing *find(const struct history *history, const char *id)
{
    for (size_t i = 0; i < history->standing_count; i++) {
        if (strcmp(history->standing[i].row.id, id) == 0) {
            return &history->standing[i];
        }
    }
    return NULL;
}

static struct history_standing *add(struct history *history, const char *id)
{
    struct history_standing *grown =
        reallocarray(history->standing, history->standing_count + 1, sizeof(*grown));
    if (!grown) {
        history_core_batch(history->core)->lost++;
        return NULL;
    }
    history->standing = grown;
    struct history_standing *standing = &grown[history->standing_count++];
    *standing = (struct history_standing){.row = {.asked_ms = history_wall_ms(),
                                                  .granted_ms = HISTORY_RUNNING,
                                                  .ended_ms = HISTORY_RUNNING,
                                                  .peak_bytes = VRAM_UNKNOWN,
                                                  .steady_bytes = VRAM_UNKNOWN,
                                                  .room_bytes = VRAM_UNKNOWN,
                                                  .total_bytes = VRAM_UNKNOWN}};
    history_text(standing->row.id, sizeof(standing->row.id), id);
    return standing;
}

const char *history_lease_name(const struct history *history, const char *id)
{
    const struct history_standing *standing = find(history, id);
    return standing && standing->row.label[0] ? standing->row.label : id;
}

static void put_event(struct history *history, const struct history_lease *lease, uint32_t kind,
                      const char *text)
{
    struct history_event event = {
        .at_ms = history_wall_ms(),
        .kind = kind,
        .pid = lease->pid,
        .bytes = lease->size_bytes,
        .gpu = lease->gpu_count == 1 ? history_core_find_gpu(history->core, lease->gpus[0]) : 0};
    memcpy(event.user, lease->user, sizeof(event.user));
    memcpy(event.lease, lease->id, sizeof(event.lease));
    history_text(event.name, sizeof(event.name), lease->label);
    history_text(event.text, sizeof(event.text), text);
    history_core_event(history->core, &event);
}

static void describe(struct history_lease *row, const struct history_deal *deal)
{
    history_text(row->label, sizeof(row->label), deal->label);
    history_text(row->user, sizeof(row->user), deal->user);
    row->pid = (uint32_t)deal->pid;
    row->size_bytes = deal->size_bytes;
    row->gpu_count = 0;
    for (size_t i = 0; i < deal->gpu_count && i < HISTORY_GPUS_MAX; i++) {
        history_text(row->gpus[row->gpu_count++], HISTORY_UUID_MAX, deal->gpus[i]);
    }
}

/* It is of another size now. */
static void note_size(struct history *history, const struct history_lease *row, uint64_t size_bytes)
{
    struct history_resize resize = {.at_ms = history_wall_ms(), .was_bytes = row->size_bytes};
    if (size_bytes != row->size_bytes) {
        memcpy(resize.lease, row->id, sizeof(resize.lease));
        HISTORY_ADD(history_core_batch(history->core), resizes, resize);
    }
}

/* ---- What the desk tells --------------------------------------------------------------------- */

static struct history *open_history(struct daemon *daemon)
{
    struct history *history = daemon->history;
    return history && history->core ? history : NULL;
}

static void take(struct daemon *daemon, const struct history_deal *deal, bool granted)
{
    struct history *history = open_history(daemon);
    if (!history) {
        return;
    }
    struct history_standing *standing = find(history, deal->id);
    bool is_new = !standing;
    standing = standing ? standing : add(history, deal->id);
    if (!standing) {
        return;
    }
    struct history_lease *row = &standing->row;
    bool was_granted = row->granted_ms != HISTORY_RUNNING;
    bool is_back = standing->is_from_before;
    if (was_granted) {
        note_size(history, row, deal->size_bytes);
    }
    describe(row, deal);
    standing->is_mixed = standing->is_mixed || deal->is_mixed;
    standing->is_from_before = false;
    standing->is_dirty = true;
    if (is_new && deal->since_ns) {
        row->asked_ms = (int64_t)(deal->since_ns / 1000000);
    }
    if (granted && !was_granted) {
        row->granted_ms = history_wall_ms();
        put_event(history, row, HISTORY_LEASE_GRANTED, NULL);
    } else if (!granted && is_new && !is_back) {
        put_event(history, row, HISTORY_LEASE_QUEUED, NULL);
    }
}

void history_lease_queued(struct daemon *daemon, const struct history_deal *deal)
{
    take(daemon, deal, false);
}

void history_lease_granted(struct daemon *daemon, const struct history_deal *deal)
{
    take(daemon, deal, true);
}

static void end(struct history *history, struct history_standing *standing, const char *why)
{
    struct history_lease *row = &standing->row;
    row->ended_ms = history_wall_ms();
    row->whole = !standing->is_mixed && standing->seen >= SEEN_LEAST;
    row->steady_bytes = steady_bytes(&standing->steady);
    history_text(row->why, sizeof(row->why), why);
    put_event(history, row, HISTORY_LEASE_ENDED, why);
    HISTORY_ADD(history_core_batch(history->core), leases, *row);
    *standing = history->standing[--history->standing_count];
}

void history_lease_ended(struct daemon *daemon, const char *id, const char *why)
{
    struct history *history = open_history(daemon);
    struct history_standing *standing = history ? find(history, id) : NULL;
    if (standing) {
        end(history, standing, why);
    }
}

void history_lease_broken(struct daemon *daemon, const char *id, bool squeezed, pid_t pid,
                          const char *name)
{
    struct history *history = open_history(daemon);
    const struct history_standing *standing = history ? find(history, id) : NULL;
    if (!standing) {
        return;
    }
    struct history_lease row = standing->row;
    row.pid = pid ? (uint32_t)pid : row.pid;
    put_event(history, &row, squeezed ? HISTORY_LEASE_SQUEEZED : HISTORY_LEASE_OVER,
              squeezed && pid ? name : NULL);
}

void history_holder_asked(struct daemon *daemon, const char *holder, const char *uuid,
                          uint64_t returned_bytes, const char *text)
{
    const struct history *history = open_history(daemon);
    if (history) {
        struct history_event event = {
            .at_ms = history_wall_ms(),
            .kind = HISTORY_HOLDER_ASKED,
            .bytes = returned_bytes,
            .gpu = uuid ? history_core_find_gpu(history->core, uuid) : 0,
        };
        history_text(event.name, sizeof(event.name), holder);
        history_text(event.text, sizeof(event.text), text);
        history_core_event(history->core, &event);
    }
}

/* ---- What its members hold ------------------------------------------------------------------- */

void history_leases_look(struct daemon *daemon)
{
    struct history *history = open_history(daemon);
    for (size_t i = 0; history && i < history->standing_count; i++) {
        memset(history->standing[i].held, 0, sizeof(history->standing[i].held));
    }
}

void history_lease_saw(struct daemon *daemon, const char *id, const struct vram_gpu *gpu,
                       uint64_t used_bytes)
{
    struct history *history = open_history(daemon);
    struct history_standing *standing = history ? find(history, id) : NULL;
    for (size_t i = 0; standing && gpu->uuid && i < standing->row.gpu_count; i++) {
        struct history_held *held = &standing->held[i];
        if (strcmp(standing->row.gpus[i], gpu->uuid) == 0) {
            standing->is_mixed = standing->is_mixed || used_bytes == VRAM_UNKNOWN;
            held->bytes += used_bytes == VRAM_UNKNOWN ? 0 : used_bytes;
            held->free_bytes = gpu->free_bytes;
            held->total_bytes = gpu->total_bytes;
        }
    }
}

static void take_look(struct history_standing *standing, uint64_t at_ms)
{
    struct history_lease *row = &standing->row;
    const struct history_held *most = &standing->held[0];
    for (size_t i = 1; i < row->gpu_count; i++) {
        most = standing->held[i].bytes > most->bytes ? &standing->held[i] : most;
    }
    if (!most->bytes) {
        return;
    }
    if (standing->seen++ == 0 && most->free_bytes != VRAM_UNKNOWN) {
        row->room_bytes = most->free_bytes + most->bytes;
    }
    row->total_bytes = most->total_bytes;
    steady_look(&standing->steady, at_ms, most->bytes);
    if (row->peak_bytes == VRAM_UNKNOWN || most->bytes > row->peak_bytes) {
        row->peak_bytes = most->bytes;
    }
}

void history_leases_looked(struct daemon *daemon)
{
    struct history *history = open_history(daemon);
    uint64_t now_ms = clock_now_ns() / 1000000;
    for (size_t i = 0; history && i < history->standing_count; i++) {
        take_look(&history->standing[i], now_ms);
    }
}

/* ---- Restarts -------------------------------------------------------------------------------- */

void history_leases_know(void *data, const struct history_lease *lease)
{
    struct history *history = data;
    struct history_standing *standing = add(history, lease->id);
    if (standing) {
        standing->row = *lease;
        standing->is_from_before = true;
        standing->is_mixed = true; /* nobody looked for a while */
    }
}

static void meet(void *data, const struct history_deal *deal, bool granted)
{
    take(data, deal, granted);
}

/* What the file alone knows has ended while nobody looked, as it says already. */
void history_leases_compare(struct history *history)
{
    promises_each(history->daemon, meet, history->daemon);
    for (size_t i = history->standing_count; i-- > 0;) {
        if (history->standing[i].is_from_before) {
            history->standing[i] = history->standing[--history->standing_count];
        }
    }
}

void history_leases_put(struct history *history)
{
    for (size_t i = 0; i < history->standing_count; i++) {
        struct history_standing *standing = &history->standing[i];
        if (standing->is_dirty) {
            HISTORY_ADD(history_core_batch(history->core), leases, standing->row);
            standing->is_dirty = false;
        }
    }
}
