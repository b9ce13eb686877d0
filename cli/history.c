/* SPDX-License-Identifier: MIT */
/* vram history: what GPUs and processes held, as the daemon remembers it. */
#include "cli/command.h"

#include "cli/fields.h"
#include "cli/figures.h"
#include "cli/moments.h"
#include "cli/past.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/values.h"
#include "common/gpu_name.h"
#include "common/utc.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define USUAL_MS (INT64_C(3600) * 1000)
#define LINES_USUAL 30
#define MS_NS 1000000
#define SECOND_NS UINT64_C(1000000000)
enum { BAR_WIDTH = 24 };

/* What is asked. */
struct range {
    int64_t now_ms, from_ms, to_ms;
    uint64_t step_s; /* 0: the daemon chooses */
};

/* ---- The range ------------------------------------------------------------------------------- */

/* For people so many lines as they can see at once; for programs what the daemon has. */
static uint64_t usual_step(const struct range *range, enum format format)
{
    static const uint64_t steps[] = {10,   30,   60,    120,   300,   600,   900,   1800,
                                     3600, 7200, 10800, 21600, 43200, 86400, 604800};
    uint64_t seconds = (uint64_t)(range->to_ms - range->from_ms) / 1000;
    for (size_t i = 0; format == FORMAT_TEXT && i < ARRAY_LENGTH(steps); i++) {
        if (seconds / steps[i] <= LINES_USUAL) {
            return steps[i];
        }
    }
    return format == FORMAT_TEXT ? 2592000 : 0;
}

static int read_range(struct cli *cli, struct range *range)
{
    uint64_t step_ns = 0;
    range->now_ms = range->to_ms = moment_now_ms();
    int status = moment_option(cli, "until", range->now_ms, &range->to_ms);
    range->from_ms = range->to_ms > USUAL_MS ? range->to_ms - USUAL_MS : 0;
    if (status == 0) {
        status = moment_option(cli, "since", range->now_ms, &range->from_ms);
    }
    if (status == 0) {
        status = values_duration(cli, "step", &step_ns);
    }
    if (status == 0 && range->from_ms >= range->to_ms) {
        status = cli_fail(cli, STATUS_USAGE, "usage", NULL, "--until is not behind --since");
    }
    if (status == 0 && arguments_has(&cli->arguments, "step") && step_ns < SECOND_NS) {
        status = cli_fail(cli, STATUS_USAGE, "usage", NULL, "--step is a second or more");
    }
    range->step_s = step_ns ? step_ns / SECOND_NS : usual_step(range, cli->format);
    return status;
}

/* What the daemon has to say of the time, where that is before its history. */
static void note_since(struct cli *cli, const struct range *range, const struct past *past)
{
    char text[MOMENT_MAX];
    if (past->since_ms == PAST_NEVER) {
        cli_note(cli, "there is no history yet");
    } else if (past->since_ms > range->from_ms + 1000) {
        cli_note(cli, "there is history since %s", moment_text(past->since_ms, text));
    }
}

/* ---- Memory for people ----------------------------------------------------------------------- */

static size_t cells_of(uint64_t bytes, uint64_t total)
{
    if (bytes == VRAM_UNKNOWN || total == VRAM_UNKNOWN || total == 0 || bytes == 0) {
        return 0;
    }
    double part = (double)bytes / (double)total * BAR_WIDTH;
    return part < 1 ? 1 : part > BAR_WIDTH ? BAR_WIDTH : (size_t)(part + 0.5);
}

/* The mean, what was more than it at times, and what never was in use. */
static void add_bar(struct table *table, const struct past_gpu *gpu, size_t step)
{
    struct buf bar CLEANUP(buf_done) = BUF_INIT;
    size_t used = cells_of(gpu->used[step], gpu->total_bytes);
    size_t most = cells_of(gpu->max[step], gpu->total_bytes);
    for (size_t i = 0; i < BAR_WIDTH; i++) {
        buf_text(&bar, screen_symbol(table->screen, i < used   ? SYMBOL_BAR_USED
                                                    : i < most ? SYMBOL_BAR_PROMISED
                                                               : SYMBOL_BAR_FREE));
    }
    bool known = gpu->used[step] != VRAM_UNKNOWN && gpu->total_bytes != VRAM_UNKNOWN;
    table_cell(table, known ? bar.data : "");
    table->failed = table->failed || bar.failed;
}

