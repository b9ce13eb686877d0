/* SPDX-License-Identifier: MIT */
/* Leases, waiters, daemons and verdicts as the daemon's JSON has them, both ways. */
#ifndef VRAM_LIB_LEASE_RECORD_H
#define VRAM_LIB_LEASE_RECORD_H

#include "lib/wire.h" /* and jansson before common/json.h */

#include "lib/document.h"

struct vram_daemon lease_record_daemon(struct wire *wire, const json_t *from);
struct vram_lease lease_record_lease(struct wire *wire, const json_t *from);
struct vram_waiter lease_record_waiter(struct wire *wire, const json_t *from);
/* An answer's arithmetic; its GPUs have the position SIZE_MAX, in no snapshot. */
const struct vram_fit *lease_record_fit(struct wire *wire, const json_t *from);

void lease_record_write(struct json *json, const char *key, const struct vram_lease *lease);

#endif
