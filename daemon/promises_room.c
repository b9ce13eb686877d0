/* SPDX-License-Identifier: MIT */
/* Who waits for room, and which holders could make it. */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "common/room.h"
#include "common/size.h"
#include "common/utc.h"
#include "daemon/history.h"
#include "daemon/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVED_MAX 16 /* waiters of one sample that are looked at */

/* ---- What came of it ------------------------------------------------------------------------- */

/* What of its memory would stay promised: all that counts for a lease, and what a ceiling would keep. */
static uint64_t promised(void *data, const struct vram_gpu *gpu, const struct vram_process *process)
{
    const struct promises *promises = data;
    const struct daemon *daemon = promises->daemon;
    uint32_t ceiling = ceilings_number(promises, gpu, process);
    if (daemon->promises && daemon->promises->lease(daemon->promises_data, process)) {
        return process->used_bytes;
    }
    return ceiling && gpu->uuid
               ? room_difference(process->used_bytes,
                                 ledger_beyond(promises->ledger, gpu->uuid, ceiling))
               : 0;
}

static int ask(void *data, const char *lease, const struct reclaim_wanted *wanted, const char *id)
{
    return offers_ask(data, lease, wanted, id);
}

static void told(void *data, const struct reclaim_result *result)
{
    struct promises *promises = data;
    struct deal *deal = deals_find(promises->deals, result->id);
    log_line(LOG_LINE_NOTICE, "%s%s%s", result->text, deal ? ", for lease " : "",
             deal ? deal->id : "");
    if (result->lease) {
        offers_told(promises, result->lease);
    }
    history_holder_asked(promises->daemon, result->holder, result->uuid, result->returned_bytes,
                         result->text);
    daemon_changed(promises->daemon);
    if (deal) {
        size_t length = strlen(deal->made_room);
        (void)snprintf(deal->made_room + length, sizeof(deal->made_room) - length, "%s%s",
                       length ? "; " : "", result->text);
    }
}

/* ---- Life ------------------------------------------------------------------------------------ */

int room_open(struct promises *promises)
{
    static const struct reclaim_ops ops = {.promised = promised, .ask = ask, .told = told};
    promises->reclaim = reclaim_new(promises->daemon->base, &ops, promises);
    if (!promises->reclaim) {
        return -ENOMEM;
    }
    room_configure(promises);
    return 0;
}

void room_configure(struct promises *promises)
{
    const struct config *config = &promises->daemon->config;
    if (reclaim_configure(promises->reclaim, config->holders, config->holder_count) < 0) {
        log_line(LOG_LINE_ERROR, "out of memory: no holder is asked to give memory back");
    }
}

uint32_t room_take(const struct promises *promises)
{
    bool wanted = ledger_waiter_count(promises->ledger) || reclaim_is_open(promises->reclaim);
    return wanted ? reclaim_take(promises->reclaim) : 0;
}

/* ---- Samples --------------------------------------------------------------------------------- */

/* One that was not asked for loads would make every holder one whose load nobody can tell. */
static bool has_all(const struct promises *promises, uint32_t take)
{
    return (reclaim_take(promises->reclaim) & ~take) == 0;
}

void room_look(struct promises *promises, const struct sample *sample)
{
    const struct reclaim_offer *offers = NULL;
    size_t count = 0;
    if (!has_all(promises, sample->take)) {
        return;
    }
    if (offers_look(promises, sample->snapshot, &offers, &count) < 0 ||
        reclaim_look(promises->reclaim, sample->snapshot, offers, count, clock_now_ns()) < 0) {
        log_line(LOG_LINE_ERROR, "out of memory: no holder is looked at");
    }
}

static bool is_candidate(const struct deal *deal, const char *uuid)
{
    const struct ledger_request *request = &deal->request;
    for (size_t i = 0; i < request->candidate_count; i++) {
        if (strcmp(request->candidates[i], uuid) == 0) {
            return true;
        }
    }
    return !request->candidates;
}

/* A card that is divided is no candidate: its parts are. */
static bool is_divided(const struct vram_snapshot *snapshot, const char *uuid)
{
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const char *parent = vram_snapshot_gpu(snapshot, i)->parent_uuid;
        if (parent && strcmp(parent, uuid) == 0) {
            return true;
        }
    }
    return false;
}

static uint64_t margin_for(const struct promises *promises, const struct deal *deal,
                           const struct vram_gpu *gpu)
{
    const struct ledger_request *request = &deal->request;
    if (request->margin_millipercent) {
        return margin_of(gpu->total_bytes, request->margin_millipercent);
    }
    if (request->margin_bytes != VRAM_UNKNOWN) {
        return request->margin_bytes;
    }
    return config_margin_bytes(
        config_margin_for(&promises->daemon->config, gpu->index, gpu->uuid, gpu->pci),
        gpu->total_bytes);
}

