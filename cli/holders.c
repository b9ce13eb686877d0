/* SPDX-License-Identifier: MIT */
/* vram holders: which programs the daemon may ask to give memory back, and what came of it. */
#include "cli/command.h"

#include "cli/figures.h"
#include "cli/moments.h"
#include "cli/past.h"
#include "cli/session.h"
#include "cli/table.h"
#include <string.h>

static void add_bytes(struct table *table, uint64_t bytes)
{
    char text[FIGURE_MAX];
    table_cell(table, bytes ? figure_bytes(table->screen, bytes, text) : NULL);
}

static void print_holders(struct cli *cli, const struct past *past)
{
    static const struct table_column columns[] = {
        {"HOLDER", TABLE_KEPT},  {"ASKED AS", 0}, {"STATE", TABLE_KEPT},   {"HOLDS", TABLE_RIGHT},
        {"LEASED", TABLE_RIGHT}, {"WHEN", 0},     {"LAST", TABLE_FLEXIBLE}};
    struct table table CLEANUP(table_done);
    char text[MOMENT_MAX];
    table_init(&table, cli_screen(cli), columns, ARRAY_LENGTH(columns));
    for (size_t i = 0; i < past->count; i++) {
        const struct past_holder *holder = &past->holders[i];
        table_cell(&table, holder->name);
        table_cell(&table, holder->ask);
        table_cell(&table, holder->state);
        add_bytes(&table, holder->held_bytes);
        add_bytes(&table, holder->leased_bytes);
        table_cell(&table, holder->last_ms == PAST_NEVER
                               ? NULL
                               : moment_short(holder->last_ms, moment_now_ms(), true, text));
        table_cell(&table, holder->last);
    }
    table_print(&table, &cli->out, 0);
}

static int run(struct cli *cli)
{
    struct past past CLEANUP(past_done) = {0};
    int status = session_open(cli);
    if (status == 0) {
        status = past_holders(cli, &past);
    }
    if (status != 0) {
        return status;
    }
    if (cli->format == FORMAT_JSON) {
        past_print(&cli->out, past.document);
        buf_char(&cli->out, '\n');
    } else if (past.count == 0) {
        cli_note(cli,
                 "no holder is configured, and no lease is on offer: a section [holder NAME] in "
                 "/etc/vram.conf names one");
    } else {
        print_holders(cli, &past);
    }
    return STATUS_YES;
}

const struct command command_holders = {
    .name = "holders",
    .summary = "which programs may be asked to give memory back, and what came of it",
    .arguments = "",
    .description =
        "Lists who is asked to give memory back before somebody waits for it: the holders that the "
        "daemon's configuration names (vram.conf(5)), and leases whose programs have offered them "
        "(asked as \"lease\").\n\nTheir state is absent (none of "
        "its processes holds memory), idle, busy, unknown (nobody can tell whether it is busy), "
        "leased (what it holds is promised to it, by a lease or a ceiling, so that giving it back "
        "would help nobody), asked, or resting (nothing came back when it was asked, and it is "
        "left alone for a while).",
    .json = "one object: schema and holders, each with name, ask, match, lease, cost, state, "
            "held_bytes, "
            "leased_bytes, last, last_at and again_at",
    .statuses = "024",
    .examples = "vram holders\twho could make room\n",
    .run = run,
};
