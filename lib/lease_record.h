/* SPDX-License-Identifier: MIT */
/* Lists of leases, verdicts and what is wanted of a lease, read from the daemon's JSON. Each: 0, -EPROTO or -ENOMEM. */
#ifndef VRAM_LIB_LEASE_RECORD_H
#define VRAM_LIB_LEASE_RECORD_H

#include "lib/lease_list.h"
#include "lib/wire.h"

MUST_CHECK int lease_record_list(const json_t *document, struct vram_lease_list **ret_list);
MUST_CHECK int lease_record_verdict(const json_t *document, struct vram_verdict **ret_verdict);
MUST_CHECK int lease_record_wanted(const json_t *document, struct vram_wanted **ret_wanted);

#endif
