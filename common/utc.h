/* SPDX-License-Identifier: MIT */
/* Moments as documents write them. */
#ifndef VRAM_COMMON_UTC_H
#define VRAM_COMMON_UTC_H

#include "common/attr.h"
#include <stdint.h>

#define UTC_TEXT_MAX 48

/* Nanoseconds since 1970 as "2026-01-31T12:00:00.123456Z". Returns `text`. */
const char *utc_format(uint64_t ns, char text[UTC_TEXT_MAX]);

/* The same the other way round, with any number of decimals or none. 0; -EINVAL: not such a moment, or one before
 * 1970 or after 2500. */
MUST_CHECK int utc_parse(const char *text, uint64_t *ret_ns);

#endif
