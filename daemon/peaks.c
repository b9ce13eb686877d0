/* SPDX-License-Identifier: MIT */
#include "daemon/peaks.h"

#include <stdlib.h>
#include <string.h>

static struct peak *find(const struct peaks *peaks, const char *uuid)
{
    for (size_t i = 0; i < peaks->count; i++) {
        if (strcmp(peaks->list[i].uuid, uuid) == 0) {
            return &peaks->list[i];
        }
    }
    return NULL;
}

static struct peak *add(struct peaks *peaks, const char *uuid)
{
    struct peak *grown = reallocarray(peaks->list, peaks->count + 1, sizeof(*grown));
    if (!grown) {
        return NULL; /* this one is not told */
    }
    peaks->list = grown;
    struct peak *peak = &grown[peaks->count++];
    *peak = (struct peak){.uuid = ""};
    memcpy(peak->uuid, uuid, strlen(uuid) + 1);
    return peak;
}

static void take(struct peaks *peaks, uint64_t number, const struct vram_gpu *gpu)
{
    bool known = gpu->uuid && strlen(gpu->uuid) < PEAKS_UUID_MAX && gpu->state == VRAM_GPU_OK &&
                 gpu->used_bytes != VRAM_UNKNOWN;
    struct peak *peak = known ? find(peaks, gpu->uuid) : NULL;
    peak = known && !peak ? add(peaks, gpu->uuid) : peak;
    if (!peak) {
        return;
    }
    size_t i = number % PEAKS_STEPS;
    bool is_first = peak->steps[i].number != number;
    peak->steps[i].number = number;
    if (is_first || gpu->used_bytes > peak->steps[i].bytes) {
        peak->steps[i].bytes = gpu->used_bytes;
    }
}

void peaks_take(struct peaks *peaks, uint64_t now_ns, const struct vram_snapshot *snapshot)
{
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        take(peaks, now_ns / PEAKS_STEP_NS + 1, vram_snapshot_gpu(snapshot, i));
    }
}

uint64_t peaks_find(const struct peaks *peaks, uint64_t now_ns, const char *uuid)
{
    const struct peak *peak = find(peaks, uuid);
    uint64_t now = now_ns / PEAKS_STEP_NS + 1, most = VRAM_UNKNOWN;
    for (size_t i = 0; peak && i < PEAKS_STEPS; i++) {
        uint64_t number = peak->steps[i].number;
        bool counts = number > 0 && number <= now && now - number < PEAKS_STEPS;
        if (counts && (most == VRAM_UNKNOWN || peak->steps[i].bytes > most)) {
            most = peak->steps[i].bytes;
        }
    }
    return most;
}

void peaks_done(struct peaks *peaks)
{
    free(peaks->list);
    *peaks = (struct peaks){.count = 0};
}
