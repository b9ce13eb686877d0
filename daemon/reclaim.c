/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim_inner.h"

#include "common/size.h"
#include "common/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UUIDS_MAX 1000

/* ---- Life ------------------------------------------------------------------------------------ */

static void forget_holders(struct reclaim *reclaim)
{
    for (size_t i = 0; i < reclaim->count; i++) {
        struct holder *holder = &reclaim->holders[i];
        holder->inquiry = reclaim_ask_free(holder->inquiry);
        holder->ask = reclaim_ask_free(holder->ask);
        free(holder->held);
    }
    free(reclaim->holders);
    reclaim->holders = NULL;
    reclaim->count = reclaim->gpu_count = 0;
    reclaim->kept = vram_snapshot_unref(reclaim->kept);
}

struct reclaim *reclaim_new(struct event_base *base, reclaim_promised_function promised,
                            reclaim_told_function told, void *data)
{
    struct reclaim *reclaim = calloc(1, sizeof(*reclaim));
    if (reclaim) {
        reclaim->base = base;
        reclaim->promised = promised;
        reclaim->told = told;
        reclaim->data = data;
    }
    return reclaim;
}

struct reclaim *reclaim_free(struct reclaim *reclaim)
{
    if (reclaim) {
        forget_holders(reclaim);
        free(reclaim);
    }
    return NULL;
}

int reclaim_configure(struct reclaim *reclaim, const struct config_holder *holders, size_t count)
{
    forget_holders(reclaim);
    reclaim->holders = calloc(count + 1, sizeof(*reclaim->holders));
    if (!reclaim->holders) {
        return -ENOMEM;
    }
    reclaim->wants_commands = false;
    reclaim->count = count;
    for (size_t i = 0; i < count; i++) {
        reclaim->holders[i].reclaim = reclaim;
        reclaim->holders[i].config = holders[i];
        reclaim->wants_commands |= strstr(holders[i].match, "command:") != NULL;
    }
    return 0;
}

uint32_t reclaim_take(const struct reclaim *reclaim)
{
    uint32_t commands = reclaim->wants_commands ? VRAM_TAKE_COMMANDS : 0;
    return reclaim->count ? VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH | commands : 0;
}

/* ---- Whom to ask ----------------------------------------------------------------------------- */

