/* SPDX-License-Identifier: MIT */
/* The desk: life, samples, owners' ends, time. */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "daemon/attachment.h"
#include "daemon/history.h"
#include "daemon/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* While somebody waits the driver is looked at so often, and at most a fifth of the time is its own; while promises stand
 * only to see whether they are kept. */
#define POLL_MIN_NS ((uint64_t)20000000)
#define POLL_SHARE 4
#define POLL_STANDING_NS ((uint64_t)1000000000)
#define PROGRESS_USEC 100000

/* ---- Owners and members ---------------------------------------------------------------------- */

uint64_t promises_holder_of(struct promises *promises, pid_t pid, uint64_t start_time)
{
    struct members_verdict verdict = {0};
    if (pid <= 0 || members_resolve(promises->members, pid, start_time, NULL, NULL, &verdict) < 0) {
        return 0;
    }
    return ledger_holds(promises->ledger, verdict.key) ? verdict.key : verdict.outer;
}

int promises_join(struct promises *promises, const struct owner_process *owner)
{
    bool prospective = !ledger_holds(promises->ledger, owner->key);
    int r = members_add_owner(promises->members, owner->key, owner->pid, owner->start_time,
                              owner->uid, prospective);
    return r == -EEXIST ? members_set_prospective(promises->members, owner->key, prospective) : r;
}

void promises_settle_owner(struct promises *promises, uint64_t key)
{
    struct owner_process *owner = owners_find(promises->owners, key);
    if (ledger_knows(promises->ledger, key)) {
        (void)members_set_prospective(promises->members, key, !ledger_holds(promises->ledger, key));
        if (owner) { /* its last request may be being answered */
            owner_mark(owner);
        }
    } else {
        members_remove_owner(promises->members, key);
        owners_remove(promises->owners, key);
    }
}

int promises_attach(struct promises *promises, const struct deal *deal,
                    const struct deal_member *member)
{
    struct attachment attachment;
    int r = attachment_parse(member->text, &attachment);
    if (r < 0 || attachment.kind != ATTACHMENT_PID) {
        return r < 0 ? r : members_attach(promises->members, deal->owner, member->text);
    }
    return members_attach_process(promises->members, deal->owner, attachment.pid,
                                  member->start_time);
}

void promises_drop(struct promises *promises, struct deal *deal)
{
    uint64_t owner = deal->owner;
    history_lease_ended(promises->daemon, deal->id, "not granted, or taken back");
    members_remove_lease(promises->members, deal->id);
    deals_remove(promises->deals, deal);
    promises_settle_owner(promises, owner);
}

/* Owners whose last request was answered within the ledger, where they had one to the end. */
static void settle_owners(struct promises *promises)
{
    struct owner_process *owner;
    while ((owner = owners_next_marked(promises->owners))) {
        if (!ledger_knows(promises->ledger, owner->key)) {
            promises_settle_owner(promises, owner->key);
        }
    }
}

/* Who did not return in time after a restart. */
static void forget_absent(struct promises *promises)
{
    if (!promises->restored || ledger_awaits_return(promises->ledger)) {
        return;
    }
    promises->restored = false;
    for (size_t i = deals_count(promises->deals); i-- > 0;) {
        struct deal *deal = deals_at(promises->deals, i);
        if (deal->kind == DEAL_ASKED && ledger_find_waiter(promises->ledger, deal->id) < 0) {
            (void)record_end(promises, deal->id);
            promises_drop(promises, deal);
        }
    }
}

/* ---- Ends of processes ----------------------------------------------------------------------- */

