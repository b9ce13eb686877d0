/* SPDX-License-Identifier: MIT */
/* vram doctor: what works, what does not, and the command that mends it. */
#include "cli/command.h"

#include "cli/fields.h"
#include "cli/session.h"
#include "cli/text.h"
#include <string.h>

enum { WIDTH_MAX = 100, INDENT = 2, LABEL_WIDTH = 8, SEVERITY_COUNT = 4 };

/* By enum vram_severity: how a finding is called and marked. */
static const struct {
    const char *name;
    enum symbol symbol;
    enum style style;
} severities[SEVERITY_COUNT] = {
    [VRAM_FINDING_FACT] = {"fact", SYMBOL_UNKNOWN, STYLE_NONE},
    [VRAM_FINDING_GOOD] = {"good", SYMBOL_YES, STYLE_GOOD},
    [VRAM_FINDING_NOTE] = {"note", SYMBOL_UNKNOWN, STYLE_WARN},
    [VRAM_FINDING_PROBLEM] = {"problem", SYMBOL_NO, STYLE_BAD},
};

static uint32_t severity_of(const struct vram_finding *finding)
{
    return finding->severity < SEVERITY_COUNT ? finding->severity : (uint32_t)VRAM_FINDING_NOTE;
}

static void report_done(struct vram_report **report)
{
    *report = vram_report_free(*report);
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* "  cause   words", the words wrapped in a column of their own, line by line. */
static void add_part(struct buf *out, const struct screen *screen, const char *label,
                     size_t label_width, const char *text)
{
    size_t at = INDENT + label_width + 1;
    size_t width = screen->width < WIDTH_MAX ? screen->width : WIDTH_MAX;
    while (text && *text) {
        char line[512];
        struct buf safe CLEANUP(buf_done) = BUF_INIT;
        size_t length = strcspn(text, "\n");
        length = length < sizeof(line) - 1 ? length : sizeof(line) - 1;
        memcpy(line, text, length);
        line[length] = '\0';
        text_safe(&safe, line, screen->utf8);
        text_blanks(out, INDENT);
        buf_format(out, "%s%s%s", screen_style(screen, STYLE_FAINT), label, screen_plain(screen));
        text_blanks(out, text_width(label) < label_width ? label_width - text_width(label) + 1 : 1);
        text_wrap(out, safe.data ? safe.data : "", at, at, screen->terminal ? width : SIZE_MAX);
        out->failed = out->failed || safe.failed;
        text += length + (text[length] == '\n');
        label = "";
    }
}

static void add_facts(struct buf *out, const struct screen *screen,
                      const struct vram_report *report)
{
    const struct vram_finding *fact;
    size_t width = 0;
    for (size_t i = 0; (fact = vram_report_finding(report, i)); i++) {
        if (fact->severity == VRAM_FINDING_FACT && text_width(fact->title) > width) {
            width = text_width(fact->title);
        }
    }
    for (size_t i = 0; (fact = vram_report_finding(report, i)); i++) {
        if (fact->severity == VRAM_FINDING_FACT) {
            add_part(out, screen, fact->title, width, fact->cause);
        }
    }
}

static void add_finding(struct buf *out, const struct screen *screen,
                        const struct vram_finding *finding)
{
    uint32_t severity = severity_of(finding);
    buf_format(out, "%s%s%s %s%s", screen_style(screen, severities[severity].style),
               screen_symbol(screen, severities[severity].symbol), screen_plain(screen),
               screen_style(screen, STYLE_STRONG), finding->id ? finding->id : "");
    buf_char(out, ' ');
    text_safe(out, finding->title, screen->utf8);
    buf_format(out, "%s\n", screen_plain(screen));
    add_part(out, screen, "cause", LABEL_WIDTH, finding->cause);
    add_part(out, screen, "seen", LABEL_WIDTH, finding->evidence);
    add_part(out, screen, "remedy", LABEL_WIDTH, finding->remedy);
}

static void add_summary(struct buf *out, const size_t counts[SEVERITY_COUNT])
{
    size_t problems = counts[VRAM_FINDING_PROBLEM], notes = counts[VRAM_FINDING_NOTE];
    if (problems == 0) {
        buf_text(out, "nothing to mend");
    } else {
        buf_format(out, "%zu problem%s", problems, problems == 1 ? "" : "s");
    }
    if (notes > 0) {
        buf_format(out, ", %zu note%s", notes, notes == 1 ? "" : "s");
    }
    buf_format(out, ", %zu in order\n", counts[VRAM_FINDING_GOOD]);
}

static void print_text(struct cli *cli, const struct vram_report *report,
                       const size_t counts[SEVERITY_COUNT])
{
    const struct screen *screen = cli_screen(cli);
    bool all = arguments_has(&cli->arguments, "all");
    const struct vram_finding *finding;
    add_facts(&cli->out, screen, report);
    for (size_t i = 0; (finding = vram_report_finding(report, i)); i++) {
        bool shown = finding->severity != VRAM_FINDING_FACT &&
                     (all || finding->severity != VRAM_FINDING_GOOD);
        if (shown) {
            buf_text(&cli->out, "\n");
            add_finding(&cli->out, screen, finding);
        }
    }
    buf_char(&cli->out, '\n');
    add_summary(&cli->out, counts);
}

/* ---- JSON and CSV ---------------------------------------------------------------------------- */

static void print_json(struct buf *out, const struct vram_report *report)
{
    const struct vram_finding *finding;
    struct json json = JSON_INIT(out);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_object(&json, "facts");
    for (size_t i = 0; (finding = vram_report_finding(report, i)); i++) {
        if (finding->severity == VRAM_FINDING_FACT) {
            json_text(&json, finding->title, finding->cause);
        }
    }
    json_end_object(&json);
    json_array(&json, "findings");
    for (size_t i = 0; (finding = vram_report_finding(report, i)); i++) {
        if (finding->severity != VRAM_FINDING_FACT) {
            json_object(&json, NULL);
            json_text(&json, "id", finding->id);
            json_text(&json, "severity", severities[severity_of(finding)].name);
            json_text(&json, "title", finding->title);
            json_text(&json, "cause", finding->cause);
            json_text(&json, "evidence", finding->evidence);
            json_text(&json, "remedy", finding->remedy);
            json_end_object(&json);
        }
    }
    json_end_array(&json);
    json_end_object(&json);
    buf_char(out, '\n');
}

static void print_csv(struct buf *out, const struct vram_report *report)
{
    const struct vram_finding *finding;
    buf_text(out, "id,severity,title,cause,evidence,remedy\n");
    for (size_t i = 0; (finding = vram_report_finding(report, i)); i++) {
        const char *const cells[] = {
            finding->id,       severities[severity_of(finding)].name,
            finding->title,    finding->cause,
            finding->evidence, finding->remedy,
        };
        for (size_t j = 0; j < ARRAY_LENGTH(cells); j++) {
            buf_text(out, j ? "," : "");
            fields_csv_text(out, cells[j]);
        }
        buf_char(out, '\n');
    }
}

/* Whether a program could use any GPU here: what is wrong with the others is a finding, no more. */
static bool is_any_usable(struct cli *cli)
{
    struct vram_snapshot *snapshot;
    bool usable = false;
    if (vram_snapshot_take(cli->vram, 0, &snapshot) < 0) {
        return false;
    }
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        uint32_t state = vram_snapshot_gpu(snapshot, i)->state;
        usable = usable || (state != VRAM_GPU_LOST && state != VRAM_GPU_DENIED);
    }
    (void)vram_snapshot_unref(snapshot);
    return usable;
}

