/* SPDX-License-Identifier: MIT */
/* Compiled once per library; the values come from sim/meson.build. */
#include "sim/generation.h"

const struct generation sim_generation = {
    .name = SIM_NAME,
    .version = SIM_VERSION,
    .number = SIM_NUMBER,
    .first = SIM_FIRST,
    .end = SIM_END,
};