static void add_bytes(struct table *table, uint64_t bytes)
{
    char text[FIGURE_MAX];
    table_cell(table, figure_bytes(table->screen, bytes, text));
}

static bool is_known(const struct past_gpu *gpu, const struct past *past)
{
    for (size_t i = 0; i < past->step_count; i++) {
        if (gpu->used[i] != VRAM_UNKNOWN) {
            return true;
        }
    }
    return false;
}

static void print_gpu(struct cli *cli, const struct range *range, const struct past *past,
                      const struct past_gpu *gpu)
{
    static const struct table_column columns[] = {{"TIME", TABLE_KEPT},
                                                  {"USED", TABLE_RIGHT | TABLE_KEPT},
                                                  {"PEAK", TABLE_RIGHT | TABLE_KEPT},
                                                  {"FREE", TABLE_RIGHT | TABLE_KEPT},
                                                  {"", 0}};
    struct table table CLEANUP(table_done);
    char text[MOMENT_MAX], total[FIGURE_MAX], label[GPU_NAME_LABEL_MAX];
    bool gap = false;
    table_init(&table, cli_screen(cli), columns, ARRAY_LENGTH(columns));
    buf_format(&cli->out, "GPU %s  ", gpu_name_label((uint32_t)gpu->index, gpu->mig_index, label));
    text_safe(&cli->out, gpu->name ? gpu->name : gpu->uuid, cli_screen(cli)->utf8);
    buf_format(&cli->out, "  %s\n", figure_bytes(cli_screen(cli), gpu->total_bytes, total));
    for (size_t i = 0; i < past->step_count; i++) {
        bool known = gpu->used[i] != VRAM_UNKNOWN;
        if (!known && gap) {
            continue; /* a gap is one line, however long */
        }
        gap = !known;
        table_cell(&table, moment_short(past->t[i] * 1000, range->now_ms, past->step_s < 60, text));
        add_bytes(&table, gpu->used[i]);
        add_bytes(&table, gpu->max[i]);
        add_bytes(&table, gpu->free[i]);
        add_bar(&table, gpu, i);
    }
    table_print(&table, &cli->out, 2);
}

static int print_memory(struct cli *cli, const struct range *range, const struct past *past)
{
    size_t shown = 0;
    for (size_t i = 0; i < past->count; i++) {
        if (is_known(&past->gpus[i], past)) {
            buf_text(&cli->out, shown++ ? "\n" : "");
            print_gpu(cli, range, past, &past->gpus[i]);
        }
    }
    if (shown == 0) {
        cli_note(cli, "nothing was recorded in that time");
    }
    return shown > 0 ? STATUS_YES : STATUS_UNKNOWN;
}

/* ---- Memory for programs --------------------------------------------------------------------- */

static void csv_number(struct buf *out, uint64_t number)
{
    buf_char(out, ',');
    if (number != VRAM_UNKNOWN) {
        buf_format(out, "%" PRIu64, number);
    }
}

static void csv_moment(struct buf *out, int64_t ms)
{
    char text[UTC_TEXT_MAX];
    buf_char(out, ',');
    if (ms != PAST_NEVER) {
        buf_text(out, utc_format((uint64_t)ms * MS_NS, text));
    }
}

static void print_memory_csv(struct buf *out, const struct past *past)
{
    char text[UTC_TEXT_MAX];
    buf_text(out, "time,gpu,gpu_index,used_bytes,min_bytes,max_bytes,free_bytes\n");
    for (size_t i = 0; i < past->count; i++) {
        const struct past_gpu *gpu = &past->gpus[i];
        for (size_t j = 0; j < past->step_count; j++) {
            buf_format(out, "%s,", utc_format((uint64_t)past->t[j] * SECOND_NS, text));
            fields_csv_text(out, gpu->uuid);
            csv_number(out, gpu->index);
            csv_number(out, gpu->used[j]);
            csv_number(out, gpu->min[j]);
            csv_number(out, gpu->max[j]);
            csv_number(out, gpu->free[j]);
            buf_char(out, '\n');
        }
    }
}

