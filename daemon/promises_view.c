/* SPDX-License-Identifier: MIT */
/* Leases, waiters and answers as JSON (docs/api.md). */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "common/size.h"
#include "common/text.h"
#include "common/utc.h"
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USER_KEPT_NS ((uint64_t)60000000000)
#define USERS_KEPT 64

static const struct vram_gpu *find_gpu(const struct promises *promises, const char *uuid)
{
    const struct vram_snapshot *snapshot = promises->daemon->snapshot;
    for (size_t i = 0; snapshot && i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        if (gpu->uuid && strcmp(gpu->uuid, uuid) == 0) {
            return gpu;
        }
    }
    return NULL;
}

const char *view_gpu(const struct promises *promises, const char *uuid, char *text, size_t size)
{
    const struct vram_gpu *gpu = find_gpu(promises, uuid);
    if (!gpu) {
        (void)snprintf(text, size, "%.40s", uuid);
    } else if (gpu->mig_index != VRAM_UNKNOWN) {
        (void)snprintf(text, size, "GPU %" PRIu32 ":%" PRIu64, gpu->index, gpu->mig_index);
    } else {
        (void)snprintf(text, size, "GPU %" PRIu32, gpu->index);
    }
    return text;
}

/* Names are kept for a minute: who knows them may be a network away, and every answer, every line of a list and every
 * scrape has users. */
void view_user(uid_t uid, char name[METRICS_USER_MAX])
{
    static struct {
        uint64_t until_ns;
        uid_t uid;
        char name[METRICS_USER_MAX];
    } users[USERS_KEPT], *kept;
    uint64_t now_ns = clock_now_ns();
    const struct account *account = account_numbered(uid);
    if (account) {
        (void)text_copy(name, METRICS_USER_MAX, account->name);
        return;
    }
    kept = &users[uid % USERS_KEPT];
    if (kept->uid != uid || now_ns >= kept->until_ns) {
        char room[1024];
        struct passwd entry, *found = NULL;
        bool named = getpwuid_r(uid, &entry, room, sizeof(room), &found) == 0 && found &&
                     strlen(entry.pw_name) < sizeof(kept->name);
        (void)snprintf(kept->name, sizeof(kept->name), "%lu", (unsigned long)uid);
        if (named) {
            (void)text_copy(kept->name, sizeof(kept->name), entry.pw_name);
        }
        kept->uid = uid;
        kept->until_ns = now_ns + USER_KEPT_NS;
    }
    (void)text_copy(name, METRICS_USER_MAX, kept->name);
}

static void write_user(struct json *json, uint32_t user)
{
    char name[METRICS_USER_MAX];
    view_user(user, name);
    json_text(json, "user", name);
}

static void write_moment(struct json *json, const char *key, uint64_t ns)
{
    char text[UTC_TEXT_MAX];
    json_text(json, key, utc_format(ns, text));
}

/* ---- Leases ---------------------------------------------------------------------------------- */

static const char *state_name(uint32_t state)
{
    static const char *const names[] = {
        [LEDGER_OK] = "ok",     [LEDGER_FILLED] = "filled",     [LEDGER_INHERITED] = "inherited",
        [LEDGER_OVER] = "over", [LEDGER_SQUEEZED] = "squeezed",
    };
    return state < ARRAY_LENGTH(names) ? names[state] : "ok";
}

static void write_members(struct json *json, const struct owner_process *owner)
{
    json_array(json, "members");
    if (owner && owner->holds) {
        json_number(json, NULL, (uint64_t)owner->pid);
    }
    for (size_t i = 0; owner && i < owner->member_count; i++) {
        json_number(json, NULL, (uint64_t)owner->members[i]->pid);
    }
    json_end_array(json);
}

