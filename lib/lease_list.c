/* SPDX-License-Identifier: MIT */
/* Who holds leases and who waits: the daemon's list made into structures. */
#include "lib/lease_list.h"
#include "lib/daemon_call.h"
#include "lib/lease_record.h"

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
