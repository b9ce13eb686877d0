/* SPDX-License-Identifier: MIT */
/* The routes /v1/needs (docs/api.md): what labels need, as their leases have taught it. */
#include "daemon/promises_inner.h"

#include "daemon/history_events.h"
#include "daemon/history_inner.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 256

struct telling {
    struct history *history;
    struct json json;
    int result;
};

/* The history, with what is not written yet. NULL: it was answered. */
static struct history *open_for(struct daemon *daemon, struct http_request *request)
{
    struct history *history = daemon->history;
    if (!history || !history_is_ready(history)) {
        http_fail(
            request, 503, "no_history", ENODATA,
            "name a size; or write `history = on` under [daemon] in /etc/vram.conf, and reload "
            "vramd",
            "what a program needs is learned from the history, and none is kept");
        return NULL;
    }
    return history;
}

/* Whose labels are meant: who asks. False: it was answered. */
static bool find_user(const struct daemon *daemon, struct http_request *request,
                      char user[METRICS_USER_MAX])
{
    const struct peer *peer;
    if (http_peer(request, &peer) < 0) {
        http_fail(request, 410, "gone", ESRCH, NULL, "who asked has ended");
        return false;
    }
    view_user(containers_user(daemon->containers, peer), user);
    return true;
}

static void fail_store(struct history *history, struct http_request *request)
{
    http_fail(request, 500, "history_failed", EIO, NULL, "the history cannot be used: %s",
              history_store_error(history->store));
    history_mend(history);
}

static void write_need(void *data, const char *label, const char *user)
{
    static const char *const verdicts[] = {
        [NEED_UNKNOWN] = "unknown", [NEED_KNOWN] = "known", [NEED_ELASTIC] = "elastic"};
    struct telling *telling = data;
    struct json *json = &telling->json;
    struct need_run runs[NEED_RUNS_MAX];
    char message[MESSAGE_MAX];
    int count = history_store_runs(telling->history->store, label, user, runs);
    if (count < 0) {
        telling->result = count;
        return;
    }
    struct need need = need_of(runs, (size_t)count);
    need_say(&need, label, message, sizeof(message));
    json_object(json, NULL);
    json_text(json, "label", label);
    json_text(json, "user", user);
    json_text(json, "verdict", verdicts[need.verdict]);
    if (need.verdict == NEED_KNOWN) {
        json_number(json, "need_bytes", need.bytes);
    } else {
        json_null(json, "need_bytes");
    }
    if (count) {
        json_number(json, "peak_bytes", need.peak_bytes);
    } else {
        json_null(json, "peak_bytes");
    }
    history_write_bytes(json, "steady_bytes", need.steady_bytes);
    json_number(json, "runs", need.runs);
    json_text(json, "message", message);
    json_end_object(json);
}

void history_get_needs(struct daemon *daemon, struct http_request *request)
{
    char user[METRICS_USER_MAX];
    const char *label = http_query(request, "label");
    struct buf buf = BUF_INIT;
    struct telling telling = {.history = open_for(daemon, request), .json = JSON_INIT(&buf)};
    if (!telling.history || !find_user(daemon, request, user)) {
        return;
    }
    json_object(&telling.json, NULL);
    json_number(&telling.json, "schema", 1);
    json_array(&telling.json, "needs");
    if (label) {
        write_need(&telling, label, user);
    } else {
        int r = history_store_labels(telling.history->store, write_need, &telling);
        telling.result = r < 0 ? r : telling.result;
    }
    json_end_array(&telling.json);
    json_end_object(&telling.json);
    char *text = buf_steal(&buf, NULL);
    if (telling.result < 0) {
        fail_store(telling.history, request);
    } else {
        http_answer(request, 200, text);
    }
    free(text);
}

void history_forget_need(struct daemon *daemon, struct http_request *request)
{
    char user[METRICS_USER_MAX], text[64];
    const char *label = http_query(request, "label");
    if (!label) {
        http_fail(request, 400, "bad_request", EINVAL, NULL, "label is missing");
        return;
    }
    struct history *history = open_for(daemon, request);
    if (!history || !find_user(daemon, request, user)) {
        return;
    }
    history_store_wait(history->store, HISTORY_PATIENCE_MS);
    int count = history_store_forget(history->store, label, user);
    history_store_wait(history->store, 0);
    if (count < 0) {
        fail_store(history, request);
        return;
    }
    (void)snprintf(text, sizeof(text), "{\"schema\":1,\"forgotten\":%d}", count);
    http_answer(request, 200, text);
}
