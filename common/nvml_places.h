/* SPDX-License-Identifier: MIT */
/* Where the NVIDIA driver's library is, for all who load or look for it. */
#ifndef VRAM_COMMON_NVML_PLACES_H
#define VRAM_COMMON_NVML_PLACES_H

#define NVML_SONAME "libnvidia-ml.so.1"

/* Where it is looked for besides the loader's own path: patterns of glob(3), NULL at the end. */
extern const char *const nvml_places[];

#endif
