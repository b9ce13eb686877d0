/* SPDX-License-Identifier: MIT */
/*
 * Threads that the test can see come and go, for a program linked with -Wl,--wrap=pthread_create. A thread
 * counts until its function has returned.
 */
#ifndef VRAM_TESTS_COUNTED_THREADS_H
#define VRAM_TESTS_COUNTED_THREADS_H

#include <stddef.h>

/* Returns when there are this many besides the first. */
void threads_await(size_t count);

/* The next so many are not created: -EAGAIN. */
void threads_refuse(unsigned times);

#endif
