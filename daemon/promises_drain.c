/* SPDX-License-Identifier: MIT */
/* Drained GPUs: what is promised there stays, and nothing new is, until somebody says otherwise or the machine restarts. */
#include "daemon/promises_inner.h"

#include "common/text.h"
#include "daemon/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t place_of(const struct promises *promises, const char *uuid)
{
    size_t i = 0;
    while (i < promises->drained_count && strcmp(promises->drained[i], uuid) != 0) {
        i++;
    }
    return i;
}

bool drain_has(const struct promises *promises, const char *uuid)
{
    return uuid && place_of(promises, uuid) < promises->drained_count;
}

int drain_note(struct promises *promises, const char *uuid, bool drained)
{
    size_t place = place_of(promises, uuid);
    if (drained == (place < promises->drained_count)) {
        return 0;
    }
    if (!drained) {
        memcpy(promises->drained[place], promises->drained[--promises->drained_count],
               sizeof(*promises->drained));
        return 0;
    }
    if (promises->drained_count == LEDGER_GPUS) {
        return -ENOSPC;
    }
    void *grown =
        reallocarray(promises->drained, promises->drained_count + 1, sizeof(*promises->drained));
    if (!grown) {
        return -ENOMEM;
    }
    promises->drained = grown;
    (void)text_copy(promises->drained[promises->drained_count++], LEDGER_UUID_MAX, uuid);
    return 0;
}

void drain_write_list(const struct promises *promises, struct json *json, const char *key)
{
    json_array(json, key);
    for (size_t i = 0; i < promises->drained_count; i++) {
        json_text(json, NULL, promises->drained[i]);
    }
    json_end_array(json);
}

/* ---- The routes ------------------------------------------------------------------------------ */

static bool is_known(const struct promises *promises, const char *uuid)
{
    const struct vram_snapshot *snapshot = promises->daemon->snapshot;
    for (size_t i = 0; snapshot && i < vram_snapshot_gpu_count(snapshot); i++) {
        const char *known = vram_snapshot_gpu(snapshot, i)->uuid;
        if (known && strcmp(known, uuid) == 0) {
            return true;
        }
    }
    return false;
}

/* The UUID that the body names. NULL: it was answered. */
static const char *named_gpu(const struct promises *promises, struct http_request *request,
                             const json_t *body, bool drained)
{
    const char *uuid = json_string_value(json_object_get(body, "gpu"));
    if (!uuid || !uuid[0] || strlen(uuid) >= LEDGER_UUID_MAX) {
        request_fail(request, "gpu", "is a GPU's UUID");
        return NULL;
    }
    /* One that is gone can still be let go. */
    if (drained ? !is_known(promises, uuid)
                : !is_known(promises, uuid) && !drain_has(promises, uuid)) {
        http_fail(request, 404, "not_found", ENOENT, "`vram status --json` has their UUIDs",
                  "there is no such GPU");
        return NULL;
    }
    return uuid;
}

static void answer(struct http_request *request, const char *uuid, bool drained)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_text(&json, "gpu", uuid);
    json_bool(&json, "drained", drained);
    json_end_object(&json);
    char *text = buf_steal(&buf, NULL);
    http_answer(request, 200, text);
    free(text);
}

static void drain(struct promises *promises, struct http_request *request, const json_t *body,
                  bool drained)
{
    char user[METRICS_USER_MAX], gpu[64];
    const struct peer *peer = request_peer(request);
    if (!peer) {
        return;
    }
    if (!rights_admin(&promises->daemon->rights, peer)) {
        http_fail(request, 403, "forbidden", EPERM,
                  "root may, members of admin_group in /etc/vram.conf, or vramd's own user",
                  "only an administrator may do that");
        return;
    }
    const char *uuid = named_gpu(promises, request, body, drained);
    if (!uuid) {
        return;
    }
    if (drain_has(promises, uuid) != drained) {
        int r = record_drain(promises, uuid, drained);
        r = r < 0 ? r : drain_note(promises, uuid, drained);
        if (r < 0) {
            http_fail(request, 503, "journal", -r,
                      "make room where the daemon's socket is, and try again",
                      "it cannot be written down: %s", strerror(-r));
            return;
        }
        view_user(peer->uid, user);
        log_line(LOG_LINE_NOTICE, "%s (%s) was %s by %s, process %ld",
                 view_gpu(promises, uuid, gpu, sizeof(gpu)), uuid,
                 drained ? "drained" : "undrained", user, (long)peer->pid);
        daemon_changed(promises->daemon);
        promises_stir(promises, true);
    }
    answer(request, uuid, drained);
}

static void take_order(struct daemon *daemon, struct http_request *request, bool drained)
{
    json_t *body = request_body(request);
    if (body) {
        drain(daemon->promises_data, request, body, drained);
        json_decref(body);
    }
}

void promises_drain(struct daemon *daemon, struct http_request *request)
{
    take_order(daemon, request, true);
}

void promises_undrain(struct daemon *daemon, struct http_request *request)
{
    take_order(daemon, request, false);
}
