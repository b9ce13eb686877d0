/* SPDX-License-Identifier: MIT */
#include "cli/change.h"

#include "cli/figures.h"
#include "cli/telling.h"
#include "cli/text.h"
#include "common/size.h"
#include <string.h>

/* A signed amount, as bytes and direction. */
struct change {
    uint64_t bytes;
    bool more;
};

/* Nothing is known to have changed where an amount is unknown. */
static struct change change_of(uint64_t before, uint64_t after)
{
    if (before == VRAM_UNKNOWN || after == VRAM_UNKNOWN) {
        return (struct change){0, false};
    }
    return (struct change){after > before ? after - before : before - after, after > before};
}

static const struct vram_gpu *same_gpu(const struct vram_snapshot *snapshot,
                                       const struct vram_gpu *gpu)
{
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *other = vram_snapshot_gpu(snapshot, i);
        if (gpu->uuid && other->uuid && strcmp(gpu->uuid, other->uuid) == 0) {
            return other;
        }
    }
    return NULL;
}

/* What this process, which may not be there, holds on a GPU. */
static uint64_t held_by(const struct vram_gpu *gpu, const struct vram_process *process)
{
    for (size_t i = 0; i < gpu->process_count; i++) {
        const struct vram_process *other = &gpu->processes[i];
        if (other->pid == process->pid && other->start_time == process->start_time) {
            return other->used_bytes;
        }
    }
    return 0;
}

/* The process that accounts for most of a change; NULL where none accounts for half of it. */
static const struct vram_process *find_cause(const struct vram_gpu *before,
                                             const struct vram_gpu *after, struct change change)
{
    const struct vram_gpu *in = change.more ? after : before, *other = change.more ? before : after;
    const struct vram_process *cause = NULL;
    uint64_t most = change.bytes / 2;
    if (!before->processes_known || !after->processes_known) {
        return NULL;
    }
    for (size_t i = 0; i < in->process_count; i++) {
        const struct vram_process *process = &in->processes[i];
        struct change own = change_of(held_by(other, process), process->used_bytes);
        if (own.more && own.bytes >= most) {
            cause = process;
            most = own.bytes;
        }
    }
    return cause;
}

void change_describe(struct buf *text, const struct screen *screen,
                     const struct vram_snapshot *before, const struct vram_snapshot *after,
                     const struct selection *selection)
{
    struct change largest = {MIB - 1, false};
    const struct vram_gpu *old = NULL, *new = NULL;
    for (size_t i = 0; i < selection->count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(after, selection->positions[i]);
        const struct vram_gpu *past = same_gpu(before, gpu);
        struct change change =
            past ? change_of(past->used_bytes, gpu->used_bytes) : (struct change){0, false};
        if (change.bytes > largest.bytes) {
            largest = change;
            old = past;
            new = gpu;
        }
    }
    if (!new) {
        return;
    }
    char label[GPU_LABEL_MAX], amount[FIGURE_MAX];
    if (selection->count > 1) {
        buf_format(text, "GPU %s ", session_gpu_label(new, label));
    }
    buf_format(text, "%s%s", largest.more ? "+" : screen_symbol(screen, SYMBOL_MINUS),
               figure_bytes(screen, largest.bytes, amount));
    const struct vram_process *cause = find_cause(old, new, largest);
    if (cause) {
        struct buf name CLEANUP(buf_done) = BUF_INIT;
        telling_name(&name, cause);
        buf_char(text, ' ');
        text_safe(text, name.data ? name.data : "", screen->utf8);
        text->failed = text->failed || name.failed;
    }
}
