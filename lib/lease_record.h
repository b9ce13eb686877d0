/* SPDX-License-Identifier: MIT */
/* Leases, waiters, daemons and arithmetic, read from the daemon's JSON. */
#ifndef VRAM_LIB_LEASE_RECORD_H
#define VRAM_LIB_LEASE_RECORD_H

#include "lib/wire.h"

struct vram_daemon lease_record_daemon(struct wire *wire, const json_t *from);
struct vram_lease lease_record_lease(struct wire *wire, const json_t *from);
struct vram_waiter lease_record_waiter(struct wire *wire, const json_t *from);
/* An answer's arithmetic; its GPUs have the position SIZE_MAX, in no snapshot. */
const struct vram_fit *lease_record_fit(struct wire *wire, const json_t *from);

#endif
