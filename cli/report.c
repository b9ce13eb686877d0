/* SPDX-License-Identifier: MIT */
/* vram report: who had the memory, summed up over time. */
#include "cli/command.h"

#include "cli/fields.h"
#include "cli/figures.h"
#include "cli/moments.h"
#include "cli/past.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/text.h"
#include "common/gpu_name.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define USUAL_MS (7 * INT64_C(86400000))
#define SEEN_PERCENT 99 /* of the time; where it is less that is told */
enum { AMOUNT_MAX = 40 };

/* What is asked. */
struct range {
    int64_t now_ms, from_ms, to_ms;
    const char *by;
};

static int read_range(struct cli *cli, struct range *range)
{
    static const char *const words[] = {"user", "label", "gpu"};
    const char *by = arguments_value(&cli->arguments, "by");
    char quoted[TEXT_QUOTED_MAX];
    range->now_ms = range->to_ms = moment_now_ms();
    int status = moment_option(cli, "until", range->now_ms, &range->to_ms);
    range->from_ms = range->to_ms > USUAL_MS ? range->to_ms - USUAL_MS : 0;
    if (status == 0) {
        status = moment_option(cli, "since", range->now_ms, &range->from_ms);
    }
    if (status == 0 && range->from_ms >= range->to_ms) {
        status = cli_fail(cli, STATUS_USAGE, "usage", NULL, "--until is not behind --since");
    }
    if (status == 0 && range->from_ms >= range->now_ms) {
        status = cli_fail(cli, STATUS_USAGE, "usage", NULL, "--since has not been yet");
    }
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        range->by = i == 0 || (by && strcmp(by, words[i]) == 0) ? words[i] : range->by;
    }
    if (status == 0 && by && strcmp(by, range->by) != 0) {
        status = cli_fail(cli, STATUS_USAGE, "usage", NULL, "--by is user, label or gpu, not %s",
                          text_quote(by, quoted));
    }
    return status;
}

/* ---- For people ------------------------------------------------------------------------------ */

/* As many decimals as are of use. */
static const char *amount_text(double amount, char text[AMOUNT_MAX])
{
    if (amount < 0) {
        return NULL;
    }
    if (amount >= 999.95) {
        return text_number((uint64_t)(amount + 0.5), text);
    }
    (void)snprintf(text, AMOUNT_MAX, amount >= 9.995 ? "%.1f" : "%.2f", amount);
    return amount == 0 ? "0" : amount < 0.005 ? "<0.01" : text;
}

/* How long somebody waited. */
static const char *wait_text(double seconds, char text[FIGURE_MAX])
{
    return seconds < 0 ? NULL : figure_age((uint64_t)(seconds * 1000), text);
}

static void add_amount(struct table *table, double amount)
{
    char text[AMOUNT_MAX];
    table_cell(table, amount_text(amount, text));
}

/* 0 is shown as nothing, for columns that are seldom needed. */
static void add_count(struct table *table, uint64_t count, bool may_be_0)
{
    char text[TEXT_NUMBER_MAX];
    bool shown = count != VRAM_UNKNOWN && (count || may_be_0);
    table_cell(table, shown ? text_number(count, text) : NULL);
}

/* What a row is called. */
static const char *name_of(const struct range *range, const struct past_row *row,
                           char label[GPU_NAME_LABEL_MAX])
{
    if (strcmp(range->by, "gpu") == 0) {
        return row->gpu_index == VRAM_UNKNOWN
                   ? row->gpu
                   : gpu_name_label((uint32_t)row->gpu_index, row->gpu_mig_index, label);
    }
    if (strcmp(range->by, "label") == 0) {
        return !row->has_lease ? "(no lease)" : row->label ? row->label : "(no label)";
    }
    return row->user;
}

static double seen_hours(const struct past *past)
{
    double hours = 0;
    for (size_t i = 0; i < past->seen_count; i++) {
        hours += past->seen[i].seen_h > 0 ? past->seen[i].seen_h : 0;
    }
    return past->seen_count ? hours / (double)past->seen_count : 0;
}

static void add_row(struct table *table, const char *name, const struct past_sum *sum, bool seen)
{
    char text[FIGURE_MAX];
    table_cell(table, name);
    add_amount(table, sum->leased);
    add_amount(table, seen ? sum->held : -1);
    add_amount(table, seen ? sum->idle : -1);
    add_amount(table, seen ? sum->unleased : -1);
    add_count(table, sum->granted, true);
    add_count(table, sum->waited, true);
    table_cell(table, wait_text(sum->wait_median_s, text));
    table_cell(table, wait_text(sum->wait_longest_s, text));
    add_count(table, sum->gave_up, false);
    add_count(table, sum->waiting, false);
}

