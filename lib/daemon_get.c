/* SPDX-License-Identifier: MIT */
/* What the daemon's API has and this library has no structure for, as it comes. */
#include "lib/daemon_call.h"

#include <errno.h>
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
    char *text = json_dumps(document, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(document);
    if (!text) {
        return handle_fail_with(vram, -ENOMEM, "out_of_memory", "out of memory");
    }
    *ret_text = text;
    return 0;
}