/* The cheapest set of those that are as ready as `most` says, at least; their positions as bits. */
static uint32_t plan(const struct reclaim *reclaim, const struct reclaim_wish *wish,
                     enum readiness most, uint64_t now_ns)
{
    struct reclaim_choice choices[HOLDERS_MAX] = {{0}};
    uint32_t positions[HOLDERS_MAX], set = 0;
    size_t count = 0;
    for (uint32_t i = 0; i < reclaim->count; i++) {
        const struct holder *holder = &reclaim->holders[i];
        enum readiness readiness = readiness_of(holder, now_ns);
        if (readiness > ABSENT && readiness <= most) {
            positions[count] = i;
            choices[count++] = (struct reclaim_choice){holder->config.cost, holder->held};
        }
    }
    uint32_t chosen = reclaim_plan(wish->lacks, wish->lack_count, wish->wanted, choices, count);
    for (size_t i = 0; i < count; i++) {
        set |= chosen & UINT32_C(1) << i ? UINT32_C(1) << positions[i] : 0;
    }
    return set;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* What is wanted of the only one: where it is one GPU, what is lacking where it can help; else all that it holds. */
static uint64_t wanted_of(const struct holder *holder, const struct reclaim_wish *wish, bool alone)
{
    uint64_t least = holder->held_bytes;
    for (size_t i = 0; alone && wish->wanted == 1 && i < wish->lack_count; i++) {
        const struct reclaim_lack *lack = &wish->lacks[i];
        if (holder->held[lack->gpu] >= lack->missing_bytes && lack->missing_bytes < least) {
            least = lack->missing_bytes;
        }
    }
    return least;
}

/* The GPUs that it holds memory of, and which of them it holds most of. */
static void name_gpus(struct holder *holder, char *uuids, size_t size)
{
    size_t used = 0;
    uint64_t most = 0;
    uuids[0] = holder->uuid[0] = '\0';
    for (size_t i = 0; i < holder->reclaim->gpu_count; i++) {
        const char *uuid = vram_snapshot_gpu(holder->reclaim->kept, i)->uuid;
        if (!uuid || !holder->held[i]) {
            continue;
        }
        int length = snprintf(uuids + used, size - used, "%s%s", used ? "," : "", uuid);
        used = length > 0 && (size_t)length < size - used ? used + (size_t)length : used;
        if (holder->held[i] > most) {
            most = holder->held[i];
            (void)text_copy(holder->uuid, sizeof(holder->uuid), uuid);
        }
    }
    uuids[used] = '\0';
}

static void ask(struct holder *holder, const struct reclaim_wish *wish, bool alone, uint64_t now_ns)
{
    char uuids[UUIDS_MAX];
    name_gpus(holder, uuids, sizeof(uuids));
    struct reclaim_wanted wanted = {wanted_of(holder, wish, alone), uuids};
    holder->is_open = true;
    holder->answered = false;
    holder->failure[0] = '\0';
    (void)text_copy(holder->id, sizeof(holder->id), wish->id);
    holder->asked_ns = holder->least_ns = now_ns;
    holder->before_bytes = holder->least_bytes = holder->held_bytes;
    holder->word_ns = 0; /* what it does after this is another matter */
    holder->idle_since_ns = 0;
    holder->ask =
        reclaim_ask_new(holder->reclaim->base, &holder->config, &wanted, holder_asked, holder);
    if (!holder->ask) {
        holder_asked(holder, "it cannot be asked", false);
    }
}

/* ---- Notes ----------------------------------------------------------------------------------- */

/* "ollama (14.0 GiB) is busy" */
static void note(const struct holder *holder, const char *what, char text[RECLAIM_TEXT_MAX])
{
    char bytes[SIZE_TEXT_MAX];
    size_t length = strlen(text);
    uint64_t held = holder->is_open ? holder->before_bytes : holder->held_bytes;
    (void)snprintf(text + length, RECLAIM_TEXT_MAX - length, "%s%s (%s) %s", length ? ", " : "",
                   holder->config.name, size_format(held, bytes), what);
}

static void note_asked(const struct reclaim *reclaim, const char *id, char text[RECLAIM_TEXT_MAX])
{
    for (size_t i = 0; i < reclaim->count; i++) {
        const struct holder *holder = &reclaim->holders[i];
        if (holder->is_open && strcmp(holder->id, id) == 0) {
            note(holder, "is asked to give back", text);
        }
    }
}

static void note_hindered(struct reclaim *reclaim, uint32_t set, uint64_t now_ns,
                          char text[RECLAIM_TEXT_MAX])
{
    static const char *const words[] = {
        [BUSY] = "is busy",
        [UNTOLD] = "may be busy, which nobody can tell",
        [RESTING] = "gave nothing back when it was asked",
    };
    for (size_t i = 0; i < reclaim->count; i++) {
        struct holder *holder = &reclaim->holders[i];
        enum readiness readiness = readiness_of(holder, now_ns);
        if (set & UINT32_C(1) << i && readiness >= BUSY && readiness <= RESTING) {
            note(holder, words[readiness], text);
        }
        if (set & UINT32_C(1) << i && readiness == BUSY) {
            holder_inquire(holder, now_ns);
        }
    }
}

/* ---- Serving --------------------------------------------------------------------------------- */

bool reclaim_is_open(const struct reclaim *reclaim)
{
    for (size_t i = 0; i < reclaim->count; i++) {
        if (reclaim->holders[i].is_open) {
            return true;
        }
    }
    return false;
}

/* Asks those of the set if all of them may be asked; else has them looked at further. */
static void go_on(struct reclaim *reclaim, const struct reclaim_wish *wish, uint32_t set,
                  uint64_t now_ns)
{
    bool all_ready = true;
    for (size_t i = 0; i < reclaim->count; i++) {
        if (set & UINT32_C(1) << i && readiness_of(&reclaim->holders[i], now_ns) != READY) {
            all_ready = false;
            holder_inquire(&reclaim->holders[i], now_ns);
        }
    }
    for (size_t i = 0; all_ready && i < reclaim->count; i++) {
        if (set & UINT32_C(1) << i) {
            ask(&reclaim->holders[i], wish, (set & (set - 1)) == 0, now_ns);
        }
    }
}

bool reclaim_serve(struct reclaim *reclaim, const struct reclaim_wish *wish, uint64_t now_ns,
                   char text[RECLAIM_TEXT_MAX])
{
    text[0] = '\0';
    if (!reclaim->count || reclaim->gpu_count == 0) {
        return false;
    }
    if (reclaim_is_open(reclaim)) { /* what comes of that is seen first, whomever it is for */
        note_asked(reclaim, wish->id, text);
        return true;
    }
    uint32_t set = plan(reclaim, wish, SOON, now_ns);
    if (set) {
        go_on(reclaim, wish, set, now_ns);
        note_asked(reclaim, wish->id, text);
        return true;
    }
    set = plan(reclaim, wish, UNTOLD, now_ns);
    set = set ? set : plan(reclaim, wish, RESTING, now_ns);
    note_hindered(reclaim, set, now_ns, text);
    return false;
}

void reclaim_settle(struct reclaim *reclaim, const char *id, uint64_t now_ns)
{
    for (size_t i = 0; i < reclaim->count; i++) {
        struct holder *holder = &reclaim->holders[i];
        if (holder->is_open && strcmp(holder->id, id) == 0 &&
            holder_returned(holder) >= RECLAIM_LEAST_BYTES) {
            holder_conclude(holder, now_ns);
        }
    }
}

/* ---- To look at ------------------------------------------------------------------------------ */

size_t reclaim_count(const struct reclaim *reclaim)
{
    return reclaim->count;
}

struct reclaim_view reclaim_view_at(const struct reclaim *reclaim, size_t i, uint64_t now_ns)
{
    static const char *const states[] = {
        [ABSENT] = "absent",  [READY] = "idle",      [SOON] = "idle",   [BUSY] = "busy",
        [UNTOLD] = "unknown", [RESTING] = "resting", [ASKED] = "asked",
    };
    const struct holder *holder = &reclaim->holders[i];
    enum readiness readiness = readiness_of(holder, now_ns);
    return (struct reclaim_view){
        .config = &holder->config,
        .state = readiness == ABSENT && holder->leased_bytes ? "leased" : states[readiness],
        .held_bytes = holder->held_bytes,
        .leased_bytes = holder->leased_bytes,
        .last = holder->last,
        .last_ns = holder->last_ns,
        .rest_until_ns = readiness == RESTING ? holder->rest_until_ns : 0,
    };
}