static void print_rows(struct cli *cli, const struct range *range, const struct past *past)
{
    const char *title = strcmp(range->by, "gpu") == 0     ? "GPU"
                        : strcmp(range->by, "label") == 0 ? "LABEL"
                                                          : "USER";
    const struct table_column columns[] = {{title, TABLE_KEPT | TABLE_FLEXIBLE},
                                           {"LEASED", TABLE_RIGHT | TABLE_KEPT},
                                           {"HELD", TABLE_RIGHT | TABLE_KEPT},
                                           {"IDLE", TABLE_RIGHT | TABLE_KEPT},
                                           {"UNLEASED", TABLE_RIGHT},
                                           {"LEASES", TABLE_RIGHT},
                                           {"WAITED", TABLE_RIGHT},
                                           {"MEDIAN", TABLE_RIGHT},
                                           {"LONGEST", TABLE_RIGHT},
                                           {"GAVE UP", TABLE_RIGHT},
                                           {"WAITING", TABLE_RIGHT}};
    struct table table CLEANUP(table_done);
    char label[GPU_NAME_LABEL_MAX], from[MOMENT_MAX], to[MOMENT_MAX];
    bool seen = seen_hours(past) > 0;
    table_init(&table, cli_screen(cli), columns, ARRAY_LENGTH(columns));
    for (size_t i = 0; i < past->count; i++) {
        add_row(&table, name_of(range, &past->rows[i], label), &past->rows[i].sum, seen);
    }
    add_row(&table, "total", &past->total.sum, seen);
    buf_format(&cli->out, "GiB-hours from %s to %s\n\n",
               moment_short(range->from_ms, 0, false, from),
               moment_short(range->to_ms, 0, false, to)); /* with their dates */
    table_print(&table, &cli->out, 0);
}

/* What the figures do not say. */
static void note_gaps(struct cli *cli, const struct range *range, const struct past *past)
{
    char text[MOMENT_MAX];
    double seen = seen_hours(past), few_h = past->hours * (100 - SEEN_PERCENT) / 100;
    const struct past_sum *total = &past->total.sum;
    if (past->since_ms == PAST_NEVER) {
        cli_note(cli, "there is no history yet");
    } else if (past->since_ms > range->from_ms + 1000) {
        cli_note(cli, "there is history since %s", moment_text(past->since_ms, text));
    }
    if (past->hours > 0 && seen < past->hours * SEEN_PERCENT / 100) {
        cli_note(cli,
                 "processes were looked at for %.1f of %.1f hours: what they held in the rest is "
                 "not known, and not counted",
                 seen, past->hours);
    } else if (total->unknown_held_h > few_h || total->unknown_idle_h > few_h) {
        cli_note(cli,
                 "not known, and not counted: what processes held in %.1f hours of theirs, and "
                 "what was idle in %.1f hours of leases",
                 total->unknown_held_h, total->unknown_idle_h);
    }
    if (past->left_out && past->left_out != VRAM_UNKNOWN) {
        cli_note(cli, "%" PRIu64 " more are in the total alone", past->left_out);
    }
}

/* ---- For programs ---------------------------------------------------------------------------- */

static void csv_decimal(struct buf *out, double number, int decimals)
{
    buf_char(out, ',');
    if (number >= 0) {
        buf_format(out, "%.*f", decimals, number);
    }
}

static void csv_count(struct buf *out, uint64_t number)
{
    buf_char(out, ',');
    if (number != VRAM_UNKNOWN) {
        buf_format(out, "%" PRIu64, number);
    }
}

static void csv_sum(struct buf *out, const struct past_sum *sum)
{
    const double amounts[] = {sum->leased,   sum->held,           sum->idle,
                              sum->unleased, sum->unknown_held_h, sum->unknown_idle_h};
    const double waits[] = {sum->wait_mean_s, sum->wait_median_s, sum->wait_longest_s};
    for (size_t i = 0; i < ARRAY_LENGTH(amounts); i++) {
        csv_decimal(out, amounts[i], 6);
    }
    csv_count(out, sum->granted);
    csv_count(out, sum->waited);
    for (size_t i = 0; i < ARRAY_LENGTH(waits); i++) {
        csv_decimal(out, waits[i], 3);
    }
    csv_count(out, sum->gave_up);
    csv_count(out, sum->waiting);
}

