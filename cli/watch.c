/* SPDX-License-Identifier: MIT */
/* vram watch: a snapshot a line until stopped. */
#include "cli/command.h"

#include "cli/change.h"
#include "cli/fields.h"
#include "cli/figures.h"
#include "cli/session.h"
#include "cli/stop.h"
#include "cli/text.h"
#include "cli/values.h"
#include "common/clock.h"
#include "common/size.h"
#include "common/utc.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PERIOD_DEFAULT_NS ((uint64_t)1000000000)
#define PERIOD_MIN_NS ((uint64_t)100000000)

enum { GAP = 2, LAST_WIDTH = 5, CHANGE_MIN = 16 };

/* How much a GPU's cell says; the most that fits the line is chosen. */
enum detail {
    DETAIL_NUMBER, /* "1.3", in GiB as the header says */
    DETAIL_USED,   /* "1.3 GiB" */
    DETAIL_TOTAL,  /* "1.3 GiB of 24.0 GiB" */
    DETAIL_BUSY,   /* "1.3 GiB of 24.0 GiB    3 %", or "hung" for the percentage */
};

/* How the lines under one header are laid out. */
struct layout {
    enum detail detail;
    size_t cell_width;
    size_t shown; /* GPUs; the others have no room */
    size_t count;
};

struct watch {
    struct cli *cli;
    uint64_t period_ns;
    struct vram_snapshot *before; /* the last one; NULL at first */
    struct layout layout;
    size_t lines; /* since the header; 0: none yet */
};

/* ---- A line ---------------------------------------------------------------------------------- */

static void write_cell(const struct screen *screen, const struct vram_gpu *gpu, enum detail detail,
                       char *cell, size_t size)
{
    char used[FIGURE_MAX], total[FIGURE_MAX], last[FIGURE_MAX];
    bool known = gpu->used_bytes != VRAM_UNKNOWN, fine = gpu->state == VRAM_GPU_OK;
    (void)figure_bytes(screen, gpu->used_bytes, used);
    (void)figure_bytes(screen, gpu->total_bytes, total);
    if (fine) {
        (void)figure_percent(screen, gpu->utilization_percent, last);
    } else {
        (void)snprintf(last, sizeof(last), "%s", vram_gpu_state_name(gpu->state));
    }
    if (!fine && (!known || detail < DETAIL_BUSY)) {
        (void)snprintf(cell, size, "%s", last);
    } else if (detail == DETAIL_NUMBER && known) {
        (void)snprintf(cell, size, "%.1f", (double)gpu->used_bytes / (double)GIB);
    } else if (detail <= DETAIL_USED || !known) {
        (void)snprintf(cell, size, "%s", used);
    } else if (detail == DETAIL_TOTAL) {
        (void)snprintf(cell, size, "%s of %s", used, total);
    } else {
        int bytes = (int)(LAST_WIDTH + strlen(last) - text_width(last));
        (void)snprintf(cell, size, "%s of %s  %*s", used, total, bytes, last);
    }
}

/* The widest cell that these GPUs can have: a full one. */
static size_t widest_cell(const struct screen *screen, const struct vram_snapshot *snapshot,
                          const struct selection *selection, enum detail detail)
{
    size_t width = detail == DETAIL_NUMBER ? 4 : sizeof("1023 MiB") - 1;
    for (size_t i = 0; i < selection->count; i++) {
        char cell[4 * FIGURE_MAX];
        struct vram_gpu full = *vram_snapshot_gpu(snapshot, selection->positions[i]);
        full.used_bytes = full.total_bytes;
        write_cell(screen, &full, detail, cell, sizeof(cell));
        width = text_width(cell) > width ? text_width(cell) : width;
    }
    return width;
}

static struct layout lay_out(const struct screen *screen, const struct vram_snapshot *snapshot,
                             const struct selection *selection)
{
    size_t count = selection->count, time_width = sizeof("12:00:00") - 1;
    struct layout layout = {.detail = DETAIL_BUSY, .shown = count, .count = count};
    for (;;) {
        layout.cell_width = widest_cell(screen, snapshot, selection, layout.detail);
        if (!screen->terminal || time_width + count * (GAP + layout.cell_width) <= screen->width) {
            return layout;
        }
        if (layout.detail == DETAIL_NUMBER) {
            break;
        }
        layout.detail--;
    }
    layout.shown = (screen->width - time_width - sizeof(" +99") + 1) / (GAP + layout.cell_width);
    return layout;
}

