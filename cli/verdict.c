/* SPDX-License-Identifier: MIT */
#include "cli/verdict.h"

#include "cli/figures.h"
#include "cli/session.h"
#include "cli/telling.h"
#include "cli/text.h"
#include "common/size.h"
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { INDENT = 2, HOLDERS_SHOWN = 3 };

/* An answer on its way into words. */
struct verdict {
    struct buf *out;
    const struct screen *screen;
    const struct vram_snapshot *snapshot;
    const struct vram_fit *fit;
    struct buf head, detail; /* "20000 MiB fits on GPU 0:" and "22,844 MiB free ..." */
};

static const struct vram_gpu *gpu_of(const struct verdict *verdict, const struct vram_fit_gpu *line)
{
    return vram_snapshot_gpu(verdict->snapshot, line->position);
}

static const char *label_of(const struct verdict *verdict, const struct vram_fit_gpu *line,
                            char label[GPU_LABEL_MAX])
{
    return session_gpu_label(gpu_of(verdict, line), label);
}

/* "20000 MiB", "24 GiB": as it was asked, exactly. */
static void add_size(struct buf *buf, uint64_t bytes)
{
    if (bytes % GIB == 0) {
        buf_format(buf, "%" PRIu64 " GiB", bytes / GIB);
    } else if (bytes % MIB == 0) {
        buf_format(buf, "%" PRIu64 " MiB", bytes / MIB);
    } else {
        char number[TEXT_NUMBER_MAX];
        buf_format(buf, "%s bytes", text_number(bytes, number));
    }
}

/* What counts: nobody's own promise is held against itself. */
static uint64_t promised_to_others(const struct vram_fit_gpu *line)
{
    uint64_t own = line->own_outstanding_bytes == VRAM_UNKNOWN ? 0 : line->own_outstanding_bytes;
    bool any = line->outstanding_bytes != VRAM_UNKNOWN && line->outstanding_bytes > own;
    return any ? line->outstanding_bytes - own : 0;
}

/* "22,844 MiB free − 1,024 margin = 21,820 headroom". What there is is rounded down, what is needed
 * up. */
static void add_arithmetic(struct verdict *verdict, const struct vram_fit_gpu *line)
{
    const struct screen *screen = verdict->screen;
    const char *minus = screen_symbol(screen, SYMBOL_MINUS);
    char text[FIGURE_MAX];
    if (gpu_of(verdict, line)->drained) {
        buf_text(&verdict->detail, "drained, no new leases: ");
    }
    buf_format(&verdict->detail, "%s MiB free", figure_mib(screen, line->free_bytes, false, text));
    uint64_t promised = promised_to_others(line);
    if (promised) {
        buf_format(&verdict->detail, " %s %s outstanding", minus,
                   figure_mib(screen, promised, true, text));
    }
    buf_format(&verdict->detail, " %s %s margin", minus,
               figure_mib(screen, line->margin_bytes, true, text));
    bool negative = line->headroom_bytes < 0;
    uint64_t headroom =
        negative ? 0 - (uint64_t)line->headroom_bytes : (uint64_t)line->headroom_bytes;
    buf_format(&verdict->detail, " = %s%s headroom", negative ? minus : "",
               figure_mib(screen, headroom, negative, text));
}

/* Who asked before comes before, if it is a lease that is asked for next. */
static void add_waiters(struct verdict *verdict)
{
    uint64_t waiters = verdict->fit->waiters;
    if (waiters != VRAM_UNKNOWN && waiters > 0) {
        buf_format(&verdict->detail, "\n%" PRIu64 " %s for room already", waiters,
                   waiters == 1 ? "request waits" : "requests wait");
    }
}

/* ---- The four answers ------------------------------------------------------------------------ */

static void say_fits(struct verdict *verdict)
{
    const struct vram_fit *fit = verdict->fit;
    char label[GPU_LABEL_MAX];
    bool several = fit->gpu_count > 1, first = true;
    buf_format(&verdict->head, " fits on %s", several ? "each of " : "");
    for (size_t i = 0; i < fit->count; i++) {
        if (fit->gpus[i].chosen) {
            const char *name = gpu_of(verdict, &fit->gpus[i])->name;
            buf_format(&verdict->head, "%sGPU %s", first ? "" : ", ",
                       label_of(verdict, &fit->gpus[i], label));
            if (!several && name) {
                buf_text(&verdict->head, " (");
                text_safe(&verdict->head, name, verdict->screen->utf8);
                buf_char(&verdict->head, ')');
            }
            if (several) {
                buf_format(&verdict->detail, "%sGPU %s: ", first ? "" : "\n", label);
            }
            add_arithmetic(verdict, &fit->gpus[i]);
            first = false;
        }
    }
    add_waiters(verdict);
}

