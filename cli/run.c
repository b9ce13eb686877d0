/* SPDX-License-Identifier: MIT */
/* vram run: waits its turn for a lease and becomes the command. */
#include "cli/command.h"

#include "cli/containers.h"
#include "cli/elastic.h"
#include "cli/leasing.h"
#include "cli/past.h"
#include "cli/telling.h"
#include "cli/text.h"
#include "common/utf8.h"
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LABEL_MAX = 64 };

/* The words behind "--", with the NULL at their end. */
static const char *const *command_words(struct cli *cli)
{
    return cli->arguments.words + cli->arguments.words_in_front;
}

static int check_words(struct cli *cli)
{
    const struct arguments *arguments = &cli->arguments;
    if (!arguments->ended) {
        return cli_fail(cli, STATUS_OURS, "usage", "vram run 12G -- python main.py",
                        "run needs -- in front of the command");
    }
    if (arguments->words_in_front != 1) {
        return cli_fail(cli, STATUS_OURS, "usage", "vram run 12G -- python main.py",
                        "run needs one SIZE in front of --");
    }
    if (arguments->word_count == 1) {
        return cli_fail(cli, STATUS_OURS, "usage", "vram run 12G -- python main.py",
                        "run needs a command behind --");
    }
    return 0;
}

/* What a container allocates would count twice: as promised to us, and as used by a stranger. */
static int check_container(struct cli *cli)
{
    const char *program = containers_program(command_words(cli));
    if (!program || arguments_has(&cli->arguments, "member")) {
        return 0;
    }
    return cli_fail(
        cli, STATUS_OURS, "needs_member",
        "say who fills the lease: --member cgroup:/job with `docker run --cgroup-parent /job "
        "...`,\n"
        "--member unit:NAME.service, or --member container:ID of one that runs",
        "%s starts its containers elsewhere: their memory would not count for this lease", program);
}

/* The label where none is given: what tells most of the command, as `vram ps` will show it. */
static char *choose_label(struct cli *cli)
{
    struct buf line = BUF_INIT, name = BUF_INIT;
    const char *const *words = command_words(cli);
    const char *slash = strrchr(words[0], '/');
    for (size_t i = 0; words[i]; i++) {
        buf_text(&line, i ? " " : "");
        buf_text(&line, words[i]);
    }
    struct vram_process process = {.name = slash ? slash + 1 : words[0], .command = line.data};
    telling_name(&name, &process);
    buf_done(&line);
    char *label = buf_steal(&name, NULL);
    size_t end = 0;
    for (uint32_t c; label && label[end];) { /* cut between characters */
        size_t length = utf8_next(label + end, &c);
        if (end + length > LABEL_MAX) {
            label[end] = '\0';
            break;
        }
        end += length;
    }
    return label;
}

/* ---- What it needs --------------------------------------------------------------------------- */

static bool is_auto(const struct cli *cli)
{
    return strcmp(cli->arguments.words[0], "auto") == 0;
}

static int check_elastic(struct cli *cli)
{
    const char *option = elastic_option(command_words(cli));
    const char *program = command_words(cli)[0];
    if (!option) {
        return 0;
    }
    return cli_fail(cli, STATUS_OURS, "elastic", option,
                    "%s takes whatever it finds: name a size instead of auto, and tell it the same",
                    program);
}

/* The size that its runs have taught, told to who asked. */
static int learn_size(struct leasing *leasing)
{
    struct cli *cli = leasing->cli;
    struct past past CLEANUP(past_done) = {0};
    struct buf safe CLEANUP(buf_done) = BUF_INIT;
    int status = session_open(cli);
    int r = status == 0 ? vram_daemon_start(cli->vram, 0) : 0;
    if (r < 0) {
        return cli_fail_daemon(cli, r);
    }
    status = status == 0 ? past_needs(cli, leasing->request.label, &past) : status;
    if (status != 0) {
        return status;
    }
    const char *message = past.count ? past.needs[0].message : "nothing is known of what it needs";
    text_safe(&safe, message, cli_screen(cli)->utf8);
    if (!past.count || past.needs[0].need_bytes == VRAM_UNKNOWN) {
        return cli_fail(cli, STATUS_OURS, "need_unknown",
                        "name a size this time, such as 12G instead of auto: it is learned from "
                        "each run to its end",
                        "%s", safe.data ? safe.data : "");
    }
    leasing->request.size_bytes = past.needs[0].need_bytes;
    cli_note(cli, "%s", safe.data ? safe.data : "");
    cli->vram = vram_close(cli->vram); /* leasing_ask() opens its own */
    return 0;
}

/* ---- Becoming the command -------------------------------------------------------------------- */

