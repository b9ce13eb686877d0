/* SPDX-License-Identifier: MIT */
/*
 * What shells offer while a command line is typed: the tables of commands and options in each shell's own words, and of
 * every value what it is. How it is offered is told in packaging/completions/.
 */
#ifndef VRAM_CLI_COMPLETION_H
#define VRAM_CLI_COMPLETION_H

#include "cli/command.h"

/* Adds what stands at the template's "@table@". */
void completion_bash(struct buf *out);
void completion_zsh(struct buf *out);
void completion_fish(struct buf *out);

/* ---- For the three of them ------------------------------------------------------------------- */

/* What a value is, as the templates' functions are called: "gpu", "file"; "" where nothing can be offered. */
const char *completion_of_option(const struct option *option);
/* The same for the arguments of a command. */
const char *completion_of_arguments(const struct command *command);
/* What the first of them is called in the help, without brackets and dots: "SIZE". `name` has "" where there is none. */
#define COMPLETION_NAME_MAX 32
const char *completion_name(const struct command *command, char name[COMPLETION_NAME_MAX]);

/* Whether another program's command line follows behind "--". */
bool completion_runs_program(const struct command *command);
bool completion_is_repeatable(const struct option *option);

/* Adds `text` between single quotes as a shell reads it, the characters of `escaped` behind backslashes and a single
 * quote as `quote`. */
void completion_quote(struct buf *out, const char *text, const char *escaped, const char *quote);

/* Adds where in CSV the fields `keys` of an object are, as cut(1) wants it: "1,2". */
void completion_columns(struct buf *out, uint32_t object, const char *const *keys);

#endif
