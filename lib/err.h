/* SPDX-License-Identifier: MIT */
/*
 * An error on its way up: a stable word, a sentence, advice. Every function of the library that can
 * fail for more than one reason takes one first and returns err_set()'s negative errno.
 */
#ifndef VRAM_LIB_ERR_H
#define VRAM_LIB_ERR_H

#include "common/attr.h"

struct err {
    int result;        /* negative errno; 0: nothing happened */
    int driver_code;   /* the driver's own return code, 0 where none was involved */
    char code[32];     /* for programs: "driver_not_loaded" */
    char message[320]; /* one sentence without a full stop */
    char hint[640];    /* at most two lines; "" where there is nothing to add */
};

/* Fills `err` (which may be NULL) and returns `result`. The advice is what err_advice() has for `code`. */
int err_set(struct err *err, int result, const char *code, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* What a code most likely means and what to do about it: at most two lines, "" for unknown codes. */
const char *err_advice(const char *code);

int err_no_memory(struct err *err);

#endif
