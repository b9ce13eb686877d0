/* SPDX-License-Identifier: MIT */
#include "daemon/history_counts.h"

#include <stdlib.h>
#include <string.h>

bool history_kind_is_of_gpu(uint32_t kind)
{
    return (kind >= HISTORY_GPU_LOST && kind <= HISTORY_OOM_SUSPECTED) ||
           kind == HISTORY_PROCESS_STARTED || kind == HISTORY_PROCESS_ENDED;
}

bool history_kind_is_of_lease(uint32_t kind)
{
    return kind >= HISTORY_LEASE_QUEUED && kind <= HISTORY_LEASE_SQUEEZED;
}

static struct history_count *find(const struct history_counts *counts, const char *uuid)
{
    for (size_t i = 0; i < counts->gpu_count; i++) {
        if (strcmp(counts->gpus[i].uuid, uuid) == 0) {
            return &counts->gpus[i];
        }
    }
    return NULL;
}

void history_counts_meet(struct history_counts *counts, const struct vram_gpu *gpu)
{
    char uuid[HISTORY_UUID_MAX];
    history_text(uuid, sizeof(uuid), gpu->uuid);
    struct history_count *count = uuid[0] ? find(counts, uuid) : NULL;
    if (uuid[0] && !count) {
        struct history_count *grown =
            reallocarray(counts->gpus, counts->gpu_count + 1, sizeof(*grown));
        if (!grown) {
            return; /* it has no counts yet */
        }
        counts->gpus = grown;
        count = &grown[counts->gpu_count++];
        *count = (struct history_count){.index = 0};
        memcpy(count->uuid, uuid, sizeof(uuid));
    }
    if (count) {
        count->index = gpu->index;
        count->mig_index = gpu->mig_index;
    }
}

void history_counts_add(struct history_counts *counts, const struct history_event *event,
                        const struct history_gpu *gpu)
{
    struct history_count *count = gpu ? find(counts, gpu->uuid) : NULL;
    counts->kinds[event->kind]++;
    if (count) {
        count->kinds[event->kind]++;
    }
}

void history_counts_done(struct history_counts *counts)
{
    free(counts->gpus);
    *counts = (struct history_counts){.gpu_count = 0};
}
