/* SPDX-License-Identifier: MIT */
/* A simulated machine of a test's own. */
#ifndef VRAM_TESTS_MACHINE_H
#define VRAM_TESTS_MACHINE_H

#include "include/vram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)

/* Makes a directory for scenario files and the simulated machines' state, and removes both. */
int machine_set_up(void **state);
int machine_tear_down(void **state);

/* Writes a scenario; returns the driver text for it ("sim:/…"), valid until the next call. */
const char *machine_write(const char *text);

/* A handle on that driver whose calls may take `call_timeout_ms`, 0 for the default. */
struct vram *machine_open(const char *driver, uint64_t call_timeout_ms);

/* A snapshot that must succeed. */
struct vram_snapshot *machine_take(struct vram *vram);

#endif
