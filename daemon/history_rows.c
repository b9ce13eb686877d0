/* SPDX-License-Identifier: MIT */
#include "daemon/history_rows.h"

#include "common/utf8.h"
#include <stdlib.h>
#include <string.h>

const char *history_kind_name(uint32_t kind)
{
    static const char *const names[HISTORY_KINDS] = {
        [HISTORY_DAEMON_STARTED] = "daemon_started",
        [HISTORY_DAEMON_STOPPED] = "daemon_stopped",
        [HISTORY_CLOCK_CHANGED] = "clock_changed",
        [HISTORY_GPU_LOST] = "gpu_lost",
        [HISTORY_GPU_BACK] = "gpu_back",
        [HISTORY_NEARLY_FULL] = "nearly_full",
        [HISTORY_OOM_SUSPECTED] = "oom_suspected",
        [HISTORY_LEASE_QUEUED] = "lease_queued",
        [HISTORY_LEASE_GRANTED] = "lease_granted",
        [HISTORY_LEASE_ENDED] = "lease_ended",
        [HISTORY_LEASE_OVER] = "lease_over",
        [HISTORY_LEASE_SQUEEZED] = "lease_squeezed",
        [HISTORY_HOLDER_ASKED] = "holder_asked",
        [HISTORY_PROCESS_STARTED] = "process_started",
        [HISTORY_PROCESS_ENDED] = "process_ended",
    };
    return kind < HISTORY_KINDS ? names[kind] : NULL;
}

/* ---- Batches --------------------------------------------------------------------------------- */

void *history_room(struct history_batch *batch, void **rows, size_t *count, size_t *capacity,
                   size_t size)
{
    if (*count == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 16;
        void *grown = *count < HISTORY_BATCH_MAX ? reallocarray(*rows, wanted, size) : NULL;
        if (!grown) {
            batch->lost++;
            return NULL;
        }
        *rows = grown;
        *capacity = wanted;
    }
    return (char *)*rows + (*count)++ * size;
}

bool history_batch_is_empty(const struct history_batch *batch)
{
    return batch->gpus.count + batch->changes.count + batch->buckets.count +
               batch->processes.count + batch->steps.count + batch->members.count +
               batch->looks.count + batch->leases.count + batch->resizes.count +
               batch->events.count ==
           0;
}

void history_batch_clear(struct history_batch *batch)
{
    batch->gpus.count = batch->changes.count = batch->buckets.count = 0;
    batch->processes.count = batch->steps.count = batch->members.count = batch->looks.count = 0;
    batch->leases.count = batch->resizes.count = batch->events.count = 0;
    batch->lost = 0;
}

void history_batch_done(struct history_batch *batch)
{
    free(batch->gpus.rows);
    free(batch->changes.rows);
    free(batch->buckets.rows);
    free(batch->processes.rows);
    free(batch->steps.rows);
    free(batch->members.rows);
    free(batch->looks.rows);
    free(batch->leases.rows);
    free(batch->resizes.rows);
    free(batch->events.rows);
    *batch = (struct history_batch){.lost = 0};
}

/* ---- Texts ----------------------------------------------------------------------------------- */

/* Controls, marks that turn the direction of what is shown, and those that are not seen at all. */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           c == 0xAD || c == 0x61C || (c >= 0xE0000 && c <= 0xE0FFF);
}

void history_text(char *to, size_t size, const char *from)
{
    size_t length = 0;
    while (from && *from) {
        uint32_t c;
        size_t step = utf8_next(from, &c);
        bool hidden = c == UTF8_INVALID || is_hidden(c);
        size_t room = hidden ? 1 : step;
        if (length + room >= size) {
            break;
        }
        if (hidden) {
            to[length] = '?';
        } else {
            memcpy(to + length, from, step);
        }
        length += room;
        from += step;
    }
    to[length] = '\0';
}
