/* SPDX-License-Identifier: MIT */
/* FNV-1a: tells texts apart that nobody chose to collide. */
#ifndef VRAM_COMMON_HASH_H
#define VRAM_COMMON_HASH_H

#include <stdint.h>

static inline uint64_t hash_text(const char *text)
{
    uint64_t value = 14695981039346656037u;
    for (; *text; text++) {
        value = (value ^ (unsigned char)*text) * 1099511628211u;
    }
    return value;
}

#endif
