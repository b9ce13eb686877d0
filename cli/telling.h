/* SPDX-License-Identifier: MIT */
/*
 * The most telling name of a process. People look for "main.py", not for "python3":
 *
 * - a program run by an interpreter has the name of its script, or of the module or jar that it was
 * told to run; where the script has one of the names that all have (main.py), with its directory:
 * "ComfyUI/main.py";
 * - a name that the kernel cut at 15 characters has its rest from the command line;
 * - a bare interpreter, or a process that cannot be seen, has its systemd unit's or container's
 * name;
 * - all others have their own.
 */
#ifndef VRAM_CLI_TELLING_H
#define VRAM_CLI_TELLING_H

#include "common/buf.h"
#include "include/vram.h"

/* Adds the name, as hostile as the process made it. */
void telling_name(struct buf *name, const struct vram_process *process);

#endif