/* What the request lacks on a GPU. False: nothing can help there, or the figures are unknown. */
static bool find_lack(const struct promises *promises, const struct deal *deal,
                      const struct vram_snapshot *snapshot, const struct vram_gpu *gpu,
                      uint64_t *ret_missing)
{
    if (!gpu->uuid || gpu->state != VRAM_GPU_OK || gpu->total_bytes == VRAM_UNKNOWN ||
        gpu->free_bytes == VRAM_UNKNOWN || !is_candidate(deal, gpu->uuid) ||
        is_divided(snapshot, gpu->uuid) || drain_has(promises, gpu->uuid) ||
        drain_has(promises, gpu->parent_uuid)) {
        return false;
    }
    uint64_t need = deal->request.size_bytes + margin_for(promises, deal, gpu);
    uint64_t reserved = gpu->driver_reserved_bytes == VRAM_UNKNOWN ? 0 : gpu->driver_reserved_bytes;
    if (need < deal->request.size_bytes || need > gpu->total_bytes - reserved) {
        return false;
    }
    /* What is kept for a ceiling that it stands for is there for it. */
    need += ledger_outstanding(promises->ledger, gpu->uuid);
    need -= ledger_kept_of(promises->ledger, gpu->uuid, ceilings_of_owner(promises, deal->owner));
    *ret_missing = need > gpu->free_bytes ? need - gpu->free_bytes : 0;
    return true;
}

/* Whether something is done for it. */
static bool serve(struct promises *promises, struct deal *deal,
                  const struct vram_snapshot *snapshot)
{
    struct reclaim_lack lacks[LEDGER_GPUS];
    struct reclaim_wish wish = {.id = deal->id, .wanted = deal->request.gpu_count, .lacks = lacks};
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot) && wish.lack_count < LEDGER_GPUS;
         i++) {
        uint64_t missing;
        if (find_lack(promises, deal, snapshot, vram_snapshot_gpu(snapshot, i), &missing)) {
            lacks[wish.lack_count++] = (struct reclaim_lack){i, missing};
        }
    }
    return reclaim_serve(promises->reclaim, &wish, clock_now_ns(), deal->note);
}

/* The first for whom something can be done: who comes later may pass it only where nothing can. */
void room_serve(struct promises *promises, const struct sample *sample)
{
    size_t looked_at = 0;
    bool can = reclaim_count(promises->reclaim) > 0;
    if (!has_all(promises, sample->take)) {
        return; /* what is said of holders stays so until they are looked at again */
    }
    if (!can && !promises->has_notes) {
        return; /* most machines have no holders, and some a thousand waiters */
    }
    promises->has_notes = can;
    for (size_t i = 0; i < ledger_waiter_count(promises->ledger) && looked_at < SERVED_MAX; i++) {
        struct ledger_waiter waiter = ledger_waiter_at(promises->ledger, i);
        struct deal *deal = deals_find(promises->deals, waiter.id);
        if (!deal || deal->kind != DEAL_ASKED || waiter.absent ||
            waiter.reason != LEDGER_FOR_ROOM || !deal->request.waits) {
            continue;
        }
        if (can) {
            looked_at++;
            can = !serve(promises, deal, sample->snapshot);
        } else {
            deal->note[0] = '\0';
        }
    }
}

void room_settle(struct promises *promises, const struct deal *deal)
{
    offers_look_again(promises); /* a lease may have ended with this sample */
    reclaim_settle(promises->reclaim, deal->id, clock_now_ns());
}

/* ---- /v1/holders ----------------------------------------------------------------------------- */

static void write_moment(struct json *json, const char *key, uint64_t monotonic_ns)
{
    char text[UTC_TEXT_MAX];
    json_text(json, key, monotonic_ns ? utc_format(view_date_of(monotonic_ns), text) : NULL);
}

static void write_holder(struct json *json, const struct reclaim_view *view)
{
    json_object(json, NULL);
    json_text(json, "name", view->name);
    json_text(json, "ask", view->ask);
    json_text(json, "match", view->match);
    json_text(json, "lease", view->lease);
    json_number(json, "cost", view->cost);
    json_text(json, "state", view->state);
    json_number(json, "held_bytes", view->held_bytes);
    json_number(json, "leased_bytes", view->leased_bytes);
    json_text(json, "last", view->last[0] ? view->last : NULL);
    write_moment(json, "last_at", view->last[0] ? view->last_ns : 0);
    write_moment(json, "again_at", view->rest_until_ns);
    json_end_object(json);
}

static void answer_holders(void *data, struct http_request *request, enum parked_end end,
                           const struct sample *sample)
{
    const struct daemon *daemon = data;
    struct promises *promises = daemon->promises_data;
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    if (end == PARKED_SAMPLE && sample->snapshot) {
        room_look(promises, sample);
    }
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_array(&json, "holders");
    for (size_t i = 0; i < reclaim_count(promises->reclaim); i++) {
        struct reclaim_view view = reclaim_view_at(promises->reclaim, i, clock_now_ns());
        if (!view.lease || strcmp(view.state, "absent") != 0) { /* its client does not listen */
            write_holder(&json, &view);
        }
    }
    json_end_array(&json);
    json_end_object(&json);
    char *text = buf_steal(&buf, NULL);
    http_answer(request, 200, text);
    free(text);
}

/* What they hold is told by a sample of now, where one can be had. */
void promises_holders(struct daemon *daemon, struct http_request *request)
{
    const struct promises *promises = daemon->promises_data;
    struct parked_wish wish = {
        .for_sample = true,
        .take = reclaim_take(promises->reclaim) | (offers_any(promises) ? VRAM_TAKE_PROCESSES : 0),
        .timeout_ms = daemon->options.call_timeout_ns / 1000000,
        .answer = answer_holders,
        .data = daemon,
    };
    if (wish.take && !http_is_remote(request) && !collector_is_paused(daemon->collector) &&
        parking_add(daemon->parking, request, &wish) == 0) {
        collector_ask(daemon->collector, wish.take);
    } else {
        answer_holders(daemon, request, PARKED_EPOCH, NULL);
    }
}
