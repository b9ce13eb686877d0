/* SPDX-License-Identifier: MIT */
/* What happened between two snapshots, in a few words for a line of `watch`. */
#ifndef VRAM_CLI_CHANGE_H
#define VRAM_CLI_CHANGE_H

#include "cli/session.h"

/*
 * Adds the largest change of used memory among these GPUs and the process that made it, "+2.0 GiB
 * train.py", behind "GPU 1 " where there are several GPUs. Nothing where nothing changed by a MiB.
 */
void change_describe(struct buf *text, const struct screen *screen,
                     const struct vram_snapshot *before, const struct vram_snapshot *after,
                     const struct selection *selection);

#endif
