/* SPDX-License-Identifier: MIT */
/* The table for packaging/completions/vram.fish: what of options it must know to find the command, and fish's own
 * statements. */
#include "cli/completion.h"

static void add_quoted(struct buf *out, const char *text)
{
    completion_quote(out, text, "\\", "\\'");
}

/* `condition` is a command of fish, "" where there is none. */
static void begin_statement(struct buf *out, const char *condition)
{
    buf_text(out, "complete -c vram");
    if (*condition) {
        buf_text(out, " -n ");
        add_quoted(out, condition);
    }
}

static void add_values(struct buf *out, const char *kind)
{
    if (*kind) {
        buf_format(out, " -a '(__vram_%s)'", kind);
    }
}

static void add_option(struct buf *out, const char *condition, const struct option *option)
{
    begin_statement(out, condition);
    buf_format(out, " -l %s", option->name);
    if (option->letter) {
        buf_format(out, " -s %c", option->letter);
    }
    if (option->argument) {
        buf_text(out, " -x");
        add_values(out, completion_of_option(option));
    }
    buf_text(out, " -d ");
    add_quoted(out, option->help);
    buf_char(out, '\n');
}

static void add_command(struct buf *out, const struct command *command)
{
    struct buf condition CLEANUP(buf_done) = BUF_INIT;
    begin_statement(out, "__vram_needs_command");
    buf_format(out, " -a %s -d ", command->name);
    add_quoted(out, command->summary);
    buf_char(out, '\n');
    buf_format(&condition, "__vram_command_is %s", command->name);
    const char *text = condition.data ? condition.data : "";
    for (const struct option *option = command->options; option && option->name; option++) {
        add_option(out, text, option);
    }
    if (*completion_of_arguments(command)) {
        begin_statement(out, text);
        add_values(out, completion_of_arguments(command));
        buf_char(out, '\n');
    }
    if (completion_runs_program(command)) {
        buf_clear(&condition);
        buf_format(&condition, "__vram_runs_program %s", command->name);
        begin_statement(out, condition.data ? condition.data : "");
        buf_text(out, " -a '(__vram_program)'\n");
    }
    out->failed = out->failed || condition.failed;
}

void completion_fish(struct buf *out)
{
    static const char *const gpu_keys[] = {"index", "uuid", NULL}, *const lease_keys[] = {"id",
                                                                                          NULL};
    buf_text(out, "set -g __vram_gpu_columns ");
    completion_columns(out, VRAM_OBJECT_GPU, gpu_keys);
    buf_text(out, "\nset -g __vram_lease_columns ");
    completion_columns(out, VRAM_OBJECT_LEASE, lease_keys);
    buf_text(out, "\nset -g __vram_valued"); /* options in front of the command that take a value */
    for (const struct option *option = global_options; option->name; option++) {
        if (option->argument) {
            buf_format(out, " --%s", option->name);
        }
    }
    buf_text(out, "\nset -g __vram_commands");
    for (size_t i = 0; commands[i]; i++) {
        buf_format(out, " %s", commands[i]->name);
    }
    buf_text(out, "\n\ncomplete -c vram -f\n");
    for (const struct option *option = global_options; option->name; option++) {
        add_option(out, "", option);
    }
    for (size_t i = 0; commands[i]; i++) {
        add_command(out, commands[i]);
    }
}
