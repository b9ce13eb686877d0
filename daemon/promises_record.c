/* SPDX-License-Identifier: MIT */
/*
 * The journal's records, one JSON object each, and the restart that they are for:
 *
 *   lease   all of a lease, again where something of it has changed
 *   wait    a request in the queue, in its order
 *   base    an owner's base on a GPU
 *   member  a process that was seen to count for an owner: its parents may be gone when that is asked again
 *   drain   nothing new is promised on a GPU, or it is again
 *   end     a lease or request is over
 *   place   the PID namespace in which all these pids mean something; the first record of a journal
 *
 * Processes are told by pid and start time, which mean something within one boot, as a journal does.
 */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "common/path.h"
#include "common/text.h"
#include "daemon/log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Rewritten where it is longer than this and than what is alive would take, several times over. */
#define COMPACT_BYTES ((uint64_t)256 << 10)
#define ALIVE_BYTES ((uint64_t)4096)

/* ---- Writing --------------------------------------------------------------------------------- */

/* Where records go: to the journal's end, or into a new one. */
struct sink {
    struct promises *promises;
    struct journal_writer *writer; /* NULL: append */
};

static int put(const struct sink *sink, struct buf *buf)
{
    int r = buf->failed    ? -ENOMEM
            : sink->writer ? journal_put(sink->writer, buf->data)
                           : journal_append(sink->promises->journal, buf->data);
    buf_done(buf);
    return r;
}

static bool is_recording(const struct promises *promises)
{
    return promises->journal && promises->journal_ready;
}

static void begin(struct json *json, const char *kind)
{
    json_object(json, NULL);
    json_text(json, "record", kind);
}

static void write_process(struct json *json, const struct promises *promises, const char *key,
                          uint64_t owner_key)
{
    const struct owner_process *owner = owners_find(promises->owners, owner_key);
    if (!owner) {
        json_null(json, key);
        return;
    }
    json_object(json, key);
    json_number(json, "pid", (uint64_t)owner->pid);
    json_number(json, "start", owner->start_time);
    json_number(json, "uid", owner->uid);
    json_end_object(json);
}

static void write_texts(struct json *json, const char *key, char *const *texts, size_t count)
{
    json_array(json, key);
    for (size_t i = 0; i < count; i++) {
        json_text(json, NULL, texts[i]);
    }
    json_end_array(json);
}

static void write_deal(struct json *json, const struct promises *promises, const struct deal *deal)
{
    json_text(json, "id", deal->id);
    write_process(json, promises, "owner", deal->owner);
    json_number(json, "asker", (uint64_t)deal->asker);
    json_number(json, "uid", deal->uid);
    if (deal->user != deal->uid) {
        char user[METRICS_USER_MAX];
        view_user(deal->user, user);
        json_text(json, "user", user);
    }
    json_text(json, "label", deal->label);
    json_number(json, "since", deal->since_ns);
    json_array(json, "attached");
    for (size_t i = 0; i < deal->attached_count; i++) {
        json_object(json, NULL);
        json_text(json, "text", deal->attached[i].text);
        json_number(json, "start", deal->attached[i].start_time);
        json_end_object(json);
    }
    json_end_array(json);
}

/* A time or amount that may be none. */
static void write_limit(struct json *json, const char *key, uint64_t value)
{
    if (value == UINT64_MAX) {
        json_null(json, key);
    } else {
        json_number(json, key, value);
    }
}

static int write_lease(const struct sink *sink, const struct deal *deal,
                       const struct ledger_lease *lease)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    begin(&json, "lease");
    write_deal(&json, sink->promises, deal);
    write_process(&json, sink->promises, "holder", lease->holder);
    json_number(&json, "size", lease->size_bytes);
    write_limit(&json, "until", lease->until_ns);
    json_bool(&json, "filled", lease->filled);
    json_array(&json, "gpus");
    for (size_t i = 0; i < lease->gpu_count; i++) {
        json_object(&json, NULL);
        json_text(&json, "uuid", lease->gpus[i].uuid);
        json_signed(&json, "base", lease->gpus[i].base_bytes);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
    return put(sink, &buf);
}

static int write_wait(const struct sink *sink, const struct deal *deal)
{
    const struct ledger_request *request = &deal->request;
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    begin(&json, "wait");
    write_deal(&json, sink->promises, deal);
    json_number(&json, "size", request->size_bytes);
    json_number(&json, "count", request->gpu_count);
    write_limit(&json, "margin", request->margin_bytes);
    json_number(&json, "millipercent", request->margin_millipercent);
    write_limit(&json, "deadline", request->deadline_ns);
    write_limit(&json, "lasts", request->lasts_ns);
    if (deal->candidates) {
        write_texts(&json, "candidates", deal->candidates, request->candidate_count);
    } else {
        json_null(&json, "candidates");
    }
    json_end_object(&json);
    return put(sink, &buf);
}

