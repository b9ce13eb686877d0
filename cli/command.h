/* SPDX-License-Identifier: MIT */
/*
 * A command is one constant in one file; the table in commands.c is the only list of them. Help,
 * completion and manual pages come from these constants.
 */
#ifndef VRAM_CLI_COMMAND_H
#define VRAM_CLI_COMMAND_H

#include "cli/cli.h"

struct command {
    const char *name;
    const char *summary;          /* one line without a full stop */
    const char *arguments;        /* for the usage line: "SIZE..."; "" where it takes none */
    const char *description;      /* paragraphs; lines are wrapped where they are shown */
    const struct option *options; /* of its own; NULL: none */
    const char *json;        /* the shape of its JSON in a sentence or two; NULL: no such output */
    const char *csv;         /* what a row of its CSV is; NULL: no such output */
    const uint32_t *objects; /* whose fields JSON and CSV have: enum vram_object ...; NULL: none */
    size_t object_count;
    const char *statuses;        /* the exit statuses it can have, as digits: "0134" */
    const char *examples;        /* lines "command\tmeaning" */
    size_t words_min, words_max; /* how many arguments it takes */
    int failure; /* not 0: what every failure ends with whose status another program could have too */
    int (*run)(struct cli *cli); /* returns an exit status */
};

extern const struct command command_status, command_fit, command_ps, command_watch, command_doctor,
    command_drain, command_undrain, command_run, command_reserve, command_release, command_leases,
    command_holders, command_needs, command_history, command_report, command_why, command_metrics,
    command_pause, command_resume, command_record, command_serve, command_top, command_help;

/* Every command, in the order of the help; ends with NULL. */
extern const struct command *const commands[];

/* The options that every command has. */
extern const struct option global_options[];

/* NULL where there is none of this name. */
const struct command *command_find(const char *name);
/* The command that a wrong word most likely meant; NULL: nothing near. */
const struct command *command_nearest(const char *name);

/* Adds the help of one command, or of the program where it is NULL. */
void help_add(struct buf *out, const struct screen *screen, const struct command *command);

#endif
