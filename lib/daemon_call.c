/* SPDX-License-Identifier: MIT */
#include "lib/daemon_call.h"

#include "common/clock.h"
#include "common/text.h"
#include "include/vram.h"
#include "lib/http_client.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS_NS ((uint64_t)1000000)
/* What an answer may take besides waiting on purpose: samples of a slow driver, growth that makes it doubt. */
#define ANSWER_NS ((uint64_t)60 * 1000 * MS_NS)
#define PATIENCE_NS ((uint64_t)3 * 1000 * MS_NS)
#define NAP_NS ((uint64_t)20 * MS_NS)

enum { STATUS_UNAVAILABLE = 503, STATUS_ERROR = 400, ERRNO_MAX = 4096 };

uint64_t daemon_call_deadline(uint64_t wait_ms)
{
    uint64_t now = clock_now_ns();
    if (wait_ms > (UINT64_MAX - now - ANSWER_NS) / MS_NS) {
        return UINT64_MAX;
    }
    return now + wait_ms * MS_NS + ANSWER_NS;
}

/* ---- What went wrong ------------------------------------------------------------------------- */

int daemon_call_bad(int result, struct err *err)
{
    return result == -ENOMEM ? err_no_memory(err)
                             : err_set(err, -EPROTO, "bad_daemon",
                                       "what answers on the daemon's socket makes no sense");
}

static int fail_on_the_way(int result, const char *path, struct err *err)
{
    switch (result) {
    case -ENOENT:
        return err_set(err, -ENOTCONN, "no_daemon", "no daemon runs: there is no %s", path);
    case -ECONNREFUSED:
        return err_set(err, result, "daemon_refused", "%s is there, but no daemon listens on it",
                       path);
    case -EACCES:
    case -EPERM:
        return err_set(err, -EACCES, "daemon_denied", "%s may not be opened by this user", path);
    case -ETIMEDOUT:
        return err_set(err, result, "daemon_silent", "the daemon on %s does not answer", path);
    case -ECONNRESET:
    case -EPIPE:
        return err_set(err, -ECONNRESET, "daemon_gone", "the daemon on %s broke off", path);
    case -ECANCELED:
        return err_set(err, result, "cancelled", "the request was taken back");
    case -ENOMEM:
    case -EPROTO:
        return daemon_call_bad(result, err);
    default:
        return err_set(err, result, "daemon_unreachable", "%s cannot be connected to: %s", path,
                       strerror(-result));
    }
}

/* The error that an answer carries. */
static int read_error(const json_t *error, struct err *err)
{
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *hint = json_string_value(json_object_get(error, "hint"));
    json_int_t number = json_integer_value(json_object_get(error, "errno"));
    if (!code || !message) {
        return daemon_call_bad(-EPROTO, err);
    }
    int result = strcmp(code, "ending") == 0 ? -ECONNRESET /* as if it were gone: so it is soon */
                 : number > 0 && number < ERRNO_MAX ? (int)-number
                                                    : -EIO;
    (void)err_set(err, result, code, "%s", message);
    if (hint) {
        (void)text_copy(err->hint, sizeof(err->hint), hint);
    }
    return result;
}

/* ---- The call -------------------------------------------------------------------------------- */

int daemon_call_place(struct vram *vram, struct endpoint *ret_place, struct err *err)
{
    struct endpoint_environment environment = endpoint_environment();
    int r = endpoint_find(handle_driver_text(vram), &environment, ret_place);
    if (r == -ENOTCONN) {
        return err_set(err, r, "no_daemon", "no daemon is asked: VRAM_SOCKET is none");
    }
    if (r < 0) {
        const char *named = environment.vram_socket;
        return r == -ENAMETOOLONG
                   ? err_set(err, r, "long_path", "the path of the daemon's socket is too long")
               : named && named[0] && named[0] != '/'
                   ? err_set(err, r, "bad_socket", "VRAM_SOCKET is no absolute path: %.200s", named)
                   : err_set(err, r, "bad_driver", "'%.64s' names no driver that a daemon serves",
                             handle_driver_text(vram));
    }
    if (endpoint_check(ret_place, environment.uid) == -EPERM) {
        return err_set(err, -EACCES, "foreign_directory",
                       "%s belongs to another user, or others may write in it",
                       ret_place->directory);
    }
    return 0;
}

/* The last line that is not empty. */
static const char *last_line(char *body)
{
    size_t length = strlen(body);
    while (length > 0 && (body[length - 1] == '\n' || body[length - 1] == '\r')) {
        body[--length] = '\0';
    }
    const char *line = strrchr(body, '\n');
    return line ? line + 1 : body;
}

static int read_reply(const struct http_reply *reply, const char *path, json_t **ret_document,
                      struct err *err)
{
    json_error_t where;
    json_t *document = json_loads(last_line(reply->body), 0, &where);
    json_t *error = json_object_get(document, "error");
    int r = 0;
    if (json_is_object(error)) {
        r = read_error(error, err);
    } else if (reply->status == STATUS_UNAVAILABLE) {
        r = fail_on_the_way(-ECONNRESET, path, err);
    } else if (!json_is_object(document) || reply->status >= STATUS_ERROR) {
        r = daemon_call_bad(-EPROTO, err);
    }
    if (r < 0) {
        json_decref(document);
        return r;
    }
    *ret_document = document;
    return 0;
}

int daemon_call_once(struct vram *vram, const struct daemon_call *call, json_t **ret_document,
                     struct err *err)
{
    struct endpoint place;
    struct http_reply reply = {0};
    int r = daemon_call_place(vram, &place, err);
    if (r < 0) {
        return r;
    }
    r = http_call(place.socket, call->method, call->target, call->body,
                  daemon_call_deadline(call->wait_ms), call->line, call->data, &reply);
    if (r < 0) {
        return fail_on_the_way(r, place.socket, err);
    }
    r = read_reply(&reply, place.socket, ret_document, err);
    http_reply_done(&reply);
    return r;
}

bool daemon_call_is_lost(const struct err *err, bool connected)
{
    return err->result == -ECONNRESET || strcmp(err->code, "ending") == 0 ||
           (connected && (err->result == -ECONNREFUSED || err->result == -ENOTCONN));
}

bool patience_lasts(struct patience *patience)
{
    uint64_t now = clock_now_ns();
    struct timespec nap = {0, (long)NAP_NS};
    if (!patience->since_ns) {
        patience->since_ns = now;
    }
    if (now - patience->since_ns > PATIENCE_NS) {
        return false;
    }
    (void)nanosleep(&nap, NULL);
    return true;
}

int daemon_call(struct vram *vram, const struct daemon_call *call, json_t **ret_document,
                struct err *err)
{
    struct patience patience = {0};
    bool connected = false;
    for (;;) {
        int r = daemon_call_once(vram, call, ret_document, err);
        if (r >= 0 || !daemon_call_is_lost(err, connected) || !patience_lasts(&patience)) {
            return r;
        }
        if (call->again && err->result == -ECONNRESET && strcmp(err->code, "ending") != 0) {
            *call->again = true;
        }
        connected = true;
    }
}

void daemon_call_wait_target(char *target, size_t size, const char *begin, uint64_t after_epoch,
                             uint64_t timeout_ms)
{
    if (after_epoch == 0) {
        (void)snprintf(target, size, "%s", begin);
    } else if (timeout_ms == VRAM_UNKNOWN) {
        (void)snprintf(target, size, "%safter=%" PRIu64, begin, after_epoch);
    } else {
        (void)snprintf(target, size, "%safter=%" PRIu64 "&timeout_ms=%" PRIu64, begin, after_epoch,
                       timeout_ms);
    }
}
