/* SPDX-License-Identifier: MIT */
/*
 * vram: how much GPU memory is free, who holds the rest, and does N fit? Reads the command line,
 * runs the command and writes its answer.
 */
#include "cli/command.h"
#include "cli/session.h"
#include "cli/text.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the driver opens must never become stdout: where one of the three is closed, a descriptor
 * takes its place that refuses what it was for. */
static void guard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            int flags = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
            (void)open("/dev/null", flags | O_CLOEXEC); /* the lowest free number: this one */
        }
    }
}

/* Errors of a command line are told in the form that it asked for, wherever that stands. */
static bool asks_for_json(char **argv)
{
    for (size_t i = 1; argv[i] && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
    }
    return false;
}

static int fail_usage(struct cli *cli, const struct usage_error *error)
{
    char hint[256];
    (void)snprintf(hint, sizeof(hint), "%s%s`vram help%s%s` shows what there is", error->hint,
                   error->hint[0] ? "\n" : "", cli->command ? " " : "",
                   cli->command ? cli->command->name : "");
    return cli_fail(cli, STATUS_USAGE, "usage", hint, "%s", error->message);
}

static int find_command(struct cli *cli, const char *word)
{
    struct usage_error error = {0};
    char quoted[TEXT_QUOTED_MAX];
    cli->command = command_find(word);
    if (cli->command) {
        return 0;
    }
    const struct command *nearest = command_nearest(word);
    (void)snprintf(error.message, sizeof(error.message), "unknown command %s",
                   text_quote(word, quoted));
    if (nearest) {
        (void)snprintf(error.hint, sizeof(error.hint), "did you mean %s?", nearest->name);
    }
    return fail_usage(cli, &error);
}

/* Sees to what the tables of options cannot say. */
static int check_usage(struct cli *cli)
{
    const struct command *command = cli->command;
    const struct arguments *arguments = &cli->arguments;
    const char *colour = arguments_value(arguments, "color");
    struct usage_error error = {0};
    char quoted[TEXT_QUOTED_MAX];
    if (colour && strcmp(colour, "auto") != 0 && strcmp(colour, "always") != 0 &&
        strcmp(colour, "never") != 0) {
        (void)snprintf(error.message, sizeof(error.message),
                       "--color is auto, always or never, not %s", text_quote(colour, quoted));
    } else if (arguments_has(arguments, "json") && arguments_has(arguments, "csv")) {
        (void)snprintf(error.message, sizeof(error.message), "--json and --csv exclude each other");
    } else if (arguments->word_count < command->words_min) {
        (void)snprintf(error.message, sizeof(error.message), "%s needs more: vram %s %s",
                       command->name, command->name, command->arguments);
    } else if (arguments->word_count > command->words_max) {
        (void)snprintf(error.message, sizeof(error.message), "%s takes no further argument %s",
                       command->name, text_quote(arguments->words[command->words_max], quoted));
    } else {
        return 0;
    }
    return fail_usage(cli, &error);
}

/* Reads the command line into `cli`; 0 or an exit status. */
static int read_arguments(struct cli *cli, int argc, char **argv)
{
    struct arguments *arguments = &cli->arguments;
    struct usage_error error;
    size_t position = argc > 0 ? 1 : 0;
    cli->format = asks_for_json(argv) ? FORMAT_JSON : FORMAT_TEXT;
    if (arguments_init(arguments, argc) < 0) {
        return cli_fail_memory(cli);
    }
    if (arguments_parse(arguments, argv, &position, global_options, NULL, true, &error) < 0) {
        return fail_usage(cli, &error);
    }
    int status = 0;
    if (arguments->word_count > 0) {
        arguments->word_count = 0;
        status = find_command(cli, arguments->words[0]);
    }
    if (status == 0 && cli->command &&
        arguments_parse(arguments, argv, &position, global_options, cli->command->options, false,
                        &error) < 0) {
        status = fail_usage(cli, &error);
    }
    if (cli->format == FORMAT_TEXT && arguments_has(arguments, "csv")) {
        cli->format = FORMAT_CSV;
    }
    return status;
}

static int run_command(struct cli *cli, int argc, char **argv)
{
    int status = read_arguments(cli, argc, argv);
    if (status != 0) {
        return status;
    }
    if (arguments_has(&cli->arguments, "version")) {
        buf_format(&cli->out, "vram %s\n", vram_version());
        return STATUS_YES;
    }
    if (arguments_has(&cli->arguments, "help")) {
        help_add(&cli->out, cli_screen(cli), cli->command);
        return STATUS_YES;
    }
    if (!cli->command) {
        cli->command = &command_status;
    }
    status = check_usage(cli);
    return status != 0 ? status : cli->command->run(cli);
}

/* A command that becomes another program keeps its own failures apart from that one's. */
static int run(struct cli *cli, int argc, char **argv)
{
    int status = run_command(cli, argc, argv);
    bool ours = status > STATUS_YES && status <= STATUS_UNKNOWN;
    return ours && cli->command && cli->command->failure ? cli->command->failure : status;
}

/* The driver is asked in a thread of its own, for which glibc would map a heap of its own: six system calls of a
 * program that makes a hundred. */
static void keep_one_heap(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_ARENA_MAX, 1);
#endif
}

int main(int argc, char **argv)
{
    static struct cli cli = {.out = BUF_INIT};
    guard_descriptors();
    keep_one_heap();
    cli.pipe_signal = signal(SIGPIPE, SIG_IGN); /* a reader that has gone is told by EPIPE */
    /* The handle is not closed: the kernel takes all back at once when the process ends, the driver's connection
     * too, where closing it would wake two threads for nothing. */
    return cli_flush(&cli, run(&cli, argc, argv), NULL);
}
