/* SPDX-License-Identifier: MIT */
/* Copying text into arrays of fixed size, which may cut it. */
#ifndef VRAM_COMMON_TEXT_H
#define VRAM_COMMON_TEXT_H

#include <stddef.h>

/* Copies as much of `from` as fits `size` bytes with its NUL. Returns the length that it copied. */
size_t text_copy(char *to, size_t size, const char *from);

/* The same of a text of `length` bytes that need not end with a NUL, up to the first one in it. */
size_t text_copy_n(char *to, size_t size, const char *from, size_t length);

#endif
