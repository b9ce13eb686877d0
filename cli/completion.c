/* SPDX-License-Identifier: MIT */
#include "cli/completion.h"

#include <stdio.h>
#include <string.h>

/* What the help's names of values mean. What is not here is a size, a time or a number, which nobody can guess. */
static const struct {
    const char *argument, *kind;
} kinds[] = {
    {"SEL", "gpu"},   {"DRV", "driver"}, {"WHEN", "when"}, {"PATH", "file"},
    {"FILE", "file"}, {"P", "pid"},      {"ID", "lease"},  {"COMMAND", "command"},
};

static const char *kind_of(const char *argument)
{
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        if (strcmp(kinds[i].argument, argument) == 0) {
            return kinds[i].kind;
        }
    }
    return "";
}

const char *completion_of_option(const struct option *option)
{
    /* Called M in the help, as margins are. */
    return strcmp(option->name, "member") == 0 ? "member" : kind_of(option->argument);
}

const char *completion_name(const struct command *command, char name[COMPLETION_NAME_MAX])
{
    const char *begin = command->arguments + strspn(command->arguments, "[");
    (void)snprintf(name, COMPLETION_NAME_MAX, "%.*s", (int)strcspn(begin, " ].["), begin);
    return name;
}

const char *completion_of_arguments(const struct command *command)
{
    char name[COMPLETION_NAME_MAX];
    return kind_of(completion_name(command, name));
}

bool completion_runs_program(const struct command *command)
{
    return strstr(command->arguments, "-- ") != NULL;
}

bool completion_is_repeatable(const struct option *option)
{
    return strstr(option->help, "repeatable") != NULL;
}

void completion_quote(struct buf *out, const char *text, const char *escaped, const char *quote)
{
    buf_char(out, '\'');
    for (; *text; text++) {
        if (*text == '\'') {
            buf_text(out, quote);
        } else {
            buf_text(out, strchr(escaped, *text) ? "\\" : "");
            buf_char(out, *text);
        }
    }
    buf_char(out, '\'');
}

void completion_columns(struct buf *out, uint32_t object, const char *const *keys)
{
    size_t count;
    const struct vram_field *fields = vram_fields(object, &count);
    const char *between = "";
    for (; *keys; keys++) {
        for (size_t i = 0; i < count; i++) {
            if (strcmp(fields[i].key, *keys) == 0) {
                buf_format(out, "%s%zu", between, i + 1);
                between = ",";
            }
        }
    }
}
