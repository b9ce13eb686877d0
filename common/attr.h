/* SPDX-License-Identifier: MIT */
/*
 * The GNU attributes that the project uses, under names that say what they are for.
 */
#ifndef VRAM_COMMON_ATTR_H
#define VRAM_COMMON_ATTR_H

#define PRINTF_LIKE(text, first) __attribute__((__format__(__printf__, text, first)))
#define MUST_CHECK __attribute__((__warn_unused_result__))

/* Runs `function(&variable)` when the variable goes out of scope. */
#define CLEANUP(function) __attribute__((__cleanup__(function)))

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#endif
