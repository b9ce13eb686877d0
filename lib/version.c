/* SPDX-License-Identifier: MIT */
#include "common/size.h"
#include "include/vram.h"

#define TEXT(number) #number
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *vram_version(void)
{
    return VERSION(VRAM_VERSION_MAJOR, VRAM_VERSION_MINOR, VRAM_VERSION_PATCH);
}

int vram_size_parse(const char *text, uint64_t *ret_bytes)
{
    return size_parse(text, ret_bytes, NULL);
}
