/* SPDX-License-Identifier: MIT */
/* How people name a GPU: by its number, its UUID or the beginning of it, its PCI address. */
#ifndef VRAM_COMMON_GPU_NAME_H
#define VRAM_COMMON_GPU_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether these are digits, and not more than an unsigned holds. */
bool gpu_name_is_number(const char *text, size_t length);

/* Whether all of it could stand in a UUID, "GPU-…" or "MIG-…". */
bool gpu_name_is_uuid_like(const char *text);

/* Whether `uuid` (NULL: no) begins with the text, in any case; "GPU-" and "MIG-" may be left out. */
bool gpu_name_begins_uuid(const char *text, size_t length, const char *uuid);

/* How a GPU is called: "0", or of a MIG instance with this number on its card (UINT64_MAX: it is none) "0:1". Returns
 * `label`. */
#define GPU_NAME_LABEL_MAX 32
const char *gpu_name_label(uint32_t index, uint64_t mig_index, char label[GPU_NAME_LABEL_MAX]);

/* "0000:01:00.0", and as people shorten it: "01:00.0", "00000000:01:00.0". *ret_address:
 * domain, bus, device, function. */
bool gpu_name_parse_pci(const char *text, unsigned ret_address[4]);

#endif
