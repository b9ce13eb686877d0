/* SPDX-License-Identifier: MIT */
/*
 * What a fuzz target defines. With clang and -Dfuzz=true libFuzzer calls it; else standalone.c does, over the files
 * of its corpus, so that what was found once is a test everywhere.
 */
#ifndef VRAM_TESTS_FUZZ_H
#define VRAM_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that is broken ends the run: assert() may be compiled out. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input as a text of its own, so that a read beyond its end is seen. */
char *fuzz_text(const uint8_t *data, size_t size);

#endif
