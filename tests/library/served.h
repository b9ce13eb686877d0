/* SPDX-License-Identifier: MIT */
/* A simulated card and a daemon for it, which the library starts. */
#ifndef VRAM_TESTS_SERVED_H
#define VRAM_TESTS_SERVED_H

#include "tests/library/machine.h"

#include <sys/types.h>

#define GIB ((uint64_t)1 << 30)

extern struct vram *vram; /* a handle on it */

/* For a group of tests. */
int served_set_up(void **state);
int served_tear_down(void **state);

/* The leases; must succeed. */
struct vram_lease_list *served_leases(void);
/* The process that the daemon is. */
pid_t served_by(void);

#endif