uint64_t view_date_of(uint64_t monotonic_ns)
{
    struct timespec real, monotonic;
    (void)clock_gettime(CLOCK_REALTIME, &real);
    (void)clock_gettime(CLOCK_MONOTONIC, &monotonic);
    return monotonic_ns + (uint64_t)(real.tv_sec - monotonic.tv_sec) * 1000000000u +
           (uint64_t)real.tv_nsec - (uint64_t)monotonic.tv_nsec;
}

static void write_lease(struct json *json, const char *key, const struct promises *promises,
                        const struct deal *deal, const struct ledger_lease *lease)
{
    const struct owner_process *owner = owners_find(promises->owners, lease->owner);
    uint64_t held = 0, outstanding = 0;
    json_object(json, key);
    json_text(json, "id", lease->id);
    json_number(json, "owner_pid", owner ? (uint64_t)owner->pid : 0);
    write_user(json, deal->user);
    json_text(json, "label", deal->label[0] ? deal->label : NULL);
    json_array(json, "gpus");
    for (size_t i = 0; i < lease->gpu_count; i++) {
        json_text(json, NULL, lease->gpus[i].uuid);
        held += lease->gpus[i].held_bytes;
        outstanding += lease->gpus[i].outstanding_bytes;
    }
    json_end_array(json);
    json_number(json, "size_bytes", lease->size_bytes);
    json_number(json, "held_bytes", held);
    json_number(json, "outstanding_bytes", outstanding);
    write_members(json, owner);
    json_array(json, "attached");
    for (size_t i = 0; i < deal->attached_count; i++) {
        json_text(json, NULL, deal->attached[i].text);
    }
    json_end_array(json);
    write_moment(json, "since", deal->since_ns);
    bool is_idle = lease->idle_until_ns < lease->until_ns;
    uint64_t end_ns = is_idle ? lease->idle_until_ns : lease->until_ns;
    if (end_ns == LEDGER_NEVER) {
        json_null(json, "until");
        json_null(json, "ends");
    } else {
        write_moment(json, "until", view_date_of(end_ns));
        json_text(json, "ends", is_idle ? "idle" : "time");
    }
    json_text(json, "state", state_name(lease->state));
    json_end_object(json);
}

static void write_waiter(struct json *json, const struct promises *promises,
                         const struct deal *deal, const struct ledger_waiter *waiter)
{
    char text[DEAL_WAITS_FOR_MAX];
    promises_waits_for(promises, deal, waiter, text);
    json_object(json, NULL);
    json_number(json, "position", waiter->position);
    json_text(json, "id", waiter->id);
    json_number(json, "pid", (uint64_t)deal->asker);
    write_user(json, deal->user);
    json_text(json, "label", deal->label[0] ? deal->label : NULL);
    json_number(json, "gpu_count", waiter->gpu_count);
    json_number(json, "size_bytes", waiter->size_bytes);
    write_moment(json, "since", deal->since_ns);
    json_text(json, "waits_for", text);
    json_end_object(json);
}

static void write_ceiling(struct json *json, const struct promises *promises,
                          const struct ledger_ceiling_share *share)
{
    const struct config_ceiling *ceiling =
        &promises->daemon->config.ceilings[share->number - 1]; /* until it changes, see reload() */
    json_object(json, NULL);
    json_text(json, "name", ceiling->name);
    json_text(json, "match", ceiling->match.text);
    json_text(json, "gpu", share->uuid);
    json_number(json, "size_bytes", share->size_bytes);
    json_number(json, "held_bytes", share->held_bytes);
    json_number(json, "outstanding_bytes", share->outstanding_bytes);
    json_end_object(json);
}

