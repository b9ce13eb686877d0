/* SPDX-License-Identifier: MIT */
/* What a request about leases says, and who makes it. Whatever cannot be is answered here. */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "common/text.h"
#include "daemon/attachment.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CANDIDATES_MAX 256
#define ID_BEGINNING_MIN 4

/* ---- Reading --------------------------------------------------------------------------------- */

void request_fail(struct http_request *request, const char *key, const char *what)
{
    http_fail(request, 400, "bad_request", EINVAL, NULL, "\"%s\" %s", key, what);
}

/* The body as an object; NULL: it was answered. */
json_t *request_body(struct http_request *request)
{
    json_error_t error;
    json_t *body = json_loads(http_body(request), JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(body)) {
        json_decref(body);
        http_fail(request, 400, "bad_request", EINVAL, NULL, "the body is no JSON object");
        return NULL;
    }
    return body;
}

/* A number that may be null or left out. False: it was answered. */
bool request_number(struct http_request *request, const json_t *body, const char *key,
                    uint64_t most, uint64_t *number)
{
    const json_t *value = json_object_get(body, key);
    if (!value || json_is_null(value)) {
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > most) {
        request_fail(request, key, "is not such a number");
        return false;
    }
    *number = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_label(struct http_request *request, const json_t *body, struct deal *deal)
{
    const json_t *value = json_object_get(body, "label");
    const char *text = json_string_value(value);
    if (!value || json_is_null(value)) {
        return true;
    }
    if (!text || strlen(text) >= DEAL_LABEL_MAX || strlen(text) != json_string_length(value)) {
        request_fail(request, "label", "is a text of at most 64 bytes");
        return false;
    }
    (void)text_copy(deal->label, sizeof(deal->label), text);
    return true;
}

static bool read_candidates(struct http_request *request, const json_t *body, struct deal *deal)
{
    const json_t *list = json_object_get(body, "candidates");
    size_t i;
    json_t *value;
    if (!list || json_is_null(list)) {
        return true;
    }
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > CANDIDATES_MAX) {
        request_fail(request, "candidates", "is a list of UUIDs");
        return false;
    }
    json_array_foreach(list, i, value)
    {
        const char *text = json_string_value(value);
        if (!text || !text[0] || strlen(text) >= LEDGER_UUID_MAX) {
            request_fail(request, "candidates", "is a list of UUIDs");
            return false;
        }
        if (deal_add_candidate(deal, text) < 0) {
            http_fail_memory(request);
            return false;
        }
    }
    return true;
}

/* Everything of the request but its owner and members. */
bool request_read(struct http_request *request, const json_t *body, struct deal *deal)
{
    struct ledger_request *asked = &deal->request;
    uint64_t count = 1, millipercent = 0, wait_ms = 0, lasts_ms = UINT64_MAX;
    const json_t *wait = json_object_get(body, "wait_ms");
    asked->margin_bytes = VRAM_UNKNOWN;
    if (!request_number(request, body, "size_bytes", INT64_MAX, &asked->size_bytes) ||
        !request_number(request, body, "gpu_count", CANDIDATES_MAX, &count) ||
        !request_number(request, body, "margin_bytes", INT64_MAX, &asked->margin_bytes) ||
        !request_number(request, body, "margin_millipercent", 100000, &millipercent) ||
        !request_number(request, body, "wait_ms", REQUEST_LONGEST_MS, &wait_ms) ||
        !request_number(request, body, "for_ms", REQUEST_LONGEST_MS, &lasts_ms) ||
        !read_label(request, body, deal) || !read_candidates(request, body, deal)) {
        return false;
    }
    if (!asked->size_bytes || !count) {
        request_fail(request, asked->size_bytes ? "gpu_count" : "size_bytes", "is missing, or 0");
        return false;
    }
    bool for_ever = json_is_null(wait);
    asked->gpu_count = (uint32_t)count;
    asked->margin_millipercent = (uint32_t)millipercent;
    asked->waits = for_ever || wait_ms;
    asked->deadline_ns = for_ever || !wait_ms ? LEDGER_NEVER : clock_now_ns() + wait_ms * 1000000;
    asked->lasts_ns = lasts_ms == UINT64_MAX ? LEDGER_NEVER : lasts_ms * 1000000;
    return true;
}

