/* SPDX-License-Identifier: MIT */
/* What can stand where a file was expected: binary, huge, unreadable, a loop, a pipe … */
#ifndef VRAM_TESTS_DOCTOR_DAMAGE_H
#define VRAM_TESTS_DOCTOR_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>

#define DAMAGE_COUNT 9

/* Makes damage number `damage` at `path`, where nothing is. Fails the test where that cannot be
 * done. */
void damage_make(size_t damage, const char *path);
/* Costs a mebibyte. */
bool damage_is_big(size_t damage);

#endif