static int set_environment(const struct vram_lease *lease)
{
    struct buf gpus CLEANUP(buf_done) = BUF_INIT;
    for (size_t i = 0; i < lease->gpu_count; i++) {
        buf_text(&gpus, i ? "," : "");
        buf_text(&gpus, lease->gpus[i]);
    }
    if (gpus.failed || setenv("VRAM_LEASE", lease->id, 1) < 0) {
        return -ENOMEM;
    }
    return setenv("CUDA_VISIBLE_DEVICES", gpus.data ? gpus.data : "", 1) < 0 ? -ENOMEM : 0;
}

/* Returns only where the command cannot be executed, with a shell's status for that. */
static int become(struct leasing *leasing)
{
    struct cli *cli = leasing->cli;
    const char *const *words = command_words(cli);
    if (set_environment(leasing->verdict->lease) < 0) {
        (void)!vram_lease_end(cli->vram, leasing->id);
        leasing_settle(leasing);
        return cli_fail_memory(cli);
    }
    leasing_settle(leasing);
    (void)signal(SIGPIPE, cli->pipe_signal);
    (void)execvp(words[0], (char *const *)(uintptr_t)words);
    int error = errno;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)!vram_lease_end(cli->vram, leasing->id);
    return cli_fail(cli, error == ENOENT ? STATUS_NO_COMMAND : STATUS_NO_EXECUTION, "no_command",
                    NULL, "%s: %s", words[0],
                    error == ENOENT ? "there is no such command" : strerror(error));
}

static int run(struct cli *cli)
{
    struct leasing leasing CLEANUP(leasing_done) = {0};
    int status = check_words(cli);
    if (status == 0) {
        status = check_container(cli);
    }
    if (status == 0) {
        status = is_auto(cli) ? check_elastic(cli) : 0;
    }
    if (status == 0) {
        status = leasing_read(&leasing, cli, is_auto(cli) ? NULL : cli->arguments.words[0]);
    }
    if (status != 0) {
        return status;
    }
    char *label = leasing.request.label ? NULL : choose_label(cli);
    if (!arguments_has(&cli->arguments, "timeout")) {
        leasing.request.timeout_ms = VRAM_UNKNOWN;
    }
    if (label) {
        leasing.request.label = label;
    }
    status = is_auto(cli) ? learn_size(&leasing) : 0;
    status = status == 0 ? leasing_ask(&leasing) : status;
    free(label);
    if (status != 0) {
        return status;
    }
    if (leasing.verdict->answer == VRAM_FITS) {
        return become(&leasing);
    }
    leasing_settle(&leasing);
    bool late = leasing.verdict->answer == VRAM_TIMED_OUT;
    return cli_fail(cli, late ? STATUS_TIMED_OUT : STATUS_OURS,
                    vram_answer_name(leasing.verdict->answer), NULL, "%s",
                    leasing.verdict->message);
}

static const struct option options[] = {
    {"timeout", 0, "T", "give up after so long: 500ms, 30s, 5m; 0: do not wait (for ever)"},
    LEASING_OPTIONS,
    {NULL, 0, NULL, NULL},
};

const struct command command_run = {
    .name = "run",
    .summary = "wait for a lease of SIZE, then run a command with it",
    .arguments = "SIZE -- COMMAND...",
    .description =
        "Waits its turn for SIZE, first come first served, and then becomes COMMAND, whose process "
        "owns the lease: signals, limits and exit status are its own, and nothing is left behind. "
        "What COMMAND and its descendants allocate fills the lease, which ends with them. While it "
        "waits stderr tells its position and what it waits for; Ctrl-C takes the request back.\n\n"
        "COMMAND finds in CUDA_VISIBLE_DEVICES the GPUs that it was granted, by UUID, and in "
        "VRAM_LEASE the lease's id. The GPUs asked about are those that --gpu names, else those "
        "that CUDA_VISIBLE_DEVICES shows here, else all. Where no daemon runs, one is started that "
        "ends by itself.\n\nWhere room is lacking, idle holders that the daemon knows (`vram "
        "holders`) are "
        "asked to give memory back first, and stderr tells what came of it.\n\n"
        "With auto for SIZE the daemon says what is needed, as earlier runs with this label have "
        "taught it (`vram needs`): the most that its members held at once, and 3 % on top, 15 % "
        "after a single run. Without --label it goes by the command: by its name, or by that of "
        "the "
        "script that an interpreter runs. It is refused where nothing is known, and for programs "
        "that take "
        "whatever they find.\n\n"
        "Containers are started by another program than `docker run`: name who "
        "fills the lease with --member.",
    .options = options,
    .statuses = "roti",
    .examples = "vram run 14G -- python main.py\tone after the other, or both if they fit\n"
                "vram run auto --label comfyui -- python main.py\tas much as its last runs needed\n"
                "vram run 40G --gpus 2 -- ./train\t40 GiB on each of two GPUs\n"
                "vram run 8G --timeout 10m -- ./job || ./job-on-cpu\telse without a GPU\n",
    .words_max = SIZE_MAX,
    .failure = STATUS_OURS,
    .run = run,
};
