/* SPDX-License-Identifier: MIT */
#include "top/draw.h"

#include "cli/figures.h"
#include "cli/session.h"
#include "cli/text.h"
#include "common/buf.h"
#include "top/pen.h"
#include "top/terminal.h"
#include <curses.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    BAR_MIN = 10,
    NAME_WIDTH = 24,
    ID_SHOWN = 8,
    WIDE = 100, /* from here on there is room for everything */
    FULL_PERCENT = 90,
    MUCH_PERCENT = 70,
};

struct view {
    const struct drawing *drawing;
    struct model *model;
    int line;
    size_t width;
};

static struct pen next_line(struct view *view)
{
    return pen_at(&view->drawing->screen, view->line++, view->width);
}

static void blank_line(struct view *view)
{
    struct pen pen = next_line(view);
    pen_end(&pen);
}

/* ---- Title and footer --------------------------------------------------------------------------- */

static void draw_title(struct view *view, size_t shown)
{
    const struct model *model = view->model;
    const struct vram_snapshot *snapshot = model->findings.snapshot;
    struct pen pen = next_line(view);
    pen_text(&pen, STYLE_STRONG, "vram top");
    if (snapshot) {
        const struct vram_driver *driver = vram_snapshot_driver(snapshot);
        pen_format(&pen, STYLE_FAINT, "  %s %s", driver->kind,
                   driver->version ? driver->version : "");
        pen_format(&pen, STYLE_FAINT, "  %s",
                   model->findings.leases ? "with vramd" : "no daemon: no leases");
    }
    pen_format(&pen, STYLE_FAINT, "  every %g s", (double)model->period_ns / 1e9);
    if (shown < model->gpu_count) {
        pen_format(&pen, STYLE_WARN, "  %zu of %zu GPUs shown", shown, model->gpu_count);
    }
    if (model->paused) {
        pen_text(&pen, STYLE_WARN, "  paused");
    }
    if (model->only != UINT32_MAX && model->only < model->gpu_count) {
        char label[GPU_LABEL_MAX];
        pen_format(&pen, STYLE_WARN, "  GPU %s only",
                   session_gpu_label(model_gpu(model, model->only), label));
    }
    if (model->filter[0]) {
        pen_format(&pen, STYLE_WARN, "  filter: %s", model->filter);
    }
    pen_end(&pen);
}

static void draw_footer(const struct view *view)
{
    const struct drawing *drawing = view->drawing;
    struct pen pen = pen_at(&drawing->screen, LINES - 1, view->width);
    if (drawing->mode == MODE_FILTER) {
        pen_format(&pen, STYLE_STRONG, "filter: %s", view->model->filter);
        pen_text(&pen, STYLE_FAINT, "_  Enter keeps it, Esc clears it");
    } else if (drawing->message[0]) {
        pen_text(&pen, drawing->mode == MODE_CONFIRM ? STYLE_WARN : STYLE_STRONG, drawing->message);
    } else {
        pen_text(&pen, STYLE_FAINT,
                 "q quit  ? help  / filter  s sort  1-9 GPU  Tab leases  x end lease  Space pause");
    }
    pen_end(&pen);
}

/* ---- GPUs --------------------------------------------------------------------------------------- */

static enum style style_of(double percent)
{
    return percent >= FULL_PERCENT ? STYLE_BAD : percent >= MUCH_PERCENT ? STYLE_WARN : STYLE_GOOD;
}

static void draw_bar(struct pen *pen, const struct vram_gpu *gpu, size_t width)
{
    const struct {
        uint64_t bytes;
        enum symbol symbol;
        bool faint;
    } parts[] = {{gpu->used_bytes, SYMBOL_BAR_USED, false},
                 {gpu->driver_reserved_bytes, SYMBOL_BAR_DRIVER, true},
                 {gpu->outstanding_bytes, SYMBOL_BAR_PROMISED, false}};
    enum style style = style_of((double)gpu->used_bytes / (double)gpu->total_bytes * 100);
    size_t left = width;
    pen_text(pen, STYLE_FAINT, "[");
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        size_t cells = figure_cells(parts[i].bytes, gpu->total_bytes, width);
        cells = cells < left ? cells : left;
        pen_symbols(pen, parts[i].faint ? STYLE_FAINT : style,
                    screen_symbol(pen->screen, parts[i].symbol), cells);
        left -= cells;
    }
    pen_symbols(pen, STYLE_FAINT, screen_symbol(pen->screen, SYMBOL_BAR_FREE), left);
    pen_text(pen, STYLE_FAINT, "] ");
}

