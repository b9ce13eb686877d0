/* SPDX-License-Identifier: MIT */
/* vram-sim record: its options. */
#include "sim/command.h"
#include "sim/record.h"

#include <getopt.h>
#include <stdlib.h>

static int record_option(const struct command *command, int option, struct record_options *options)
{
    struct complaint complaint = {""};
    int r = 0;
    switch (option) {
    case OPTION_FOR:
        r = value_time("--for", optarg, &options->duration_ns, &complaint);
        break;
    case OPTION_EVERY:
        r = value_time("--every", optarg, &options->period_ns, &complaint);
        break;
    case OPTION_TIMEOUT:
        r = value_time("--timeout", optarg, &options->timeout_ns, &complaint);
        break;
    case OPTION_READINGS:
        r = value_number("--readings", optarg, 1000, &options->readings, &complaint);
        break;
    case OPTION_NAMES:
        options->compose.names = true;
        break;
    case OPTION_IDS:
        options->compose.ids = true;
        break;
    case OPTION_ANSWERS:
        options->answers = true;
        break;
    case OPTION_FORCE:
        options->force = true;
        break;
    default:
        options->wake = true;
        break;
    }
    return r < 0 ? usage_error(command, "%s", complaint.text) : 0;
}

static int check_record(const struct command *command, const struct record_options *options)
{
    if (options->period_ns < 10000000 || options->period_ns > 3600000000000u) {
        return usage_error(command, "--every: from 10ms to 1h, please");
    }
    if (options->timeout_ns < 100000000 || options->timeout_ns > 3600000000000u) {
        return usage_error(command, "--timeout: from 100ms to 1h, please");
    }
    return options->readings ? 0 : usage_error(command, "--readings: at least 1, please");
}

int run_record(const struct command *command, int argc, char **argv)
{
    static const int allowed[] = {
        OPTION_FOR, OPTION_EVERY,   OPTION_READINGS, OPTION_TIMEOUT, OPTION_NAMES,
        OPTION_IDS, OPTION_ANSWERS, OPTION_FORCE,    OPTION_WAKE,    0};
    struct record_options options = {
        .readings = 5, .period_ns = 250000000, .timeout_ns = 10000000000u};
    const char *from_environment = getenv("VRAM_DRIVER");
    int option;
    while ((option = next_option(command, argc, argv, allowed)) > 0) {
        if (option == '?' || record_option(command, option, &options)) {
            return EXIT_USAGE;
        }
    }
    if (option == 0) {
        return EXIT_DONE;
    }
    if (argc - optind != 1) {
        return usage_error(command, argc == optind ? "into which file? - is standard output"
                                                   : "only one file can be written");
    }
    options.file = argv[optind];
    options.driver = driver                                    ? driver
                     : from_environment && from_environment[0] ? from_environment
                                                               : "nvml";
    return check_record(command, &options) ? EXIT_USAGE : record(&options);
}
