/* SPDX-License-Identifier: MIT */
/* The routes below /v1/leases. */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "daemon/log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- Asking ---------------------------------------------------------------------------------- */

/* Whether promises are made to anybody now; answers where they are not. */
static bool is_promising(struct promises *promises, struct http_request *request)
{
    const char *reason;
    char message[DAEMON_MESSAGE_MAX];
    record_retry(promises);
    if (daemon_is_promising(promises->daemon, &reason, message, sizeof(message))) {
        return true;
    }
    http_fail(request, 503, "not_promising", EAGAIN, NULL, "%s", message);
    return false;
}

static bool is_our_driver(const struct promises *promises, struct http_request *request,
                          const json_t *body)
{
    const json_t *driver = json_object_get(body, "driver");
    const char *name = json_string_value(driver),
               *ours = promises->daemon->options.endpoint->driver;
    if (!driver || json_is_null(driver) || (name && strcmp(name, ours) == 0)) {
        return true;
    }
    http_fail(request, 409, "other_driver", EXDEV,
              "leave --driver out, or stop the daemon and start it with this one",
              "the daemon serves the driver %s, not the one asked for", ours);
    return false;
}

static void gone(struct http_request *request, void *data)
{
    struct promises *promises = data;
    for (size_t i = 0; i < deals_count(promises->deals); i++) {
        struct deal *deal = deals_at(promises->deals, i);
        if (deal->http != request) {
            continue;
        }
        deal->http = NULL;
        if (promises->ending) {
            return; /* it returns to the next daemon, to its place */
        }
        if (deal->kind == DEAL_ASKED) {
            (void)record_end(promises, deal->id);
        }
        (void)ledger_end(promises->ledger, deal->id, clock_now_ns());
        promises_drop(promises, deal);
        daemon_changed(promises->daemon);
        promises_stir(promises, true);
        return;
    }
}

static void answer_lease(const struct promises *promises, struct http_request *request,
                         const struct deal *deal)
{
    int found = ledger_find_lease(promises->ledger, deal->id);
    struct ledger_lease lease = ledger_lease_at(promises->ledger, (size_t)found);
    char *text = view_verdict(promises, LEDGER_GRANTED, deal, &lease, NULL);
    http_answer(request, 200, text);
    free(text);
}

/* The same request once more: of a lease, its answer; of a waiter, its place. True: it was answered or waits. */
static bool ask_again(struct promises *promises, struct http_request *request, const char *id,
                      const struct peer *peer, const json_t *body)
{
    struct deal *deal = deals_find(promises->deals, id);
    uint64_t size = 0;
    if (!deal) {
        return false;
    }
    const json_t *asked_size = json_object_get(body, "size_bytes");
    size = json_is_integer(asked_size) ? (uint64_t)json_integer_value(asked_size) : 0;
    if (deal->uid != peer->uid || deal->kind == DEAL_GROWTH ||
        (deal->kind == DEAL_ASKED && size != deal->request.size_bytes)) {
        http_fail(request, 409, "conflict", EEXIST, NULL, "another request has this id");
        return true;
    }
    if (deal->kind == DEAL_HELD) {
        answer_lease(promises, request, deal);
        return true;
    }
    if (deal->http) { /* whoever waited for it before does no longer */
        http_fail(deal->http, 409, "conflict", EEXIST, NULL, "the request was made again");
        deal->http = NULL;
    }
    int found = ledger_find_waiter(promises->ledger, deal->id);
    if (found >= 0 && ledger_waiter_at(promises->ledger, (size_t)found).absent &&
        ledger_ask(promises->ledger, &deal->request, clock_now_ns()) < 0) {
        http_fail_memory(request);
        return true;
    }
    deal->http = request;
    deal->asker = peer->pid;
    deal->asked_ns = clock_now_ns();
    deal->told[0] = '\0';
    http_on_gone(request, gone, promises);
    promises_stir(promises, true);
    return true;
}

/* A waiter's record comes before its place in the queue; others are only in it until the next sample. */
static int enter(struct promises *promises, struct deal *deal, const struct owner_process *owner)
{
    int r = deal->request.waits ? record_wait(promises, deal) : 0;
    if (r < 0) {
        return r;
    }
    r = ledger_ask(promises->ledger, &deal->request, deal->asked_ns);
    r = r < 0 ? r : promises_join(promises, owner);
    for (size_t i = 0; r == 0 && i < deal->attached_count; i++) {
        r = promises_attach(promises, deal, &deal->attached[i]);
        r = r == -ESRCH ? 0 : r;
    }
    ceilings_put_under(promises, deal->owner);
    if (r < 0) {
        (void)ledger_end(promises->ledger, deal->id, clock_now_ns());
        (void)record_end(promises, deal->id);
    }
    return r;
}