static bool has_figures(const struct vram_gpu *gpu)
{
    return gpu->total_bytes != VRAM_UNKNOWN && gpu->total_bytes > 0 &&
           gpu->used_bytes != VRAM_UNKNOWN;
}

struct figure {
    const char *label, *text;
    size_t width, from; /* `from`: the screen's width from which on it is shown */
};

/* "11.3 GiB of 24.0 GiB  free 12.3 GiB  promised 4.0 GiB  41 °C   3 %", or its beginning. */
static void draw_gpu_figures(struct pen *pen, const struct figure *figures, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pen_text(pen, STYLE_FAINT, figures[i].label);
        size_t taken = text_width(figures[i].text);
        pen_to(pen, pen->at + (figures[i].width > taken ? figures[i].width - taken : 0));
        pen_text(pen, STYLE_NONE, figures[i].text);
    }
}

/* The screen's width from which on it is told what ceilings keep, on every GPU alike. */
static size_t kept_from(const struct view *view)
{
    for (size_t i = 0; i < view->model->gpu_count; i++) {
        uint64_t kept = model_gpu(view->model, i)->ceiling_bytes;
        if (kept && kept != VRAM_UNKNOWN) {
            return 136;
        }
    }
    return SIZE_MAX;
}

static void draw_gpu_rest(const struct view *view, struct pen *pen, const struct vram_gpu *gpu)
{
    const struct screen *screen = &view->drawing->screen;
    char used[FIGURE_MAX], total[FIGURE_MAX], rest[FIGURE_MAX], promised[FIGURE_MAX];
    char heat[FIGURE_MAX], load[FIGURE_MAX], kept[FIGURE_MAX];
    const struct figure figures[] = {
        {"", figure_bytes(screen, gpu->used_bytes, used), 8, 0},
        {" of ", figure_bytes(screen, gpu->total_bytes, total), 8, 0},
        {"  free ", figure_bytes(screen, gpu->free_bytes, rest), 8, 90},
        {"  promised ", figure_bytes(screen, gpu->outstanding_bytes, promised), 8, 116},
        {"  ", figure_celsius(screen, gpu->temperature_c, heat), 6, 116},
        {"  ", figure_percent(screen, gpu->utilization_percent, load), 5, 116},
        {"  ceilings ", figure_bytes(screen, gpu->ceiling_bytes, kept), 8, kept_from(view)},
    };
    size_t count = 0, taken = sizeof("[] ") - 1;
    for (; count < ARRAY_LENGTH(figures) && figures[count].from <= view->width; count++) {
        taken += strlen(figures[count].label) + figures[count].width;
    }
    if (pen->width > pen->at + taken + BAR_MIN) {
        draw_bar(pen, gpu, pen->width - pen->at - taken);
    }
    draw_gpu_figures(pen, figures, count);
}

/* What tells cards apart; that they are NVIDIA's is known. */
static const char *short_name(const struct vram_gpu *gpu)
{
    static const char *const said[] = {"NVIDIA ", "GeForce "};
    const char *name = gpu->name ? gpu->name : "unknown";
    for (size_t i = 0; i < ARRAY_LENGTH(said); i++) {
        size_t length = strlen(said[i]);
        name = strncmp(name, said[i], length) == 0 ? name + length : name;
    }
    return name;
}

static void draw_gpu_line(struct view *view, const struct vram_gpu *gpu)
{
    struct pen pen = next_line(view);
    char label[GPU_LABEL_MAX], age[FIGURE_MAX];
    pen_cell(&pen, STYLE_STRONG, session_gpu_label(gpu, label), 3, true);
    pen_cell(&pen, STYLE_NONE, short_name(gpu), view->width >= WIDE ? NAME_WIDTH : NAME_WIDTH - 10,
             false);
    if (gpu->state != VRAM_GPU_OK) {
        pen_format(&pen, STYLE_WARN, "%s  ", vram_gpu_state_name(gpu->state));
    }
    if (gpu->age_ms != VRAM_UNKNOWN && gpu->age_ms >= 2000 && has_figures(gpu)) {
        pen_format(&pen, STYLE_WARN, "%s ago  ", figure_age(gpu->age_ms, age));
    }
    if (has_figures(gpu)) {
        draw_gpu_rest(view, &pen, gpu);
    }
    pen_end(&pen);
}