char *view_leases(const struct promises *promises)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_number(&json, "epoch", promises->daemon->epoch);
    api_write_daemon(promises->daemon, &json, "daemon");
    json_array(&json, "leases");
    for (size_t i = 0; i < ledger_lease_count(promises->ledger); i++) {
        struct ledger_lease lease = ledger_lease_at(promises->ledger, i);
        const struct deal *deal = deals_find(promises->deals, lease.id);
        if (deal) {
            write_lease(&json, NULL, promises, deal, &lease);
        }
    }
    json_end_array(&json);
    json_array(&json, "waiters");
    for (size_t i = 0; i < ledger_waiter_count(promises->ledger); i++) {
        struct ledger_waiter waiter = ledger_waiter_at(promises->ledger, i);
        const struct deal *deal = deals_find(promises->deals, waiter.id);
        if (deal && deal->kind == DEAL_ASKED) {
            write_waiter(&json, promises, deal, &waiter);
        }
    }
    json_end_array(&json);
    json_array(&json, "ceilings");
    for (size_t i = 0; i < ledger_ceiling_count(promises->ledger); i++) {
        struct ledger_ceiling_share share = ledger_ceiling_at(promises->ledger, i);
        write_ceiling(&json, promises, &share);
    }
    json_end_array(&json);
    json_end_object(&json);
    return buf_steal(&buf, NULL);
}

/* ---- Answers --------------------------------------------------------------------------------- */

static struct vram_fit_gpu line_of(const struct room *room, const char *uuid)
{
    return (struct vram_fit_gpu){
        .position = SIZE_MAX,
        .answer = room->answer,
        .chosen = room->chosen,
        .usable = room->usable,
        .uuid = uuid,
        .free_bytes = room->free_bytes,
        .outstanding_bytes = room->promised_bytes,
        .margin_bytes = room->margin_bytes,
        .headroom_bytes = room->headroom_bytes,
        .headroom_known = room->headroom_known,
        .shortfall_bytes = room->shortfall_bytes,
        .capacity_bytes = room->capacity_bytes,
        .own_outstanding_bytes = 0, /* what comes on top of a promise is not part of it */
    };
}

/* The arithmetic as vram_fit_json() has it; of its object the one answer in it. */
static void write_sum(struct json *json, uint32_t verdict, const struct ledger_request *request,
                      const struct ledger_sum *sum)
{
    static const uint32_t answers[] = {
        [LEDGER_GRANTED] = VRAM_FITS,
        [LEDGER_NOT_NOW] = VRAM_NOT_NOW,
        [LEDGER_WILL_NEVER] = VRAM_NEVER,
        [LEDGER_CANNOT_TELL] = VRAM_CANNOT_TELL,
    };
    struct vram_fit_gpu *lines = sum ? calloc(sum->count + 1, sizeof(*lines)) : NULL;
    char *text = NULL;
    if (!lines || verdict >= ARRAY_LENGTH(answers)) {
        free(lines);
        json_null(json, "answer");
        return;
    }
    struct vram_fit fit = {
        .answer = answers[verdict],
        .gpu_count = request->gpu_count,
        .size_bytes = request->size_bytes,
        .margin_bytes = 0,
        .waiters = sum->others,
        .promises_counted = true,
        .count = sum->count,
        .gpus = lines,
    };
    for (size_t i = 0; i < sum->count; i++) {
        uint64_t margin = sum->rooms[i].margin_bytes;
        lines[i] = line_of(&sum->rooms[i], sum->uuids[i]);
        fit.margin_bytes =
            margin != VRAM_UNKNOWN && margin > fit.margin_bytes ? margin : fit.margin_bytes;
    }
    const struct vram_fit *one = &fit;
    const char *object = NULL;
    if (vram_fit_json(&one, 1, &text) == 0 && (object = strstr(text, "[{")) != NULL) {
        json_raw(json, "answer", object + 1, strlen(object + 1) - strlen("]}"));
    } else {
        json_null(json, "answer");
    }
    free(text);
    free(lines);
}

static const char *verdict_name(uint32_t verdict)
{
    static const char *const names[] = {
        [LEDGER_GRANTED] = "granted",     [LEDGER_NOT_NOW] = "not_now",
        [LEDGER_WILL_NEVER] = "never",    [LEDGER_CANNOT_TELL] = "unknown",
        [LEDGER_TIMED_OUT] = "timed_out",
    };
    return verdict < ARRAY_LENGTH(names) ? names[verdict] : "unknown";
}