/* ---- Who ------------------------------------------------------------------------------------- */

const struct peer *request_peer(struct http_request *request)
{
    const struct peer *peer;
    if (http_peer(request, &peer) < 0) {
        http_fail(request, 410, "gone", ESRCH, NULL, "who asked has ended");
        return NULL;
    }
    if (!peer->pid) {
        http_fail(request, 403, "forbidden", EPERM,
                  "run vramd on the machine itself, where it can see every process",
                  "the daemon is in a PID namespace that cannot see who asks");
        return NULL;
    }
    return peer;
}

/* The process that the owner is to be, as the request names it. 0, or it was answered. */
static int find_owner(struct http_request *request, const json_t *body, const struct peer *peer,
                      pid_t *ret_pid)
{
    const json_t *owner = json_object_get(body, "owner");
    const json_t *pid = json_object_get(owner, "pid");
    struct process_stat stat;
    *ret_pid = peer->pid;
    int r = 0;
    if (json_is_string(owner) && strcmp(json_string_value(owner), "parent") == 0) {
        r = process_stat("", peer->pid, &stat);
        *ret_pid = r < 0 ? 0 : stat.parent;
        r = *ret_pid > 0 ? 0 : -ESRCH;
    } else if (json_is_integer(pid) && json_integer_value(pid) > 0 &&
               json_integer_value(pid) <= INT32_MAX) {
        r = process_translate("", peer->pid, (pid_t)json_integer_value(pid), ret_pid);
    } else if (owner && !json_is_null(owner)) {
        request_fail(request, "owner", "is null, \"parent\" or {\"pid\": N}");
        return -EINVAL;
    }
    if (r < 0) {
        http_fail(request, 404, "no_such_process", ESRCH,
                  "a pid is meant in the PID namespace of who asks",
                  "the process that is to hold the lease cannot be found");
    }
    return r;
}

/* The owner's own record. NULL: it was answered. */
struct owner_process *request_owner(struct promises *promises, struct http_request *request,
                                    const json_t *body, const struct peer *peer)
{
    struct process_stat stat;
    struct owner_process *owner;
    uid_t uid = peer->uid;
    pid_t pid;
    int pidfd = -1;
    if (find_owner(request, body, peer, &pid) < 0) {
        return NULL;
    }
    bool is_peer = pid == peer->pid;
    if (is_peer) {
        stat.start_time = peer->start_time;
        pidfd = fcntl(peer->pidfd, F_DUPFD_CLOEXEC, 3);
    } else if (process_stat("", pid, &stat) < 0 || process_uid("", pid, &uid) < 0) {
        http_fail(request, 404, "no_such_process", ESRCH, NULL, "process %ld has ended", (long)pid);
        return NULL;
    }
    if (!rights_rule(&promises->daemon->rights, peer, uid)) {
        http_fail(request, 403, "forbidden", EPERM, NULL, "process %ld is another user's",
                  (long)pid);
        return NULL;
    }
    if (owners_get(promises->owners, pid, stat.start_time, uid, pidfd, &owner) < 0) {
        http_fail_memory(request);
        return NULL;
    }
    if (owner->ended) {
        promises_settle_owner(promises, owner->key);
        http_fail(request, 404, "no_such_process", ESRCH, NULL, "process %ld has ended", (long)pid);
        return NULL;
    }
    return owner;
}

/* ---- Which -------------------------------------------------------------------------------- */

