/* SPDX-License-Identifier: MIT */
/* Help, made of the tables of commands, options, fields and exit statuses. */
#include "cli/command.h"

#include "cli/text.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Text is easiest to read when its lines are not too long. */
enum { HELP_WIDTH_MAX = 92, HELP_COLUMN_MAX = 28 };

/* A page on its way: where it goes and how wide it is. */
struct page {
    struct buf *out;
    const struct screen *screen;
    size_t width;
};

static void add_title(const struct page *page, const char *title)
{
    buf_format(page->out, "\n%s%s%s\n", screen_style(page->screen, STYLE_STRONG), title,
               screen_plain(page->screen));
}

/* "  term   meaning", the meaning wrapped in a column of its own that begins behind `column`. */
static void add_term(const struct page *page, const char *term, size_t column, const char *meaning)
{
    buf_text(page->out, "  ");
    buf_text(page->out, term);
    size_t at = 2 + text_width(term);
    if (at + 2 > column) {
        buf_char(page->out, '\n');
        at = 0;
    }
    text_blanks(page->out, column - at);
    text_wrap(page->out, meaning, column, column, page->width);
}

static void add_text(const struct page *page, const char *text)
{
    text_blanks(page->out, 2);
    text_wrap(page->out, text, 2, 2, page->width);
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

static void add_options(const struct page *page, const char *title, const struct option *options)
{
    if (!options) {
        return;
    }
    add_title(page, title);
    for (const struct option *option = options; option->name; option++) {
        char term[64];
        write_option(term, sizeof(term), option);
        add_term(page, term, 20, option->help);
    }
}

static void add_fields(const struct page *page, const struct command *command)
{
    static const char *const titles[] = {
        [VRAM_OBJECT_GPU] = "Keys of a GPU",
        [VRAM_OBJECT_PROCESS] = "Keys of a process",
        [VRAM_OBJECT_FIT] = "Keys of an answer",
        [VRAM_OBJECT_FIT_GPU] = "Keys of an answer's GPU",
        [VRAM_OBJECT_LEASE] = "Keys of a lease",
        [VRAM_OBJECT_WAITER] = "Keys of a request that waits",
        [VRAM_OBJECT_DAEMON] = "Keys of the daemon",
    };
    for (size_t i = 0; i < command->object_count; i++) {
        uint32_t object = command->objects[i];
        size_t count;
        const struct vram_field *fields = vram_fields(object, &count);
        add_title(page, titles[object]);
        for (size_t j = 0; j < count; j++) {
            add_term(page, fields[j].key, HELP_COLUMN_MAX, fields[j].help);
        }
    }
}

static void add_output(const struct page *page, const struct command *command)
{
    if (!command->json) {
        return;
    }
    add_title(page, command->csv ? "JSON and CSV" : "JSON");
    add_term(page, "--json", 20, command->json);
    if (command->csv) {
        add_term(page, "--csv", 20, command->csv);
    }
    add_text(
        page,
        command->csv
            ? "Amounts are bytes. What the driver cannot tell is null in JSON and empty in CSV."
            : "Amounts are bytes. What cannot be told is null.");
    add_fields(page, command);
}

static void add_statuses(const struct page *page, const char *which)
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
    add_title(page, "Exit status");
    for (size_t i = 0; i < ARRAY_LENGTH(statuses); i++) {
        if (!which || strchr(which, statuses[i].digit)) {
            add_term(page, statuses[i].number, 8, statuses[i].meaning);
        }
    }
}

static void add_examples(const struct page *page, const char *examples)
{
    add_title(page, "Examples");
    while (*examples) {
        char term[80], meaning[120];
        size_t tab = strcspn(examples, "\t"), line = strcspn(examples, "\n");
        (void)snprintf(term, sizeof(term), "%.*s", (int)tab, examples);
        (void)snprintf(meaning, sizeof(meaning), "%.*s", (int)(line - tab - 1), examples + tab + 1);
        add_term(page, term, 40, meaning);
        examples += line + (examples[line] == '\n');
    }
}

static void add_command(const struct page *page, const struct command *command)
{
    buf_format(page->out, "Usage: vram [OPTION...] %s%s%s\n\n", command->name,
               command->arguments[0] ? " " : "", command->arguments);
    text_wrap(page->out, command->description, 0, 0, page->width);
    add_options(page, "Options", command->options);
    add_options(page, "Options of every command", global_options);
    add_output(page, command);
    add_statuses(page, command->statuses);
    add_examples(page, command->examples);
}

static void add_program(const struct page *page)
{
    buf_text(page->out, "Usage: vram [OPTION...] [COMMAND] [ARGUMENT...]\n\n");
    text_wrap(page->out,
              "How much GPU memory is free, who holds the rest, and does N fit? Without a "
              "command: status.",
              0, 0, page->width);
    add_title(page, "Commands");
    for (size_t i = 0; commands[i]; i++) {
        char term[64];
        (void)snprintf(term, sizeof(term), "%s%s%s", commands[i]->name,
                       commands[i]->arguments[0] ? " " : "", commands[i]->arguments);
        add_term(page, term, 20, commands[i]->summary);
    }
    add_options(page, "Options, before or after the command", global_options);
    add_statuses(page, NULL);
    buf_text(page->out, "\n`vram help COMMAND` tells all about one.\n");
}

void help_add(struct buf *out, const struct screen *screen, const struct command *command)
{
    size_t width = screen->width < HELP_WIDTH_MAX ? screen->width : HELP_WIDTH_MAX;
    struct page page = {out, screen, width};
    if (command) {
        add_command(&page, command);
    } else {
        add_program(&page);
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