/* Why it can never be: too much for the largest card, or too many cards. */
static void say_never(const struct promises *promises, const struct deal *deal,
                      const struct ledger_sum *sum, char *message, size_t size)
{
    const struct ledger_request *request = &deal->request;
    const struct room *largest = NULL;
    const char *uuid = "";
    size_t enough = 0;
    for (size_t i = 0; i < sum->count; i++) {
        const struct room *room = &sum->rooms[i];
        enough += room->usable && room->answer != ROOM_NEVER;
        if (room->usable && room->capacity_bytes != VRAM_UNKNOWN &&
            (!largest || room->capacity_bytes > largest->capacity_bytes)) {
            largest = room;
            uuid = sum->uuids[i];
        }
    }
    char asked[SIZE_TEXT_MAX], margin[SIZE_TEXT_MAX], has[SIZE_TEXT_MAX], gpu[64];
    (void)size_format(request->size_bytes, asked);
    if (enough || !largest) {
        (void)snprintf(message, size,
                       "it can never fit: it is asked for on %" PRIu32
                       " GPUs, and %zu could have %s",
                       request->gpu_count, enough, asked);
        return;
    }
    (void)snprintf(
        message, size, "it can never fit: %s and a margin of %s are more than the %s of %s", asked,
        size_format(largest->margin_bytes, margin), size_format(largest->capacity_bytes, has),
        view_gpu(promises, uuid, gpu, sizeof(gpu)));
}

static void say_verdict(const struct promises *promises, uint32_t verdict, const struct deal *deal,
                        const struct ledger_sum *sum, char *message, size_t size)
{
    const char *texts[] = {
        [LEDGER_GRANTED] = "promised",
        [LEDGER_NOT_NOW] = "it does not fit now",
        [LEDGER_WILL_NEVER] = "it can never fit",
        [LEDGER_CANNOT_TELL] = "the figures needed are unknown",
        [LEDGER_TIMED_OUT] = "it did not fit in time",
    };
    int found = ledger_find_waiter(promises->ledger, deal->id);
    bool is_limit =
        found >= 0 && ledger_waiter_at(promises->ledger, (size_t)found).reason == LEDGER_FOR_LIMIT;
    (void)snprintf(message, size, "%s", texts[verdict]);
    if (verdict == LEDGER_WILL_NEVER && is_limit) {
        char limit[DEAL_WAITS_FOR_MAX];
        promises_say_limit(promises, deal->user, limit, sizeof(limit));
        (void)snprintf(message, size, "it is more than its user may have: %s", limit);
    } else if (sum && verdict == LEDGER_WILL_NEVER) {
        say_never(promises, deal, sum, message, size);
    } else if (verdict == LEDGER_NOT_NOW && found >= 0) {
        struct ledger_waiter waiter = ledger_waiter_at(promises->ledger, (size_t)found);
        char what[DEAL_WAITS_FOR_MAX];
        promises_waits_for(promises, deal, &waiter, what);
        (void)snprintf(message, size, "%s: it would have to wait for %s", texts[verdict], what);
    }
}

char *view_verdict(const struct promises *promises, uint32_t verdict, const struct deal *deal,
                   const struct ledger_lease *lease, const struct ledger_sum *sum)
{
    char message[DEAL_WAITS_FOR_MAX + 64]; /* with what it would have to wait for */
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    say_verdict(promises, verdict, deal, sum, message, sizeof(message));
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_text(&json, "verdict", verdict_name(verdict));
    json_text(&json, "message", message);
    if (lease) {
        write_lease(&json, "lease", promises, deal, lease);
    } else {
        json_null(&json, "lease");
    }
    write_sum(&json, verdict, &deal->request, sum);
    json_text(&json, "made_room", deal->made_room[0] ? deal->made_room : NULL);
    json_end_object(&json);
    return buf_steal(&buf, NULL);
}
