/* SPDX-License-Identifier: MIT */
/*
 * Lets the n-th allocation of a test program fail. Included by one file of a program that is linked with
 * -Wl,--wrap= for each of the functions below; allocations inside libc are not counted.
 *
 *     for (alloc_fail_at(n = 1); r = under_test(), alloc_fail_happened(); alloc_fail_at(++n)) …
 */
#ifndef VRAM_TESTS_ALLOC_FAIL_H
#define VRAM_TESTS_ALLOC_FAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);

static struct {       /* atomic, as the sampler's thread allocates too */
    atomic_uint left; /* allocations until one fails; 0: none does */
    atomic_bool happened;
} alloc_fail;

/* The n-th allocation from now on fails, once; 0: none. */
static inline void alloc_fail_at(unsigned n)
{
    atomic_store(&alloc_fail.happened, false);
    atomic_store(&alloc_fail.left, n);
}

static inline bool alloc_fail_happened(void)
{
    return atomic_load(&alloc_fail.happened);
}

static bool alloc_fails_now(void)
{
    unsigned left = atomic_load(&alloc_fail.left);
    while (left && !atomic_compare_exchange_weak(&alloc_fail.left, &left, left - 1)) {
    }
    if (left == 1) {
        atomic_store(&alloc_fail.happened, true);
    }
    return left == 1;
}

void *__wrap_malloc(size_t size)
{
    return alloc_fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return alloc_fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return alloc_fails_now() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return alloc_fails_now() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *text)
{
    return alloc_fails_now() ? NULL : __real_strdup(text);
}

#endif
