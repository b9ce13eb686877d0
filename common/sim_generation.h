/* SPDX-License-Identifier: MIT */
/*
 * Which generation of the simulated driver plays a driver's version: the library loads that one, and who records a
 * machine looks at what it wrote with it.
 */
#ifndef VRAM_COMMON_SIM_GENERATION_H
#define VRAM_COMMON_SIM_GENERATION_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>

/* A driver version as one number: 535.54.03 is 535054. What stands behind the second dot tells no generations
 * apart. Accepts the names of generations too, without their r: 535_54. */
bool sim_generation_number(const char *text, unsigned *ret_number);

/* The newest generation in the directory that is not newer than the version; the oldest where all are. 0; negative errno. */
MUST_CHECK int sim_generation_find(const char *from, unsigned version, char *name, size_t size);

/* The version in a scenario's first line, "driver 550.54.14". 0; -EINVAL where it has none; another errno. */
MUST_CHECK int sim_generation_of_scenario(const char *path, unsigned *ret_version);

#endif