/* One line of a chart of used memory: what reaches above `floor` thousandths, up to `height` of them. */
static void draw_chart_line(struct view *view, const struct trail *trail, unsigned floor,
                            unsigned height)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const marks[] = {" ", ".", ".", ":", ":", "|", "|", "#", "#"};
    struct pen pen = next_line(view);
    pen_to(&pen, 5);
    size_t columns = pen.width > pen.at ? pen.width - pen.at : 0;
    for (size_t i = 0; i < columns; i++) {
        uint16_t part = trail_part(trail, columns - 1 - i);
        unsigned over = part == TRAIL_UNKNOWN || part <= floor ? 0 : part - floor;
        unsigned eighths = over >= height ? 8 : (over * 8 + height - 1) / height;
        enum style style = part == TRAIL_UNKNOWN ? STYLE_NONE : style_of(part / 10.0);
        pen_text(&pen, style, view->drawing->screen.utf8 ? blocks[eighths] : marks[eighths]);
    }
    pen_end(&pen);
}

static void draw_gpus(struct view *view, const struct layout *layout)
{
    for (size_t i = 0; i < layout->gpus; i++) {
        const struct vram_gpu *gpu = model_gpu(view->model, i);
        const struct trail *trail = model_trail(view->model, gpu->uuid);
        unsigned lines = (unsigned)layout->gpu_lines - 1;
        draw_gpu_line(view, gpu);
        for (unsigned j = lines; j > 0; j--) {
            draw_chart_line(view, trail, 1000 * (j - 1) / lines, 1000 / lines);
        }
    }
}

/* ---- Processes ---------------------------------------------------------------------------------- */

/* The first row that is shown, so that the cursor's is. */
static void keep_in_view(struct place *place, size_t count, size_t shown)
{
    if (place->cursor < place->first) {
        place->first = place->cursor;
    }
    if (shown > 0 && place->cursor >= place->first + shown) {
        place->first = place->cursor - shown + 1;
    }
    size_t last = count > shown ? count - shown : 0;
    place->first = place->first < last ? place->first : last;
}

/* As `vram leases` shows it; enough to name it. */
static const char *short_id(const char *id, char text[ID_SHOWN + 1])
{
    (void)snprintf(text, ID_SHOWN + 1, "%s", id ? id : "");
    return text;
}

static const char *kind_of(const struct vram_process *process, char text[8])
{
    (void)snprintf(text, 8, "%s%s%s", process->kind & VRAM_PROCESS_COMPUTE ? "C" : "",
                   process->kind & VRAM_PROCESS_GRAPHICS ? "G" : "",
                   process->kind & VRAM_PROCESS_MPS ? "M" : "");
    return text;
}

struct column {
    const char *title;
    size_t width, from; /* `from`: the screen's width from which on it is shown */
    enum sort sort;     /* SORT_COUNT: none by it */
    bool right;
};

enum {
    COLUMN_GPU,
    COLUMN_PID,
    COLUMN_USER,
    COLUMN_KIND,
    COLUMN_MEMORY,
    COLUMN_PEAK,
    COLUMN_LEASE,
    COLUMN_NAME
};

static const struct column columns[] = {
    [COLUMN_GPU] = {"GPU", 4, 0, SORT_GPU, true},
    [COLUMN_PID] = {"PID", 8, 0, SORT_PID, true},
    [COLUMN_USER] = {"USER", 10, 72, SORT_COUNT, false},
    [COLUMN_KIND] = {"KIND", 4, 90, SORT_COUNT, false},
    [COLUMN_MEMORY] = {"MEMORY", 9, 0, SORT_MEMORY, true},
    [COLUMN_PEAK] = {"PEAK", 9, 64, SORT_PEAK, true},
    [COLUMN_LEASE] = {"LEASE", ID_SHOWN, 84, SORT_COUNT, false},
    [COLUMN_NAME] = {"NAME", 0, 0, SORT_NAME, false},
};

static void draw_process_heading(struct view *view)
{
    const struct model *model = view->model;
    struct pen pen = next_line(view);
    for (size_t i = 0; i < ARRAY_LENGTH(columns); i++) {
        const struct column *column = &columns[i];
        enum style style = column->sort == model->sort ? STYLE_STRONG : STYLE_FAINT;
        if (view->width >= column->from) {
            pen_cell(&pen, style, column->title, column->width ? column->width : 4, column->right);
        }
    }
    if (model->row_count == 0) {
        pen_text(&pen, STYLE_FAINT, model->filter[0] ? "none matches" : "no processes");
    }
    pen_end(&pen);
}

