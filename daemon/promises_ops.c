/* SPDX-License-Identifier: MIT */
/* What the ledger says: grants written down and told, ends, states; and what waiters are told meanwhile. */
#include "daemon/promises_inner.h"

#include "common/clock.h"
#include "common/size.h"
#include "common/text.h"
#include "common/utc.h"
#include "daemon/history.h"
#include "daemon/log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t holder(void *data, uint64_t key)
{
    struct promises *promises = data;
    const struct owner_process *owner = owners_find(promises->owners, key);
    struct members_verdict verdict = {0};
    if (!owner || members_resolve(promises->members, owner->pid, owner->start_time, NULL, NULL,
                                  &verdict) < 0) {
        return 0;
    }
    bool is_around = verdict.key != key && ledger_holds(promises->ledger, verdict.key);
    uint64_t around = is_around ? verdict.key : verdict.outer;
    return around == key ? 0 : around;
}

static int record(void *data, const struct ledger_lease *lease, bool known)
{
    struct promises *promises = data;
    const struct deal *deal = deals_find(promises->deals, lease->id);
    (void)known;
    promises->record_error = deal ? record_lease(promises, deal, lease) : -ENOENT;
    if (promises->record_error < 0) {
        log_line(LOG_LINE_ERROR, "the journal could not be written: %s",
                 strerror(-promises->record_error));
    }
    return promises->record_error;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void send_verdict(struct deal *deal, const char *text)
{
    struct http_request *http = deal->http;
    deal->http = NULL;
    if (http) {
        http_answer(http, 200, text);
    }
}

/* An answer that is no verdict. */
static void send_error(struct deal *deal, int status, const char *code, int error, const char *hint,
                       const char *message)
{
    struct http_request *http = deal->http;
    deal->http = NULL;
    if (http) {
        http_fail(http, status, code, error, hint, "%s", message);
    }
}

void promises_fail(struct promises *promises, const struct sample *sample)
{
    /* A driver that hangs may come back, and who waits can wait for that too. */
    bool may_return = sample->result == -ETIMEDOUT || sample->result == -EIO;
    for (size_t i = deals_count(promises->deals); i-- > 0;) {
        struct deal *deal = deals_at(promises->deals, i);
        bool stays = deal->kind == DEAL_HELD || deal->asked_ns > sample->begun_ns ||
                     (may_return && deal->request.waits);
        if (stays || !deal->http) {
            continue;
        }
        send_error(deal, 503, sample->error ? sample->error->code : "driver_failed",
                   sample->result < 0 ? -sample->result : EIO,
                   sample->error ? sample->error->hint : NULL,
                   sample->error ? sample->error->message : "the driver does not answer");
        if (deal->kind == DEAL_ASKED && deal->request.waits) {
            (void)record_end(promises, deal->id);
        }
        (void)ledger_end(promises->ledger, deal->id, clock_now_ns());
        promises_drop(promises, deal);
    }
}

static void fail_unrecorded(const struct promises *promises, struct deal *deal)
{
    char message[160];
    (void)snprintf(message, sizeof(message), "the promise cannot be written down: %s",
                   strerror(-promises->record_error));
    send_error(deal, 503, "journal", -promises->record_error,
               "make room where the daemon's socket is, and ask again", message);
}

static void become_lease(struct promises *promises, struct deal *deal)
{
    deal->kind = DEAL_HELD;
    (void)members_set_prospective(promises->members, deal->owner, false);
    if (members_add_lease(promises->members, deal->owner, deal->id) < 0) {
        log_line(LOG_LINE_ERROR, "out of memory: members of %s are not known by their environment",
                 deal->id);
    }
}

_Static_assert(LEDGER_UNRECORDED + 1 == METRICS_VERDICTS && LEDGER_SQUEEZED + 1 == METRICS_STATES,
               "metrics have a series for each");

static void answer(void *data, const char *id, uint32_t verdict, const struct ledger_lease *lease,
                   const struct ledger_sum *sum)
{
    struct promises *promises = data;
    struct deal *deal = deals_find(promises->deals, id);
    if (!deal) {
        return;
    }
    daemon_changed(promises->daemon);
    bool failed = verdict == LEDGER_UNRECORDED || (sum && !room_any_usable(sum->rooms, sum->count));
    promises->verdicts[failed ? (uint32_t)LEDGER_UNRECORDED : verdict]++;
    if (verdict == LEDGER_GRANTED && deal->kind == DEAL_ASKED) {
        become_lease(promises, deal);
    }
    if (verdict == LEDGER_UNRECORDED) {
        fail_unrecorded(promises, deal);
    } else if (failed) {
        send_error(deal, 503, "no_usable_gpu", ENODEV, "`vram doctor` tells what to do",
                   "none of the GPUs asked for can be used");
    } else {
        const struct deal *whose =
            deal->kind == DEAL_GROWTH ? deals_find(promises->deals, deal->grows) : deal;
        if (verdict == LEDGER_GRANTED && lease && whose) {
            room_settle(promises, whose);
            promises_tell_granted(promises, whose, lease);
        }
        char *text = view_verdict(promises, verdict, whose ? whose : deal, lease, sum);
        send_verdict(deal, text);
        free(text);
    }
    if (deal->kind == DEAL_ASKED) {
        (void)record_end(promises, id);
    }
    if (deal->kind != DEAL_HELD) {
        promises_drop(promises, deal);
    }
}

static void ended(void *data, const char *id, uint32_t why)
{
    struct promises *promises = data;
    struct deal *deal = deals_find(promises->deals, id);
    static const char *const reasons[] = {"released", "its owner has ended", "its time is over",
                                          "it held nothing for too long"};
    (void)record_end(promises, id);
    offers_ended(promises, id, why);
    history_lease_ended(promises->daemon, id, reasons[why]);
    daemon_changed(promises->daemon);
    if (deal) {
        log_line(LOG_LINE_INFO, "lease %s%s%s has ended: %s", id, deal->label[0] ? " of " : "",
                 deal->label, reasons[why]);
        promises_drop(promises, deal);
    }
}

static void base(void *data, uint64_t owner, const char *uuid, int64_t base_bytes)
{
    (void)record_base(data, owner, uuid, base_bytes);
}

static void state(void *data, const struct ledger_lease *lease, uint32_t pid, const char *name)
{
    struct promises *promises = data;
    const struct deal *deal = deals_find(promises->deals, lease->id);
    const char *label = deal && deal->label[0] ? deal->label : "without a label";
    daemon_changed(promises->daemon);
    if (lease->state == LEDGER_SQUEEZED || lease->state == LEDGER_OVER) {
        history_lease_broken(promises->daemon, lease->id, lease->state == LEDGER_SQUEEZED,
                             (pid_t)pid, name);
    }
    if (lease->state == LEDGER_SQUEEZED && pid) {
        log_line(LOG_LINE_WARNING,
                 "lease %s (%s): process %" PRIu32 " (%s) has grown into what was promised",
                 lease->id, label, pid, name);
    } else if (lease->state == LEDGER_SQUEEZED) {
        log_line(LOG_LINE_WARNING, "lease %s (%s): what was promised is no longer free", lease->id,
                 label);
    } else if (lease->state == LEDGER_OVER) {
        log_line(LOG_LINE_NOTICE, "lease %s (%s): its members use more than was promised",
                 lease->id, label);
    }
}

static struct ledger_limits limits(void *data, uint32_t user)
{
    const struct promises *promises = data;
    char name[METRICS_USER_MAX];
    view_user(user, name);
    struct config_limits said = config_limits_for(&promises->daemon->config, user, name);
    return (struct ledger_limits){said.bytes, said.gpus, said.leases};
}

static void notice(void *data, const struct ledger_lease *lease)
{
    struct promises *promises = data;
    const struct deal *deal = deals_find(promises->deals, lease->id);
    const char *label = deal && deal->label[0] ? deal->label : "without a label";
    char user[METRICS_USER_MAX], when[UTC_TEXT_MAX];
    bool is_idle = lease->idle_until_ns != LEDGER_NEVER;
    uint64_t end_ns = is_idle ? lease->idle_until_ns : lease->until_ns;
    view_user(lease->user, user);
    daemon_changed(promises->daemon);
    if (end_ns == LEDGER_NEVER || (!is_idle && end_ns > clock_now_ns() + LEDGER_NOTICE_NS)) {
        log_line(LOG_LINE_INFO, "lease %s of %s (%s) is used again", lease->id, user, label);
        return;
    }
    log_line(LOG_LINE_NOTICE, "lease %s of %s (%s) ends at %s: %s", lease->id, user, label,
             utc_format(view_date_of(end_ns), when),
             is_idle ? "it holds nothing" : "it was asked for until then");
}

const struct ledger_ops promises_ledger_ops = {
    .holder = holder,
    .record = record,
    .answer = answer,
    .ended = ended,
    .limits = limits,
    .notice = notice,
    .base = base,
    .state = state,
};

/* ---- Waiting --------------------------------------------------------------------------------- */

#define TOLD_AT_ONCE 8 /* of thousands who wait; answers come in between */

static void say_room(const struct promises *promises, const struct ledger_waiter *waiter,
                     char text[DEAL_WAITS_FOR_MAX])
{
    char missing[SIZE_TEXT_MAX], gpu[64];
    if (waiter->uuid && waiter->missing_bytes != VRAM_UNKNOWN && waiter->missing_bytes) {
        uint64_t kept = ledger_kept(promises->ledger, waiter->uuid);
        int length = snprintf(text, DEAL_WAITS_FOR_MAX, "%s more on %s%s",
                              size_format(waiter->missing_bytes, missing),
                              view_gpu(promises, waiter->uuid, gpu, sizeof(gpu)),
                              waiter->gpu_count > 1 ? " or another" : "");
        if (kept) { /* which nobody's end makes free */
            (void)snprintf(text + length, DEAL_WAITS_FOR_MAX - (size_t)length,
                           ", where %s are kept by ceilings", size_format(kept, missing));
        }
    } else {
        (void)snprintf(text, DEAL_WAITS_FOR_MAX, "room on %" PRIu32 " GPUs at once",
                       waiter->gpu_count);
    }
}

static const char *plural(uint32_t count)
{
    return count == 1 ? "" : "s";
}

void promises_say_limit(const struct promises *promises, uint32_t uid, char *text, size_t size)
{
    char user[METRICS_USER_MAX], may[SIZE_TEXT_MAX], has[SIZE_TEXT_MAX];
    view_user(uid, user);
    struct config_limits limits = config_limits_for(&promises->daemon->config, uid, user);
    struct ledger_tally tally = ledger_tally_of(promises->ledger, uid);
    struct buf buf = BUF_INIT;
    buf_format(&buf, "%s may lease", user);
    if (limits.bytes != UINT64_MAX) {
        buf_format(&buf, " %s", size_format(limits.bytes, may));
    }
    if (limits.gpus != UINT32_MAX) {
        buf_format(&buf, " on %" PRIu32 " GPU%s", limits.gpus, plural(limits.gpus));
    }
    if (limits.leases != UINT32_MAX) {
        buf_format(&buf, " in %" PRIu32 " lease%s", limits.leases, plural(limits.leases));
    }
    buf_format(&buf, " at once, and has ");
    if (tally.leases) {
        buf_format(&buf, "%s on %" PRIu32 " GPU%s in %" PRIu32 " lease%s",
                   size_format(tally.bytes, has), tally.gpus, plural(tally.gpus), tally.leases,
                   plural(tally.leases));
    } else {
        buf_text(&buf, "none");
    }
    (void)text_copy(text, size, buf.failed ? "its user's limit" : buf.data);
    buf_done(&buf);
}

/* Of those who could make room for it. */
static void say_note(const struct deal *deal, char text[DEAL_WAITS_FOR_MAX])
{
    size_t length = strlen(text);
    if (deal->note[0]) {
        (void)snprintf(text + length, DEAL_WAITS_FOR_MAX - length, "; %s", deal->note);
    }
}

void promises_waits_for(const struct promises *promises, const struct deal *deal,
                        const struct ledger_waiter *waiter, char text[DEAL_WAITS_FOR_MAX])
{
    static const char *const texts[] = {
        [LEDGER_FOR_SAMPLE] = "the driver's figures",
        [LEDGER_FOR_ROOM] = "",
        [LEDGER_FOR_TURN] = "its turn, as others were passed over often enough",
        [LEDGER_FOR_QUIET] = "a second look at processes without a lease",
        [LEDGER_FOR_RETURN] = "those who waited before the daemon was restarted",
        [LEDGER_FOR_GPU] = "a GPU that tells its figures",
        [LEDGER_FOR_LIMIT] = "",
        [LEDGER_FOR_DRAIN] = "`vram undrain`: no new lease is granted on the GPUs asked for",
    };
    if (collector_is_paused(promises->daemon->collector)) {
        (void)text_copy(text, DEAL_WAITS_FOR_MAX, "the end of the pause (`vram resume`)");
    } else if (waiter->absent) {
        (void)text_copy(text, DEAL_WAITS_FOR_MAX, "its client, after the daemon was restarted");
    } else if (waiter->reason == LEDGER_FOR_LIMIT) {
        size_t length = text_copy(text, DEAL_WAITS_FOR_MAX, "the end of other leases: ");
        promises_say_limit(promises, waiter->user, text + length, DEAL_WAITS_FOR_MAX - length);
    } else if (waiter->reason == LEDGER_FOR_ROOM) {
        say_room(promises, waiter, text);
        say_note(deal, text);
    } else if (waiter->reason == LEDGER_FOR_QUIET && waiter->pid) {
        (void)snprintf(text, DEAL_WAITS_FOR_MAX,
                       "%s (process %" PRIu32 "), which has no lease and is growing", waiter->name,
                       waiter->pid);
    } else {
        (void)text_copy(text, DEAL_WAITS_FOR_MAX, texts[waiter->reason]);
    }
}

static void tell_waiting(struct promises *promises, struct deal *deal,
                         const struct ledger_waiter *waiter)
{
    char text[DEAL_WAITS_FOR_MAX];
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    promises_waits_for(promises, deal, waiter, text);
    if (deal->told_position == waiter->position && strcmp(deal->told, text) == 0) {
        return;
    }
    json_object(&json, NULL);
    json_object(&json, "waiting");
    json_number(&json, "position", waiter->position);
    json_text(&json, "waits_for", text);
    json_end_object(&json);
    json_end_object(&json);
    if (deal->told_position == 0) {
        promises_tell_queued(promises, deal);
    }
    if (!buf.failed) {
        deal->told_position = waiter->position;
        (void)text_copy(deal->told, sizeof(deal->told), text);
        http_line(deal->http, buf.data);
    }
    buf_done(&buf);
}

bool promises_tell_waiting(struct promises *promises, size_t *from)
{
    size_t count = ledger_waiter_count(promises->ledger), end = *from + TOLD_AT_ONCE;
    for (; *from < count && *from < end; ++*from) {
        struct ledger_waiter waiter = ledger_waiter_at(promises->ledger, *from);
        struct deal *deal = deals_find(promises->deals, waiter.id);
        /* A look lasts a tenth of a second: not worth a word. */
        bool soon = waiter.reason == LEDGER_FOR_SAMPLE ||
                    (waiter.reason == LEDGER_FOR_QUIET && !waiter.pid);
        if (deal && deal->http && deal->request.waits && !soon) {
            tell_waiting(promises, deal, &waiter);
        }
    }
    return *from < count;
}
