/* SPDX-License-Identifier: MIT */
/*
 * How commands that go on until they are stopped end: at once, wherever they are, since a driver
 * call may not return for seconds, but never in the middle of a line.
 */
#ifndef VRAM_CLI_STOP_H
#define VRAM_CLI_STOP_H

#include <stdbool.h>
#include <stdint.h>

/* From now on `signal` ends the program with `status`, unless it was ignored when the program
 * started. */
void stop_on(int signal, int status);

/* Between the two, stopping waits. */
void stop_hold(void);
void stop_release(void);

/* Sleeps until `then_ns` of clock_now_ns(), or until nobody reads stdout any more, which is told. */
bool stop_closed_before(uint64_t then_ns);

#endif