static void draw_process(struct view *view, const struct row *row, bool chosen)
{
    const struct screen *screen = &view->drawing->screen;
    const struct vram_process *process = row->process;
    char label[GPU_LABEL_MAX], pid[16], kind[8], memory[FIGURE_MAX], peak[FIGURE_MAX];
    char lease[ID_SHOWN + 1];
    const char *unknown = screen_symbol(screen, SYMBOL_UNKNOWN);
    (void)snprintf(pid, sizeof(pid), "%" PRIu32, process->pid);
    const char *texts[] = {
        [COLUMN_GPU] = session_gpu_label(row->gpu, label),
        [COLUMN_PID] = pid,
        [COLUMN_USER] = process->user ? process->user : unknown,
        [COLUMN_KIND] = kind_of(process, kind),
        [COLUMN_MEMORY] = figure_bytes(screen, process->used_bytes, memory),
        [COLUMN_PEAK] = figure_bytes(screen, row->peak_bytes, peak),
        [COLUMN_LEASE] = short_id(process->lease, lease),
    };
    struct pen pen = next_line(view);
    pen.reversed = chosen;
    for (size_t i = 0; i < COLUMN_NAME; i++) {
        if (view->width >= columns[i].from) {
            pen_cell(&pen, STYLE_NONE, texts[i], columns[i].width, columns[i].right);
        }
    }
    pen_text(&pen, STYLE_NONE,
             process->command && process->command[0] ? process->command : process->name);
    pen_end(&pen);
}

static void draw_processes(struct view *view, size_t shown)
{
    struct model *model = view->model;
    struct place *place = &model->places[PANE_PROCESSES];
    keep_in_view(place, model->row_count, shown);
    draw_process_heading(view);
    for (size_t i = 0; i < shown; i++) {
        size_t at = place->first + i;
        if (at < model->row_count) {
            draw_process(view, &model->rows[at],
                         model->pane == PANE_PROCESSES && at == place->cursor);
        } else {
            blank_line(view);
        }
    }
}

/* ---- Leases ------------------------------------------------------------------------------------- */

static void draw_lease(struct view *view, const struct vram_lease *lease, bool chosen)
{
    const struct screen *screen = &view->drawing->screen;
    char size[FIGURE_MAX], held[FIGURE_MAX], outstanding[FIGURE_MAX], age[FIGURE_MAX];
    char id[ID_SHOWN + 1];
    uint64_t now_ns = view->drawing->now_ns;
    uint64_t age_ns = now_ns > lease->since_ns ? now_ns - lease->since_ns : 0;
    struct pen pen = next_line(view);
    pen.reversed = chosen;
    pen_cell(&pen, STYLE_NONE, short_id(lease->id, id), ID_SHOWN, false);
    pen_cell(&pen, STYLE_NONE, figure_bytes(screen, lease->size_bytes, size), 9, true);
    pen_cell(&pen, STYLE_NONE, figure_bytes(screen, lease->held_bytes, held), 9, true);
    if (view->width >= WIDE) {
        pen_cell(&pen, STYLE_NONE, figure_bytes(screen, lease->outstanding_bytes, outstanding), 11,
                 true);
        pen_cell(&pen, STYLE_NONE, figure_age(age_ns / 1000000, age), 8, true);
    }
    pen_cell(&pen, STYLE_NONE, lease->user ? lease->user : "", 10, false);
    bool plain = lease->state == VRAM_LEASE_OK;
    pen_cell(&pen, lease->state >= VRAM_LEASE_OVER ? STYLE_BAD : STYLE_NONE,
             plain ? "" : vram_lease_state_name(lease->state), 9, false);
    pen_text(&pen, STYLE_NONE, lease->label ? lease->label : "");
    pen_end(&pen);
}

static void draw_waiter(struct view *view, const struct vram_waiter *waiter)
{
    const struct screen *screen = &view->drawing->screen;
    char size[FIGURE_MAX];
    struct pen pen = next_line(view);
    pen_format(&pen, STYLE_WARN, "waits %2" PRIu64 "  ", waiter->position);
    pen_cell(&pen, STYLE_NONE, figure_bytes(screen, waiter->size_bytes, size), 9, true);
    pen_format(&pen, STYLE_NONE, "%s%s", waiter->label ? waiter->label : "",
               waiter->label ? ": " : "");
    pen_text(&pen, STYLE_FAINT, waiter->waits_for);
    pen_end(&pen);
}

