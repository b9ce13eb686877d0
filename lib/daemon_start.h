/* SPDX-License-Identifier: MIT */
/* As vram_daemon_start(), with the error for the caller. */
#ifndef VRAM_LIB_DAEMON_START_H
#define VRAM_LIB_DAEMON_START_H

#include "lib/handle.h"

MUST_CHECK int daemon_start(struct vram *vram, uint32_t flags, struct err *err);

#endif
