/* SPDX-License-Identifier: MIT */
/*
 * The command line taken apart by tables of options. The same tables make the help.
 */
#ifndef VRAM_CLI_ARGUMENTS_H
#define VRAM_CLI_ARGUMENTS_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>

/* Tables end with an option without a name. */
struct option {
    const char *name;     /* without "--" */
    char letter;          /* -x as well; 0: none */
    const char *argument; /* what the help calls its value; NULL: it has none */
    const char *help;
};

/* An option as it was given. */
struct given {
    const struct option *option;
    const char *value; /* NULL where it has none */
};

/* What was given, in its order. Values and words are argv's own. */
struct arguments {
    struct given *given;
    size_t given_count;
    const char **words; /* what is no option */
    size_t word_count;
    bool ended;            /* "--" came: the rest are words */
    size_t words_in_front; /* of it, where it came */
};

/* What is wrong with a command line, for the user's eye. */
struct usage_error {
    char message[256];
    char hint[128]; /* "" where there is none */
};

/* Room for `argc` arguments. 0 or -ENOMEM. */
MUST_CHECK int arguments_init(struct arguments *arguments, int argc);
void arguments_done(struct arguments *arguments);

/*
 * Reads argv from *position on, up to its end or, with `to_first_word`, behind the first word.
 * `own` may be NULL. 0, or -EINVAL with *ret_error; *position has advanced past what was read.
 */
MUST_CHECK int arguments_parse(struct arguments *arguments, char **argv, size_t *position,
                               const struct option *global, const struct option *own,
                               bool to_first_word, struct usage_error *ret_error);

bool arguments_has(const struct arguments *arguments, const char *name);
/* The last value given for `name`, NULL where there is none. */
const char *arguments_value(const struct arguments *arguments, const char *name);
/* Each value given for `name`: begin with *position 0. NULL after the last. */
const char *arguments_next(const struct arguments *arguments, const char *name, size_t *position);

/* Whether `candidate` may have been meant by `word`, and is nearer than *best, which it lowers. */
bool arguments_is_nearer(const char *word, const char *candidate, unsigned *best);

#endif
