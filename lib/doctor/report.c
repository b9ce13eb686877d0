/* SPDX-License-Identifier: MIT */
/* The report: a growing array of findings in the order in which they are read. */
#include "lib/doctor/report.h"

#include "common/buf.h"
#include "common/utf8.h"
#include "lib/doctor.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX_BYTES 4096

struct vram_report {
    size_t count, capacity;
    struct vram_finding *findings; /* their texts are the report's */
};

/* ---- Texts ----------------------------------------------------------------------------------- */

static bool is_printable(uint32_t c)
{
    bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);
    bool separator = c == 0x2028 || c == 0x2029;
    bool direction = (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
    return c != UTF8_INVALID && !control && !separator && !direction;
}

/* A copy that can be shown on any terminal. NULL for none; sets `*failed` where memory is out. */
static const char *copy_text(const char *text, bool *failed)
{
    struct buf buf = BUF_INIT;
    if (!text || !*text) {
        return NULL;
    }
    while (*text && buf.length < TEXT_MAX_BYTES) {
        uint32_t c;
        size_t length = utf8_next(text, &c);
        if (c == '\n' || is_printable(c)) {
            buf_add(&buf, text, length);
        } else {
            buf_char(&buf, '?');
        }
        text += length;
    }
    char *copy = buf_steal(&buf, NULL);
    *failed |= !copy;
    return copy;
}

static void finding_done(struct vram_finding *finding)
{
    free((char *)(uintptr_t)finding->id);
    free((char *)(uintptr_t)finding->title);
    free((char *)(uintptr_t)finding->cause);
    free((char *)(uintptr_t)finding->evidence);
    free((char *)(uintptr_t)finding->remedy);
}

/* ---- Findings -------------------------------------------------------------------------------- */

static int rank(uint32_t severity)
{
    static const int ranks[] = {
        [VRAM_FINDING_FACT] = 0,
        [VRAM_FINDING_PROBLEM] = 1,
        [VRAM_FINDING_NOTE] = 2,
        [VRAM_FINDING_GOOD] = 3,
    };
    return ranks[severity];
}

static int grow(struct vram_report *report)
{
    if (report->count < report->capacity) {
        return 0;
    }
    size_t capacity = report->capacity ? report->capacity * 2 : 32;
    struct vram_finding *findings = realloc(report->findings, capacity * sizeof(*findings));
    if (!findings) {
        return -ENOMEM;
    }
    report->findings = findings;
    report->capacity = capacity;
    return 0;
}

int report_add(struct vram_report *report, const struct vram_finding *finding)
{
    bool failed = grow(report) < 0;
    if (failed) {
        return -ENOMEM;
    }
    struct vram_finding copy = {
        .id = copy_text(finding->id, &failed),
        .severity = finding->severity,
        .title = copy_text(finding->title, &failed),
        .cause = copy_text(finding->cause, &failed),
        .evidence = copy_text(finding->evidence, &failed),
        .remedy = copy_text(finding->remedy, &failed),
    };
    if (failed) {
        finding_done(&copy);
        return -ENOMEM;
    }
    size_t at = report->count;
    while (at && rank(report->findings[at - 1].severity) > rank(copy.severity)) {
        report->findings[at] = report->findings[at - 1];
        at--;
    }
    report->findings[at] = copy;
    report->count++;
    return 0;
}

static struct vram_finding *find_fact(struct vram_report *report, const char *name)
{
    for (size_t i = 0; i < report->count; i++) {
        struct vram_finding *finding = &report->findings[i];
        if (finding->severity == VRAM_FINDING_FACT && strcmp(finding->title, name) == 0) {
            return finding;
        }
    }
    return NULL;
}

int doctor_fact(struct vram_report *report, const char *name, const char *value)
{
    if (!value || !*value) {
        return 0;
    }
    struct vram_finding *known = find_fact(report, name);
    if (!known) {
        struct vram_finding fact = {.severity = VRAM_FINDING_FACT, .title = name, .cause = value};
        return report_add(report, &fact);
    }
    bool failed = false;
    const char *copy = copy_text(value, &failed);
    if (failed) {
        return -ENOMEM;
    }
    free((char *)(uintptr_t)known->cause);
    known->cause = copy;
    return 0;
}

/* ---- The report ------------------------------------------------------------------------------ */

struct vram_report *doctor_report_new(void)
{
    return calloc(1, sizeof(struct vram_report));
}

size_t vram_report_count(const struct vram_report *report)
{
    return report->count;
}

const struct vram_finding *vram_report_finding(const struct vram_report *report, size_t position)
{
    return position < report->count ? &report->findings[position] : NULL;
}

struct vram_report *vram_report_free(struct vram_report *report)
{
    if (report) {
        for (size_t i = 0; i < report->count; i++) {
            finding_done(&report->findings[i]);
        }
        free(report->findings);
        free(report);
    }
    return NULL;
}
