/* SPDX-License-Identifier: MIT */
/* Processes as rows of a table, for the commands that list them. */
#ifndef VRAM_CLI_PROCESSES_H
#define VRAM_CLI_PROCESSES_H

#include "cli/screen.h"
#include "common/buf.h"
#include "include/vram.h"

/* A process and the GPU on which it is. */
struct holding {
    const struct vram_gpu *gpu;
    const struct vram_process *process;
};

#define PROCESSES_GPU 0x1u     /* with a column that names the GPU */
#define PROCESSES_COMMAND 0x2u /* with the command line, where the screen has room for it */

/* Adds a table of processes, one row each, in the order given. */
void processes_print(struct buf *out, const struct screen *screen, const struct holding *holdings,
                     size_t count, unsigned flags, size_t indent);

#endif
