/* SPDX-License-Identifier: MIT */
/*
 * Amounts as people write and read them: sizes, margins, durations (DESIGN: one grammar for the
 * command line, the configuration, scenario files and Python).
 */
#ifndef VRAM_COMMON_SIZE_H
#define VRAM_COMMON_SIZE_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/*
 * A size: digits, an optional decimal part, an optional unit B K M G T, alone or with "B" or "iB"
 * behind it, in any case, all binary. A bare number is MiB. Fractions of a byte are rounded up.
 * Signs, exponents, blanks and 0 are refused.
 *
 * 0, with the bytes and (when ret_bare is not NULL) whether there was no unit;
 * -EINVAL: not a size; -ERANGE: 2^64 - 1 bytes or more (the largest value is VRAM_UNKNOWN).
 */
MUST_CHECK int size_parse(const char *text, uint64_t *ret_bytes, bool *ret_bare);

/*
 * A margin: a size, 0 allowed, or a percentage "N%" (decimals allowed, at most 100). A percentage
 * is given in thousandths of a percent, rounded up, with *ret_bytes 0; a size with *ret_millipercent 0.
 */
MUST_CHECK int margin_parse(const char *text, uint64_t *ret_bytes, uint32_t *ret_millipercent);

/* That margin of `total`, rounded up to a byte. Cannot wrap: at most 100 % of total. */
uint64_t margin_of(uint64_t total, uint32_t millipercent);

/*
 * A duration: digits, an optional decimal part, an optional unit ms, s, m, h or d; a bare number
 * is seconds. 0 allowed. -EINVAL: not a duration; -ERANGE: beyond 2^63 - 1 nanoseconds.
 */
MUST_CHECK int duration_parse(const char *text, uint64_t *ret_ns);

/*
 * Bytes for people, rounded to the nearest: whole B, KiB and MiB below 1 GiB, then GiB and TiB with
 * one decimal ("310 MiB", "22.3 GiB"). Returns `text`.
 */
#define SIZE_TEXT_MAX 24
char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX]);

#endif
