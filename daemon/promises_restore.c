/* SPDX-License-Identifier: MIT */
/* The restart: what the journal's records (promises_record.c) come to. */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "common/path.h"
#include "common/text.h"
#include "daemon/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    bool placed;             /* the journal says where it was written */
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

/* Elsewhere the same pids are other processes, and every owner would be found ended. */
static int note_place(struct restoration *restoration, const json_t *record)
{
    bool bad = false;
    uint64_t there = number_of(record, "pid_namespace", &bad), here = record_namespace();
    restoration->placed = true;
    return bad ? -EBADMSG : there && here && there != here ? -EXDEV : 0;
}

static int note_drain(struct promises *promises, const json_t *record)
{
    bool bad = false;
    const char *uuid = text_of(record, "uuid", &bad);
    const json_t *drained = json_object_get(record, "drained");
    bad |= !uuid[0] || strlen(uuid) >= LEDGER_UUID_MAX || !json_is_boolean(drained);
    return bad ? -EBADMSG : drain_note(promises, uuid, json_is_true(drained));
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
    } else if (strcmp(kind, "place") == 0) {
        r = note_place(restoration, record);
    } else if (strcmp(kind, "lease") == 0 || strcmp(kind, "wait") == 0) {
        r = note_deal(restoration, record, kind[0] == 'l');
    } else if (strcmp(kind, "end") == 0) {
        r = note_end(restoration, record);
    } else if (strcmp(kind, "base") == 0) {
        r = json_array_append(restoration->bases, record) < 0 ? -ENOMEM : 0;
    } else if (strcmp(kind, "drain") == 0) {
        r = note_drain(restoration->promises, record);
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

/* Under whom it is counted: a name where a container's label named it. */
static uint32_t user_of(const json_t *record, uid_t uid)
{
    const char *name = json_string_value(json_object_get(record, "user"));
    const struct account *account = name && account_is_name(name) ? account_named(name) : NULL;
    return account ? account->number : uid;
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
    deal->user = user_of(record, deal->uid);
    deal->since_ns = number_of(record, "since", &bad);
    (void)text_copy(deal->label, sizeof(deal->label), text_of(record, "label", &bad));
    json_array_foreach(json_object_get(record, "attached"), i, value)
    {
        const char *text = text_of(value, "text", &bad);
        uint64_t start = number_of(value, "start", &bad);
        if (bad || deal_attach(deal, text, start) < 0) {
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
        .user = past->deal->user,
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
    request->user = deal->user;
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
        int attached = promises_attach(promises, past->deal, &past->deal->attached[i]);
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

/* `problem`: a sentence that says what is promised until when. */
static void stand_down(struct promises *promises, const char *trouble, const char *problem)
{
    if (!promises->trouble) {
        log_line(LOG_LINE_ERROR, "%s", problem);
    }
    promises->trouble = trouble;
    (void)text_copy(promises->trouble_text, sizeof(promises->trouble_text), problem);
}

int record_restore(struct promises *promises, bool forget)
{
    struct restoration restoration CLEANUP(restoration_done) = {
        .promises = promises, .bases = json_pack("[]"), .members = json_pack("[]")};
    char boot_id[64], problem[JOURNAL_PROBLEM_MAX] =
                          "the boot cannot be told; nothing is promised until that is mended";
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
            (void)snprintf(problem, sizeof(problem),
                           "the journal %s makes no sense: nothing is promised until `vram serve "
                           "--forget` or a reboot",
                           promises->journal_path);
        }
    }
    if (r == -ENOMEM) {
        return r;
    }
    if (r == -EXDEV) {
        (void)snprintf(problem, sizeof(problem),
                       "the journal %s was written in another PID namespace: nothing is promised "
                       "until vramd runs there",
                       promises->journal_path);
    }
    if (r != JOURNAL_READY && promises_begin(promises) < 0) { /* half of it is worth nothing */
        return -ENOMEM;
    }
    if (r != JOURNAL_READY) {
        stand_down(promises,
                   r < 0                ? "journal_failed"
                   : r == JOURNAL_NEWER ? "journal_newer"
                                        : "journal_damaged",
                   problem);
        return 0;
    }
    promises->trouble = NULL;
    restore_ends(promises);
    ceilings_changed(promises);
    if (!restoration.placed && (r = record_place(promises)) < 0) {
        log_line(LOG_LINE_WARNING, "the journal could not be written: %s", strerror(-r));
    }
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
