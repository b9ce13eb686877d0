/* SPDX-License-Identifier: MIT */
/* What the functions that ask one device share: nvml_device.c and nvml_pool.c. */
#ifndef VRAM_LIB_SOURCE_NVML_VISIT_H
#define VRAM_LIB_SOURCE_NVML_VISIT_H

#include "lib/source/nvml.h"
#include <errno.h>

/* Calls the driver under the watch and leaves the function where the pass was given up. */
#define CALL(code, watch, device, name, call)                                                      \
    do {                                                                                           \
        if (!watch_enter(watch, device, name)) {                                                   \
            return -ECANCELED;                                                                     \
        }                                                                                          \
        (code) = nvml_code(call);                                                                  \
        if (!watch_leave(watch)) {                                                                 \
            return -ECANCELED;                                                                     \
        }                                                                                          \
    } while (0)

/* What one device's functions need, gathered. */
struct visit {
    struct nvml *nvml;
    const struct nvml_api *api;
    struct nvml_gpu *state;
    size_t device;
    uint32_t take;
    struct source_watch *watch;
};

/*
 * Asks one pool, a whole GPU or a MIG instance, for everything in `take`. 0 whatever it answers; -EAGAIN: NVML is
 * no longer initialised; -ESTALE: the handle is no longer accepted; -ECANCELED; -ENOMEM.
 */
int nvml_pool_read(struct visit *v, nvml_device handle, struct source_gpu *gpu);

#endif