static void owner_ended(void *data, struct owner_process *owner)
{
    struct promises *promises = data;
    uint64_t key = owner->key;
    for (size_t i = deals_count(promises->deals); i-- > 0;) {
        struct deal *deal = deals_at(promises->deals, i);
        if (deal->owner == key && deal->kind != DEAL_HELD) {
            if (deal->http) {
                http_fail(deal->http, 410, "owner_ended", ESRCH, NULL,
                          "the process that the lease was asked for has ended");
                deal->http = NULL;
            }
            if (deal->kind == DEAL_ASKED) {
                (void)record_end(promises, deal->id);
            }
            (void)ledger_end(promises->ledger, deal->id, clock_now_ns());
            history_lease_ended(promises->daemon, deal->id, "its owner has ended");
            deals_remove(promises->deals, deal);
        }
    }
    ledger_owner_ended(promises->ledger, key, clock_now_ns());
    owner_watch_members(owner);
    promises_settle_owner(promises, key);
    promises_stir(promises, true);
}

static void member_ended(void *data)
{
    promises_stir(data, true);
}

/* ---- Samples --------------------------------------------------------------------------------- */

static bool promises_may(const struct promises *promises)
{
    const char *reason;
    char message[DAEMON_MESSAGE_MAX];
    return daemon_is_promising(promises->daemon, &reason, message, sizeof(message));
}

static void fill_gpu(const struct promises *promises, const struct vram_gpu *from,
                     struct ledger_gpu *to)
{
    *to = (struct ledger_gpu){
        .uuid = from->uuid,
        .pool = from->pool,
        .usable = from->state != VRAM_GPU_LOST && from->state != VRAM_GPU_DENIED,
        .current = from->state == VRAM_GPU_OK,
        .uses_known = from->processes_known,
        .drained = drain_has(promises, from->uuid) || drain_has(promises, from->parent_uuid),
        .total_bytes = from->total_bytes,
        .reserved_bytes = from->driver_reserved_bytes,
        .free_bytes = from->free_bytes,
        .margin_bytes = config_margin_bytes(
            config_margin_for(&promises->daemon->config, from->index, from->uuid, from->pci),
            from->total_bytes),
    };
}

static uint64_t age_ns(const struct vram_process *process)
{
    static uint64_t ticks_per_second;
    uint64_t now = process_now_ticks();
    if (!ticks_per_second) {
        long configured = sysconf(_SC_CLK_TCK);
        ticks_per_second = configured > 0 ? (uint64_t)configured : 100;
    }
    bool known = process->start_time != VRAM_UNKNOWN && process->start_time <= now;
    return known ? (now - process->start_time) * (1000000000 / ticks_per_second) : UINT64_MAX;
}

/* Who it counts for; a member that is seen for the first time is written down. */
static int attribute(struct promises *promises, const struct vram_process *process,
                     struct ledger_use *use)
{
    struct members_verdict verdict = {0};
    if (!process->visible || process->start_time == VRAM_UNKNOWN) {
        return 0;
    }
    int r = members_resolve(promises->members, (pid_t)process->pid, process->start_time,
                            process->container, process->unit, &verdict);
    if (r < 0 || !verdict.key) {
        return r;
    }
    struct owner_process *owner = owners_find(promises->owners, verdict.key);
    use->owner = verdict.key;
    use->outer = verdict.outer;
    use->is_owner =
        owner && owner->pid == (pid_t)process->pid && owner->start_time == process->start_time;
    if (use->is_owner) {
        owner->holds = true;
    } else if (owner && ledger_holds(promises->ledger, owner->key)) {
        r = owner_saw(owner, (pid_t)process->pid, process->start_time);
        if (r > 0) {
            (void)record_member(promises, owner, (pid_t)process->pid, process->start_time);
        }
    }
    return r < 0 ? r : 0;
}

