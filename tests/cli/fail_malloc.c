/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a program under test: the allocation number FAIL_MALLOC, counted from main() on,
 * fails, and with FAIL_MALLOC_ALL every later one too. How many there were is written to the
 * descriptor FAIL_MALLOC_COUNT. The driver's own allocations are left alone: what a driver without
 * memory answers is not the program's doing.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own names for what is replaced here. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

static atomic_long seen;
static long failing;
static int all;

static int is_driver(const void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "libnvidia-ml");
}

static int is_failing(const void *caller)
{
    if (is_driver(caller)) {
        return 0;
    }
    long number = atomic_fetch_add(&seen, 1) + 1;
    if (failing > 0 && (number == failing || (all && number > failing))) {
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

void *malloc(size_t size)
{
    return is_failing(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return is_failing(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return is_failing(__builtin_return_address(0)) ? NULL : __libc_realloc(memory, size);
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("FAIL_MALLOC");
    atomic_store(&seen, 0);
    all = getenv("FAIL_MALLOC_ALL") != NULL;
    failing = text ? strtol(text, NULL, 10) : 0;
}

__attribute__((destructor)) static void end(void)
{
    const char *text = getenv("FAIL_MALLOC_COUNT");
    if (text) {
        char number[32];
        int length = snprintf(number, sizeof(number), "%ld", atomic_load(&seen));
        if (write((int)strtol(text, NULL, 10), number, (size_t)length) < 0) {
            _exit(99);
        }
    }
}
