/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "lib/remote.h"

#include "common/buf.h"
#include "common/endpoint.h"
#include "lib/daemon_error.h"
#include "lib/http_client.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define STATUS_ERROR 400

/* ---- What went wrong ------------------------------------------------------------------------- */

/* What a failure that `err` tells of means for who wants figures: the driver may be asked instead, or not. */
static enum remote_outcome outcome_of(int result)
{
    return result == -ENOTCONN ? REMOTE_ABSENT
           : result == -ENOMEM ? REMOTE_FAILED
                               : REMOTE_UNUSABLE;
}

static enum remote_outcome fail_call(int result, const char *path, struct err *err)
{
    return outcome_of(daemon_error_call(result, path, err));
}

/* An answer that is no snapshot: the daemon's own words where it has some. */
static enum remote_outcome fail_reply(const struct http_reply *reply, const char *path,
                                      struct err *err)
{
    json_t *document = json_loadb(reply->body, reply->length, 0, NULL);
    const json_t *error = json_object_get(document, "error");
    bool says_why = json_is_string(json_object_get(error, "code")) &&
                    json_is_string(json_object_get(error, "message"));
    int r = daemon_error_reply(document, path, err);
    json_decref(document);
    return says_why && r != -ECONNRESET ? REMOTE_FAILED : outcome_of(r);
}

/* ---- The question ---------------------------------------------------------------------------- */

/* "/v1/snapshot?take=processes,health&max_age_ms=500" */
static void write_target(const struct remote_request *request, struct buf *target)
{
    static const struct {
        uint32_t take;
        const char *word;
    } words[] = {{VRAM_TAKE_PROCESSES, "processes"},
                 {VRAM_TAKE_COMMANDS, "commands"},
                 {VRAM_TAKE_HEALTH, "health"}};
    const char *comma = "";
    buf_text(target, "/v1/snapshot?take=");
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (request->take & words[i].take) {
            buf_format(target, "%s%s", comma, words[i].word);
            comma = ",";
        }
    }
    if (request->max_age_ms) {
        buf_format(target, "&max_age_ms=%" PRIu64, request->max_age_ms);
    }
    if (request->after) {
        buf_format(target, "&after=%" PRIu64, request->after);
    }
    if (request->after && request->timeout_ms != VRAM_UNKNOWN) {
        buf_format(target, "&timeout_ms=%" PRIu64, request->timeout_ms);
    }
}

/* A daemon that was named serves whom it likes where nobody asked for a certain driver; else it must be the one that was
 * asked for, for its figures are another machine's. */
static bool serves(const struct endpoint *place, const char *asked, const char *driver)
{
    char name[ENDPOINT_DRIVER_MAX];
    if (!driver[0] || (place->named && strcmp(asked, "auto") == 0)) {
        return true;
    }
    return endpoint_driver(driver, name) == 0 && strcmp(name, place->driver) == 0;
}

static enum remote_outcome read_reply(const struct remote_request *request,
                                      const struct endpoint *place, const struct http_reply *reply,
                                      struct vram_snapshot **ret_snapshot, struct err *err)
{
    char driver[REMOTE_DRIVER_MAX];
    struct vram_snapshot *snapshot;
    struct timespec now;
    if (reply->status >= STATUS_ERROR) {
        return fail_reply(reply, place->socket, err);
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int r =
        remote_read(reply->body, reply->length,
                    (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, driver, &snapshot);
    if (r < 0) {
        return fail_call(r, place->socket, err);
    }
    if (!serves(place, request->driver, driver)) {
        (void)vram_snapshot_unref(snapshot);
        (void)err_set(err, -EXDEV, "other_driver", "the daemon on %s serves %.64s, and not %s",
                      place->socket, driver, place->driver);
        return REMOTE_UNUSABLE;
    }
    *ret_snapshot = snapshot;
    return REMOTE_TAKEN;
}

enum remote_outcome remote_snapshot(const struct remote_request *request,
                                    struct vram_snapshot **ret_snapshot, struct err *err)
{
    struct endpoint_environment environment = endpoint_environment();
    struct buf target CLEANUP(buf_done) = BUF_INIT;
    struct http_reply reply CLEANUP(http_reply_done) = {0};
    struct endpoint place;
    int r = endpoint_find(request->driver, &environment, &place);
    if (r < 0) {
        return outcome_of(daemon_error_place(r, request->driver, err));
    }
    write_target(request, &target);
    r = target.failed ? -ENOMEM : endpoint_check(&place, environment.uid);
    r = r < 0 ? r
              : http_call(place.socket, "GET", target.data, NULL, request->deadline_ns, NULL, NULL,
                          &reply);
    return r < 0 ? fail_call(r, place.socket, err)
                 : read_reply(request, &place, &reply, ret_snapshot, err);
}
