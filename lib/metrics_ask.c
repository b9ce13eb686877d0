/* SPDX-License-Identifier: MIT */
/* The machine's metrics: the daemon's, else those of a snapshot. */
#include "common/attr.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/endpoint.h"
#include "lib/handle.h"
#include "lib/http_client.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_GOOD 200
#define WAIT_MS 10000 /* for a daemon that has no figures yet */
#define WAIT_NS ((uint64_t)(WAIT_MS + 3000) * 1000000)

static void add_escaped(struct buf *target, const char *text)
{
    for (; *text; text++) {
        bool plain = isalnum((unsigned char)*text) || strchr("-._~:@/", *text);
        if (plain && (unsigned char)*text < 0x80) {
            buf_char(target, *text);
        } else {
            buf_format(target, "%%%02X", (unsigned)(unsigned char)*text);
        }
    }
}

/* A daemon that was named serves whom it likes where nobody asked for a certain driver. */
static void write_target(const struct vram *vram, const struct endpoint *place, uint32_t format,
                         struct buf *target)
{
    buf_format(target, "/metrics?timeout_ms=%d&format=%s", WAIT_MS,
               format == VRAM_METRICS_OPENMETRICS ? "openmetrics" : "prometheus");
    if (!place->named || strcmp(handle_driver_text(vram), "auto") != 0) {
        buf_text(target, "&driver=");
        add_escaped(target, place->driver);
    }
}

/* NULL: there is no daemon, or not one that tells. Why is of no interest: the driver is asked, which complains itself. */
static char *ask_daemon(const struct vram *vram, uint32_t format)
{
    struct endpoint_environment environment = endpoint_environment();
    struct buf target CLEANUP(buf_done) = BUF_INIT;
    struct http_reply reply CLEANUP(http_reply_done) = {0};
    struct endpoint place;
    if (handle_is_direct(vram) ||
        endpoint_find(handle_driver_text(vram), &environment, &place) < 0 ||
        endpoint_check(&place, environment.uid) < 0) {
        return NULL;
    }
    write_target(vram, &place, format, &target);
    if (target.failed || http_call(place.socket, "GET", target.data, NULL, clock_now_ns() + WAIT_NS,
                                   NULL, NULL, &reply) < 0) {
        return NULL;
    }
    char *text = reply.status == STATUS_GOOD ? reply.body : NULL;
    reply.body = text ? NULL : reply.body;
    return text;
}

int vram_metrics(struct vram *vram, uint32_t format, char **ret_text)
{
    struct vram_metrics_options options = VRAM_METRICS_OPTIONS_INIT;
    struct vram_snapshot *snapshot;
    if (format > VRAM_METRICS_OPENMETRICS) {
        return handle_fail_with(vram, -EINVAL, "bad_format", "metrics have no such format");
    }
    char *text = ask_daemon(vram, format);
    if (text) {
        *ret_text = text;
        return 0;
    }
    int r = vram_snapshot_take(vram, VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH, &snapshot);
    if (r < 0) {
        return r;
    }
    options.format = format;
    r = vram_snapshot_metrics(snapshot, &options, ret_text);
    (void)vram_snapshot_unref(snapshot);
    return r < 0 ? handle_fail_with(vram, r, "out_of_memory", "out of memory") : 0;
}
