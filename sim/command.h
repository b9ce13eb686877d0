/* SPDX-License-Identifier: MIT */
/* What the commands of vram-sim share: sim/vram-sim.c has most, sim/record_command.c one. */
#ifndef VRAM_SIM_COMMAND_H
#define VRAM_SIM_COMMAND_H

#include "common/attr.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *name, *arguments, *summary, *help;
    int (*run)(const struct command *command, int argc, char **argv);
};

extern const char *driver; /* --driver; NULL */

/* Returns EXIT_USAGE. */
int usage_error(const struct command *command, const char *format, ...) PRINTF_LIKE(2, 3);

enum {
    OPTION_DRIVER = 256,
    OPTION_GPU,
    OPTION_RAMP,
    OPTION_FOR,
    OPTION_TYPE,
    OPTION_NAME,
    OPTION_JSON,
    OPTION_EVERY,
    OPTION_READINGS,
    OPTION_TIMEOUT,
    OPTION_NAMES,
    OPTION_IDS,
    OPTION_ANSWERS,
    OPTION_FORCE,
    OPTION_WAKE,
};

/*
 * Reads options of which `allowed` lists those of the command; 'h' is always one. Returns the next
 * option, -1 at the end, 0 where help was given, '?' after an error.
 */
int next_option(const struct command *command, int argc, char **argv, const int *allowed);

#define RECORD_ARGUMENTS                                                                           \
    "FILE [--for T] [--every T] [--readings N] [--timeout T] [--names] [--ids] [--answers] "       \
    "[--force] [--wake] "

#define RECORD_HELP                                                                                \
    "Writes what the driver of this machine answers, or the one of --driver (nvml, "               \
    "nvml:/path/to/library,\n"                                                                     \
    "sim:NAME), to FILE, as a scenario that answers the same; - is standard output. Nothing is "   \
    "set on a\n"                                                                                   \
    "GPU. 'vram record' is the same.\n\n"                                                          \
    "  --for T       also follows what changes, for this time\n"                                   \
    "  --every T     how often it looks then: 10ms to 1h (250ms)\n"                                \
    "  --readings N  how often everything is read, for how long calls take (5)\n"                  \
    "  --timeout T   how long a call may take before it is recorded as one that hangs (10s)\n"     \
    "  --names       the names of processes as they are, instead of process-1 and so on\n"         \
    "  --ids         UUIDs and serial numbers as they are, instead of made-up ones\n"              \
    "  --answers     the answers as they are, one a line, instead of a scenario\n"                 \
    "  --force       overwrites FILE\n"                                                            \
    "  --wake        also where that wakes a sleeping GPU\n\n"                                     \
    "Status 3 where the driver does not start or stops answering, which the file says; 4 where "   \
    "FILE cannot\nbe written.\n"

int run_record(const struct command *command, int argc, char **argv);

#endif
