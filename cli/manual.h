/* SPDX-License-Identifier: MIT */
/*
 * Manual pages in mdoc(7), of what help tells: vram(1), and vram-COMMAND(1) for each command.
 */
#ifndef VRAM_CLI_MANUAL_H
#define VRAM_CLI_MANUAL_H

#include "cli/command.h"

/* Adds the page of one command, or of the program where it is NULL. `date` stands in its footer. */
void manual_add(struct buf *out, const struct command *command, const char *date);

#endif