static void print_csv(struct buf *out, const struct range *range, const struct past *past)
{
    bool by_gpu = strcmp(range->by, "gpu") == 0, by_label = strcmp(range->by, "label") == 0;
    buf_format(out,
               "%s%s,leased_gib_hours,held_gib_hours,idle_gib_hours,unleased_gib_hours,"
               "unknown_held_hours,unknown_idle_hours,granted,waited,wait_mean_s,wait_median_s,"
               "wait_longest_s,gave_up,waiting\n",
               range->by,
               by_gpu     ? ",gpu_index"
               : by_label ? ",has_lease"
                          : "");
    for (size_t i = 0; i < past->count; i++) {
        const struct past_row *row = &past->rows[i];
        fields_csv_text(out, by_gpu ? row->gpu : by_label ? row->label : row->user);
        if (by_gpu) {
            csv_count(out, row->gpu_index);
        } else if (by_label) {
            buf_text(out, row->has_lease ? ",true" : ",false");
        }
        csv_sum(out, &row->sum);
        buf_char(out, '\n');
    }
}

/* ---- The command ----------------------------------------------------------------------------- */

static int show(struct cli *cli, const struct range *range, const struct past *past)
{
    if (cli->format == FORMAT_JSON) {
        past_print(&cli->out, past->document);
        buf_char(&cli->out, '\n');
        return STATUS_YES;
    }
    note_gaps(cli, range, past);
    if (cli->format == FORMAT_CSV) {
        print_csv(&cli->out, range, past);
        return STATUS_YES;
    }
    if (past->total.sum.leased <= 0 && seen_hours(past) <= 0) {
        cli_note(cli, "nothing was recorded in that time");
        return STATUS_UNKNOWN;
    }
    print_rows(cli, range, past);
    return STATUS_YES;
}

static int run(struct cli *cli)
{
    struct past past CLEANUP(past_done) = {0};
    struct range range;
    char target[PAST_TARGET_MAX];
    int status = read_range(cli, &range);
    if (status == 0) {
        status = session_open(cli);
    }
    if (status == 0) {
        status = past_target(cli, "/v1/report", range.from_ms, range.to_ms, target);
    }
    if (status == 0) {
        size_t length = strlen(target);
        (void)snprintf(target + length, sizeof(target) - length, "&by=%s&limit=5000", range.by);
        status = past_report(cli, target, &past);
    }
    return status == 0 ? show(cli, &range, &past) : status;
}

static const struct option options[] = {
    {"since", 0, "T", "from then on: 30d (ago), 03:00, \"2026-11-26 03:00\", @SECONDS (7d)"},
    {"until", 0, "T", "until then, written alike (now)"},
    {"by", 0, "WHAT", "a row for each user (the default), label or gpu"},
    {NULL, 0, NULL, NULL},
};

const struct command command_report = {
    .name = "report",
    .summary = "who had the memory, in GiB-hours, and who waited for it",
    .arguments = "",
    .description =
        "Sums up what the daemon remembers, who had most first. A GiB-hour is a GiB for an hour. "
        "LEASED is the size of leases for as long as they stood, on each of their GPUs. HELD is "
        "what processes really held; UNLEASED is the part of it that was held without a lease. "
        "IDLE is what was leased and not held: moment by moment the size of each lease less what "
        "its own processes held together. What is held under a lease counts for its user and "
        "label, whoever the process runs as; what is held without one for the process's user.\n\n"
        "LEASES were granted in that time; WAITED is how many of them had to wait for a second or "
        "more, and MEDIAN and LONGEST how long those did. GAVE UP are requests that ended without "
        "a grant, WAITING those that waited at the end. A lease on two GPUs is one lease for its "
        "user, and one on each GPU.\n\nA time in which nobody looked at the processes is not "
        "counted as held nor as idle: how long that was is told. Of what is older than two days "
        "each quarter of an hour is kept in its mean. The daemon must keep a history "
        "(`history = on` in /etc/vram.conf).",
    .options = options,
    .json = "one object: schema, since, from, to, hours, by, rows, left_out, total (as the rows) "
            "and gpus, with how many hours each was looked at; amounts are GiB-hours, times hours "
            "or seconds, and null where nobody waited",
    .csv = "one row for each user, label or GPU; without the total",
    .statuses = "02346",
    .examples = "vram report\twho had what in the last week\n"
                "vram report --since 30d --by label --csv\ta month of jobs, for a spreadsheet\n"
                "vram report --since \"2026-11-01\" --until \"2026-12-01\" --by gpu\ta month of "
                "each card\n",
    .run = run,
};
