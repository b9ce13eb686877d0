/* SPDX-License-Identifier: MIT */
/* Help, made of the tables of commands, options, fields and exit statuses; and the command that shows it. */
#include "cli/help.h"

#include "cli/text.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Help on its way: what it is told to. */
struct telling {
    const struct help_form *form;
    void *page;
};

const char help_program[] = "How much GPU memory is free, who holds the rest, and does N fit?";

static void tell_title(const struct telling *telling, const char *title)
{
    telling->form->title(telling->page, title);
}

static void tell_item(const struct telling *telling, enum help_item kind, const char *term,
                      const char *meaning)
{
    telling->form->item(telling->page, kind, term, meaning);
}

static void write_option(char *term, size_t size, const struct option *option)
{
    char letter[8] = "";
    if (option->letter) {
        (void)snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    }
    (void)snprintf(term, size, "%s--%s%s%s", letter, option->name, option->argument ? " " : "",
                   option->argument ? option->argument : "");
}

static void tell_options(const struct telling *telling, const char *title,
                         const struct option *options)
{
    if (!options) {
        return;
    }
    tell_title(telling, title);
    for (const struct option *option = options; option->name; option++) {
        char term[64];
        write_option(term, sizeof(term), option);
        tell_item(telling, HELP_OPTION, term, option->help);
    }
}

static void tell_fields(const struct telling *telling, const struct command *command)
{
    static const char *const titles[] = {
        [VRAM_OBJECT_GPU] = "Keys of a GPU",
        [VRAM_OBJECT_PROCESS] = "Keys of a process",
        [VRAM_OBJECT_FIT] = "Keys of an answer",
        [VRAM_OBJECT_FIT_GPU] = "Keys of an answer's GPU",
        [VRAM_OBJECT_LEASE] = "Keys of a lease",
        [VRAM_OBJECT_WAITER] = "Keys of a request that waits",
        [VRAM_OBJECT_DAEMON] = "Keys of the daemon",
        [VRAM_OBJECT_CEILING] = "Keys of a ceiling",
    };
    for (size_t i = 0; i < command->object_count; i++) {
        uint32_t object = command->objects[i];
        size_t count;
        const struct vram_field *fields = vram_fields(object, &count);
        tell_title(telling, titles[object]);
        for (size_t j = 0; j < count; j++) {
            tell_item(telling, HELP_KEY, fields[j].key, fields[j].help);
        }
    }
}

static void tell_output(const struct telling *telling, const struct command *command)
{
    if (!command->json) {
        return;
    }
    tell_title(telling, command->csv ? "JSON and CSV" : "JSON");
    tell_item(telling, HELP_OPTION, "--json", command->json);
    if (command->csv) {
        tell_item(telling, HELP_OPTION, "--csv", command->csv);
    }
    telling->form->text(
        telling->page,
        command->csv
            ? "Amounts are bytes. What the driver cannot tell is null in JSON and empty in CSV."
            : "Amounts are bytes. What cannot be told is null.");
    tell_fields(telling, command);
}

static void tell_statuses(const struct telling *telling, const char *which)
{
    static const struct {
        char digit;
        const char *number, *meaning;
    } statuses[] = {
        {'0', "0", "yes; done"},
        {'r', "...", "the command's own, once it runs"},
        {'1', "1", "not now; no match; the doctor found something"},
        {'2', "2", "wrong usage"},
        {'3', "3", "no usable GPU or driver"},
        {'4', "4", "another failure, such as a full disk"},
        {'5', "5", "never: it is more than the card has"},
        {'6', "6", "unknown: the driver cannot tell"},
        {'t', "124", "timed out"},
        {'o', "125", "run: another failure in front of the command"},
        {'o', "126", "run: the command cannot be executed"},
        {'o', "127", "run: there is no such command"},
        {'i', "130", "interrupted by Ctrl-C"},
    };
    tell_title(telling, "Exit status");
    for (size_t i = 0; i < ARRAY_LENGTH(statuses); i++) {
        if (!which || strchr(which, statuses[i].digit)) {
            tell_item(telling, HELP_STATUS, statuses[i].number, statuses[i].meaning);
        }
    }
}