static int write_member(const struct sink *sink, const struct owner_process *owner, pid_t pid,
                        uint64_t start_time)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    begin(&json, "member");
    write_process(&json, sink->promises, "owner", owner->key);
    json_number(&json, "pid", (uint64_t)pid);
    json_number(&json, "start", start_time);
    json_end_object(&json);
    return put(sink, &buf);
}

int record_lease(struct promises *promises, const struct deal *deal,
                 const struct ledger_lease *lease)
{
    struct sink sink = {.promises = promises};
    return is_recording(promises) ? write_lease(&sink, deal, lease) : -EROFS;
}

int record_wait(struct promises *promises, const struct deal *deal)
{
    struct sink sink = {.promises = promises};
    return is_recording(promises) ? write_wait(&sink, deal) : -EROFS;
}

int record_member(struct promises *promises, const struct owner_process *owner, pid_t pid,
                  uint64_t start_time)
{
    struct sink sink = {.promises = promises};
    return is_recording(promises) ? write_member(&sink, owner, pid, start_time) : -EROFS;
}

int record_end(struct promises *promises, const char *id)
{
    struct sink sink = {.promises = promises};
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    if (!is_recording(promises)) {
        return -EROFS;
    }
    begin(&json, "end");
    json_text(&json, "id", id);
    json_end_object(&json);
    return put(&sink, &buf);
}

int record_base(struct promises *promises, uint64_t owner, const char *uuid, int64_t base_bytes)
{
    struct sink sink = {.promises = promises};
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    if (!is_recording(promises)) {
        return -EROFS;
    }
    begin(&json, "base");
    write_process(&json, promises, "owner", owner);
    json_text(&json, "uuid", uuid);
    json_signed(&json, "base", base_bytes);
    json_end_object(&json);
    return put(&sink, &buf);
}

static int write_drain(const struct sink *sink, const char *uuid, bool drained)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    begin(&json, "drain");
    json_text(&json, "uuid", uuid);
    json_bool(&json, "drained", drained);
    json_end_object(&json);
    return put(sink, &buf);
}

int record_drain(struct promises *promises, const char *uuid, bool drained)
{
    struct sink sink = {.promises = promises};
    return is_recording(promises) ? write_drain(&sink, uuid, drained) : -EROFS;
}

static int write_place(const struct sink *sink)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    begin(&json, "place");
    json_number(&json, "pid_namespace", record_namespace());
    json_end_object(&json);
    return put(sink, &buf);
}

uint64_t record_namespace(void)
{
    uint64_t id;
    return process_namespace("", getpid(), "pid", &id) < 0 ? 0 : id;
}

int record_place(struct promises *promises)
{
    struct sink sink = {.promises = promises};
    return is_recording(promises) ? write_place(&sink) : -EROFS;
}

static int write_all(struct journal_writer *writer, void *data)
{
    struct promises *promises = data;
    struct sink sink = {.promises = promises, .writer = writer};
    int r = write_place(&sink);
    for (size_t i = 0; r == 0 && i < promises->drained_count; i++) {
        r = write_drain(&sink, promises->drained[i], true);
    }
    for (size_t i = 0; r == 0 && i < ledger_lease_count(promises->ledger); i++) {
        struct ledger_lease lease = ledger_lease_at(promises->ledger, i);
        const struct deal *deal = deals_find(promises->deals, lease.id);
        r = deal ? write_lease(&sink, deal, &lease) : 0;
    }
    for (size_t i = 0; r == 0 && i < ledger_waiter_count(promises->ledger); i++) {
        struct ledger_waiter waiter = ledger_waiter_at(promises->ledger, i);
        const struct deal *deal = deals_find(promises->deals, waiter.id);
        r = deal && deal->kind == DEAL_ASKED && deal->request.waits ? write_wait(&sink, deal) : 0;
    }
    for (size_t i = 0; r == 0 && i < owners_count(promises->owners); i++) {
        const struct owner_process *owner = owners_at(promises->owners, i);
        for (size_t j = 0; r == 0 && j < owner->member_count; j++) {
            r = write_member(&sink, owner, owner->members[j]->pid, owner->members[j]->start_time);
        }
    }
    return r;
}

void record_compact(struct promises *promises, bool anew)
{
    uint64_t alive = deals_count(promises->deals) * ALIVE_BYTES;
    if (!is_recording(promises) ||
        (!anew && journal_bytes(promises->journal) < COMPACT_BYTES + alive)) {
        return;
    }
    int r = journal_rewrite(promises->journal, write_all, promises);
    if (r < 0) {
        log_line(LOG_LINE_WARNING, "the journal could not be written anew: %s", strerror(-r));
    }
}

void record_leave(struct promises *promises)
{
    bool empty = !ledger_lease_count(promises->ledger) && !ledger_waiter_count(promises->ledger) &&
                 !promises->drained_count;
    if (promises->journal && promises->journal_ready && empty) {
        journal_discard(promises->journal);
    } else {
        journal_close(promises->journal);
    }
    promises->journal = NULL;
    promises->journal_ready = false;
}
