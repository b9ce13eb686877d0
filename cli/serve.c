/* SPDX-License-Identifier: MIT */
/* vram serve: the daemon in the foreground. */
#include "cli/command.h"

#include "common/program_path.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 512, ARGUMENTS_MAX = 16 };

/* Becomes the daemon: what stops or follows this process meets the daemon itself. */
static int run(struct cli *cli)
{
    static const char *const passed[] = {"driver", "socket",     "config",
                                         "listen", "token-file", "history"};
    static const char *const named[] = {"--driver", "--socket",     "--config",
                                        "--listen", "--token-file", "--history"};
    char path[PATH_SIZE];
    const char *arguments[ARGUMENTS_MAX] = {path};
    size_t count = 1;
    if (daemon_path(path, sizeof(path)) < 0) {
        return cli_fail(cli, STATUS_FAILED, "no_vramd",
                        "it is a part of vram's installation; VRAM_DAEMON says where it is "
                        "elsewhere",
                        "the daemon's program, vramd, is not found");
    }
    for (size_t i = 0; i < ARRAY_LENGTH(passed); i++) {
        const char *value = arguments_value(&cli->arguments, passed[i]);
        if (value) {
            arguments[count++] = named[i];
            arguments[count++] = value;
        }
    }
    if (arguments_has(&cli->arguments, "forget")) {
        arguments[count++] = "--forget";
    }
    (void)signal(SIGPIPE, cli->pipe_signal);
    (void)execv(path, (char *const *)(uintptr_t)arguments);
    return cli_fail(cli, STATUS_FAILED, "no_vramd", NULL, "%s cannot be executed: %s", path,
                    strerror(errno));
}

static const struct option options[] = {
    {"socket", 0, "PATH", "listen there instead of the usual place"},
    {"config", 0, "FILE", "read it instead of /etc/vram.conf"},
    {"listen", 0, "ADDR",
     "listen on TCP too, for reading only: ADDR:PORT, [ADDR]:PORT, or PORT of 127.0.0.1; the live "
     "page is there for browsers, /metrics for Prometheus; other machines need a token"},
    {"token-file", 0, "FILE",
     "whose token who reads over TCP must send; nobody else may read the file"},
    {"history", 0, "FILE", "keep what was in FILE; on: where it belongs; off: keep none"},
    {"forget", 0, NULL,
     "go on although the record of what was promised is damaged: what it said is forgotten"},
    {NULL, 0, NULL, NULL},
};

const struct command command_serve = {
    .name = "serve",
    .summary = "run the daemon in the foreground",
    .arguments = "",
    .description =
        "Becomes vramd, which promises room and answers for the driver, until it is stopped. Its "
        "socket is the system's for root and the user's own for others. A service manager runs "
        "vramd itself; `vram run` and `vram reserve` start one that ends when it is no longer "
        "needed.",
    .options = options,
    .statuses = "0234",
    .examples = "vram serve\tuntil Ctrl-C\n"
                "vram serve --listen 127.0.0.1:9470\twith the live page at http://127.0.0.1:9470/\n"
                "vram serve --driver sim:rtx4090\tfor the simulated driver\n",
    .run = run,
};