static int show_memory(struct cli *cli, const struct range *range)
{
    struct past past CLEANUP(past_done) = {0};
    char target[PAST_TARGET_MAX];
    int status = past_target(cli, "/v1/history", range->from_ms, range->to_ms, target);
    if (status == 0 && range->step_s) {
        size_t length = strlen(target);
        (void)snprintf(target + length, sizeof(target) - length, "&step=%" PRIu64, range->step_s);
    }
    if (status == 0) {
        status = past_memory(cli, target, &past);
    }
    if (status != 0) {
        return status;
    }
    if (cli->format == FORMAT_JSON) {
        past_print(&cli->out, past.document);
        buf_char(&cli->out, '\n');
    } else if (cli->format == FORMAT_CSV) {
        print_memory_csv(&cli->out, &past);
    } else {
        note_since(cli, range, &past);
        return print_memory(cli, range, &past);
    }
    return STATUS_YES;
}

/* ---- Processes ------------------------------------------------------------------------------- */

static bool contains(const char *text, const char *pattern)
{
    return text && strcasestr(text, pattern);
}

static bool is_match(const struct past_process *process, const char *pattern)
{
    return !pattern || contains(process->name, pattern) || contains(process->container, pattern) ||
           contains(process->unit, pattern) || contains(process->lease, pattern) ||
           contains(process->user, pattern);
}

static void add_number(struct table *table, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, number);
    table_cell(table, number == VRAM_UNKNOWN ? NULL : text);
}

static size_t print_processes(struct cli *cli, const struct range *range, const struct past *past,
                              const char *pattern)
{
    static const struct table_column columns[] = {
        {"GPU", TABLE_RIGHT},  {"PID", TABLE_RIGHT},     {"USER", TABLE_FLEXIBLE},
        {"BEGAN", 0},          {"ENDED", TABLE_KEPT},    {"PEAK", TABLE_RIGHT},
        {"LAST", TABLE_RIGHT}, {"NAME", TABLE_FLEXIBLE}, {"LEASE", TABLE_FLEXIBLE}};
    struct table table CLEANUP(table_done);
    char text[MOMENT_MAX], label[GPU_NAME_LABEL_MAX];
    size_t shown = 0;
    table_init(&table, cli_screen(cli), columns, ARRAY_LENGTH(columns));
    for (size_t i = 0; i < past->count; i++) {
        const struct past_process *process = &past->processes[i];
        if (!is_match(process, pattern)) {
            continue;
        }
        shown++;
        table_cell(&table, process->gpu_index == VRAM_UNKNOWN
                               ? NULL
                               : gpu_name_label((uint32_t)process->gpu_index,
                                                process->gpu_mig_index, label));
        add_number(&table, process->pid);
        table_cell(&table, process->user);
        table_cell(&table, moment_short(process->began_ms, range->now_ms, true, text));
        table_cell(&table, process->ended_ms == PAST_NEVER
                               ? NULL
                               : moment_short(process->ended_ms, range->now_ms, true, text));
        add_bytes(&table, process->peak_bytes);
        add_bytes(&table, process->last_bytes);
        table_cell(&table, process->name);
        table_cell(&table, process->lease);
    }
    if (shown > 0) {
        table_print(&table, &cli->out, 0);
    }
    return shown;
}

static size_t print_processes_csv(struct buf *out, const struct past *past, const char *pattern)
{
    size_t shown = 0;
    buf_text(out, "gpu,gpu_index,pid,name,user,container,unit,lease,began,ended,peak_bytes,"
                  "last_bytes\n");
    for (size_t i = 0; i < past->count; i++) {
        const struct past_process *process = &past->processes[i];
        if (!is_match(process, pattern)) {
            continue;
        }
        shown++;
        fields_csv_text(out, process->gpu);
        csv_number(out, process->gpu_index);
        csv_number(out, process->pid);
        const char *const texts[] = {process->name, process->user, process->container,
                                     process->unit, process->lease};
        for (size_t j = 0; j < ARRAY_LENGTH(texts); j++) {
            buf_char(out, ',');
            fields_csv_text(out, texts[j]);
        }
        csv_moment(out, process->began_ms);
        csv_moment(out, process->ended_ms);
        csv_number(out, process->peak_bytes);
        csv_number(out, process->last_bytes);
        buf_char(out, '\n');
    }
    return shown;
}

