/* SPDX-License-Identifier: MIT */
/* Who holds leases and who waits: the daemon's list as structures and as JSON. */
#include "lib/daemon_call.h"
#include "lib/lease_record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vram_lease_list {
    uint64_t epoch;
    struct vram_daemon daemon;
    size_t lease_count, waiter_count;
    const struct vram_lease *leases;
    const struct vram_waiter *waiters;
};

static void read_list(struct wire *wire, const json_t *document)
{
    struct vram_lease_list *list = WIRE_ARRAY(wire, struct vram_lease_list, 1);
    const json_t *leases = wire_list(wire, document, "leases");
    const json_t *waiters = wire_list(wire, document, "waiters");
    size_t lease_count = json_array_size(leases), waiter_count = json_array_size(waiters);
    struct vram_lease *to_leases = WIRE_ARRAY(wire, struct vram_lease, lease_count);
    struct vram_waiter *to_waiters = WIRE_ARRAY(wire, struct vram_waiter, waiter_count);
    struct vram_lease_list read = {
        .epoch = wire_number(wire, document, "epoch"),
        .daemon = lease_record_daemon(wire, wire_object(wire, document, "daemon")),
        .lease_count = lease_count,
        .waiter_count = waiter_count,
        .leases = to_leases,
        .waiters = to_waiters,
    };
    for (size_t i = 0; i < lease_count; i++) {
        struct vram_lease lease = lease_record_lease(wire, json_array_get(leases, i));
        if (to_leases) {
            to_leases[i] = lease;
        }
    }
    for (size_t i = 0; i < waiter_count; i++) {
        struct vram_waiter waiter = lease_record_waiter(wire, json_array_get(waiters, i));
        if (to_waiters) {
            to_waiters[i] = waiter;
        }
    }
    wire->bad = wire->bad || !leases || !waiters;
    if (list) {
        *list = read;
    }
}

int vram_leases(struct vram *vram, uint64_t after_epoch, uint64_t timeout_ms,
                struct vram_lease_list **ret_list)
{
    char target[96];
    struct err err = {0};
    json_t *document = NULL;
    void *room;
    daemon_call_wait_target(target, sizeof(target), "/v1/leases?", after_epoch, timeout_ms);
    struct daemon_call call = {
        .method = "GET", .target = target, .wait_ms = after_epoch ? timeout_ms : 0};
    int r = daemon_call(vram, &call, &document, &err);
    if (r == 0) {
        r = wire_read(document, read_list, &room);
        json_decref(document);
        if (r < 0) {
            r = daemon_call_bad(r, &err);
        }
    }
    if (r < 0) {
        return handle_fail(vram, &err);
    }
    *ret_list = room;
    return 0;
}

struct vram_lease_list *vram_lease_list_free(struct vram_lease_list *list)
{
    free(list);
    return NULL;
}

uint64_t vram_lease_list_epoch(const struct vram_lease_list *list)
{
    return list->epoch == VRAM_UNKNOWN ? 0 : list->epoch;
}

const struct vram_daemon *vram_lease_list_daemon(const struct vram_lease_list *list)
{
    return &list->daemon;
}

size_t vram_lease_list_count(const struct vram_lease_list *list)
{
    return list->lease_count;
}

const struct vram_lease *vram_lease_list_lease(const struct vram_lease_list *list, size_t position)
{
    return position < list->lease_count ? &list->leases[position] : NULL;
}

const struct vram_lease *vram_lease_list_find(const struct vram_lease_list *list, const char *id)
{
    const struct vram_lease *found = NULL;
    size_t length = strlen(id);
    for (size_t i = 0; i < list->lease_count; i++) {
        const struct vram_lease *lease = &list->leases[i];
        if (strcmp(lease->id, id) == 0) {
            return lease;
        }
        if (strncmp(lease->id, id, length) == 0) {
            if (found) {
                return NULL;
            }
            found = lease;
        }
    }
    return found;
}

size_t vram_lease_list_waiter_count(const struct vram_lease_list *list)
{
    return list->waiter_count;
}

const struct vram_waiter *vram_lease_list_waiter(const struct vram_lease_list *list,
                                                 size_t position)
{
    return position < list->waiter_count ? &list->waiters[position] : NULL;
}

int vram_lease_list_json(const struct vram_lease_list *list, char **ret_text)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_number(&json, "epoch", vram_lease_list_epoch(list));
    json_object(&json, "daemon");
    document_fields(&json, VRAM_OBJECT_DAEMON, &list->daemon);
    json_end_object(&json);
    json_array(&json, "leases");
    for (size_t i = 0; i < list->lease_count; i++) {
        lease_record_write(&json, NULL, &list->leases[i]);
    }
    json_end_array(&json);
    json_array(&json, "waiters");
    for (size_t i = 0; i < list->waiter_count; i++) {
        json_object(&json, NULL);
        document_fields(&json, VRAM_OBJECT_WAITER, &list->waiters[i]);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
    return document_finish(&buf, ret_text);
}
