/* SPDX-License-Identifier: MIT */
/* The table for packaging/completions/vram.zsh: a function that sets the caller's variables, specifications for
 * _arguments among them. */
#include "cli/completion.h"

#include <string.h>

/* ":SEL:_vram_gpu"; what cannot be offered is only named. */
static void add_action(struct buf *spec, const char *name, const char *kind)
{
    buf_format(spec, ":%s:%s%s", name, *kind ? "_vram_" : " ", kind);
}

/* "[explanation]" within a specification. */
static void add_explanation(struct buf *spec, const char *text)
{
    buf_char(spec, '[');
    for (; *text; text++) {
        buf_text(spec, strchr("[]\\", *text) ? "\\" : "");
        buf_char(spec, *text);
    }
    buf_char(spec, ']');
}

/* Adds a specification to the script as one word. */
static void add_word(struct buf *out, struct buf *spec)
{
    buf_text(out, "        ");
    completion_quote(out, spec->data ? spec->data : "", "", "'\\''");
    buf_char(out, '\n');
    out->failed = out->failed || spec->failed;
    buf_clear(spec);
}

static void add_option(struct buf *out, const struct option *option)
{
    struct buf spec CLEANUP(buf_done) = BUF_INIT;
    if (option->letter) {
        buf_format(&spec, "(--%s)-%c", option->name, option->letter);
        add_explanation(&spec, option->help);
        add_word(out, &spec);
        buf_format(&spec, "(-%c)", option->letter);
    }
    buf_format(&spec, "%s--%s%s", completion_is_repeatable(option) ? "*" : "", option->name,
               option->argument ? "=" : "");
    add_explanation(&spec, option->help);
    if (option->argument) {
        add_action(&spec, option->argument, completion_of_option(option));
    }
    add_word(out, &spec);
}

static void add_options(struct buf *out, const struct option *options)
{
    for (const struct option *option = options; option && option->name; option++) {
        add_option(out, option);
    }
}

static void add_operands(struct buf *out, const struct command *command)
{
    struct buf spec CLEANUP(buf_done) = BUF_INIT;
    char name[COMPLETION_NAME_MAX];
    if (*completion_name(command, name)) {
        bool many = command->words_max > 1 && !completion_runs_program(command);
        buf_char(&spec, many ? '*' : '1');
        const char *kind = completion_of_arguments(command);
        if (*kind) {
            add_action(&spec, name, kind);
        } else { /* not _arguments' own message, which keeps options beside it from being inserted */
            buf_format(&spec, ":%s: _vram_name %s", name, name);
        }
        add_word(out, &spec);
    }
}

static void add_command(struct buf *out, const struct command *command)
{
    buf_format(out, "    (%s)\n        runs=%s specs=(\n", command->name,
               completion_runs_program(command) ? "yes" : "''");
    add_options(out, command->options);
    add_operands(out, command);
    buf_text(out, "        )\n        ;;\n");
}

void completion_zsh(struct buf *out)
{
    static const char *const gpu_keys[] = {"index", "uuid", NULL}, *const lease_keys[] = {"id",
                                                                                          NULL};
    struct buf spec CLEANUP(buf_done) = BUF_INIT;
    buf_text(out, "_vram_table()\n{\n    gpu_columns=");
    completion_columns(out, VRAM_OBJECT_GPU, gpu_keys);
    buf_text(out, "\n    lease_columns=");
    completion_columns(out, VRAM_OBJECT_LEASE, lease_keys);
    buf_text(out, "\n    names=(\n");
    for (size_t i = 0; commands[i]; i++) {
        buf_format(&spec, "%s:%s", commands[i]->name, commands[i]->summary);
        add_word(out, &spec);
    }
    buf_text(out, "    )\n    global=(\n");
    add_options(out, global_options);
    buf_text(out, "    )\n    runs='' specs=()\n    case $1 in\n");
    for (size_t i = 0; commands[i]; i++) {
        add_command(out, commands[i]);
    }
    buf_text(out, "    esac\n}\n");
}