static size_t print_processes_json(struct buf *out, const struct past *past, const char *pattern)
{
    size_t shown = 0;
    buf_text(out, "{\"schema\":1,\"processes\":[");
    for (size_t i = 0; i < past->count; i++) {
        if (is_match(&past->processes[i], pattern)) {
            buf_text(out, shown++ ? "," : "");
            past_print(out, past->processes[i].document);
        }
    }
    buf_text(out, "]}\n");
    return shown;
}

static int show_processes(struct cli *cli, const struct range *range)
{
    struct past past CLEANUP(past_done) = {0};
    const char *pattern = arguments_value(&cli->arguments, "process");
    char target[PAST_TARGET_MAX];
    int status = past_target(cli, "/v1/processes", range->from_ms, range->to_ms, target);
    if (status == 0) {
        size_t length = strlen(target);
        (void)snprintf(target + length, sizeof(target) - length, "&limit=5000");
        status = past_processes(cli, target, &past);
    }
    if (status != 0) {
        return status;
    }
    size_t shown;
    if (cli->format == FORMAT_JSON) {
        shown = print_processes_json(&cli->out, &past, pattern);
    } else if (cli->format == FORMAT_CSV) {
        shown = print_processes_csv(&cli->out, &past, pattern);
    } else {
        note_since(cli, range, &past);
        shown = print_processes(cli, range, &past, pattern);
    }
    if (shown == 0) {
        cli_note(cli, "no process of that time matches");
    }
    return shown > 0 ? STATUS_YES : STATUS_NO;
}

/* ---- The command ----------------------------------------------------------------------------- */

static int run(struct cli *cli)
{
    struct range range;
    int status = read_range(cli, &range);
    if (status == 0) {
        status = session_open(cli);
    }
    if (status != 0) {
        return status;
    }
    bool processes =
        arguments_has(&cli->arguments, "process") || arguments_has(&cli->arguments, "peak");
    return processes ? show_processes(cli, &range) : show_memory(cli, &range);
}

static const struct option options[] = {
    {"since", 0, "T", "from then on: 2h (ago), 03:00, \"2026-11-26 03:00\", @SECONDS (1h)"},
    {"until", 0, "T", "until then, written alike (now)"},
    {"step", 0, "T", "a line for so long, such as 10s, 5m or 1h; without it some thirty lines"},
    {"peak", 0, NULL, "the processes of that time instead, the largest peak first"},
    {"process", 0, "PATTERN",
     "those whose name, user, container, unit or lease contains PATTERN, in any case"},
    {NULL, 0, NULL, NULL},
};

const struct command command_history = {
    .name = "history",
    .summary = "what GPUs and processes held, as the daemon remembers it",
    .arguments = "",
    .description =
        "Shows how much memory was in use, a line for each step of the time: USED is the mean, "
        "PEAK the most and FREE the least that was free; the bar shows mean and most of all there "
        "is. A time in which nobody looked is one line without figures: nothing is made up. With "
        "--peak or --process it lists the processes of that time instead, with when they began "
        "and ended and the most that they held.\n\nThe machine's daemon keeps the history, in "
        "steps of 10 seconds for 2 days, of 1 minute for 30 days and of 15 minutes for 2 years; "
        "`history = on` in /etc/vram.conf has others keep one too.",
    .options = options,
    .json =
        "one object: schema, since, step_s, t (the begins of the steps, Unix seconds) and gpus, "
        "each with used, min, max and free, a number or null for each step; of processes "
        "schema and processes",
    .csv = "one row for each step of each GPU; of processes one for each",
    .statuses = "012346",
    .examples = "vram history\tthe last hour\n"
                "vram history --since 22:00 --until 06:00 --gpu 0\tlast night\n"
                "vram history --peak --since 7d\twho held most in a week\n"
                "vram history --process comfy --since 1d --json\twhat it held, for a program\n",
    .run = run,
};
