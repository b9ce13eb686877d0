/* SPDX-License-Identifier: MIT */
#include "common/nvml_places.h"

#include <stddef.h>

/* Where distributions, WSL and NixOS keep the library besides the loader's own path. Never the name
 * without ".1": that can be the CUDA toolkit's stub for linking. */
const char *const nvml_places[] = {
    "/usr/lib/wsl/lib/" NVML_SONAME,
#ifdef __x86_64__
    "/usr/lib/x86_64-linux-gnu/" NVML_SONAME,
    "/usr/lib/x86_64-linux-gnu/nvidia/current/" NVML_SONAME,
#elif defined(__aarch64__)
    "/usr/lib/aarch64-linux-gnu/" NVML_SONAME,
    "/usr/lib/aarch64-linux-gnu/nvidia/current/" NVML_SONAME,
#endif
    "/usr/lib64/" NVML_SONAME,
    "/usr/lib/" NVML_SONAME,
    "/usr/lib/nvidia*/" NVML_SONAME,
    "/usr/local/nvidia/lib64/" NVML_SONAME,
    "/run/opengl-driver/lib/" NVML_SONAME,
    NULL,
};
