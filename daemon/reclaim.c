/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim.h"

#include "common/clock.h"
#include "common/size.h"
#include "common/text.h"
#include "daemon/reclaim_ask.h"
#include "daemon/reclaim_match.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS ((uint64_t)1000000000)
#define BLIND_NS (2 * SECOND_NS) /* without a look for so long nobody was seen to be idle */
#define WORD_NS SECOND_NS        /* how long its own word counts */
#define QUIET_NS (SECOND_NS / 2) /* after so long nothing more is expected */
#define LATE_NS SECOND_NS
#define REST_MOST_NS (3600 * SECOND_NS)
#define UUIDS_MAX 1000

enum load {
    LOAD_UNKNOWN,
    LOAD_LOW,
    LOAD_HIGH,
};

/* In which a holder is, as far as asking it goes. */
enum readiness {
    ABSENT, /* it has nothing to give back */
    READY,  /* it may be asked */
    SOON,   /* it may be, once it was seen idle for long enough, or has said that it is */
    BUSY,
    UNTOLD,  /* nobody can tell whether it is busy */
    RESTING, /* nothing came back when it was asked */
    ASKED,
};

struct holder {
    struct reclaim *reclaim;
    struct config_holder config;

    /* as it was looked at last */
    uint64_t *held; /* for each GPU of the sample */
    uint64_t held_bytes, leased_bytes;
    enum load load;
    uint64_t idle_since_ns; /* 0: it is not idle */

    struct reclaim_ask *inquiry;
    uint64_t word_ns; /* when it said whether it is busy; 0: never */
    bool word_busy;

    struct reclaim_ask *ask; /* is being asked */
    bool is_open;            /* was asked, and what came of it is not told yet */
    bool answered;
    char failure[RECLAIM_FAILURE_MAX];
    char id[RECLAIM_ID_MAX]; /* for whom */
    uint64_t asked_ns, before_bytes, least_bytes, least_ns;
    char uuid[96];

    unsigned failures; /* in a row */
    uint64_t rest_until_ns;
    char last[RECLAIM_TEXT_MAX];
    uint64_t last_ns;
};

struct reclaim {
    struct event_base *base;
    reclaim_promised_function promised;
    reclaim_told_function told;
    void *data;
    size_t count;
    struct holder *holders;
    bool wants_commands;
    size_t gpu_count;
    uint64_t looked_ns;
    struct vram_snapshot *kept; /* that was looked at last */
};

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

/* ---- Results --------------------------------------------------------------------------------- */

static uint64_t returned_by(const struct holder *holder)
{
    return holder->before_bytes > holder->least_bytes ? holder->before_bytes - holder->least_bytes
                                                      : 0;
}

static void say_result(struct holder *holder, uint64_t returned, uint64_t took_ns)
{
    char bytes[SIZE_TEXT_MAX], took[32];
    bool failed = holder->failure[0];
    if (took_ns < SECOND_NS / 10) {
        (void)snprintf(took, sizeof(took), "%.0f ms", (double)took_ns / 1e6);
    } else {
        (void)snprintf(took, sizeof(took), "%.1f s", (double)took_ns / (double)SECOND_NS);
    }
    if (returned >= RECLAIM_LEAST_BYTES) {
        (void)snprintf(holder->last, sizeof(holder->last), "asked %s: %s back in %s%s%s%s",
                       holder->config.name, size_format(returned, bytes), took, failed ? " (" : "",
                       holder->failure, failed ? ")" : "");
    } else {
        (void)snprintf(holder->last, sizeof(holder->last), "asked %s: nothing came back%s%s%s",
                       holder->config.name, failed ? " (" : "", holder->failure, failed ? ")" : "");
    }
}

/* What came back is told; who gave nothing is left alone, longer each time. */
static void conclude(struct holder *holder, uint64_t now_ns)
{
    uint64_t returned = returned_by(holder), rest_ns = holder->config.again_ns;
    struct reclaim_result result = {
        .holder = holder->config.name,
        .id = holder->id,
        .uuid = holder->uuid[0] ? holder->uuid : NULL,
        .returned_bytes = returned,
        .took_ns = holder->least_ns - holder->asked_ns,
        .text = holder->last,
    };
    if (returned >= RECLAIM_LEAST_BYTES) {
        holder->failures = 0;
    } else {
        for (unsigned i = 0; i < holder->failures && rest_ns < REST_MOST_NS; i++) {
            rest_ns *= 2;
        }
        holder->failures++;
        holder->rest_until_ns = now_ns + (rest_ns < REST_MOST_NS ? rest_ns : REST_MOST_NS);
    }
    holder->is_open = false;
    holder->last_ns = now_ns;
    say_result(holder, returned, result.took_ns);
    holder->reclaim->told(holder->reclaim->data, &result);
}

/* Who answers late may still give back; who has given something and stopped is done. */
static void judge(struct holder *holder, uint64_t now_ns)
{
    uint64_t late_ns = holder->answered ? 0 : LATE_NS; /* its talk ends by then, and says why */
    bool overdue = now_ns - holder->asked_ns >= holder->config.timeout_ns + late_ns;
    bool is_quiet = now_ns - holder->least_ns >= QUIET_NS;
    bool has_given = returned_by(holder) >= RECLAIM_LEAST_BYTES;
    if (overdue || (is_quiet && holder->answered && (has_given || holder->failure[0]))) {
        conclude(holder, now_ns);
    }
}

static void on_asked(void *data, const char *failure, bool busy)
{
    struct holder *holder = data;
    (void)busy;
    holder->answered = true;
    (void)text_copy(holder->failure, sizeof(holder->failure), failure);
    holder->ask = reclaim_ask_free(holder->ask);
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
        conclude(holder, now_ns);
        return;
    }
    holder->word_ns = now_ns;
    holder->word_busy = busy;
    holder->idle_since_ns = busy ? 0 : holder->idle_since_ns ? holder->idle_since_ns : now_ns;
}

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
        judge(holder, now_ns);
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

static enum readiness readiness_of(const struct holder *holder, uint64_t now_ns)
{
    return holder->is_open || holder->ask   ? ASKED
           : !holder->held_bytes            ? ABSENT
           : now_ns < holder->rest_until_ns ? RESTING
                                            : rested(holder, now_ns);
}

/* A word that is wanted and not fresh is asked for. */
static void inquire(struct holder *holder, uint64_t now_ns)
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
        reclaim_ask_new(holder->reclaim->base, &holder->config, &wanted, on_asked, holder);
    if (!holder->ask) {
        on_asked(holder, "it cannot be asked", false);
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
            inquire(holder, now_ns);
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
            inquire(&reclaim->holders[i], now_ns);
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
            returned_by(holder) >= RECLAIM_LEAST_BYTES) {
            conclude(holder, now_ns);
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
