/* SPDX-License-Identifier: MIT */
/* An answer of vram_fit() in words, with its arithmetic and who stands in the way. */
#ifndef VRAM_CLI_VERDICT_H
#define VRAM_CLI_VERDICT_H

#include "cli/screen.h"
#include "common/buf.h"
#include "include/vram.h"

/* Adds a line, or a few where the screen is narrow or there is more to say. */
void verdict_print(struct buf *out, const struct screen *screen,
                   const struct vram_snapshot *snapshot, const struct vram_fit *fit);

#endif