static uint64_t date_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Takes what was read into the queue. The deal is known to the desk from here on, or gone. */
static void queue(struct promises *promises, struct http_request *request, struct deal *deal,
                  struct owner_process *owner)
{
    deal->owner = deal->request.owner = owner->key;
    deal->request.user = deal->user;
    deal->asked_ns = http_arrived_ns(request);
    int r = enter(promises, deal, owner);
    if (r < 0) {
        promises_drop(promises, deal);
        http_fail(request, 503, r == -ENOMEM ? "out_of_memory" : "journal", -r, NULL,
                  "the request cannot be written down: %s", strerror(-r));
        return;
    }
    deal->http = request;
    http_on_gone(request, gone, promises);
    daemon_changed(promises->daemon);
    promises_stir(promises, false);
    promises_look(promises, deal->asked_ns);
}

/* By rights and by the bounds of the configuration; answers where not. */
static bool is_allowed(const struct promises *promises, struct http_request *request,
                       const struct peer *peer)
{
    const struct daemon *daemon = promises->daemon;
    if (!rights_lease(&daemon->rights, peer)) {
        const char *group = daemon->config.lease_group;
        char hint[128];
        (void)snprintf(hint, sizeof(hint),
                       "`sudo usermod -aG %s USER` lets a user in, from the next login on", group);
        http_fail(request, 403, "forbidden", EPERM, group[0] ? hint : NULL,
                  group[0] ? "leases are for members of the group %s"
                           : "leases are for administrators%s",
                  group);
        return false;
    }
    if (ledger_waiter_count(promises->ledger) >= daemon->config.max_waiters ||
        ledger_lease_count(promises->ledger) >= daemon->config.max_leases) {
        http_fail(request, 429, "too_many", EAGAIN, "/etc/vram.conf has the limits",
                  "there are too many leases, or requests that wait");
        return false;
    }
    return true;
}

/* Whether the user may wait for one more. */
static bool may_wait(const struct promises *promises, struct http_request *request,
                     const struct deal *deal)
{
    char user[METRICS_USER_MAX];
    view_user(deal->user, user);
    uint32_t most = config_limits_for(&promises->daemon->config, deal->user, user).waiters;
    if (!deal->request.waits || ledger_tally_of(promises->ledger, deal->user).waiters < most) {
        return true;
    }
    http_fail(request, 429, "too_many", EAGAIN, "/etc/vram.conf has the limits",
              "%s has %" PRIu32 " requests that wait, and may have no more", user, most);
    return false;
}

static void ask(struct promises *promises, struct http_request *request, const json_t *body)
{
    const char *id = json_string_value(json_object_get(body, "id"));
    const struct peer *peer = request_peer(request);
    if (!peer) {
        return;
    }
    if (!id || !deal_is_id(id)) {
        request_fail(request, "id", "is 16 hexadecimal digits, small ones");
        return;
    }
    if (!is_our_driver(promises, request, body) || ask_again(promises, request, id, peer, body) ||
        !is_promising(promises, request)) {
        return;
    }
    if (!is_allowed(promises, request, peer)) {
        return;
    }
    promises_look(promises, http_arrived_ns(request)); /* while /proc tells who asks */
    struct deal *deal = deals_add(promises->deals, id);
    if (!deal) {
        http_fail_memory(request);
        return;
    }
    deal->uid = peer->uid;
    deal->user = containers_user(promises->daemon->containers, peer);
    deal->asker = peer->pid;
    deal->since_ns = date_now_ns();
    struct owner_process *owner = NULL;
    if (request_read(request, body, deal) && may_wait(promises, request, deal) &&
        request_members(promises, request, json_object_get(body, "members"), "members", peer,
                        deal)) {
        owner = request_owner(promises, request, body, peer);
    }
    if (owner) {
        queue(promises, request, deal, owner);
    } else {
        deals_remove(promises->deals, deal);
    }
}