/* What of the environment is read, besides what every program obeys. */
static void tell_environment(const struct telling *telling)
{
    static const struct {
        const char *name, *meaning;
    } variables[] = {
        {"VRAM_DRIVER", "the driver that is asked where --driver names none"},
        {"VRAM_SOCKET", "the daemon's socket, as an absolute path; none: no daemon is asked"},
        {"VRAM_LEASE", "the lease that a process belongs to; `vram run` sets it"},
        {"VRAM_CALL_TIMEOUT", "how long a call of the driver may take: 500ms, 30s (10s)"},
        {"VRAM_DAEMON", "the daemon's program, in place of the installed one"},
        {"VRAM_SIM_DIR", "the simulated driver's directory, in place of the installed one"},
        {"CUDA_VISIBLE_DEVICES", "the GPUs that programs are shown; `vram run` sets it"},
        {"NO_COLOR", "where it is not empty: no colour, unless --color says otherwise"},
    };
    tell_title(telling, "Environment");
    for (size_t i = 0; i < ARRAY_LENGTH(variables); i++) {
        tell_item(telling, HELP_VARIABLE, variables[i].name, variables[i].meaning);
    }
}

static void tell_examples(const struct telling *telling, const char *examples)
{
    tell_title(telling, "Examples");
    while (*examples) {
        char term[80], meaning[120];
        size_t tab = strcspn(examples, "\t"), line = strcspn(examples, "\n");
        (void)snprintf(term, sizeof(term), "%.*s", (int)tab, examples);
        (void)snprintf(meaning, sizeof(meaning), "%.*s", (int)(line - tab - 1), examples + tab + 1);
        tell_item(telling, HELP_EXAMPLE, term, meaning);
        examples += line + (examples[line] == '\n');
    }
}

/* A command and its arguments. */
static void write_command(char *words, size_t size, const char *before,
                          const struct command *command)
{
    (void)snprintf(words, size, "%s%s%s%s", before, command->name, command->arguments[0] ? " " : "",
                   command->arguments);
}

static void tell_command(const struct telling *telling, const struct command *command)
{
    char usage[96];
    write_command(usage, sizeof(usage), "[OPTION...] ", command);
    telling->form->usage(telling->page, usage);
    telling->form->text(telling->page, command->description);
    tell_options(telling, "Options", command->options);
    tell_options(telling, "Options of every command", global_options);
    tell_output(telling, command);
    tell_statuses(telling, command->statuses);
    tell_examples(telling, command->examples);
}

static void tell_program(const struct telling *telling)
{
    char text[160];
    telling->form->usage(telling->page, "[OPTION...] [COMMAND] [ARGUMENT...]");
    (void)snprintf(text, sizeof(text),
                   "%s Without a command: status. `vram help COMMAND` tells all about one.",
                   help_program);
    telling->form->text(telling->page, text);
    tell_title(telling, "Commands");
    for (size_t i = 0; commands[i]; i++) {
        char term[64];
        write_command(term, sizeof(term), "", commands[i]);
        tell_item(telling, HELP_COMMAND, term, commands[i]->summary);
    }
    tell_options(telling, "Options, before or after the command", global_options);
    tell_environment(telling);
    tell_statuses(telling, NULL);
}

void help_tell(const struct help_form *form, void *page, const struct command *command)
{
    struct telling telling = {form, page};
    if (command) {
        tell_command(&telling, command);
    } else {
        tell_program(&telling);
    }
}

static int run(struct cli *cli)
{
    char quoted[TEXT_QUOTED_MAX], hint[64] = "`vram help` lists the commands";
    const struct command *command = NULL;
    if (cli->arguments.word_count > 0) {
        const char *word = cli->arguments.words[0];
        command = command_find(word);
        if (!command) {
            const struct command *nearest = command_nearest(word);
            if (nearest) {
                (void)snprintf(hint, sizeof(hint), "did you mean %s?", nearest->name);
            }
            return cli_fail(cli, STATUS_USAGE, "usage", hint, "unknown command %s",
                            text_quote(word, quoted));
        }
    }
    help_add(&cli->out, cli_screen(cli), command);
    return STATUS_YES;
}

const struct command command_help = {
    .name = "help",
    .summary = "explain a command",
    .arguments = "[COMMAND]",
    .description = "Prints the commands, or all about one of them.",
    .statuses = "024",
    .examples = "vram help fit\twhat fit does, its options, its JSON\n",
    .words_max = 1,
    .run = run,
};