static int fill_sample(struct promises *promises, const struct vram_snapshot *snapshot,
                       struct ledger_gpu *gpus, struct ledger_use *uses,
                       struct ledger_sample *sample)
{
    int r = 0;
    for (size_t i = 0; i < sample->gpu_count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        fill_gpu(promises, gpu, &gpus[i]);
        for (size_t j = 0; r == 0 && j < gpu->process_count; j++) {
            const struct vram_process *process = &gpu->processes[j];
            struct ledger_use *use = &uses[sample->use_count++];
            *use = (struct ledger_use){
                .gpu = i,
                .pid = process->pid,
                .start_time = process->start_time,
                .age_ns = age_ns(process),
                .used_bytes = process->used_bytes,
                .name = process->name,
            };
            use->ceiling = ceilings_number(promises, gpu, process);
            r = attribute(promises, process, use);
        }
    }
    return r;
}

static int take(struct promises *promises, const struct sample *from)
{
    struct ledger_sample sample = {
        .begun_ns = from->begun_ns,
        .ended_ns = from->ended_ns,
        .gpu_count = vram_snapshot_gpu_count(from->snapshot),
    };
    size_t use_count = 0;
    for (size_t i = 0; i < sample.gpu_count; i++) {
        use_count += vram_snapshot_gpu(from->snapshot, i)->process_count;
    }
    struct ledger_gpu *gpus = calloc(sample.gpu_count + 1, sizeof(*gpus));
    struct ledger_use *uses = calloc(use_count + 1, sizeof(*uses));
    struct ledger_ceiling *ceilings = NULL;
    int r = gpus && uses ? ceilings_list(promises, from->snapshot, &ceilings, &sample.ceiling_count)
                         : -ENOMEM;
    if (r == 0) {
        sample.ceilings = ceilings;
        sample.gpus = gpus;
        sample.uses = uses;
        owners_unsee(promises->owners);
        r = fill_sample(promises, from->snapshot, gpus, uses, &sample);
    }
    if (r == 0) {
        owners_forget_unseen(promises->owners);
        reach_find_all(promises, from->snapshot);
        r = ledger_take(promises->ledger, &sample, clock_now_ns());
    }
    free(gpus);
    free(uses);
    free(ceilings);
    forget_absent(promises);
    settle_owners(promises);
    members_sweep(promises->members);
    return r;
}

static uint32_t take_of(const struct promises *promises)
{
    return VRAM_TAKE_SETTLED | VRAM_TAKE_PROCESSES |
           (ceilings_need_commands(promises) ? VRAM_TAKE_COMMANDS : 0);
}

/* What a sample for promises must have. Once somebody who waits has had GPUs woken they are asked so until nobody waits:
 * to ask one way and the other means to open the driver anew each time. */
static uint32_t take_wanted(struct promises *promises)
{
    promises->wakes = promises->wakes && ledger_waiter_count(promises->ledger);
    return take_of(promises) | room_take(promises) | (promises->wakes ? COLLECTOR_WAKE : 0);
}

static bool any_sleeps(const struct vram_snapshot *snapshot)
{
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        if (vram_snapshot_gpu(snapshot, i)->state == VRAM_GPU_ASLEEP) {
            return true;
        }
    }
    return false;
}

