/* SPDX-License-Identifier: MIT */
/*
 * One step through text that may not be UTF-8: process names and command lines are any bytes.
 */
#ifndef VRAM_COMMON_UTF8_H
#define VRAM_COMMON_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define UTF8_INVALID UINT32_MAX

/* Reads the character at `text` (NUL-terminated, not at its end). Returns its length in bytes, at least
 * 1; *ret_char is UTF8_INVALID for a byte that begins no valid character (overlong forms, surrogates). */
size_t utf8_next(const char *text, uint32_t *ret_char);

#endif
