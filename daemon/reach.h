/* SPDX-License-Identifier: MIT */
/*
 * Which GPUs a process can open: only these may be promised to it. Told by its own /dev (a container has the nodes of
 * the GPUs that it was given) and the nodes' permissions; what cannot be told counts as open, for the program itself
 * finds out.
 */
#ifndef VRAM_DAEMON_REACH_H
#define VRAM_DAEMON_REACH_H

#include "common/attr.h"
#include <stdbool.h>
#include <sys/types.h>

/*
 * @root  prefix of /proc; "" for the real machine
 * @pid   whose /dev is looked at; 0: a process that cannot be seen from here, of which nothing can be told
 * @pci   the GPU's address, "0000:01:00.0"
 */
bool reach_may_open(const char *root, pid_t pid, const char *pci);

/* Whether its /dev has anything of the driver's. Who has nothing, in a container without GPUs, uses none itself and asks for
 * another. */
bool reach_has_driver(const char *root, pid_t pid);

#endif
