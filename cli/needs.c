/* SPDX-License-Identifier: MIT */
/* vram needs: what the daemon has learned of what programs need. */
#include "cli/command.h"

#include "cli/figures.h"
#include "cli/past.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/text.h"
#include <inttypes.h>
#include <stdio.h>

static void add_bytes(struct table *table, uint64_t bytes)
{
    char text[FIGURE_MAX];
    table_cell(table, figure_bytes(table->screen, bytes, text));
}

static void print_needs(struct cli *cli, const struct past *past)
{
    static const struct table_column columns[] = {{"LABEL", TABLE_KEPT | TABLE_FLEXIBLE},
                                                  {"USER", TABLE_FLEXIBLE},
                                                  {"RUNS", TABLE_RIGHT},
                                                  {"PEAK", TABLE_RIGHT},
                                                  {"STEADY", TABLE_RIGHT},
                                                  {"NEEDS", TABLE_RIGHT},
                                                  {"", 0}};
    struct table table CLEANUP(table_done);
    char runs[24];
    table_init(&table, cli_screen(cli), columns, ARRAY_LENGTH(columns));
    for (size_t i = 0; i < past->count; i++) {
        const struct past_need *need = &past->needs[i];
        bool known = need->need_bytes != VRAM_UNKNOWN;
        (void)snprintf(runs, sizeof(runs), "%" PRIu64, need->runs);
        table_cell(&table, need->label);
        table_cell(&table, need->user);
        table_cell(&table, runs);
        add_bytes(&table, need->peak_bytes);
        add_bytes(&table, need->steady_bytes);
        add_bytes(&table, need->need_bytes);
        table_cell(&table, known ? NULL : need->verdict);
    }
    table_print(&table, &cli->out, 0);
}

static int forget(struct cli *cli, const char *label)
{
    struct buf safe CLEANUP(buf_done) = BUF_INIT;
    int r = vram_daemon_forget(cli->vram, label);
    if (r < 0) {
        return cli_fail_daemon(cli, r);
    }
    text_safe(&safe, label, cli_screen(cli)->utf8);
    if (cli->format == FORMAT_JSON) {
        buf_format(&cli->out, "{\"schema\":1,\"forgotten\":%d}\n", r);
    } else if (r == 0) {
        cli_note(cli, "nothing was known of %s", safe.data ? safe.data : "");
    } else {
        buf_format(&cli->out, "%s is forgotten, with %d of its runs\n", safe.data ? safe.data : "",
                   r);
    }
    return r > 0 ? STATUS_YES : STATUS_NO;
}

static int run(struct cli *cli)
{
    struct past past CLEANUP(past_done) = {0};
    const char *label = arguments_value(&cli->arguments, "forget");
    int status = session_open(cli);
    if (status == 0 && label) {
        return forget(cli, label);
    }
    if (status == 0) {
        status = past_needs(cli, NULL, &past);
    }
    if (status != 0) {
        return status;
    }
    if (cli->format == FORMAT_JSON) {
        past_print(&cli->out, past.document);
        buf_char(&cli->out, '\n');
    } else if (past.count == 0) {
        cli_note(cli, "nothing was learned yet: a lease that ends teaches what its label needs");
    } else {
        print_needs(cli, &past);
    }
    return STATUS_YES;
}

static const struct option options[] = {
    {"forget", 0, "LABEL", "forget what was learned of your leases with this label"},
    {NULL, 0, NULL, NULL},
};

const struct command command_needs = {
    .name = "needs",
    .summary = "what programs need, as their leases have taught it",
    .arguments = "",
    .description =
        "Lists for each label of a lease, and its user, what `vram run auto` would ask for: the "
        "most "
        "that the members of one of its last ten runs held at once on a GPU, and on top 3 %, or 15 "
        "% "
        "where there is a single run, and 128 MiB at least. A run counts that was watched from its "
        "grant to its end. One that ended in a suspected out-of-memory counts as more than it "
        "held: "
        "a fifth more, and 512 MiB at least.\n\nPEAK is what the run held that asks for most; "
        "STEADY "
        "what runs held once they had started: the median of their last half, of whole runs the "
        "most. "
        "A program that needs more for a moment, to compile or to load, shows it in the "
        "difference; what "
        "is asked for has to do for the moment too.\n\nelastic are those that take what they find: "
        "85 % "
        "of "
        "the card or more, or as large a part of what was free each time. Memory is looked at "
        "about once a second: a peak that was shorter may have been missed. The daemon must keep a "
        "history "
        "(`history = on` in /etc/vram.conf). A lease without a label teaches nothing; `vram run` "
        "gives "
        "one to each.",
    .options = options,
    .json =
        "one object: schema and needs, each with label, user, verdict (known, unknown, elastic), "
        "need_bytes, peak_bytes, steady_bytes, runs and message; with --forget: schema and "
        "forgotten",
    .statuses = "0124",
    .examples = "vram needs\twhat is known\n"
                "vram needs --forget comfyui\tits model is another one now\n",
    .run = run,
};
