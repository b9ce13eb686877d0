/* SPDX-License-Identifier: MIT */
/* How answers are handed out, for the exported functions (sim/nvml_*.c). */
#ifndef VRAM_SIM_ANSWER_H
#define VRAM_SIM_ANSWER_H

#include "common/nvml_abi.h"
#include "sim/world.h"
#include <string.h>

/* A text into the caller's buffer, whole or not at all. */
static inline nvml_ret answer_text(const char *value, char *text, uint32_t size)
{
    if (!text) {
        return NVML_INVALID_ARGUMENT;
    }
    if (strlen(value) >= size) {
        return NVML_INSUFFICIENT_SIZE;
    }
    memcpy(text, value, strlen(value) + 1);
    return NVML_SUCCESS;
}

/* A number that the scenario may not have given: such a card does not support it. */
static inline nvml_ret answer_number(uint64_t value, uint32_t *ret_number)
{
    if (!ret_number) {
        return NVML_INVALID_ARGUMENT;
    }
    if (value == WORLD_UNKNOWN) {
        return NVML_NOT_SUPPORTED;
    }
    *ret_number = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    return NVML_SUCCESS;
}

static inline nvml_ret answer_large(uint64_t value, uint64_t *ret_number)
{
    if (!ret_number) {
        return NVML_INVALID_ARGUMENT;
    }
    if (value == WORLD_UNKNOWN) {
        return NVML_NOT_SUPPORTED;
    }
    *ret_number = value;
    return NVML_SUCCESS;
}

#endif
