/* SPDX-License-Identifier: MIT */
/* Which processes are a holder's own. Pure. */
#ifndef VRAM_DAEMON_RECLAIM_MATCH_H
#define VRAM_DAEMON_RECLAIM_MATCH_H

#include "include/vram.h"

/* `match`: as the configuration has it, "unit:NAME name:NAME" …: any of them is enough. */
bool reclaim_is_of(const char *match, const struct vram_process *process);

#endif
