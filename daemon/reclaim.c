/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim_inner.h"

#include "common/size.h"
#include "common/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS_MAX 256 /* that are named to who is asked */

/* ---- Life ------------------------------------------------------------------------------------ */

struct holder *holder_new(struct reclaim *reclaim, const char *name)
{
    struct holder *holder = calloc(1, sizeof(*holder));
    if (holder) {
        holder->reclaim = reclaim;
        (void)text_copy(holder->name, sizeof(holder->name), name);
    }
    return holder;
}

struct holder *holder_free(struct holder *holder)
{
    if (holder) {
        (void)reclaim_ask_free(holder->inquiry);
        (void)reclaim_ask_free(holder->ask);
        free(holder->held);
        free(holder);
    }
    return NULL;
}

struct reclaim *reclaim_new(struct event_base *base, const struct reclaim_ops *ops, void *data)
{
    struct reclaim *reclaim = calloc(1, sizeof(*reclaim));
    if (reclaim) {
        reclaim->base = base;
        reclaim->ops = ops;
        reclaim->data = data;
    }
    return reclaim;
}

struct reclaim *reclaim_free(struct reclaim *reclaim)
{
    if (reclaim) {
        for (size_t i = 0; i < reclaim->count; i++) {
            (void)holder_free(reclaim->holders[i]);
        }
        free(reclaim->holders);
        (void)vram_snapshot_unref(reclaim->kept);
        free(reclaim);
    }
    return NULL;
}

static void forget_configured(struct reclaim *reclaim)
{
    for (size_t i = 0; i < reclaim->configured; i++) {
        (void)holder_free(reclaim->holders[i]);
    }
    reclaim->count -= reclaim->configured;
    if (reclaim->configured) {
        memmove(reclaim->holders, reclaim->holders + reclaim->configured,
                reclaim->count * sizeof(struct holder *));
    }
    reclaim->configured = 0;
    reclaim->wants_commands = false;
    reclaim->gpu_count = 0; /* until the next look nothing is known of the new ones */
}

int reclaim_configure(struct reclaim *reclaim, const struct config_holder *holders, size_t count)
{
    forget_configured(reclaim);
    struct holder **grown =
        reallocarray(reclaim->holders, reclaim->count + count + 1, sizeof(struct holder *));
    if (!grown) {
        return -ENOMEM;
    }
    reclaim->holders = grown;
    memmove(grown + count, grown, reclaim->count * sizeof(struct holder *));
    for (size_t i = 0; i < count; i++) {
        grown[i] = holder_new(reclaim, holders[i].name);
        if (!grown[i]) {
            memmove(grown + i, grown + count, reclaim->count * sizeof(struct holder *));
            reclaim->count += i;
            reclaim->configured = i;
            forget_configured(reclaim);
            return -ENOMEM;
        }
        grown[i]->config = holders[i];
        reclaim->wants_commands |= strstr(holders[i].match, "command:") != NULL;
    }
    reclaim->count += count;
    reclaim->configured = count;
    return 0;
}

uint32_t reclaim_take(const struct reclaim *reclaim)
{
    uint32_t commands = reclaim->wants_commands ? VRAM_TAKE_COMMANDS : 0;
    return reclaim->configured ? VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH | commands
           : reclaim->count    ? VRAM_TAKE_PROCESSES
                               : 0;
}

/* ---- Whom to ask ----------------------------------------------------------------------------- */

/* Holders that are asked together. */
struct party {
    size_t count;
    struct holder *members[HOLDERS_MAX];
};

/* How much it could give back where something is lacking. */
static uint64_t help_of(const struct holder *holder, const struct reclaim_wish *wish)
{
    uint64_t help = 0;
    for (size_t i = 0; i < wish->lack_count; i++) {
        help += wish->lacks[i].missing_bytes ? holder->held[wish->lacks[i].gpu] : 0;
    }
    return help;
}

/* Into its place among the leases of the party: who could give back most first, and whoever there is no room for goes. */
static void insert(struct party *party, size_t configured, struct holder *holder,
                   const struct reclaim_wish *wish)
{
    size_t place = party->count;
    while (place > configured && help_of(party->members[place - 1], wish) < help_of(holder, wish)) {
        place--;
    }
    if (place == HOLDERS_MAX) {
        return;
    }
    party->count += party->count < HOLDERS_MAX;
    memmove(&party->members[place + 1], &party->members[place],
            (party->count - place - 1) * sizeof(struct holder *));
    party->members[place] = holder;
}

/* Those that are as ready as `most` says, at least, and could help; as many as can be planned with. */
static struct party gather(const struct reclaim *reclaim, const struct reclaim_wish *wish,
                           enum readiness most, uint64_t now_ns)
{
    struct party party = {0};
    size_t configured = 0;
    for (size_t i = 0; i < reclaim->count; i++) {
        struct holder *holder = reclaim->holders[i];
        enum readiness readiness = readiness_of(holder, now_ns);
        if (readiness == ABSENT || readiness > most || !help_of(holder, wish)) {
            continue;
        }
        if (i < reclaim->configured) {
            party.members[party.count++] = holder;
            configured = party.count;
        } else {
            insert(&party, configured, holder, wish);
        }
    }
    return party;
}

