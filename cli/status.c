/* SPDX-License-Identifier: MIT */
/* vram status: each GPU with its figures and what holds its memory. */
#include "cli/command.h"

#include "cli/fields.h"
#include "cli/figures.h"
#include "cli/processes.h"
#include "cli/session.h"
#include "cli/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beyond this a line is no longer read as one; the processes' table may be wider. */
enum { BLOCK_WIDTH_MAX = 112, INDENT = 2, GAP = 3 };

enum { FIGURE_COUNT = 6 };

/* One of the figures of a GPU's memory. */
struct figure {
    const char *label;
    char value[FIGURE_MAX];
};

/* A view of the answer: where it goes and how wide it may be. */
struct view {
    struct buf *out;
    const struct screen *screen;
    size_t width; /* of what is not a table */
};

static void fill_figures(const struct screen *screen, const struct vram_gpu *gpu,
                         struct figure figures[FIGURE_COUNT])
{
    const struct {
        const char *label, *key;
    } rows[FIGURE_COUNT] = {
        {"total", "total_bytes"},
        {"used", "used_bytes"},
        {"free", "free_bytes"},
        {"driver", "driver_reserved_bytes"},
        {"outstanding", "outstanding_bytes"},
        {"headroom", "headroom_bytes"},
    };
    for (size_t i = 0; i < FIGURE_COUNT; i++) {
        figures[i].label = rows[i].label;
        (void)figure_value(screen, fields_value(VRAM_OBJECT_GPU, rows[i].key, gpu),
                           figures[i].value);
    }
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The width of a column of figures: its longest label and value, `columns` to a row. */
static size_t label_width(const struct figure *figures, size_t column, size_t columns)
{
    size_t width = 0;
    for (size_t i = column; i < FIGURE_COUNT; i += columns) {
        width = larger(width, strlen(figures[i].label));
    }
    return width;
}

static size_t value_width(const struct figure *figures)
{
    size_t width = sizeof("99.9 GiB") - 1;
    for (size_t i = 0; i < FIGURE_COUNT; i++) {
        width = larger(width, text_width(figures[i].value));
    }
    return width;
}

/* The most figures to a row that divide evenly and fit. */
static size_t choose_columns(const struct view *view, const struct figure *figures)
{
    static const size_t choices[] = {6, 3, 2};
    for (size_t i = 0; i < ARRAY_LENGTH(choices); i++) {
        size_t width = INDENT + GAP * (choices[i] - 1);
        for (size_t column = 0; column < choices[i]; column++) {
            width += label_width(figures, column, choices[i]) + 1 + value_width(figures);
        }
        if (width <= view->width) {
            return choices[i];
        }
    }
    return 1;
}

static void add_figures(const struct view *view, const struct figure *figures)
{
    size_t columns = choose_columns(view, figures);
    size_t values = value_width(figures);
    for (size_t i = 0; i < FIGURE_COUNT; i++) {
        const struct figure *figure = &figures[i];
        size_t labels = label_width(figures, i % columns, columns);
        text_blanks(view->out, i % columns == 0 ? INDENT : GAP);
        buf_format(view->out, "%s%s%s", screen_style(view->screen, STYLE_FAINT), figure->label,
                   screen_plain(view->screen));
        text_blanks(view->out,
                    labels - strlen(figure->label) + 1 + values - text_width(figure->value));
        buf_text(view->out, figure->value);
        buf_text(view->out, (i + 1) % columns == 0 ? "\n" : "");
    }
}

/* ---- The bar --------------------------------------------------------------------------------- */

static void add_cells(const struct view *view, size_t *cells, size_t count, enum symbol symbol,
                      enum style style)
{
    count = count < *cells ? count : *cells;
    *cells -= count;
    buf_text(view->out, count ? screen_style(view->screen, style) : "");
    for (size_t i = 0; i < count; i++) {
        buf_text(view->out, screen_symbol(view->screen, symbol));
    }
    buf_text(view->out, count ? screen_plain(view->screen) : "");
}

static void add_bar(const struct view *view, const struct vram_gpu *gpu)
{
    uint64_t total = gpu->total_bytes;
    if (total == 0 || total == VRAM_UNKNOWN || gpu->used_bytes == VRAM_UNKNOWN) {
        return;
    }
    unsigned percent = (unsigned)((double)gpu->used_bytes / (double)total * 100 + 0.5);
    enum style style = percent >= 90 ? STYLE_BAD : percent >= 70 ? STYLE_WARN : STYLE_GOOD;
    size_t width = view->width - INDENT - sizeof("[] 100 % used") + 1, cells = width;
    text_blanks(view->out, INDENT);
    buf_char(view->out, '[');
    add_cells(view, &cells, figure_cells(gpu->used_bytes, total, width), SYMBOL_BAR_USED, style);
    add_cells(view, &cells, figure_cells(gpu->driver_reserved_bytes, total, width),
              SYMBOL_BAR_DRIVER, STYLE_FAINT);
    add_cells(view, &cells, figure_cells(gpu->outstanding_bytes, total, width), SYMBOL_BAR_PROMISED,
              style);
    add_cells(view, &cells, cells, SYMBOL_BAR_FREE, STYLE_FAINT);
    buf_format(view->out, "] %3u %% used\n", percent);
}

/* ---- A GPU ----------------------------------------------------------------------------------- */

static bool has_figures(const struct vram_gpu *gpu)
{
    return gpu->state == VRAM_GPU_OK || gpu->total_bytes != VRAM_UNKNOWN;
}

/* "GPU 0  NVIDIA GeForce RTX 4090            41 °C   3 % busy" */
static void add_title(const struct view *view, const struct vram_gpu *gpu)
{
    struct buf left CLEANUP(buf_done) = BUF_INIT;
    char label[GPU_LABEL_MAX], right[2 * FIGURE_MAX + 16], heat[FIGURE_MAX], load[FIGURE_MAX];
    buf_format(&left, "GPU %s  ", session_gpu_label(gpu, label));
    text_safe(&left, gpu->name ? gpu->name : "unknown", view->screen->utf8);
    if (gpu->state == VRAM_GPU_OK) {
        (void)snprintf(right, sizeof(right), "%s   %s busy",
                       figure_celsius(view->screen, gpu->temperature_c, heat),
                       figure_percent(view->screen, gpu->utilization_percent, load));
    } else {
        (void)snprintf(right, sizeof(right), "%s", vram_gpu_state_name(gpu->state));
    }
    if (left.failed) {
        view->out->failed = true;
        return;
    }
    size_t room = view->width - text_width(right) - GAP;
    buf_text(view->out, screen_style(view->screen, STYLE_STRONG));
    if (view->screen->terminal) {
        text_cut(view->out, left.data, room, screen_symbol(view->screen, SYMBOL_CUT));
    } else {
        buf_text(view->out, left.data);
    }
    buf_text(view->out, screen_plain(view->screen));
    size_t width = text_width(left.data);
    text_blanks(view->out, GAP + (width < room ? room - width : 0));
    const char *style = screen_style(view->screen, STYLE_WARN);
    bool plain = gpu->state == VRAM_GPU_OK;
    buf_format(view->out, "%s%s%s\n", plain ? "" : style, right,
               plain ? "" : screen_plain(view->screen));
}

static void add_remark(const struct view *view, enum style style, const char *text)
{
    text_blanks(view->out, INDENT);
    buf_text(view->out, screen_style(view->screen, style));
    struct buf wrapped CLEANUP(buf_done) = BUF_INIT;
    text_wrap(&wrapped, text, INDENT, INDENT, view->width);
    if (wrapped.failed) {
        view->out->failed = true;
        return;
    }
    buf_add(view->out, wrapped.data, wrapped.length - 1);
    buf_format(view->out, "%s\n", screen_plain(view->screen));
}

/* What the figures do not say themselves. */
static void add_remarks(const struct view *view, const struct vram_gpu *gpu)
{
    static const char *const states[] = {
        [VRAM_GPU_OK] = NULL,
        [VRAM_GPU_ASLEEP] = "asleep: --wake asks it",
        [VRAM_GPU_LOST] = "lost: it no longer answers; `vram doctor` tells what to do",
        [VRAM_GPU_DENIED] = "denied: this user may not open it; `vram doctor` tells what to do",
        [VRAM_GPU_HUNG] = "hung: the driver does not answer; `vram doctor` tells what to do",
    };
    char text[160], age[FIGURE_MAX];
    if (gpu->state < ARRAY_LENGTH(states) && states[gpu->state]) {
        add_remark(view, STYLE_WARN, states[gpu->state]);
    }
    if (gpu->age_ms != VRAM_UNKNOWN && gpu->age_ms >= 1000 && has_figures(gpu)) {
        (void)snprintf(text, sizeof(text), "figures from %s ago", figure_age(gpu->age_ms, age));
        add_remark(view, STYLE_WARN, text);
    }
    if (gpu->memory_kind == VRAM_MEMORY_UNIFIED) {
        add_remark(view, STYLE_FAINT,
                   "unified memory: total and free are RAM's, used is the GPU processes' part");
    }
    if (gpu->memory_kind == VRAM_MEMORY_MIG) {
        (void)snprintf(text, sizeof(text), "MIG: a share of the card %.80s",
                       gpu->parent_uuid ? gpu->parent_uuid : "");
        add_remark(view, STYLE_FAINT, text);
    }
    if (gpu->used_includes_reserved) {
        add_remark(view, STYLE_FAINT,
                   "used includes the driver's reserve: this driver does not tell them apart");
    }
}

static void add_drained(const struct view *view, const struct vram_gpu *gpu)
{
    if (gpu->drained) {
        add_remark(view, STYLE_WARN,
                   "drained: no new lease is granted here; `vram undrain` ends it");
    }
}

/* What of the outstanding memory no lease has. */
static void add_ceilings(const struct view *view, const struct vram_gpu *gpu)
{
    char text[128], amount[FIGURE_MAX];
    if (gpu->ceiling_bytes == VRAM_UNKNOWN || gpu->ceiling_bytes == 0) {
        return;
    }
    (void)snprintf(text, sizeof(text),
                   "%s of outstanding kept by ceilings, for programs that never ask: `vram leases`",
                   figure_bytes(view->screen, gpu->ceiling_bytes, amount));
    add_remark(view, STYLE_FAINT, text);
}

/* Used memory that no process of the list accounts for. */
static void add_unattributed(const struct view *view, const struct vram_gpu *gpu)
{
    char text[128], amount[FIGURE_MAX];
    bool all_known = true;
    if (gpu->unattributed_bytes == VRAM_UNKNOWN || gpu->unattributed_bytes == 0) {
        return;
    }
    for (size_t i = 0; i < gpu->process_count; i++) {
        all_known = all_known && gpu->processes[i].used_bytes != VRAM_UNKNOWN;
    }
    (void)snprintf(text, sizeof(text), "unattributed %s: used, but %s",
                   figure_bytes(view->screen, gpu->unattributed_bytes, amount),
                   all_known ? "by none of the listed processes"
                             : "the driver does not tell how much each process holds");
    add_remark(view, STYLE_FAINT, text);
}

static void add_processes(const struct view *view, const struct vram_gpu *gpu)
{
    if (!gpu->processes_known) {
        add_remark(view, STYLE_FAINT, "processes: unknown");
    } else if (gpu->process_count == 0) {
        bool others = gpu->unattributed_bytes != VRAM_UNKNOWN && gpu->unattributed_bytes;
        add_remark(view, STYLE_FAINT,
                   others ? "no processes that can be seen here" : "no processes");
    } else {
        struct holding *holdings = calloc(gpu->process_count, sizeof(*holdings));
        for (size_t i = 0; holdings && i < gpu->process_count; i++) {
            holdings[i] = (struct holding){gpu, &gpu->processes[i]};
        }
        if (holdings) {
            processes_print(view->out, view->screen, holdings, gpu->process_count, 0, INDENT);
        } else {
            view->out->failed = true;
        }
        free(holdings);
    }
    add_unattributed(view, gpu);
}

static void add_gpu(const struct view *view, const struct vram_gpu *gpu)
{
    add_title(view, gpu);
    if (has_figures(gpu)) {
        struct figure figures[FIGURE_COUNT];
        fill_figures(view->screen, gpu, figures);
        add_bar(view, gpu);
        add_figures(view, figures);
    }
    add_remarks(view, gpu);
    if (has_figures(gpu)) {
        add_drained(view, gpu);
        add_ceilings(view, gpu);
        add_processes(view, gpu);
    }
}

/* ---- The command ----------------------------------------------------------------------------- */

static void print_text(struct cli *cli, const struct vram_snapshot *snapshot,
                       const struct selection *selection)
{
    const struct screen *screen = cli_screen(cli);
    size_t width = screen->width < BLOCK_WIDTH_MAX ? screen->width : BLOCK_WIDTH_MAX;
    struct view view = {&cli->out, screen, width};
    for (size_t i = 0; i < selection->count; i++) {
        buf_text(&cli->out, i ? "\n" : "");
        add_gpu(&view, vram_snapshot_gpu(snapshot, selection->positions[i]));
    }
}

static void print_csv(struct cli *cli, const struct vram_snapshot *snapshot,
                      const struct selection *selection)
{
    fields_csv_header(&cli->out, VRAM_OBJECT_GPU);
    buf_char(&cli->out, '\n');
    for (size_t i = 0; i < selection->count; i++) {
        fields_csv(&cli->out, VRAM_OBJECT_GPU,
                   vram_snapshot_gpu(snapshot, selection->positions[i]));
        buf_char(&cli->out, '\n');
    }
}

static void note_waiters(struct cli *cli, const struct vram_snapshot *snapshot)
{
    uint64_t waiters = vram_snapshot_waiters(snapshot);
    if (waiters != VRAM_UNKNOWN && waiters > 0) {
        cli_note(cli, "%" PRIu64 " %s for room; `vram leases` shows for what", waiters,
                 waiters == 1 ? "request waits" : "requests wait");
    }
}

static int run(struct cli *cli)
{
    struct vram_snapshot *snapshot CLEANUP(session_snapshot_done) = NULL;
    struct selection selection CLEANUP(selection_done) = {0};
    uint32_t take = VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH;
    int status = session_open(cli);
    if (status == 0) {
        session_resume(cli);
        take |= cli->format == FORMAT_TEXT ? VRAM_TAKE_COMMANDS : 0;
        status = session_take(cli, take, &snapshot);
    }
    if (status == 0) {
        status = session_select(cli, snapshot, &selection);
    }
    if (status != 0) {
        return status;
    }
    session_note_visible(cli, snapshot);
    session_note_problems(cli, snapshot, &selection);
    note_waiters(cli, snapshot);
    if (cli->format == FORMAT_JSON) {
        return session_print_json(cli, snapshot, &selection);
    }
    if (cli->format == FORMAT_CSV) {
        print_csv(cli, snapshot, &selection);
    } else {
        print_text(cli, snapshot, &selection);
    }
    return STATUS_YES;
}

static const uint32_t objects[] = {VRAM_OBJECT_GPU, VRAM_OBJECT_PROCESS};

const struct command command_status = {
    .name = "status",
    .summary = "what each GPU has, what is free, and who holds the rest",
    .arguments = "",
    .description =
        "Prints for each GPU total, used, free and driver-reserved memory, temperature, "
        "utilization, what leases have promised and not yet filled (outstanding), and the "
        "headroom: what a program may still take and leave the default margin of 1024 MiB. Then "
        "come the processes that hold memory, largest first. A figure that the driver cannot tell "
        "is shown as unknown, never as 0.\n\nThe bar shows used memory, then the driver's "
        "reserve, then what is outstanding.",
    .json = "one object: schema, taken_at, driver, errors, and gpus, each with its processes",
    .csv = "one row for each GPU",
    .objects = objects,
    .object_count = ARRAY_LENGTH(objects),
    .statuses = "0234",
    .examples = "vram\tall GPUs\n"
                "vram --gpu 0 --json\tone GPU for a program\n"
                "vram status --driver sim:8xh100\tthe simulated driver\n",
    .run = run,
};