static void add_padded(struct buf *out, const char *text, size_t width)
{
    size_t columns = text_width(text);
    text_blanks(out, GAP + (columns < width ? width - columns : 0));
    buf_text(out, text);
}

static void add_header(struct watch *watch, const struct vram_snapshot *snapshot,
                       const struct selection *selection)
{
    struct cli *cli = watch->cli;
    const struct layout *layout = &watch->layout;
    const struct screen *screen = cli_screen(cli);
    bool number = layout->detail == DETAIL_NUMBER;
    buf_format(&cli->out, "%s%-8s", screen_style(screen, STYLE_FAINT),
               number ? "used GiB" : "TIME");
    for (size_t i = 0; i < layout->shown; i++) {
        char label[GPU_LABEL_MAX], title[GPU_LABEL_MAX + 8];
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, selection->positions[i]);
        (void)snprintf(title, sizeof(title), "%s%s", number ? "" : "GPU ",
                       session_gpu_label(gpu, label));
        add_padded(&cli->out, title, layout->cell_width);
    }
    buf_format(&cli->out, "%s\n", screen_plain(screen));
}

static void add_time(struct buf *out)
{
    char text[16] = "";
    struct timespec now;
    struct tm local;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (localtime_r(&now.tv_sec, &local)) {
        (void)strftime(text, sizeof(text), "%H:%M:%S", &local);
    }
    buf_text(out, text);
}

/* Adds what changed since the line before, as far as it goes into the rest of the line. */
static void add_change(struct watch *watch, const struct vram_snapshot *snapshot,
                       const struct selection *selection)
{
    const struct layout *layout = &watch->layout;
    const struct screen *screen = cli_screen(watch->cli);
    struct buf change CLEANUP(buf_done) = BUF_INIT;
    size_t used = sizeof("12:00:00") - 1 + layout->shown * (GAP + layout->cell_width) + GAP;
    if (!watch->before || (screen->terminal && used + CHANGE_MIN > screen->width)) {
        return;
    }
    change_describe(&change, screen, watch->before, snapshot, selection);
    if (change.length > 0) {
        text_blanks(&watch->cli->out, GAP);
        text_cut(&watch->cli->out, change.data, screen->terminal ? screen->width - used : SIZE_MAX,
                 screen_symbol(screen, SYMBOL_CUT));
    }
    watch->cli->out.failed = watch->cli->out.failed || change.failed;
}

static void add_line(struct watch *watch, const struct vram_snapshot *snapshot,
                     const struct selection *selection)
{
    struct cli *cli = watch->cli;
    cli->screen_known = false; /* terminals change their size */
    const struct screen *screen = cli_screen(cli);
    struct layout layout = lay_out(screen, snapshot, selection);
    bool changed = layout.cell_width != watch->layout.cell_width ||
                   layout.count != watch->layout.count || layout.shown != watch->layout.shown;
    if (watch->lines == 0 || changed ||
        (screen->height > 2 && watch->lines >= screen->height - 1)) {
        watch->layout = layout;
        watch->lines = 1;
        add_header(watch, snapshot, selection);
    }
    add_time(&cli->out);
    for (size_t i = 0; i < layout.shown; i++) {
        char cell[4 * FIGURE_MAX];
        write_cell(screen, vram_snapshot_gpu(snapshot, selection->positions[i]), layout.detail,
                   cell, sizeof(cell));
        add_padded(&cli->out, cell, layout.cell_width);
    }
    if (layout.shown < layout.count) {
        buf_format(&cli->out, " +%zu", layout.count - layout.shown);
    }
    add_change(watch, snapshot, selection);
    buf_char(&cli->out, '\n');
    watch->lines++;
}

static void add_rows(struct watch *watch, const struct vram_snapshot *snapshot,
                     const struct selection *selection)
{
    struct buf *out = &watch->cli->out;
    char time[UTC_TEXT_MAX];
    (void)utc_format(vram_snapshot_taken_at_ns(snapshot), time);
    if (watch->lines++ == 0) {
        buf_text(out, "taken_at,");
        fields_csv_header(out, VRAM_OBJECT_GPU);
        buf_char(out, '\n');
    }
    for (size_t i = 0; i < selection->count; i++) {
        buf_format(out, "%s,", time);
        fields_csv(out, VRAM_OBJECT_GPU, vram_snapshot_gpu(snapshot, selection->positions[i]));
        buf_char(out, '\n');
    }
}

