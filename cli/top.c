/* SPDX-License-Identifier: MIT */
/* vram top: the live picture on a terminal. */
#include "cli/command.h"

#include "cli/text.h"
#include "cli/values.h"
#include "common/program_path.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PERIOD_DEFAULT_NS ((uint64_t)1000000000)
#define PERIOD_MIN_NS ((uint64_t)100000000)
#define PERIOD_MAX_NS ((uint64_t)60000000000)

enum { PATH_SIZE = 512, FIXED_MAX = 8 };

/* As vram-top reads them, for free(). NULL: out of memory. */
static const char **arguments_of(const struct cli *cli, const char *path, const char *period)
{
    const struct arguments *arguments = &cli->arguments;
    const char **list = calloc(2 * arguments->given_count + FIXED_MAX, sizeof(*list));
    size_t count = 0, position = 0;
    if (!list) {
        return NULL;
    }
    list[count++] = path;
    list[count++] = "--every-ns";
    list[count++] = period;
    for (size_t i = 0; i < 2; i++) {
        const char *value = arguments_value(arguments, i ? "color" : "driver");
        if (value) {
            list[count++] = i ? "--color" : "--driver";
            list[count++] = value;
        }
    }
    if (arguments_has(arguments, "wake")) {
        list[count++] = "--wake";
    }
    for (const char *gpu; (gpu = arguments_next(arguments, "gpu", &position));) {
        list[count++] = "--gpu";
        list[count++] = gpu;
    }
    return list;
}

static int run(struct cli *cli)
{
    char path[PATH_SIZE], period[24], quoted[TEXT_QUOTED_MAX];
    uint64_t period_ns = PERIOD_DEFAULT_NS;
    int status = values_duration(cli, "every", &period_ns);
    if (status != 0) {
        return status;
    }
    if (period_ns < PERIOD_MIN_NS || period_ns > PERIOD_MAX_NS) {
        return cli_fail(cli, STATUS_USAGE, "usage", NULL, "--every %s: from 100ms to 1m, please",
                        text_quote(arguments_value(&cli->arguments, "every"), quoted));
    }
    if (cli->format != FORMAT_TEXT) {
        return cli_fail(cli, STATUS_USAGE, "usage", "`vram watch --json` is for programs",
                        "top is for people");
    }
    if (program_path("vram-top", NULL, path, sizeof(path)) < 0) {
        return cli_fail(cli, STATUS_FAILED, "no_vram_top",
                        "it is a part of vram's installation, where ncurses was there when it was "
                        "built; `vram watch` needs none",
                        "the program vram-top is not found");
    }
    (void)snprintf(period, sizeof(period), "%" PRIu64, period_ns);
    const char **arguments = arguments_of(cli, path, period);
    if (!arguments) {
        return cli_fail_memory(cli);
    }
    (void)signal(SIGPIPE, cli->pipe_signal);
    (void)execv(path, (char *const *)(uintptr_t)arguments);
    int error = errno;
    free(arguments);
    return cli_fail(cli, STATUS_FAILED, "no_vram_top", NULL, "%s cannot be executed: %s", path,
                    strerror(error));
}

static const struct option options[] = {
    {"every", 0, "T", "how often the driver is asked: 100ms to 1m (1s)"},
    {NULL, 0, NULL, NULL},
};

const struct command command_top = {
    .name = "top",
    .summary = "the live picture: GPUs, processes, leases",
    .arguments = "",
    .description =
        "Shows on the terminal what each GPU holds and how it came to that, its processes with the "
        "most that they were seen to hold, who leases and who waits. Keys: q quits, ? tells the "
        "others. Leases are shown where a daemon runs; x ends one of your own. Where it keeps a "
        "history, charts and peaks begin with that. A driver that does "
        "not answer leaves the last figures there, with their age.",
    .options = options,
    .statuses = "024",
    .examples = "vram top\tall GPUs, once a second\n"
                "vram top --gpu 0 --every 250ms\tone GPU, closely\n"
                "vram top --driver sim:8xh100\tthe simulated driver\n",
    .run = run,
};
