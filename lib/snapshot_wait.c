/* SPDX-License-Identifier: MIT */
/* The daemon's next snapshot. */
#include "lib/daemon_call.h"
#include "lib/remote.h"

int vram_snapshot_wait(struct vram *vram, uint32_t take, uint64_t after_epoch, uint64_t timeout_ms,
                       struct vram_snapshot **ret_snapshot)
{
    struct err err = {0};
    struct patience patience = {0};
    enum remote_outcome outcome;
    bool connected = false, again;
    do {
        struct remote_request request = {
            .driver = handle_driver_text(vram),
            .take = take,
            .after = after_epoch,
            .timeout_ms = timeout_ms,
            .deadline_ns = daemon_call_deadline(after_epoch ? timeout_ms : 0),
        };
        outcome = remote_snapshot(&request, ret_snapshot, &err);
        again = outcome != REMOTE_TAKEN && daemon_call_is_lost(&err, connected) &&
                patience_lasts(&patience, &err);
        connected = true;
    } while (again);
    return outcome == REMOTE_TAKEN ? 0 : handle_fail(vram, &err);
}
