/* SPDX-License-Identifier: MIT */
/* How each function is asked and what it gives: the table that sim/reading.c goes by. */
#ifndef VRAM_SIM_SHAPE_H
#define VRAM_SIM_SHAPE_H

#include "sim/function.h"

enum how {
    HOW_OTHER,     /* by code of its own, or never: what starts, ends, finds, and sets */
    HOW_STRUCTURE, /* a structure or a number, taken apart by `layout` */
    HOW_TEXT,
    HOW_PAIR, /* two numbers */
    HOW_FOUR,
    HOW_ARGUMENT, /* a number for each of `arguments` values of one argument */
    HOW_TWO_ARGUMENTS,
    HOW_FIELDS,
    HOW_PARENT,
    HOW_LIST,
    HOW_DETAILS,
    HOW_SAMPLES,
    HOW_SAMPLES_V1,
    HOW_ACCOUNTED,
};

enum scope {
    SCOPE_SYSTEM,
    SCOPE_DEVICE,
    SCOPE_POOL, /* GPUs and MIG instances */
};

struct shape {
    enum scope scope;
    enum how how;
    const char *layout;
    uint32_t version; /* what its structure begins with */
    uint8_t arguments;
    bool moves;         /* by itself, while nothing is done to the GPU */
    bool counts_memory; /* read together, at one moment */
};

extern const struct shape shapes[FUNCTION_COUNT];

#endif