/* One whose id this is or begins with it, and how many there are. */
static struct deal *find_deal(const struct deals *deals, const char *id, size_t *ret_count)
{
    struct deal *found = deals_find(deals, id);
    bool is_whole = found && found->kind != DEAL_GROWTH;
    size_t length = strlen(id);
    *ret_count = is_whole;
    for (size_t i = 0; !is_whole && length >= ID_BEGINNING_MIN && i < deals_count(deals); i++) {
        struct deal *deal = deals_at(deals, i);
        if (deal->kind != DEAL_GROWTH && strncmp(deal->id, id, length) == 0) {
            found = deal;
            ++*ret_count;
        }
    }
    return found;
}

struct deal *request_deal(const struct promises *promises, struct http_request *request,
                          const struct peer *peer, const char *id)
{
    size_t several;
    struct deal *found = find_deal(promises->deals, id, &several);
    if (several != 1) {
        http_fail(request, several ? 409 : 404, several ? "conflict" : "not_found",
                  several ? ENOTUNIQ : ENOENT, "`vram leases` lists them",
                  several ? "several leases begin with this id" : "there is no such lease");
        return NULL;
    }
    const struct owner_process *owner = owners_find(promises->owners, found->owner);
    if (!rights_rule(&promises->daemon->rights, peer, found->uid) &&
        !(owner && rights_rule(&promises->daemon->rights, peer, owner->uid))) {
        http_fail(request, 403, "forbidden", EPERM, NULL, "it is another user's");
        return NULL;
    }
    return found;
}

/* ---- Members --------------------------------------------------------------------------------- */

/* Adds a member as the caller means it: a pid is made one of this namespace. False: it was answered. */
static bool add_attachment(const struct promises *promises, struct http_request *request,
                           const struct peer *peer, struct deal *deal, const char *text)
{
    struct attachment attachment;
    struct process_stat stat = {0};
    char number[32];
    uid_t uid;
    if (deal->attached_count >= DEAL_ATTACHED_MAX) {
        http_fail(request, 429, "too_many", E2BIG, NULL, "a lease has at most %d attachments",
                  DEAL_ATTACHED_MAX);
        return false;
    }
    if (attachment_parse(text, &attachment) < 0) {
        http_fail(request, 400, "bad_request", EINVAL,
                  "a member is pid:N, cgroup:/PATH, container:ID or unit:NAME",
                  "a member is named that is none of these");
        return false;
    }
    if (attachment.kind == ATTACHMENT_CGROUP && strcmp(attachment.value, "/") == 0 &&
        !rights_admin(&promises->daemon->rights, peer)) { /* everybody: nobody could grow unseen */
        http_fail(request, 403, "forbidden", EPERM, NULL,
                  "only an administrator may name all processes of the machine");
        return false;
    }
    if (attachment.kind == ATTACHMENT_PID) {
        pid_t pid;
        if (process_translate("", peer->pid, attachment.pid, &pid) < 0 ||
            process_stat("", pid, &stat) < 0 || process_uid("", pid, &uid) < 0) {
            http_fail(request, 404, "no_such_process", ESRCH, NULL, "there is no process %ld",
                      (long)attachment.pid);
            return false;
        }
        if (!rights_rule(&promises->daemon->rights, peer, uid)) {
            http_fail(request, 403, "forbidden", EPERM, NULL, "process %ld is another user's",
                      (long)attachment.pid);
            return false;
        }
        (void)snprintf(number, sizeof(number), "pid:%ld", (long)pid);
        text = number;
    }
    if (deal_attach(deal, text, stat.start_time) < 0) {
        http_fail_memory(request);
        return false;
    }
    return true;
}

bool request_members(const struct promises *promises, struct http_request *request,
                     const json_t *list, const char *key, const struct peer *peer,
                     struct deal *deal)
{
    size_t i;
    json_t *value;
    if (!list || json_is_null(list)) {
        return true;
    }
    if (!json_is_array(list)) {
        request_fail(request, key, "is a list of texts");
        return false;
    }
    json_array_foreach(list, i, value)
    {
        if (!json_is_string(value)) {
            request_fail(request, key, "is a list of texts");
            return false;
        }
        if (!add_attachment(promises, request, peer, deal, json_string_value(value))) {
            return false;
        }
    }
    return true;
}