/* The cheapest set of those that are as ready as `most` says, at least. */
static struct party plan(const struct reclaim *reclaim, const struct reclaim_wish *wish,
                         enum readiness most, uint64_t now_ns)
{
    struct party all = gather(reclaim, wish, most, now_ns), chosen = {0};
    struct reclaim_choice choices[HOLDERS_MAX] = {{0}};
    for (size_t i = 0; i < all.count; i++) {
        choices[i] = (struct reclaim_choice){all.members[i]->config.cost, all.members[i]->held};
    }
    uint32_t set = reclaim_plan(wish->lacks, wish->lack_count, wish->wanted, choices, all.count);
    for (size_t i = 0; i < all.count; i++) {
        if (set & UINT32_C(1) << i) {
            chosen.members[chosen.count++] = all.members[i];
        }
    }
    return chosen;
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
static size_t name_gpus(struct holder *holder, const char *uuids[GPUS_MAX])
{
    uint64_t most = 0;
    size_t count = 0;
    holder->uuid[0] = '\0';
    for (size_t i = 0; i < holder->reclaim->gpu_count && count < GPUS_MAX; i++) {
        const char *uuid = vram_snapshot_gpu(holder->reclaim->kept, i)->uuid;
        if (!uuid || !holder->held[i]) {
            continue;
        }
        uuids[count++] = uuid;
        if (holder->held[i] > most) {
            most = holder->held[i];
            (void)text_copy(holder->uuid, sizeof(holder->uuid), uuid);
        }
    }
    return count;
}

/* Negative: it cannot be asked. */
static int put(struct holder *holder, const struct reclaim_wanted *wanted)
{
    struct reclaim *reclaim = holder->reclaim;
    if (holder->lease[0]) {
        return reclaim->ops->ask(reclaim->data, holder->lease, wanted, holder->id);
    }
    holder->ask = reclaim_ask_new(reclaim->base, &holder->config, wanted, holder_asked, holder);
    return holder->ask ? 0 : -1;
}

static void ask(struct holder *holder, const struct reclaim_wish *wish, bool alone, uint64_t now_ns)
{
    const char *uuids[GPUS_MAX];
    struct reclaim_wanted wanted = {
        .bytes = wanted_of(holder, wish, alone),
        .gpu_count = name_gpus(holder, uuids),
        .gpus = uuids,
    };
    holder->is_open = true;
    holder->answered = false;
    holder->failure[0] = '\0';
    (void)text_copy(holder->id, sizeof(holder->id), wish->id);
    holder->asked_ns = holder->least_ns = now_ns;
    holder->before_bytes = holder->least_bytes = holder->held_bytes;
    holder->word_ns = 0; /* what it does after this is another matter */
    holder->idle_since_ns = 0;
    if (put(holder, &wanted) < 0) {
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
                   holder->name, size_format(held, bytes), what);
}

static void note_asked(const struct reclaim *reclaim, const char *id, char text[RECLAIM_TEXT_MAX])
{
    for (size_t i = 0; i < reclaim->count; i++) {
        const struct holder *holder = reclaim->holders[i];
        if (holder->is_open && strcmp(holder->id, id) == 0) {
            note(holder, "is asked to give back", text);
        }
    }
}

static void note_hindered(const struct party *party, uint64_t now_ns, char text[RECLAIM_TEXT_MAX])
{
    static const char *const words[] = {
        [BUSY] = "is busy",
        [UNTOLD] = "may be busy, which nobody can tell",
        [RESTING] = "gave nothing back when it was asked",
    };
    for (size_t i = 0; i < party->count; i++) {
        struct holder *holder = party->members[i];
        enum readiness readiness = readiness_of(holder, now_ns);
        if (readiness >= BUSY && readiness <= RESTING) {
            note(holder, words[readiness], text);
        }
        if (readiness == BUSY) {
            holder_inquire(holder, now_ns);
        }
    }
}

/* ---- Serving --------------------------------------------------------------------------------- */

bool reclaim_is_open(const struct reclaim *reclaim)
{
    for (size_t i = 0; i < reclaim->count; i++) {
        if (reclaim->holders[i]->is_open) {
            return true;
        }
    }
    return false;
}

/* Asks those of the party if all of them may be asked; else has them looked at further. */
static void go_on(const struct party *party, const struct reclaim_wish *wish, uint64_t now_ns)
{
    bool all_ready = true;
    for (size_t i = 0; i < party->count; i++) {
        if (readiness_of(party->members[i], now_ns) != READY) {
            all_ready = false;
            holder_inquire(party->members[i], now_ns);
        }
    }
    for (size_t i = 0; all_ready && i < party->count; i++) {
        ask(party->members[i], wish, party->count == 1, now_ns);
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
    struct party party = plan(reclaim, wish, SOON, now_ns);
    if (party.count) {
        go_on(&party, wish, now_ns);
        note_asked(reclaim, wish->id, text);
        return true;
    }
    party = plan(reclaim, wish, UNTOLD, now_ns);
    party = party.count ? party : plan(reclaim, wish, RESTING, now_ns);
    note_hindered(&party, now_ns, text);
    return false;
}

void reclaim_settle(struct reclaim *reclaim, const char *id, uint64_t now_ns)
{
    for (size_t i = 0; i < reclaim->count; i++) {
        struct holder *holder = reclaim->holders[i];
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
    const struct holder *holder = reclaim->holders[i];
    enum readiness readiness = readiness_of(holder, now_ns);
    bool is_lease = holder->lease[0];
    return (struct reclaim_view){
        .name = holder->name,
        .ask = is_lease ? "lease" : config_holder_ask_name(holder->config.ask),
        .match = is_lease ? NULL : holder->config.match,
        .lease = is_lease ? holder->lease : NULL,
        .cost = holder->config.cost,
        .state = readiness == ABSENT && holder->leased_bytes ? "leased" : states[readiness],
        .held_bytes = holder->held_bytes,
        .leased_bytes = holder->leased_bytes,
        .last = holder->last,
        .last_ns = holder->last_ns,
        .rest_until_ns = readiness == RESTING ? holder->rest_until_ns : 0,
        .tally = holder->tally,
    };
}

struct reclaim_tally reclaim_lease_tally(const struct reclaim *reclaim)
{
    return reclaim->lease_tally;
}
