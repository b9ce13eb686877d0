/* SPDX-License-Identifier: MIT */
#include "cli/verdict.h"

#include "cli/figures.h"
#include "cli/session.h"
#include "cli/telling.h"
#include "cli/text.h"
#include "common/size.h"
#include <inttypes.h>
#include <stdio.h>

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

/* "22,844 MiB free − 1,024 margin = 21,820 headroom". What there is is rounded down, what is needed up. */
static void add_arithmetic(struct verdict *verdict, const struct vram_fit_gpu *line)
{
    const struct screen *screen = verdict->screen;
    const char *minus = screen_symbol(screen, SYMBOL_MINUS);
    char text[FIGURE_MAX];
    buf_format(&verdict->detail, "%s MiB free", figure_mib(screen, line->free_bytes, false, text));
    if (line->outstanding_bytes != VRAM_UNKNOWN && line->outstanding_bytes > 0) {
        buf_format(&verdict->detail, " %s %s outstanding", minus,
                   figure_mib(screen, line->outstanding_bytes, true, text));
    }
    buf_format(&verdict->detail, " %s %s margin", minus,
               figure_mib(screen, line->margin_bytes, true, text));
    bool negative = line->headroom_bytes < 0;
    uint64_t headroom = negative ? 0 - (uint64_t)line->headroom_bytes : (uint64_t)line->headroom_bytes;
    buf_format(&verdict->detail, " = %s%s headroom", negative ? minus : "",
               figure_mib(screen, headroom, negative, text));
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
                buf_format(&verdict->head, " (%s)", name);
            }
            if (several) {
                buf_format(&verdict->detail, "%sGPU %s: ", first ? "" : "\n", label);
            }
            add_arithmetic(verdict, &fit->gpus[i]);
            first = false;
        }
    }
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
        telling_name(&verdict->detail, process);
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
    buf_format(&verdict->detail, ", %s MiB short", figure_mib(verdict->screen, nearest->shortfall_bytes, true, text));
    add_holders(verdict, gpu_of(verdict, nearest));
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
        buf_format(&verdict->detail, "%zu of the %zu asked about %s large enough%s", enough, fit->count,
                   enough == 1 ? "is" : "are", largest ? "; " : "");
    }
    if (largest) {
        buf_format(&verdict->detail, "GPU %s%s has %s MiB when empty, and %s + %s margin are needed",
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

/* Adds hostile text made safe; newlines are the author's. */
static void make_safe(struct verdict *verdict, struct buf *text)
{
    struct buf safe = BUF_INIT;
    char *rest = text->data;
    while (rest && *rest) {
        char *end = rest;
        while (*end && *end != '\n') {
            end++;
        }
        bool more = *end == '\n';
        *end = '\0';
        text_safe(&safe, rest, verdict->screen->utf8);
        buf_text(&safe, more ? "\n" : "");
        rest = end + more;
    }
    safe.failed = safe.failed || text->failed;
    buf_done(text);
    *text = safe;
}

static void print(struct verdict *verdict, enum style style, const char *symbol)
{
    struct buf *out = verdict->out;
    const struct screen *screen = verdict->screen;
    if (verdict->head.failed || verdict->detail.failed) {
        out->failed = true;
        return;
    }
    size_t width = text_width(symbol) + 1 + text_width(verdict->head.data);
    buf_format(out, "%s%s%s %s", screen_style(screen, style), symbol, screen_plain(screen),
               verdict->head.data);
    const char *detail = verdict->detail.data;
    if (!detail) {
        buf_char(out, '\n');
        return;
    }
    size_t first = 0;
    while (detail[first] && detail[first] != '\n') {
        first++;
    }
    size_t limit = screen->terminal ? screen->width : SIZE_MAX;
    bool same_line = !screen->terminal || width + 2 + first <= screen->width;
    buf_text(out, same_line ? ": " : ":\n");
    text_blanks(out, same_line ? 0 : INDENT);
    text_wrap(out, detail, same_line ? width + 2 : INDENT, INDENT, limit);
}

void verdict_print(struct buf *out, const struct screen *screen, const struct vram_snapshot *snapshot,
                   const struct vram_fit *fit)
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
    make_safe(&verdict, &verdict.head);
    make_safe(&verdict, &verdict.detail);
    print(&verdict, answers[answer].style, symbol);
    buf_done(&verdict.head);
    buf_done(&verdict.detail);
}
