/* SPDX-License-Identifier: MIT */
/* A library that was built without a reader of JSON knows no daemon, and so no leases. */
#include "lib/handle.h"

#include <errno.h>

static int fail(struct vram *vram)
{
    return handle_fail_with(vram, -ENOTCONN, "without_daemon",
                            "this library was built without the daemon's client");
}

int vram_daemon_start(struct vram *vram, uint32_t flags)
{
    return flags & VRAM_START_IF_PROMISED ? 0 : fail(vram);
}

int vram_daemon_pause(struct vram *vram)
{
    return fail(vram);
}

int vram_daemon_resume(struct vram *vram)
{
    return fail(vram);
}

int vram_daemon_forget(struct vram *vram, const char *label)
{
    (void)label;
    return fail(vram);
}

int vram_daemon_get(struct vram *vram, const char *target, char **ret_text)
{
    (void)target;
    (void)ret_text;
    return fail(vram);
}

int vram_daemon_drain(struct vram *vram, const char *uuid)
{
    (void)uuid;
    return fail(vram);
}

int vram_daemon_undrain(struct vram *vram, const char *uuid)
{
    (void)uuid;
    return fail(vram);
}

int vram_snapshot_wait(struct vram *vram, uint32_t take, uint64_t after_epoch, uint64_t timeout_ms,
                       struct vram_snapshot **ret_snapshot)
{
    (void)take;
    (void)after_epoch;
    (void)timeout_ms;
    (void)ret_snapshot;
    return fail(vram);
}

int vram_lease_acquire(struct vram *vram, const struct vram_lease_request *request,
                       struct vram_verdict **ret_verdict)
{
    (void)request;
    (void)ret_verdict;
    return fail(vram);
}

int vram_lease_end(struct vram *vram, const char *id)
{
    (void)id;
    return fail(vram);
}

int vram_lease_resize(struct vram *vram, const char *id, uint64_t size_bytes,
                      struct vram_verdict **ret_verdict)
{
    (void)id;
    (void)size_bytes;
    (void)ret_verdict;
    return fail(vram);
}

int vram_lease_attach(struct vram *vram, const char *id, const char *member)
{
    (void)id;
    (void)member;
    return fail(vram);
}

int vram_lease_filled(struct vram *vram, const char *id)
{
    (void)id;
    return fail(vram);
}

int vram_lease_until(struct vram *vram, const char *id, uint64_t for_ms)
{
    (void)id;
    (void)for_ms;
    return fail(vram);
}

int vram_lease_offer(struct vram *vram, const char *id, const struct vram_offer *offer)
{
    (void)id;
    (void)offer;
    return fail(vram);
}

int vram_leases(struct vram *vram, uint64_t after_epoch, uint64_t timeout_ms,
                struct vram_lease_list **ret_list)
{
    (void)after_epoch;
    (void)timeout_ms;
    (void)ret_list;
    return fail(vram);
}
