/* SPDX-License-Identifier: MIT */
#include "daemon/history_events.h"

#include "common/utc.h"
#include "include/vram.h"
#include <errno.h>
#include <string.h>

void history_write_bytes(struct json *json, const char *key, uint64_t bytes)
{
    if (bytes == VRAM_UNKNOWN) {
        json_null(json, key);
    } else {
        json_number(json, key, bytes);
    }
}

void history_write_moment(struct json *json, const char *key, int64_t ms)
{
    char text[UTC_TEXT_MAX];
    if (ms < 0) { /* HISTORY_RUNNING too */
        json_null(json, key);
    } else {
        json_text(json, key, utc_format((uint64_t)ms * 1000000, text));
    }
}

void history_write_text(struct json *json, const char *key, const char *text)
{
    json_text(json, key, text[0] ? text : NULL);
}

void history_event_write(struct json *json, const struct history_event *event,
                         const struct history_gpu *gpu)
{
    history_write_moment(json, "at", event->at_ms);
    json_text(json, "kind", history_kind_name(event->kind));
    json_text(json, "gpu", gpu ? gpu->uuid : NULL);
    history_write_bytes(json, "gpu_index", gpu ? gpu->index : VRAM_UNKNOWN);
    history_write_bytes(json, "gpu_mig_index", gpu ? gpu->mig_index : VRAM_UNKNOWN);
    history_write_bytes(json, "pid", event->pid ? event->pid : VRAM_UNKNOWN);
    history_write_text(json, "name", event->name);
    history_write_text(json, "user", event->user);
    history_write_text(json, "lease", event->lease);
    history_write_bytes(json, "bytes", event->bytes);
    history_write_text(json, "text", event->text);
}

int history_kinds_parse(const char *text, uint32_t *ret_kinds)
{
    uint32_t kinds = 0;
    text += strspn(text, " \t");
    while (*text) {
        size_t length = strcspn(text, ", \t");
        uint32_t kind = 1;
        while (kind < HISTORY_KINDS && (strlen(history_kind_name(kind)) != length ||
                                        strncmp(history_kind_name(kind), text, length) != 0)) {
            kind++;
        }
        if (kind == HISTORY_KINDS) {
            return -EINVAL;
        }
        kinds |= UINT32_C(1) << kind;
        text += length + strspn(text + length, " \t");
        if (*text && *text != ',') {
            return -EINVAL;
        }
        text += *text ? 1 : 0;
        text += strspn(text, " \t");
    }
    *ret_kinds = kinds;
    return 0;
}
