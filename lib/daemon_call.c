/* SPDX-License-Identifier: MIT */
#include "lib/daemon_call.h"

#include "common/clock.h"
#include "include/vram.h"
#include "lib/daemon_error.h"
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

enum { STATUS_ERROR = 400 };

uint64_t daemon_call_deadline(uint64_t wait_ms)
{
    uint64_t now = clock_now_ns();
    if (wait_ms > (UINT64_MAX - now - ANSWER_NS) / MS_NS) {
        return UINT64_MAX;
    }
    return now + wait_ms * MS_NS + ANSWER_NS;
}

/* ---- The call -------------------------------------------------------------------------------- */

int daemon_call_place(struct vram *vram, struct endpoint *ret_place, struct err *err)
{
    struct endpoint_environment environment = endpoint_environment();
    int r = endpoint_find(handle_driver_text(vram), &environment, ret_place);
    if (r < 0) {
        return daemon_error_place(r, handle_driver_text(vram), err);
    }
    r = endpoint_check(ret_place, environment.uid);
    return r == -EPERM ? daemon_error_call(r, ret_place->socket, err) : 0;
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
    json_t *document = json_loads(last_line(reply->body), 0, NULL);
    if (!json_is_object(document) || reply->status >= STATUS_ERROR ||
        json_object_get(document, "error")) {
        int r = daemon_error_reply(document, path, err);
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
        return daemon_error_call(r, place.socket, err);
    }
    r = read_reply(&reply, place.socket, ret_document, err);
    http_reply_done(&reply);
    return r;
}

bool daemon_call_is_lost(const struct err *err, bool connected)
{
    return err->result == -ECONNRESET ||
           (connected && (err->result == -ECONNREFUSED || err->result == -ENOTCONN));
}

/* A daemon on its way out answers whoever comes, and then nobody any more: so nobody is told this for ever. */
static bool is_ending(const struct err *err)
{
    return strcmp(err->code, "ending") == 0;
}

bool patience_lasts(struct patience *patience, const struct err *err)
{
    uint64_t now = clock_now_ns();
    struct timespec nap = {0, (long)NAP_NS};
    if (!patience->since_ns || is_ending(err)) {
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
        if (r >= 0 || !daemon_call_is_lost(err, connected) || !patience_lasts(&patience, err)) {
            return r;
        }
        if (call->again && err->result == -ECONNRESET && !is_ending(err)) {
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
