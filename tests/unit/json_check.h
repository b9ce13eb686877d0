/* SPDX-License-Identifier: MIT */
/*
 * A strict judge of JSON (RFC 8259) for tests and fuzzers. It shares no code with what it judges.
 */
#ifndef VRAM_TESTS_JSON_CHECK_H
#define VRAM_TESTS_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the bytes are one JSON text: valid UTF-8, nothing behind the value, no key twice in an
 * object (keys are compared as written), and no deeper than 64. */
bool json_check(const char *text, size_t length);

/* How far the text was good: where the last json_check() of this thread stopped. */
size_t json_check_stopped_at(void);

#endif
