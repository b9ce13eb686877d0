/* SPDX-License-Identifier: MIT */
/* vram metrics: what a Prometheus server reads, once. */
#include "cli/command.h"

#include "cli/session.h"
#include <stdlib.h>

static int run(struct cli *cli)
{
    bool open = arguments_has(&cli->arguments, "openmetrics");
    char *text;
    int status = session_open(cli);
    if (status != 0) {
        return status;
    }
    int r =
        vram_metrics(cli->vram, open ? VRAM_METRICS_OPENMETRICS : VRAM_METRICS_PROMETHEUS, &text);
    if (r < 0) {
        return cli_fail_library(cli, r);
    }
    buf_text(&cli->out, text);
    free(text);
    return STATUS_YES;
}

static const struct option options[] = {
    {"openmetrics", 0, NULL, "print OpenMetrics 1.0 instead of Prometheus' text format"},
    {NULL, 0, NULL, NULL},
};

const struct command command_metrics = {
    .name = "metrics",
    .summary = "the figures as Prometheus reads them, once",
    .arguments = "",
    .description =
        "Prints what GET /metrics of the daemon answers: memory of every GPU, its largest "
        "processes, sums by user and container, leases, and how the driver is doing. Without a "
        "daemon the driver is asked, and nothing is told of leases.\n\nA file of it is for the "
        "textfile collector of Prometheus' node_exporter, where a server cannot read from the "
        "daemon itself; `vramd --listen` lets it. What is unknown is left out, and names are "
        "shown without control characters.",
    .options = options,
    .statuses = "0234",
    .examples =
        "vram metrics\tall of it\n"
        "vram metrics >vram.prom.new && mv vram.prom.new vram.prom\tfor the textfile collector\n",
    .run = run,
};