static void draw_leases(struct view *view, const struct layout *layout)
{
    struct model *model = view->model;
    struct place *place = &model->places[PANE_LEASES];
    if (layout->leases + layout->waiters == 0) {
        return;
    }
    struct pen pen = next_line(view);
    enum style style = model->pane == PANE_LEASES ? STYLE_STRONG : STYLE_FAINT;
    pen_cell(&pen, style, "LEASE", ID_SHOWN, false);
    pen_cell(&pen, style, "SIZE", 9, true);
    pen_cell(&pen, style, "HELD", 9, true);
    if (view->width >= WIDE) {
        pen_cell(&pen, style, "OUTSTANDING", 11, true);
        pen_cell(&pen, style, "AGE", 8, true);
    }
    pen_cell(&pen, style, "USER", 10, false);
    pen_cell(&pen, style, "STATE", 9, false);
    pen_text(&pen, style, "LABEL");
    pen_end(&pen);
    keep_in_view(place, model_lease_count(model), layout->leases);
    for (size_t i = 0; i < layout->leases; i++) {
        size_t at = place->first + i;
        draw_lease(view, vram_lease_list_lease(model->findings.leases, at),
                   model->pane == PANE_LEASES && at == place->cursor);
    }
    for (size_t i = 0; i < layout->waiters; i++) {
        draw_waiter(view, vram_lease_list_waiter(model->findings.leases, i));
    }
}

/* ---- The whole ---------------------------------------------------------------------------------- */

static void draw_help(struct view *view)
{
    static const char *const lines[] = {
        "Bars: used, the driver's own, promised and not yet allocated, free.",
        "Below them: how full the GPU was since this program began, the newest at the right.",
        "",
        "q           quit",
        "/           show processes whose name, command, user, unit, container or lease contains …",
        "s           sort by the next column: memory, peak, GPU, pid, name",
        "1-9, 0      this GPU's processes only; of all",
        "Up Down j k PgUp PgDn Home End    move",
        "Tab         between processes and leases",
        "x           end the chosen lease, after a question",
        "+ -         more, less often",
        "Space       hold the picture still, and go on",
        "?           this, and away with it",
        "",
        "PEAK is the most that a process was seen to hold since this program began.",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lines) && view->line < LINES - 1; i++) {
        struct pen pen = next_line(view);
        pen_text(&pen, STYLE_NONE, lines[i]);
        pen_end(&pen);
    }
}

/* Why there is nothing else, in as many lines as it takes. */
static void draw_problem(struct view *view, const char *problem)
{
    struct buf safe CLEANUP(buf_done) = BUF_INIT, wrapped CLEANUP(buf_done) = BUF_INIT;
    text_safe(&safe, problem, view->drawing->screen.utf8);
    text_wrap(&wrapped, safe.data ? safe.data : "", 0, 0, view->width);
    for (char *rest = wrapped.data, *line; (line = strsep(&rest, "\n")) && line[0];) {
        struct pen pen = next_line(view);
        pen_text(&pen, STYLE_WARN, line);
        pen_end(&pen);
    }
}

static void draw_body(struct view *view, const struct layout *layout)
{
    const struct model *model = view->model;
    if (model->findings.problem[0]) {
        draw_problem(view, model->findings.problem);
    } else if (!model->findings.snapshot) {
        draw_problem(view, "asking the driver");
    } else if (model->gpu_count == 0) {
        draw_problem(view, "no such GPU, or none at all; `vram doctor` tells more");
    } else {
        draw_gpus(view, layout);
        draw_processes(view, layout->processes);
        draw_leases(view, layout);
    }
}

void draw(const struct drawing *drawing, struct model *model)
{
    struct view view = {drawing, model, 0, (size_t)COLS};
    struct layout layout = layout_make((size_t)LINES, model->gpu_count, model->row_count,
                                       model_lease_count(model), model_waiter_count(model));
    (void)erase();
    draw_title(&view, layout.gpus);
    if (drawing->mode == MODE_HELP) {
        draw_help(&view);
    } else {
        draw_body(&view, &layout);
    }
    draw_footer(&view);
    (void)refresh();
}

bool draw_begin(struct drawing *drawing)
{
    if (!terminal_is_known() || !newterm(NULL, stdout, stdin)) {
        return false;
    }
    (void)cbreak();
    (void)noecho();
    (void)nonl();
    (void)keypad(stdscr, TRUE);
    (void)nodelay(stdscr, TRUE);
    (void)set_escdelay(25);
    (void)curs_set(0);
    if (drawing->screen.colour) {
        pen_colours();
    }
    return true;
}

void draw_end(void)
{
    (void)endwin();
}