static int run(struct cli *cli)
{
    struct vram_report *report CLEANUP(report_done) = NULL;
    const struct vram_finding *finding;
    size_t counts[SEVERITY_COUNT] = {0};
    int status = session_open(cli);
    if (status != 0) {
        return status;
    }
    int r = vram_diagnose(cli->vram, &report);
    if (r < 0) {
        return cli_fail_library(cli, r);
    }
    for (size_t i = 0; (finding = vram_report_finding(report, i)); i++) {
        counts[severity_of(finding)]++;
    }
    if (cli->format == FORMAT_JSON) {
        print_json(&cli->out, report);
    } else if (cli->format == FORMAT_CSV) {
        print_csv(&cli->out, report);
    } else {
        print_text(cli, report, counts);
    }
    if (counts[VRAM_FINDING_PROBLEM] == 0) {
        return STATUS_YES;
    }
    return is_any_usable(cli) ? STATUS_NO : STATUS_NO_GPU;
}

static const struct option options[] = {
    {"all", 0, NULL, "show what is in order as well"},
    {NULL, 0, NULL, NULL},
};

const struct command command_doctor = {
    .name = "doctor",
    .summary = "what works, what does not, and the command that mends it",
    .arguments = "",
    .description = "Examines the machine from the bus to the driver's answers. It prints which "
                   "driver, library and calls are in use, then each problem with its cause, what "
                   "it was told by, and the commands that mend it, the most telling first. Notes "
                   "explain figures and need no mending. It changes nothing, and --gpu makes no "
                   "difference to it.",
    .options = options,
    .json = "one object: schema, facts (names and values), and findings, each with id, severity "
            "(good, note or problem), title, cause, evidence and remedy",
    .csv = "one row for each fact and finding",
    .statuses = "01234",
    .examples = "vram doctor\twhat is wrong here?\n"
                "vram doctor --all --json\teverything, for a report\n",
    .run = run,
};