/* The candidate that is nearest to having room, of those where it does not fit. */
static const struct vram_fit_gpu *find_nearest(const struct vram_fit *fit, uint32_t answer)
{
    const struct vram_fit_gpu *nearest = NULL;
    for (size_t i = 0; i < fit->count; i++) {
        const struct vram_fit_gpu *line = &fit->gpus[i];
        if (line->usable && line->answer == answer &&
            (!nearest || line->shortfall_bytes < nearest->shortfall_bytes)) {
            nearest = line;
        }
    }
    return nearest;
}

static void add_name(struct verdict *verdict, const struct vram_process *process)
{
    struct buf name CLEANUP(buf_done) = BUF_INIT;
    telling_name(&name, process);
    text_safe(&verdict->detail, name.data ? name.data : "", verdict->screen->utf8);
    verdict->detail.failed = verdict->detail.failed || name.failed;
}

/* "held by python3 (4242) 1,010 MiB, Xorg (1234) 310 MiB and 2 more" */
static void add_holders(struct verdict *verdict, const struct vram_gpu *gpu)
{
    size_t shown = 0;
    for (; shown < gpu->process_count && shown < HOLDERS_SHOWN; shown++) {
        const struct vram_process *process = &gpu->processes[shown];
        char text[FIGURE_MAX];
        if (process->used_bytes == VRAM_UNKNOWN) {
            break; /* the largest come first, the unknown last */
        }
        buf_text(&verdict->detail, shown ? ", " : "\nheld by ");
        add_name(verdict, process);
        buf_format(&verdict->detail, " (%" PRIu32 ") %s MiB", process->pid,
                   figure_mib(verdict->screen, process->used_bytes, true, text));
    }
    if (shown > 0 && shown < gpu->process_count) {
        buf_format(&verdict->detail, " and %zu more", gpu->process_count - shown);
    }
}

static void say_not_now(struct verdict *verdict)
{
    const struct vram_fit *fit = verdict->fit;
    const struct vram_fit_gpu *nearest = find_nearest(fit, VRAM_NOT_NOW);
    char label[GPU_LABEL_MAX], text[FIGURE_MAX];
    buf_text(&verdict->head, " does not fit");
    if (fit->gpu_count > 1) {
        buf_format(&verdict->head, " on %" PRIu32 " GPUs", fit->gpu_count);
    }
    buf_text(&verdict->head, " now");
    if (!nearest) {
        return;
    }
    buf_format(&verdict->detail, "GPU %s%s has ", label_of(verdict, nearest, label),
               fit->count > 1 ? ", the nearest to it," : "");
    add_arithmetic(verdict, nearest);
    buf_format(&verdict->detail, ", %s MiB short",
               figure_mib(verdict->screen, nearest->shortfall_bytes, true, text));
    add_holders(verdict, gpu_of(verdict, nearest));
    add_waiters(verdict);
}

static void say_never(struct verdict *verdict)
{
    const struct vram_fit *fit = verdict->fit;
    const struct vram_fit_gpu *largest = NULL;
    char label[GPU_LABEL_MAX], has[FIGURE_MAX], size[FIGURE_MAX], margin[FIGURE_MAX];
    size_t enough = 0;
    for (size_t i = 0; i < fit->count; i++) {
        const struct vram_fit_gpu *line = &fit->gpus[i];
        enough += line->usable && line->answer != VRAM_NEVER;
        if (line->usable && line->answer == VRAM_NEVER &&
            (!largest || line->capacity_bytes > largest->capacity_bytes)) {
            largest = line;
        }
    }
    buf_text(&verdict->head, " never fits");
    if (fit->gpu_count > 1) {
        buf_format(&verdict->head, " on %" PRIu32 " GPUs", fit->gpu_count);
        buf_format(&verdict->detail, "%zu of the %zu asked about %s large enough%s", enough,
                   fit->count, enough == 1 ? "is" : "are", largest ? "; " : "");
    }
    if (largest) {
        buf_format(&verdict->detail,
                   "GPU %s%s has %s MiB when empty, and %s + %s margin are needed",
                   label_of(verdict, largest, label),
                   fit->gpu_count == 1 && fit->count > 1 ? ", the largest," : "",
                   figure_mib(verdict->screen, largest->capacity_bytes, false, has),
                   figure_mib(verdict->screen, fit->size_bytes, true, size),
                   figure_mib(verdict->screen, largest->margin_bytes, true, margin));
    }
}