static void sampled(void *data, const struct sample *sample)
{
    struct promises *promises = data;
    promises->sample_cost_ns = sample->ended_ns - sample->begun_ns;
    if (promises->ending || !(sample->take & VRAM_TAKE_SETTLED) || !promises_may(promises)) {
        return;
    }
    if (!sample->snapshot) {
        promises_fail(promises, sample);
        promises_stir(promises, false);
        return;
    }
    if (ledger_waiter_count(promises->ledger) && any_sleeps(sample->snapshot) &&
        !(sample->take & COLLECTOR_WAKE)) {
        promises->wakes = true; /* whoever wants to use a GPU wakes it anyway */
        collector_ask(promises->daemon->collector, take_wanted(promises));
        return;
    }
    uint64_t epoch = promises->daemon->epoch;
    room_look(promises, sample);
    if (take(promises, sample) < 0) {
        log_line(LOG_LINE_ERROR, "out of memory: a sample was not looked at");
    }
    promises_tell_held(promises, sample->snapshot);
    room_serve(promises, sample);
    promises_stir(promises, false);
    if (ledger_wants_sample(promises->ledger) && epoch != promises->daemon->epoch) {
        /* What changed may have made room. */
        collector_ask(promises->daemon->collector, take_wanted(promises));
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void set_timer(struct promises *promises)
{
    uint64_t next_ns = ledger_next_ns(promises->ledger), now_ns = clock_now_ns();
    if (next_ns == LEDGER_NEVER) {
        (void)event_del(promises->on_time);
        return;
    }
    uint64_t left_us = (next_ns > now_ns ? next_ns - now_ns : 0) / 1000 + 1; /* never too early */
    struct timeval wait = {(time_t)(left_us / 1000000), (suseconds_t)(left_us % 1000000)};
    (void)event_add(promises->on_time, &wait);
}

static void on_time(evutil_socket_t none, short what, void *data)
{
    struct promises *promises = data;
    (void)none;
    (void)what;
    uint64_t epoch = promises->daemon->epoch;
    ledger_tick(promises->ledger, clock_now_ns());
    forget_absent(promises);
    promises_stir(promises, epoch != promises->daemon->epoch);
}

static const struct timeval progress_pause = {0, PROGRESS_USEC};

static void on_progress(evutil_socket_t none, short what, void *data)
{
    static const struct timeval next = {0, 1000}; /* in between others are answered */
    struct promises *promises = data;
    (void)none;
    (void)what;
    if (promises_tell_waiting(promises, &promises->told_to)) {
        (void)event_add(promises->on_progress, &next);
        return;
    }
    promises->told_to = 0;
    if (promises->tell_again) {
        promises->tell_again = false;
        (void)event_add(promises->on_progress, &progress_pause);
    }
}

void promises_stir(struct promises *promises, bool ask)
{
    if (promises->ending) {
        return;
    }
    set_timer(promises);
    if (promises->told_to) {
        promises->tell_again = true;
    } else if (ledger_waiter_count(promises->ledger) &&
               !event_pending(promises->on_progress, EV_TIMEOUT, NULL)) {
        (void)event_add(promises->on_progress, &progress_pause);
    }
    if (ask && ledger_wants_sample(promises->ledger) && promises_may(promises)) {
        collector_ask(promises->daemon->collector, take_wanted(promises));
    }
    record_compact(promises, false);
    figures_poll(promises->daemon);
}

void promises_look(struct promises *promises, uint64_t since_ns)
{
    uint32_t take = take_wanted(promises) | reclaim_take(promises->reclaim);
    if (promises_may(promises)) {
        collector_ask_unless_running(promises->daemon->collector, take, clock_now_ns() - since_ns);
    }
}

static uint64_t poll_ns(void *data, uint32_t *ret_take)
{
    struct promises *promises = data;
    *ret_take = take_wanted(promises);
    if (!promises_may(promises)) {
        return 0;
    }
    if (ledger_wants_sample(promises->ledger) || reclaim_is_open(promises->reclaim)) {
        uint64_t rest_ns = promises->sample_cost_ns * POLL_SHARE;
        return rest_ns < POLL_MIN_NS        ? POLL_MIN_NS
               : rest_ns > POLL_STANDING_NS ? POLL_STANDING_NS
                                            : rest_ns;
    }
    return ledger_lease_count(promises->ledger) ? POLL_STANDING_NS : 0;
}

/* ---- What the frame asks --------------------------------------------------------------------- */

static bool is_busy(void *data)
{
    const struct promises *promises = data;
    return ledger_lease_count(promises->ledger) || ledger_waiter_count(promises->ledger);
}

static uint32_t take_needed(void *data)
{
    const struct promises *promises = data;
    bool needed = is_busy(data) || promises->daemon->config.ceiling_count;
    return needed && promises_may(promises) ? take_of(promises) : 0;
}

static const char *trouble(void *data, const char **ret_message)
{
    const struct promises *promises = data;
    *ret_message = promises->trouble_text;
    return promises->trouble;
}

static void promising_changed(void *data)
{
    promises_stir(data, true);
}

static void moved(void *data)
{
    record_compact(data, true);
}

static void reload(void *data)
{
    const struct promises *promises = data;
    const struct config *config = &promises->daemon->config;
    ceilings_changed(data);
    room_configure(data);
    ledger_end_idle(promises->ledger, config->idle_after_ns, config->idle_notice_ns);
    promises_stir(data, true);
}

static void ending(void *data)
{
    struct promises *promises = data;
    promises->ending = true;
    record_leave(promises); /* while the place is ours still */
}

static const struct promises_ops ops = {
    .fill = promises_fill,
    .lease = promises_lease,
    .sampled = sampled,
    .poll_ns = poll_ns,
    .take = take_needed,
    .is_busy = is_busy,
    .trouble = trouble,
    .metrics = promises_metrics,
    .promising_changed = promising_changed,
    .moved = moved,
    .reload = reload,
    .ending = ending,
};

/* ---- Life ------------------------------------------------------------------------------------ */

static void forget_all(struct promises *promises)
{
    ledger_free(promises->ledger);
    promises->ledger = NULL;
    promises->members = members_free(promises->members);
    promises->owners = owners_free(promises->owners);
    promises->deals = deals_free(promises->deals);
    promises->offers = offers_free(promises->offers);
}

int promises_begin(struct promises *promises)
{
    forget_all(promises);
    promises->ledger = ledger_new(&promises_ledger_ops, promises);
    promises->members = members_new("");
    promises->owners = owners_new(promises->daemon->base, owner_ended, member_ended, promises);
    promises->deals = deals_new();
    promises->offers = offers_new();
    promises->drained_count = 0;
    if (promises->ledger) {
        const struct config *config = &promises->daemon->config;
        ledger_end_idle(promises->ledger, config->idle_after_ns, config->idle_notice_ns);
    }
    bool complete = promises->ledger && promises->members && promises->owners && promises->deals &&
                    promises->offers;
    return complete ? 0 : -ENOMEM;
}

static struct promises *promises_free(struct promises *promises)
{
    if (promises) {
        forget_all(promises);
        promises->reclaim = reclaim_free(promises->reclaim);
        if (promises->on_time) {
            event_free(promises->on_time);
        }
        if (promises->on_progress) {
            event_free(promises->on_progress);
        }
        free(promises->outstanding);
        free(promises->own);
        free(promises->kept);
        free(promises->closed);
        free(promises->drained);
        free(promises);
    }
    return NULL;
}

static struct promises *promises_new(struct daemon *daemon)
{
    struct promises *promises = calloc(1, sizeof(*promises));
    if (!promises) {
        return NULL;
    }
    promises->daemon = daemon;
    promises->on_time = event_new(daemon->base, -1, 0, on_time, promises);
    promises->on_progress = event_new(daemon->base, -1, 0, on_progress, promises);
    bool complete = promises_begin(promises) == 0 && promises->on_time && promises->on_progress &&
                    room_open(promises) == 0;
    return complete ? promises : promises_free(promises);
}

int promises_open(struct daemon *daemon, bool forget)
{
    struct promises *promises = promises_new(daemon);
    if (!promises) {
        return -ENOMEM;
    }
    promises->journal_path = daemon->options.endpoint->journal;
    if (record_restore(promises, forget) < 0) {
        (void)promises_free(promises);
        return -ENOMEM;
    }
    promises->restored = true;
    daemon->promises = &ops;
    daemon->promises_data = promises;
    promises_stir(promises, true);
    return 0;
}

void promises_close(struct daemon *daemon)
{
    struct promises *promises = daemon->promises_data;
    if (promises) {
        record_leave(promises);
        daemon->promises = NULL;
        daemon->promises_data = promises_free(promises);
    }
}