void promises_ask(struct daemon *daemon, struct http_request *request)
{
    json_t *body = request_body(request);
    if (body) {
        ask(daemon->promises_data, request, body);
        json_decref(body);
    }
}

/* ---- Changing -------------------------------------------------------------------------------- */

static const char *path_id(const struct http_request *request)
{
    return strrchr(http_path(request), '/') + 1;
}

static void random_id(char id[LEDGER_ID_MAX])
{
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number)) {
        number = clock_now_ns();
    }
    (void)snprintf(id, LEDGER_ID_MAX, "%016" PRIx64, number);
}

/* More: answered by the next sample, under an id of its own. */
static void grow(struct promises *promises, struct http_request *request, const struct deal *lease,
                 uint64_t more_bytes, const struct ledger_lease *view)
{
    char id[LEDGER_ID_MAX];
    if (!is_promising(promises, request)) {
        return;
    }
    random_id(id);
    struct deal *deal = deals_add(promises->deals, id);
    if (!deal) {
        http_fail_memory(request);
        return;
    }
    deal->kind = DEAL_GROWTH;
    deal->asked_ns = clock_now_ns();
    deal->owner = lease->owner;
    deal->uid = lease->uid;
    deal->user = lease->user;
    memcpy(deal->grows, lease->id, sizeof(deal->grows));
    deal->request.size_bytes = more_bytes;
    deal->request.gpu_count = (uint32_t)view->gpu_count;
    if (ledger_grow(promises->ledger, lease->id, id, more_bytes, clock_now_ns()) < 0) {
        deals_remove(promises->deals, deal);
        http_fail_memory(request);
        return;
    }
    deal->http = request;
    http_on_gone(request, gone, promises);
    promises_stir(promises, true);
}

static bool attach_more(struct promises *promises, struct http_request *request, const json_t *body,
                        const struct peer *peer, struct deal *deal)
{
    size_t before = deal->attached_count;
    if (!request_members(promises, request, json_object_get(body, "attach"), "attach", peer,
                         deal)) {
        return false;
    }
    for (size_t i = before; i < deal->attached_count; i++) {
        if (promises_attach(promises, deal, &deal->attached[i]) == -ENOMEM) {
            http_fail_memory(request);
            return false;
        }
    }
    ceilings_put_under(promises, deal->owner);
    return true;
}

/* All that needs no sample. False: it was answered. */
static bool change_now(struct promises *promises, struct http_request *request, const json_t *body,
                       const struct deal *deal, uint64_t size, uint64_t old_size)
{
    const json_t *filled = json_object_get(body, "filled");
    uint64_t lasts_ms = UINT64_MAX, now_ns = clock_now_ns();
    int r = 0;
    if (filled && !json_is_true(filled)) {
        request_fail(request, "filled", "is true or not there");
        return false;
    }
    if (!request_number(request, body, "for_ms", REQUEST_LONGEST_MS, &lasts_ms)) {
        return false;
    }
    if (size < old_size) {
        r = ledger_shrink(promises->ledger, deal->id, size, now_ns);
    }
    if (r == 0 && filled) {
        r = ledger_fill(promises->ledger, deal->id, now_ns);
    }
    if (r == 0 && json_object_get(body, "for_ms")) {
        r = ledger_until(promises->ledger, deal->id,
                         lasts_ms == UINT64_MAX ? LEDGER_NEVER : now_ns + lasts_ms * 1000000,
                         now_ns);
    }
    if (r < 0) {
        http_fail(request, 404, "not_found", ENOENT, NULL, "the lease has ended");
        return false;
    }
    return true;
}

