/* SPDX-License-Identifier: MIT */
/*
 * Text for people: made safe for a terminal, measured, cut and wrapped in display columns.
 *
 * Names and command lines come from other people's programs and arguments from anywhere, so
 * nothing of them reaches a terminal but through text_safe().
 */
#ifndef VRAM_CLI_TEXT_H
#define VRAM_CLI_TEXT_H

#include "common/buf.h"
#include <stdint.h>

/*
 * Adds `text` with everything escaped that steers a terminal or hides what it is: controls and
 * bytes that are not UTF-8 as \x1b, bidirectional and invisible marks and line separators as
 * \u202e. Where `utf8` is false, whatever is not ASCII is escaped too.
 */
void text_safe(struct buf *buf, const char *text, bool utf8);

/* An argument for a message: between quotation marks and cut where it is long. Returns `quoted`. It
 * is not made safe: messages are, as a whole. */
#define TEXT_QUOTED_MAX 80
const char *text_quote(const char *text, char quoted[TEXT_QUOTED_MAX]);

/* How many columns `text` takes. Without setlocale() every character counts as one. */
size_t text_width(const char *text);

/* Adds at most `width` columns of `text`; where it is cut, its last column is `mark` ("…"). */
void text_cut(struct buf *buf, const char *text, size_t width, const char *mark);

/* Adds `count` blanks. */
void text_blanks(struct buf *buf, size_t count);

/*
 * Adds `text` broken between words into lines of at most `width` columns, a newline after the last.
 * Lines but the first are indented by `indent`; the first begins at column `at`. A newline in the
 * text begins a new line. A word longer than a line stays whole.
 */
void text_wrap(struct buf *buf, const char *text, size_t at, size_t indent, size_t width);

/* A whole number with its thousands apart, "22,844". Returns `text`. */
#define TEXT_NUMBER_MAX 32
const char *text_number(uint64_t number, char text[TEXT_NUMBER_MAX]);

/* How many single edits turn one word into the other: for "did you mean". Capped at 255. */
unsigned text_distance(const char *a, const char *b);

#endif