/* Why nothing can be said about a GPU. */
static void add_unknown(struct verdict *verdict, const struct vram_fit_gpu *line)
{
    static const char *const states[] = {
        [VRAM_GPU_ASLEEP] = "is asleep; --wake asks it",
        [VRAM_GPU_LOST] = "is lost",
        [VRAM_GPU_DENIED] = "may not be opened by this user",
        [VRAM_GPU_HUNG] = "is hung: its driver does not answer",
    };
    const struct vram_gpu *gpu = gpu_of(verdict, line);
    char label[GPU_LABEL_MAX];
    const char *why = "does not tell how much is free";
    if (gpu->state < ARRAY_LENGTH(states) && states[gpu->state]) {
        why = states[gpu->state];
    } else if (line->margin_bytes == VRAM_UNKNOWN) {
        why = "does not tell its total, of which the margin is a part";
    }
    buf_format(&verdict->detail, "%sGPU %s %s", verdict->detail.length ? "; " : "",
               label_of(verdict, line, label), why);
}

static void say_unknown(struct verdict *verdict)
{
    const struct vram_fit *fit = verdict->fit;
    buf_text(&verdict->head, ": unknown whether it fits");
    if (fit->gpu_count > 1) {
        buf_format(&verdict->head, " on %" PRIu32 " GPUs", fit->gpu_count);
    }
    for (size_t i = 0; i < fit->count; i++) {
        if (fit->gpus[i].answer == VRAM_CANNOT_TELL) {
            add_unknown(verdict, &fit->gpus[i]);
        }
    }
}

/* ---- The line -------------------------------------------------------------------------------- */

static size_t first_line_width(const char *text)
{
    struct buf line CLEANUP(buf_done) = BUF_INIT;
    buf_add(&line, text, strcspn(text, "\n"));
    return line.data ? text_width(line.data) : 0;
}

/* "head: detail" where that fits the line, else the detail on lines of its own. */
static void print(struct verdict *verdict, enum style style, const char *symbol)
{
    struct buf *out = verdict->out;
    const struct screen *screen = verdict->screen;
    struct buf *head = &verdict->head, *detail = &verdict->detail;
    size_t limit = screen->terminal ? screen->width : SIZE_MAX;
    buf_text(head, detail->length > 0 ? ":" : "");
    if (head->failed || detail->failed) {
        out->failed = true;
        return;
    }
    size_t first_line = detail->length > 0 ? first_line_width(detail->data) + 1 : 0;
    size_t at = text_width(symbol) + 1, width = at + text_width(head->data);
    bool together = first_line <= limit && width <= limit - first_line;
    buf_format(out, "%s%s%s ", screen_style(screen, style), symbol, screen_plain(screen));
    if (together && detail->length > 0) {
        buf_format(out, "%s ", head->data);
        text_wrap(out, detail->data, width + 1, INDENT, limit);
        return;
    }
    text_wrap(out, head->data, at, INDENT, limit);
    if (detail->length > 0) {
        text_blanks(out, INDENT);
        text_wrap(out, detail->data, INDENT, INDENT, limit);
    }
}

void verdict_print(struct buf *out, const struct screen *screen,
                   const struct vram_snapshot *snapshot, const struct vram_fit *fit)
{
    static const struct {
        void (*say)(struct verdict *verdict);
        enum style style;
    } answers[] = {
        [VRAM_FITS] = {say_fits, STYLE_GOOD},
        [VRAM_NOT_NOW] = {say_not_now, STYLE_BAD},
        [VRAM_NEVER] = {say_never, STYLE_BAD},
        [VRAM_CANNOT_TELL] = {say_unknown, STYLE_WARN},
    };
    struct verdict verdict = {out, screen, snapshot, fit, BUF_INIT, BUF_INIT};
    uint32_t answer = fit->answer < ARRAY_LENGTH(answers) ? fit->answer : VRAM_CANNOT_TELL;
    const char *symbol = answer == VRAM_CANNOT_TELL
                             ? "?"
                             : screen_symbol(screen, answer == VRAM_FITS ? SYMBOL_YES : SYMBOL_NO);
    add_size(&verdict.head, fit->size_bytes);
    answers[answer].say(&verdict);
    print(&verdict, answers[answer].style, symbol);
    buf_done(&verdict.head);
    buf_done(&verdict.detail);
}
