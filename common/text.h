/* SPDX-License-Identifier: MIT */
/* Copying text into arrays of fixed size, which may cut it. */
#ifndef VRAM_COMMON_TEXT_H
#define VRAM_COMMON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Copies as much of `from` as fits `size` bytes with its NUL. Returns the length that it copied. */
size_t text_copy(char *to, size_t size, const char *from);

/* The same of a text of `length` bytes that need not end with a NUL, up to the first one in it. */
size_t text_copy_n(char *to, size_t size, const char *from, size_t length);

/* Whether `text` begins with the `length` bytes at `prefix`, in any case. A to Z only and in every locale the same,
 * unlike strncasecmp(): a Turkish one takes I and i for two letters. */
bool text_begins(const char *text, const char *prefix, size_t length);

#endif