static void change(struct promises *promises, struct http_request *request, const json_t *body)
{
    const struct peer *peer = request_peer(request);
    struct deal *deal = peer ? request_deal(promises, request, peer, path_id(request)) : NULL;
    int found = deal ? ledger_find_lease(promises->ledger, deal->id) : -1;
    if (!deal) {
        return;
    }
    if (found < 0) {
        http_fail(request, 409, "conflict", EBUSY, "release it, and ask anew",
                  "it still waits, and cannot be changed");
        return;
    }
    struct ledger_lease lease = ledger_lease_at(promises->ledger, (size_t)found);
    uint64_t size = lease.size_bytes, old_size = lease.size_bytes, old_until_ns = lease.until_ns;
    if (!request_number(request, body, "size_bytes", INT64_MAX, &size)) {
        return;
    }
    if (!size) {
        request_fail(request, "size_bytes", "is 0; a lease that is not needed is released");
        return;
    }
    if (!attach_more(promises, request, body, peer, deal) ||
        !change_now(promises, request, body, deal, size, old_size)) {
        return;
    }
    lease = ledger_lease_at(promises->ledger, (size_t)found);
    int r = record_lease(promises, deal, &lease);
    lease = ledger_lease_at(promises->ledger, (size_t)found);
    if (r < 0 && lease.until_ns > old_until_ns) {
        (void)!ledger_until(promises->ledger, deal->id, old_until_ns, clock_now_ns());
        http_fail(request, 503, "journal", -r,
                  "make room where the daemon's socket is, and try again",
                  "a later end cannot be written down: %s", strerror(-r));
        return;
    } /* else after a restart it would be as it was: more is promised then, never less */
    daemon_changed(promises->daemon);
    promises_tell_granted(promises, deal, &lease); /* smaller, it may be */
    if (size > old_size) {
        grow(promises, request, deal, size - old_size, &lease);
    } else {
        answer_lease(promises, request, deal);
        promises_stir(promises, true);
    }
}

void promises_change(struct daemon *daemon, struct http_request *request)
{
    json_t *body = request_body(request);
    if (body) {
        change(daemon->promises_data, request, body);
        json_decref(body);
    }
}

/* ---- Ending ---------------------------------------------------------------------------------- */

/* What is ended by another than its user. */
static void audit_end(const struct deal *deal, const struct peer *peer)
{
    char user[METRICS_USER_MAX], by[METRICS_USER_MAX];
    view_user(deal->user, user);
    view_user(peer->uid, by);
    log_line(LOG_LINE_NOTICE, "%s %s of %s%s%s%s was ended by %s, process %ld",
             deal->kind == DEAL_HELD ? "lease" : "request", deal->id, user,
             deal->label[0] ? " (" : "", deal->label, deal->label[0] ? ")" : "", by,
             (long)peer->pid);
}

void promises_end(struct daemon *daemon, struct http_request *request)
{
    struct promises *promises = daemon->promises_data;
    const struct peer *peer = request_peer(request);
    struct deal *deal = peer ? request_deal(promises, request, peer, path_id(request)) : NULL;
    if (!deal) {
        return;
    }
    bool is_lease = deal->kind == DEAL_HELD;
    if (peer->uid != deal->uid) {
        audit_end(deal, peer);
    }
    if (!is_lease && deal->http) {
        http_fail(deal->http, 410, "cancelled", ECANCELED, NULL, "the request was taken back");
        deal->http = NULL;
    }
    char id[LEDGER_ID_MAX];
    memcpy(id, deal->id, sizeof(id));
    int r = ledger_end(promises->ledger, id, clock_now_ns());
    if (!is_lease || r < 0) { /* a lease's end was told to ended(), which did the rest */
        (void)record_end(promises, id);
        promises_drop(promises, deal);
        daemon_changed(promises->daemon);
    }
    http_answer(request, 200,
                is_lease ? "{\"schema\":1,\"ended\":\"lease\"}"
                         : "{\"schema\":1,\"ended\":\"request\"}");
    promises_stir(promises, true);
}

/* ---- Listing --------------------------------------------------------------------------------- */

char *promises_leases(const struct daemon *daemon)
{
    return daemon->promises ? view_leases(daemon->promises_data) : NULL;
}

static void answer_list(void *data, struct http_request *request, enum parked_end end,
                        const struct sample *sample)
{
    struct daemon *daemon = data;
    char *text = view_leases(daemon->promises_data);
    (void)end;
    (void)sample;
    http_answer(request, 200, text);
    free(text);
}

/* What leases hold is told by a sample of now, where one can be had. */
void promises_list(struct daemon *daemon, struct http_request *request)
{
    struct parked_wish wish = {
        .for_sample = true,
        .take = daemon->promises->take(daemon->promises_data),
        .timeout_ms = daemon->options.call_timeout_ns / 1000000,
        .answer = answer_list,
        .data = daemon,
    };
    if (api_park(daemon, request, answer_list) != 0) {
        return;
    }
    if (wish.take && !http_is_remote(request) &&
        parking_add(daemon->parking, request, &wish) == 0) {
        collector_ask(daemon->collector, wish.take);
    } else {
        answer_list(daemon, request, PARKED_EPOCH, NULL);
    }
}
