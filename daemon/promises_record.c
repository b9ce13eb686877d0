/* SPDX-License-Identifier: MIT */
/*
 * The journal's records, one JSON object each, and the restart that they are for:
 *
 *   lease   all of a lease, again where something of it has changed
 *   wait    a request in the queue, in its order
 *   base    an owner's base on a GPU
 *   member  a process that was seen to count for an owner: its parents may be gone when that is asked again
 *   end     a lease or request is over
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
    json_text(json, "label", deal->label);
    json_number(json, "since", deal->since_ns);
    write_texts(json, "attached", deal->attached, deal->attached_count);
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

static int write_all(struct journal_writer *writer, void *data)
{
    struct promises *promises = data;
    struct sink sink = {.promises = promises, .writer = writer};
    int r = 0;
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

/* ---- Reading --------------------------------------------------------------------------------- */

/* What the records come to, in the order in which it is restored. */
struct past_deal {
    struct deal *deal; /* owned by the desk's deals */
    bool held;
    json_t *record; /* the last "lease" or "wait" of it */
};

struct restoration {
    struct promises *promises;
    size_t count, room;
    struct past_deal *deals;
    json_t *bases, *members; /* arrays of records */
};

static uint64_t number_of(const json_t *object, const char *key, bool *bad)
{
    const json_t *value = json_object_get(object, key);
    *bad |= !json_is_integer(value) || json_integer_value(value) < 0;
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : 0;
}

static uint64_t limit_of(const json_t *object, const char *key, bool *bad)
{
    return json_is_null(json_object_get(object, key)) ? UINT64_MAX : number_of(object, key, bad);
}

static const char *text_of(const json_t *object, const char *key, bool *bad)
{
    const char *text = json_string_value(json_object_get(object, key));
    *bad |= !text;
    return text ? text : "";
}

/* The owner that a record tells of, made known. */
static int owner_of(struct promises *promises, const json_t *process, struct owner_process **ret)
{
    bool bad = false;
    pid_t pid = (pid_t)number_of(process, "pid", &bad);
    uint64_t start = number_of(process, "start", &bad);
    uid_t uid = (uid_t)number_of(process, "uid", &bad);
    return bad || pid <= 0 ? -EBADMSG : owners_get(promises->owners, pid, start, uid, -1, ret);
}

static void forget_past(struct restoration *restoration, size_t i)
{
    deals_remove(restoration->promises->deals, restoration->deals[i].deal);
    json_decref(restoration->deals[i].record);
    memmove(&restoration->deals[i], &restoration->deals[i + 1],
            (restoration->count - i - 1) * sizeof(*restoration->deals));
    restoration->count--;
}

static size_t find_past(const struct restoration *restoration, const char *id)
{
    size_t i = 0;
    while (i < restoration->count && strcmp(restoration->deals[i].deal->id, id) != 0) {
        i++;
    }
    return i;
}

static int add_past(struct restoration *restoration, const char *id, struct past_deal **ret)
{
    if (restoration->count == restoration->room) {
        size_t room = restoration->room ? restoration->room * 2 : 16;
        struct past_deal *deals =
            reallocarray(restoration->deals, room, sizeof(*restoration->deals));
        if (!deals) {
            return -ENOMEM;
        }
        restoration->deals = deals;
        restoration->room = room;
    }
    struct past_deal past = {.deal = deals_add(restoration->promises->deals, id)};
    if (!past.deal) {
        return -ENOMEM;
    }
    restoration->deals[restoration->count] = past;
    *ret = &restoration->deals[restoration->count++];
    return 0;
}

