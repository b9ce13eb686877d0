/* SPDX-License-Identifier: MIT */
/*
 * The functions of functions.def as numbers, for call counters and for the rules of scenarios that
 * name functions.
 */
#ifndef VRAM_SIM_FUNCTION_H
#define VRAM_SIM_FUNCTION_H

#include "sim/words.h"
#include <stdbool.h>
#include <stdint.h>

enum function {
#define FUNCTION(name, first) FUNCTION_##name,
#define FUNCTION_WITH_HOLE(name, first) FUNCTION_##name,
#include "sim/functions.def"
#undef FUNCTION
#undef FUNCTION_WITH_HOLE
    FUNCTION_COUNT,
};

const char *function_name(enum function function);

/* A set of functions. */
struct function_set {
    uint64_t words[(FUNCTION_COUNT + 63) / 64];
};

bool function_set_has(const struct function_set *set, enum function function);
void function_set_add(struct function_set *set, const struct function_set *others);

/*
 * The functions that a pattern means: a name means all its versions, a name with a version suffix
 * (_v1 for the one without) means that one, and * and ? stand for any text as in file names.
 * 0, or -EINVAL with a complaint where it means none.
 */
MUST_CHECK int function_set_parse(const char *pattern, struct function_set *ret,
                                  struct complaint *complaint);

#endif
