/* SPDX-License-Identifier: MIT */
/* vram record: what a driver answers, as a scenario of the simulated driver. */
#include "cli/command.h"

#include "common/program_path.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 512, ARGUMENTS_MAX = 32 };

static size_t add_options(const struct cli *cli, const char **list, size_t count)
{
    static const char *const valued[][2] = {{"for", "--for"},
                                            {"every", "--every"},
                                            {"readings", "--readings"},
                                            {"timeout", "--timeout"},
                                            {"driver", "--driver"}};
    static const char *const plain[][2] = {{"names", "--names"},
                                           {"ids", "--ids"},
                                           {"answers", "--answers"},
                                           {"force", "--force"},
                                           {"wake", "--wake"}};
    for (size_t i = 0; i < ARRAY_LENGTH(valued); i++) {
        const char *value = arguments_value(&cli->arguments, valued[i][0]);
        if (value) {
            list[count++] = valued[i][1];
            list[count++] = value;
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(plain); i++) {
        if (arguments_has(&cli->arguments, plain[i][0])) {
            list[count++] = plain[i][1];
        }
    }
    return count;
}

/* Who knows every function of the driver and the language is vram-sim; it says and returns all the rest. */
static int run(struct cli *cli)
{
    char path[PATH_SIZE];
    const char *list[ARGUMENTS_MAX] = {path, "record"};
    if (cli->format != FORMAT_TEXT || arguments_has(&cli->arguments, "gpu")) {
        return cli_fail(cli, STATUS_USAGE, "usage", NULL,
                        "a recording is a scenario, and of all GPUs: --json, --csv and --gpu have "
                        "no meaning here");
    }
    if (program_path("vram-sim", NULL, path, sizeof(path)) < 0) {
        return cli_fail(cli, STATUS_FAILED, "no_vram_sim",
                        "it is a part of vram's installation; install all of it, or put vram-sim "
                        "in PATH",
                        "the program vram-sim, which records, is not found");
    }
    size_t count = add_options(cli, list, 2);
    list[count++] = "--";
    list[count++] = cli->arguments.words[0];
    (void)signal(SIGPIPE, cli->pipe_signal);
    (void)execv(path, (char *const *)(uintptr_t)list);
    return cli_fail(cli, STATUS_FAILED, "no_vram_sim", NULL, "%s cannot be executed: %s", path,
                    strerror(errno));
}

static const struct option options[] = {
    {"for", 0, "T", "also follow what changes, for this time"},
    {"every", 0, "T", "how often it looks then: 10ms to 1h (250ms)"},
    {"readings", 0, "N", "how often everything is read, for how long calls take (5)"},
    {"timeout", 0, "T", "how long a call may take before it is recorded as one that hangs (10s)"},
    {"names", 0, NULL, "the names of processes as they are, instead of process-1 and so on"},
    {"ids", 0, NULL, "UUIDs and serial numbers as they are, instead of made-up ones"},
    {"answers", 0, NULL, "the answers as they are, one a line, instead of a scenario"},
    {"force", 0, NULL, "overwrite FILE"},
    {NULL, 0, NULL, NULL},
};

const struct command command_record = {
    .name = "record",
    .summary = "write what the driver answers, to be played elsewhere",
    .arguments = "FILE",
    .description =
        "Asks the driver everything that the simulated driver can play, and writes what it "
        "answers, how long that takes, and what it does not have, to FILE ('-' is standard "
        "output): "
        "a scenario that --driver sim:FILE plays, call for call alike, on any machine. Names of "
        "processes, their PIDs, UUIDs and serial numbers are made up unless they are asked for. "
        "Nothing is set on a GPU, and a sleeping one is not woken without --wake. A call that does "
        "not return is recorded as such, and so is a GPU that is lost. Statuses 3 and 4 are those "
        "of a driver that does not start or answer, which FILE says, and of a FILE that cannot be "
        "written.",
    .options = options,
    .statuses = "0234",
    .examples = "vram record mine.scenario\tthis machine, as it is now\n"
                "vram record --for 1m load.scenario\tand what happens in a minute\n"
                "vram --driver sim:./mine.scenario status\tplay it\n",
    .words_min = 1,
    .words_max = 1,
    .run = run,
};