/* A lease's record has its owner's bases as they were then. */
static int note_bases(struct restoration *restoration, json_t *record)
{
    json_t *owner = json_object_get(record, "owner"), *gpus = json_object_get(record, "gpus");
    size_t i;
    json_t *gpu;
    json_array_foreach(gpus, i, gpu)
    {
        json_t *base =
            json_pack("{s:O,s:O,s:O}", "owner", owner, "uuid", json_object_get(gpu, "uuid"), "base",
                      json_object_get(gpu, "base"));
        if (!base) {
            return -EBADMSG;
        }
        if (json_array_append_new(restoration->bases, base) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int note_deal(struct restoration *restoration, json_t *record, bool held)
{
    bool bad = false;
    const char *id = text_of(record, "id", &bad);
    size_t i = find_past(restoration, id);
    struct past_deal *past = i < restoration->count ? &restoration->deals[i] : NULL;
    int r = bad || !deal_is_id(id) ? -EBADMSG : past ? 0 : add_past(restoration, id, &past);
    if (r == 0) {
        json_decref(past->record);
        past->record = json_incref(record);
        past->held |= held;
        r = held ? note_bases(restoration, record) : 0;
    }
    return r;
}

static int note_end(struct restoration *restoration, const json_t *record)
{
    bool bad = false;
    size_t i = find_past(restoration, text_of(record, "id", &bad));
    if (!bad && i < restoration->count) {
        forget_past(restoration, i);
    }
    return bad ? -EBADMSG : 0;
}

static int replay(void *data, const char *text, size_t length)
{
    struct restoration *restoration = data;
    json_t *record = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    bool bad = false;
    const char *kind = text_of(record, "record", &bad);
    int r = -EBADMSG;
    if (bad) {
        r = -EBADMSG;
    } else if (strcmp(kind, "lease") == 0 || strcmp(kind, "wait") == 0) {
        r = note_deal(restoration, record, kind[0] == 'l');
    } else if (strcmp(kind, "end") == 0) {
        r = note_end(restoration, record);
    } else if (strcmp(kind, "base") == 0) {
        r = json_array_append(restoration->bases, record) < 0 ? -ENOMEM : 0;
    } else if (strcmp(kind, "member") == 0) {
        r = json_array_append(restoration->members, record) < 0 ? -ENOMEM : 0;
    }
    json_decref(record);
    return r;
}

/* ---- Restoring ------------------------------------------------------------------------------- */

/* The last base that was recorded counts. */
static void apply_bases(const struct restoration *restoration, const json_t *owner,
                        struct ledger_share *share)
{
    size_t i;
    json_t *record;
    json_array_foreach(restoration->bases, i, record)
    {
        const char *uuid = json_string_value(json_object_get(record, "uuid"));
        const json_t *base = json_object_get(record, "base");
        if (uuid && strcmp(uuid, share->uuid) == 0 && json_is_integer(base) &&
            json_equal(json_object_get(record, "owner"), owner)) {
            share->base_bytes = json_integer_value(base);
        }
    }
}

static int restore_deal(struct promises *promises, struct past_deal *past,
                        struct owner_process **ret_owner)
{
    const json_t *record = past->record;
    struct deal *deal = past->deal;
    bool bad = false;
    size_t i;
    json_t *value;
    int r = owner_of(promises, json_object_get(record, "owner"), ret_owner);
    if (r < 0) {
        return r;
    }
    deal->kind = past->held ? DEAL_HELD : DEAL_ASKED;
    deal->owner = (*ret_owner)->key;
    deal->asker = (pid_t)number_of(record, "asker", &bad);
    deal->uid = (uid_t)number_of(record, "uid", &bad);
    deal->since_ns = number_of(record, "since", &bad);
    (void)text_copy(deal->label, sizeof(deal->label), text_of(record, "label", &bad));
    json_array_foreach(json_object_get(record, "attached"), i, value)
    {
        if (!json_is_string(value) || deal_attach(deal, json_string_value(value)) < 0) {
            return -EBADMSG;
        }
    }
    return bad ? -EBADMSG : 0;
}

static int restore_lease(struct restoration *restoration, struct past_deal *past,
                         const struct owner_process *owner)
{
    struct promises *promises = restoration->promises;
    const json_t *record = past->record, *gpus = json_object_get(record, "gpus");
    const json_t *holder = json_object_get(record, "holder");
    struct ledger_share shares[LEDGER_GPUS];
    struct owner_process *outer = NULL;
    bool bad = json_array_size(gpus) == 0 || json_array_size(gpus) > LEDGER_GPUS;
    size_t i;
    json_t *value;
    if (!bad && json_is_object(holder) && owner_of(promises, holder, &outer) < 0) {
        return -EBADMSG;
    }
    struct ledger_lease lease = {
        .id = past->deal->id,
        .owner = owner->key,
        .holder = outer ? outer->key : 0,
        .size_bytes = number_of(record, "size", &bad),
        .until_ns = limit_of(record, "until", &bad),
        .filled = json_is_true(json_object_get(record, "filled")),
        .gpus = shares,
    };
    json_array_foreach(bad ? NULL : gpus, i, value)
    {
        shares[i] = (struct ledger_share){
            .uuid = text_of(value, "uuid", &bad),
            .base_bytes = json_integer_value(json_object_get(value, "base")),
        };
        apply_bases(restoration, json_object_get(record, "owner"), &shares[i]);
        lease.gpu_count = i + 1;
    }
    int r = bad ? -EBADMSG : ledger_restore_lease(promises->ledger, &lease);
    return r == -EINVAL || r == -EEXIST ? -EBADMSG : r;
}

static int restore_wait(struct promises *promises, struct past_deal *past,
                        const struct owner_process *owner)
{
    const json_t *record = past->record;
    struct deal *deal = past->deal;
    struct ledger_request *request = &deal->request;
    bool bad = false;
    size_t i;
    json_t *value;
    request->owner = owner->key;
    request->size_bytes = number_of(record, "size", &bad);
    request->gpu_count = (uint32_t)number_of(record, "count", &bad);
    request->margin_bytes = limit_of(record, "margin", &bad);
    request->margin_millipercent = (uint32_t)number_of(record, "millipercent", &bad);
    request->deadline_ns = limit_of(record, "deadline", &bad);
    request->lasts_ns = limit_of(record, "lasts", &bad);
    request->waits = true;
    json_array_foreach(json_object_get(record, "candidates"), i, value)
    {
        if (!json_is_string(value) || deal_add_candidate(deal, json_string_value(value)) < 0) {
            return -EBADMSG;
        }
    }
    int r = bad ? -EBADMSG : ledger_restore_waiter(promises->ledger, request, clock_now_ns());
    return r == -EINVAL || r == -EEXIST ? -EBADMSG : r;
}

/* Makes one deal known everywhere. */
static int restore(struct restoration *restoration, struct past_deal *past)
{
    struct promises *promises = restoration->promises;
    struct owner_process *owner;
    int r = restore_deal(promises, past, &owner);
    if (r == 0) {
        r = past->held ? restore_lease(restoration, past, owner)
                       : restore_wait(promises, past, owner);
    }
    r = r < 0 ? r : promises_join(promises, owner);
    if (r == 0 && past->held) {
        r = members_add_lease(promises->members, owner->key, past->deal->id);
    }
    for (size_t i = 0; r == 0 && i < past->deal->attached_count; i++) {
        int attached = promises_attach(promises, past->deal, past->deal->attached[i]);
        r = attached == -ENOMEM ? attached : 0; /* a process may have ended */
    }
    return r;
}

static int restore_members(struct restoration *restoration)
{
    struct promises *promises = restoration->promises;
    size_t i;
    json_t *record;
    json_array_foreach(restoration->members, i, record)
    {
        struct owner_process *owner;
        bool bad = false;
        pid_t pid = (pid_t)number_of(record, "pid", &bad);
        uint64_t start = number_of(record, "start", &bad);
        int r = bad ? -EBADMSG : owner_of(promises, json_object_get(record, "owner"), &owner);
        if (r == 0 && ledger_holds(promises->ledger, owner->key)) {
            r = members_attach_process(promises->members, owner->key, pid, start);
            r = r < 0 ? r : owner_saw(owner, pid, start);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* Those that have ended meanwhile are found ended. */
static void restore_ends(struct promises *promises)
{
    for (size_t i = owners_count(promises->owners); i-- > 0;) {
        struct owner_process *owner = owners_at(promises->owners, i);
        uint64_t key = owner->key;
        if (owner->ended) {
            for (size_t j = deals_count(promises->deals); j-- > 0;) {
                struct deal *deal = deals_at(promises->deals, j);
                if (deal->owner == key && deal->kind == DEAL_ASKED) {
                    (void)record_end(promises, deal->id);
                    deals_remove(promises->deals, deal);
                }
            }
            owner_watch_members(owner);
            ledger_owner_ended(promises->ledger, key, clock_now_ns());
        }
        promises_settle_owner(promises, key);
    }
}

static int restore_all(struct restoration *restoration)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < restoration->count; i++) {
        r = restore(restoration, &restoration->deals[i]);
    }
    return r < 0 ? r : restore_members(restoration);
}

static void restoration_done(struct restoration *restoration)
{
    for (size_t i = 0; i < restoration->count; i++) {
        json_decref(restoration->deals[i].record);
    }
    free(restoration->deals);
    json_decref(restoration->bases);
    json_decref(restoration->members);
}

static int read_boot_id(char boot_id[64])
{
    int r = path_read_line("", "/proc/sys/kernel/random/boot_id", boot_id, 64);
    return r < 0 ? r : 0;
}

static void stand_down(struct promises *promises, const char *trouble, const char *problem,
                       const char *remedy)
{
    if (!promises->trouble) {
        log_line(LOG_LINE_ERROR, "%s; nothing is promised %s", problem, remedy);
    }
    promises->trouble = trouble;
    (void)snprintf(promises->trouble_text, sizeof(promises->trouble_text),
                   "%.400s; nothing is promised %s", problem, remedy);
}

int record_restore(struct promises *promises, bool forget)
{
    static const char until_forgotten[] = "until the next boot, or `vram serve --forget`";
    struct restoration restoration CLEANUP(restoration_done) = {
        .promises = promises, .bases = json_pack("[]"), .members = json_pack("[]")};
    char boot_id[64], problem[JOURNAL_PROBLEM_MAX] = "the boot cannot be told";
    if (!restoration.bases || !restoration.members) {
        return -ENOMEM;
    }
    int r = read_boot_id(boot_id);
    if (r == 0) {
        r = journal_open(promises->journal_path, boot_id, forget ? JOURNAL_FORGET : 0, replay,
                         &restoration, &promises->journal, problem);
    }
    if (r == JOURNAL_READY) {
        r = restore_all(&restoration);
        promises->journal_ready = r == 0;
        if (r == -EBADMSG) {
            r = JOURNAL_DAMAGED;
            (void)snprintf(problem, sizeof(problem), "the journal %s makes no sense",
                           promises->journal_path);
        }
    }
    if (r == -ENOMEM) {
        return r;
    }
    if (r != JOURNAL_READY) {
        stand_down(promises,
                   r < 0                ? "journal_failed"
                   : r == JOURNAL_NEWER ? "journal_newer"
                                        : "journal_damaged",
                   problem, r < 0 ? "until that is mended" : until_forgotten);
        return 0;
    }
    promises->trouble = NULL;
    restore_ends(promises);
    if (restoration.count) {
        log_line(LOG_LINE_NOTICE, "%zu leases and requests from before the restart",
                 deals_count(promises->deals));
    }
    return 0;
}

void record_retry(struct promises *promises)
{
    if (promises->trouble && !promises->journal && record_restore(promises, false) < 0) {
        log_line(LOG_LINE_ERROR, "out of memory");
    }
}

void record_leave(struct promises *promises)
{
    bool empty = !ledger_lease_count(promises->ledger) && !ledger_waiter_count(promises->ledger);
    if (promises->journal && promises->journal_ready && empty) {
        journal_discard(promises->journal);
    } else {
        journal_close(promises->journal);
    }
    promises->journal = NULL;
    promises->journal_ready = false;
}
