/* SPDX-License-Identifier: MIT */
/* What the daemon's API has and this library has no structure for, as it comes. */
#include "lib/daemon_call.h"

#include "common/buf.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int vram_daemon_get(struct vram *vram, const char *target, char **ret_text)
{
    struct daemon_call call = {.method = "GET", .target = target};
    struct err err = {0};
    json_t *document = NULL;
    /* What would end the request's first line could begin another request. */
    if (target[0] != '/' || target[strcspn(target, " \r\n\t")]) {
        return handle_fail_with(vram, -EINVAL, "bad_request",
                                "this is no path of the daemon's API");
    }
    if (daemon_call(vram, &call, &document, &err) < 0) {
        return handle_fail(vram, &err);
    }
    char *text = json_dumps(document, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    json_decref(document);
    if (!text) {
        return handle_fail_with(vram, -ENOMEM, "out_of_memory", "out of memory");
    }
    *ret_text = text;
    return 0;
}

int vram_daemon_forget(struct vram *vram, const char *label)
{
    struct buf target = BUF_INIT;
    struct err err = {0};
    json_t *document = NULL;
    buf_text(&target, "/v1/needs?label=");
    buf_query(&target, label);
    struct daemon_call call = {.method = "DELETE", .target = target.data};
    int r = target.failed ? err_no_memory(&err) : daemon_call(vram, &call, &document, &err);
    buf_done(&target);
    if (r < 0) {
        return handle_fail(vram, &err);
    }
    r = (int)json_integer_value(json_object_get(document, "forgotten"));
    json_decref(document);
    return r;
}
