/* SPDX-License-Identifier: MIT */
/* The list of commands and of the options that all of them have. */
#include "cli/command.h"

#include <string.h>

const struct command *const commands[] = {
    &command_status,  &command_fit,
    &command_ps,      &command_watch,
    &command_top,     &command_doctor,
    &command_run,     &command_reserve,
    &command_release, &command_leases,
    &command_drain,   &command_undrain,
    &command_holders, &command_needs,
    &command_history, &command_report,
    &command_why,     &command_metrics,
    &command_pause,   &command_resume,
    &command_record,  &command_serve,
    &command_help,    NULL, /* this comment keeps a line for each, however the list is formatted */
};

const struct option global_options[] = {
    {"gpu", 0, "SEL",
     "only this GPU: an index, a UUID or a beginning of one, or a PCI address; repeatable"},
    {"driver", 0, "DRV",
     "whom to ask: auto (the default), nvml, nvml:/path/to/library, or sim:NAME for the simulated "
     "driver; VRAM_DRIVER sets the default"},
    {"json", 0, NULL, "print one JSON object"},
    {"csv", 0, NULL, "print CSV with a header line"},
    {"wake", 0, NULL, "wake sleeping GPUs to ask them"},
    {"color", 0, "WHEN",
     "auto (the default: on terminals, unless NO_COLOR is set), always or never"},
    {"help", 'h', NULL, "explain the command"},
    {"version", 0, NULL, "print the version"},
    {NULL, 0, NULL, NULL},
};

const struct command *command_find(const char *name)
{
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

const struct command *command_nearest(const char *name)
{
    const struct command *nearest = NULL;
    unsigned best = 255;
    for (size_t i = 0; commands[i]; i++) {
        if (arguments_is_nearer(name, commands[i]->name, &best)) {
            nearest = commands[i];
        }
    }
    return nearest;
}
