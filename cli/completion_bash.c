/* SPDX-License-Identifier: MIT */
/* The table for packaging/completions/vram.bash: a function that sets the caller's variables. */
#include "cli/completion.h"

/* "--json --gpu:gpu --margin:": behind a colon what the value is. */
static void add_options(struct buf *out, const struct option *options, const char *between)
{
    for (const struct option *option = options; option && option->name; option++) {
        if (option->letter) {
            buf_format(out, "%s-%c", between, option->letter);
            between = " ";
        }
        buf_format(out, "%s--%s%s%s", between, option->name, option->argument ? ":" : "",
                   option->argument ? completion_of_option(option) : "");
        between = " ";
    }
}

/* What a command has besides the options of all. */
static void add_command(struct buf *out, const struct command *command)
{
    const char *operands = completion_of_arguments(command);
    bool runs = completion_runs_program(command);
    if (!command->options && !*operands && !runs) {
        return;
    }
    buf_format(out, "    %s)", command->name);
    if (command->options) {
        buf_text(out, "\n        options='");
        add_options(out, command->options, "");
        buf_char(out, '\'');
    }
    if (*operands) {
        buf_format(out, "\n        operands='%s'", operands);
    }
    buf_format(out, "%s\n        ;;\n", runs ? "\n        runs=yes" : "");
}

void completion_bash(struct buf *out)
{
    static const char *const gpu_keys[] = {"index", "uuid", NULL}, *const lease_keys[] = {"id",
                                                                                          NULL};
    buf_text(out, "_vram_table()\n{\n    commands='");
    for (size_t i = 0; commands[i]; i++) {
        buf_format(out, "%s%s", i ? " " : "", commands[i]->name);
    }
    buf_text(out, "'\n    gpu_columns=");
    completion_columns(out, VRAM_OBJECT_GPU, gpu_keys);
    buf_text(out, "\n    lease_columns=");
    completion_columns(out, VRAM_OBJECT_LEASE, lease_keys);
    buf_text(out, "\n    options='' operands='' runs=''\n    case $1 in\n");
    for (size_t i = 0; commands[i]; i++) {
        add_command(out, commands[i]);
    }
    buf_text(out, "    esac\n    options+='");
    add_options(out, global_options, " ");
    buf_text(out, "'\n}\n");
}
