/* SPDX-License-Identifier: MIT */
#include "cli/arguments.h"

#include "cli/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int arguments_init(struct arguments *arguments, int argc)
{
    size_t count = argc > 0 ? (size_t)argc : 1;
    *arguments = (struct arguments){
        .given = calloc(count, sizeof(*arguments->given)),
        .words = calloc(count + 1, sizeof(*arguments->words)), /* NULL behind the last */
    };
    if (!arguments->given || !arguments->words) {
        arguments_done(arguments);
        return -ENOMEM;
    }
    return 0;
}

void arguments_done(struct arguments *arguments)
{
    free(arguments->given);
    free(arguments->words);
    *arguments = (struct arguments){0};
}

bool arguments_is_nearer(const char *word, const char *candidate, unsigned *best)
{
    unsigned distance = text_distance(word, candidate);
    bool begins = strlen(word) >= 2 && strncmp(word, candidate, strlen(word)) == 0;
    if (begins) {
        distance = 1;
    }
    if (distance > 2 || distance >= *best || distance >= strlen(word)) {
        return false;
    }
    *best = distance;
    return true;
}

/* Numbers are never options, so that "-1" is refused as the size it was meant to be. */
static bool is_option(const char *text)
{
    return text[0] == '-' && text[1] != '\0' && !(text[1] >= '0' && text[1] <= '9');
}

/* "--name", "--name=value" and "-x" of one table; NULL where it has none such. */
static const struct option *find_option(const struct option *table, const char *text, size_t length)
{
    for (const struct option *option = table; option && option->name; option++) {
        bool is_long = strncmp(text, "--", 2) == 0 && strlen(option->name) == length - 2 &&
                       memcmp(option->name, text + 2, length - 2) == 0;
        if (is_long || (length == 2 && option->letter && option->letter == text[1])) {
            return option;
        }
    }
    return NULL;
}

static void suggest_option(const struct option *const tables[2], const char *text, size_t length,
                           struct usage_error *ret_error)
{
    char word[32];
    const struct option *nearest = NULL;
    unsigned best = 255;
    if (strncmp(text, "--", 2) != 0 || length - 2 >= sizeof(word)) {
        return;
    }
    (void)snprintf(word, sizeof(word), "%.*s", (int)(length - 2), text + 2);
    for (size_t i = 0; i < 2; i++) {
        for (const struct option *option = tables[i]; option && option->name; option++) {
            if (arguments_is_nearer(word, option->name, &best)) {
                nearest = option;
            }
        }
    }
    if (nearest) {
        (void)snprintf(ret_error->hint, sizeof(ret_error->hint), "did you mean --%s?",
                       nearest->name);
    }
}

/* Reads the option at argv[*position] and its value. */
static int parse_option(struct arguments *arguments, char **argv, size_t *position,
                        const struct option *const tables[2], struct usage_error *ret_error)
{
    char quoted[TEXT_QUOTED_MAX];
    const char *text = argv[(*position)++];
    size_t length = strcspn(text, "=");
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    const struct option *option = find_option(tables[0], text, length);
    if (!option) {
        option = find_option(tables[1], text, length);
    }
    if (!option) {
        (void)snprintf(ret_error->message, sizeof(ret_error->message), "unknown option %s",
                       text_quote(text, quoted));
        suggest_option(tables, text, length, ret_error);
        return -EINVAL;
    }
    if (!option->argument && value) {
        (void)snprintf(ret_error->message, sizeof(ret_error->message),
                       "--%s takes no value, but %s gives it one", option->name,
                       text_quote(text, quoted));
        return -EINVAL;
    }
    if (option->argument && !value) {
        value = argv[*position];
        if (!value) {
            (void)snprintf(ret_error->message, sizeof(ret_error->message),
                           "--%s needs a value: --%s %s", option->name, option->name,
                           option->argument);
            return -EINVAL;
        }
        (*position)++;
    }
    arguments->given[arguments->given_count++] = (struct given){option, value};
    return 0;
}

int arguments_parse(struct arguments *arguments, char **argv, size_t *position,
                    const struct option *global, const struct option *own, bool to_first_word,
                    struct usage_error *ret_error)
{
    const struct option *const tables[2] = {global, own};
    *ret_error = (struct usage_error){0};
    while (argv[*position]) {
        const char *text = argv[*position];
        if (!arguments->ended && strcmp(text, "--") == 0) {
            arguments->ended = true;
            arguments->words_in_front = arguments->word_count;
            (*position)++;
        } else if (!arguments->ended && is_option(text)) {
            int r = parse_option(arguments, argv, position, tables, ret_error);
            if (r < 0) {
                return r;
            }
        } else {
            arguments->words[arguments->word_count++] = text;
            (*position)++;
            if (to_first_word) {
                break;
            }
        }
    }
    return 0;
}

const char *arguments_next(const struct arguments *arguments, const char *name, size_t *position)
{
    while (*position < arguments->given_count) {
        const struct given *given = &arguments->given[(*position)++];
        if (strcmp(given->option->name, name) == 0) {
            return given->value;
        }
    }
    return NULL;
}

bool arguments_has(const struct arguments *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->given_count; i++) {
        if (strcmp(arguments->given[i].option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

const char *arguments_value(const struct arguments *arguments, const char *name)
{
    const char *value = NULL, *next;
    size_t position = 0;
    while ((next = arguments_next(arguments, name, &position))) {
        value = next;
    }
    return value;
}
