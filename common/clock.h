/* SPDX-License-Identifier: MIT */
/* The clock of ages and deadlines. */
#ifndef VRAM_COMMON_CLOCK_H
#define VRAM_COMMON_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds: it never goes back, and tells nothing of the date. */
uint64_t clock_now_ns(void);

#endif