/* ---- The loop -------------------------------------------------------------------------------- */

/* A driver that fails in between may be back the next time: a line says so. */
static void add_failure(struct watch *watch)
{
    struct cli *cli = watch->cli;
    const char *message = vram_error(cli->vram);
    if (cli->format == FORMAT_JSON) {
        cli_error_json(&cli->out, vram_error_code(cli->vram), message, vram_error_hint(cli->vram));
        buf_char(&cli->out, '\n');
    } else if (cli->format == FORMAT_CSV) {
        cli_note(cli, "%s", message);
    } else {
        add_time(&cli->out);
        buf_text(&cli->out, "  no figures: ");
        text_safe(&cli->out, message, cli_screen(cli)->utf8);
        buf_char(&cli->out, '\n');
        watch->lines++;
    }
}

/* One snapshot into the output; 0 or an exit status. */
static int look(struct watch *watch)
{
    struct cli *cli = watch->cli;
    struct vram_snapshot *snapshot = NULL;
    struct selection selection CLEANUP(selection_done) = {0};
    int status = 0;
    if (!watch->before) {
        status = session_take(cli, VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH, &snapshot);
    } else if (vram_snapshot_take(cli->vram, VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH, &snapshot) <
               0) {
        add_failure(watch);
        return 0;
    }
    if (status == 0) {
        status = session_select(cli, snapshot, &selection);
    }
    if (status == 0 && cli->format == FORMAT_JSON) {
        status = session_print_json(cli, snapshot, &selection);
    } else if (status == 0 && cli->format == FORMAT_CSV) {
        add_rows(watch, snapshot, &selection);
    } else if (status == 0) {
        add_line(watch, snapshot, &selection);
    }
    session_snapshot_done(&watch->before);
    watch->before = snapshot;
    return status;
}

/* Looks at multiples of the period since the start, so that the times do not drift; what is missed
 * is left out. */
static int go_on(struct watch *watch)
{
    uint64_t start = clock_now_ns();
    for (;;) {
        bool closed;
        int status = look(watch);
        stop_hold();
        status = cli_flush(watch->cli, status, &closed);
        stop_release();
        if (status != 0 || closed) {
            return status;
        }
        uint64_t next =
            start + ((clock_now_ns() - start) / watch->period_ns + 1) * watch->period_ns;
        if (stop_closed_before(next)) {
            return STATUS_YES;
        }
    }
}

static int run(struct cli *cli)
{
    struct watch watch = {.cli = cli, .period_ns = PERIOD_DEFAULT_NS};
    int status = values_duration(cli, "every", &watch.period_ns);
    if (status == 0 && watch.period_ns < PERIOD_MIN_NS) {
        char quoted[TEXT_QUOTED_MAX];
        return cli_fail(cli, STATUS_USAGE, "usage", NULL, "--every %s is too often; at least 100ms",
                        text_quote(arguments_value(&cli->arguments, "every"), quoted));
    }
    if (status == 0) {
        status = session_open(cli);
    }
    if (status != 0) {
        return status;
    }
    stop_on(SIGINT, STATUS_YES);
    stop_on(SIGTERM, STATUS_YES);
    status = go_on(&watch);
    session_snapshot_done(&watch.before);
    return status;
}

static const struct option options[] = {
    {"every", 0, "T", "how often: 100ms at least, 5s, 1m (1s)"},
    {NULL, 0, NULL, NULL},
};

static const uint32_t objects[] = {VRAM_OBJECT_GPU, VRAM_OBJECT_PROCESS};

const struct command command_watch = {
    .name = "watch",
    .summary = "a snapshot a line until stopped",
    .arguments = "",
    .description = "Prints a line for each snapshot: the time, each GPU's used memory, and what "
                   "changed most since the line before. It ends on Ctrl-C, on SIGTERM, and when "
                   "nobody reads its output any more. A driver that fails in between is told by a "
                   "line, and asked again the next time.",
    .options = options,
    .json = "one line for each snapshot, as `vram status --json` prints it; a failure is a line "
            "with error",
    .csv = "one row for each GPU and snapshot; its first column is taken_at",
    .objects = objects,
    .object_count = ARRAY_LENGTH(objects),
    .statuses = "0234",
    .examples = "vram watch\tonce a second\n"
                "vram watch --every 5s --csv >> log.csv\ta log for a spreadsheet\n"
                "vram watch --json | head -3\tthree snapshots for a program\n",
    .run = run,
};
