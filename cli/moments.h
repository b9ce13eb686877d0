/* SPDX-License-Identifier: MIT */
/* Moments as people say them, in their own time zone; and back. */
#ifndef VRAM_CLI_MOMENTS_H
#define VRAM_CLI_MOMENTS_H

#include "cli/cli.h"

#define MOMENT_MAX 40

/*
 * "now". "-2h", "2h" and "2h ago": so long ago. "03:00": the last time that it was so late. "2026-11-26", "2026-11-26 03:00:30": then, in the local
 * time zone; with "T" between and "Z" behind: in UTC. "@1764126000": Unix seconds. Milliseconds since 1970. 0; -EINVAL.
 */
MUST_CHECK int moment_parse(const char *text, int64_t now_ms, int64_t *ret_ms);

/* The moment of an option, or with `name` NULL of a word; an exit status, 0 to go on. Where the option is not there
 * *ret_ms stays as it is. */
MUST_CHECK int moment_option(struct cli *cli, const char *name, int64_t now_ms, int64_t *ret_ms);
MUST_CHECK int moment_word(struct cli *cli, const char *text, int64_t now_ms, int64_t *ret_ms);

int64_t moment_now_ms(void);

/* "2026-11-26 03:00:30"; the local time. Returns `text`. */
const char *moment_text(int64_t ms, char text[MOMENT_MAX]);
/* The same without its date where that is today's, and without seconds where `seconds` is false. */
const char *moment_short(int64_t ms, int64_t now_ms, bool seconds, char text[MOMENT_MAX]);

#endif
