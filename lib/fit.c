/* SPDX-License-Identifier: MIT */
/* Does it fit? common/room.c's arithmetic over a snapshot: no driver, no clock, no lock. */
#include "common/room.h"
#include "common/size.h"
#include "include/vram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The values are handed on as they are. */
_Static_assert((int)VRAM_FITS == (int)ROOM_FITS && (int)VRAM_NOT_NOW == (int)ROOM_NOT_NOW &&
                   (int)VRAM_NEVER == (int)ROOM_NEVER &&
                   (int)VRAM_CANNOT_TELL == (int)ROOM_CANNOT_TELL && VRAM_UNKNOWN == ROOM_UNKNOWN,
               "common/room.h and include/vram.h mean the same");

/* Nobody's own promise is held against itself. */
static uint64_t promised_to_others(const struct vram_gpu *gpu)
{
    uint64_t all = gpu->outstanding_bytes == VRAM_UNKNOWN ? 0 : gpu->outstanding_bytes;
    uint64_t own = gpu->own_outstanding_bytes == VRAM_UNKNOWN ? 0 : gpu->own_outstanding_bytes;
    return room_difference(all, own);
}

static uint64_t margin_for(const struct vram_gpu *gpu, const struct vram_fit_request *request)
{
    if (!request->margin_millipercent) {
        return request->margin_bytes;
    }
    return gpu->total_bytes == VRAM_UNKNOWN
               ? VRAM_UNKNOWN
               : margin_of(gpu->total_bytes, request->margin_millipercent);
}

static struct room room_of(const struct vram_gpu *gpu, const struct vram_fit_request *request)
{
    return (struct room){
        .total_bytes = gpu->total_bytes,
        .reserved_bytes = gpu->driver_reserved_bytes,
        .free_bytes = gpu->free_bytes,
        .promised_bytes = promised_to_others(gpu),
        .margin_bytes = margin_for(gpu, request),
        .pool = gpu->pool,
        /* Lost and forbidden GPUs are nobody's candidates: a program could not open them either. */
        .usable = gpu->state != VRAM_GPU_LOST && gpu->state != VRAM_GPU_DENIED,
        /* Figures of a GPU that no longer answers are shown, and promise nothing. */
        .current = gpu->state == VRAM_GPU_OK,
        .closed = gpu->drained,
    };
}

static struct vram_fit_gpu line_of(const struct vram_gpu *gpu, const struct room *room,
                                   size_t position)
{
    return (struct vram_fit_gpu){
        .position = position,
        .answer = room->answer,
        .chosen = room->chosen,
        .usable = room->usable,
        .uuid = gpu->uuid,
        .free_bytes = gpu->free_bytes,
        .outstanding_bytes = gpu->outstanding_bytes,
        .own_outstanding_bytes = gpu->own_outstanding_bytes,
        .margin_bytes = room->margin_bytes,
        .headroom_bytes = room->headroom_bytes,
        .headroom_known = room->headroom_known,
        .shortfall_bytes = room->shortfall_bytes,
        .capacity_bytes = room->capacity_bytes,
    };
}

/* ---- The answer ------------------------------------------------------------------------------ */

static int check(const struct vram_snapshot *snapshot, const struct vram_fit_request *request)
{
    if (!request->size_bytes || request->size_bytes == VRAM_UNKNOWN || !request->gpu_count ||
        request->margin_bytes == VRAM_UNKNOWN) {
        return -EINVAL;
    }
    for (size_t i = 0; request->candidates && i < request->candidate_count; i++) {
        if (request->candidates[i] >= vram_snapshot_gpu_count(snapshot)) {
            return -EINVAL;
        }
    }
    return 0;
}

static size_t position_of(const struct vram_fit_request *request, size_t i)
{
    return request->candidates ? request->candidates[i] : i;
}

/* Fills in an answer that has room for its lines, by way of `rooms`. -ENODEV: no candidate can be used. */
static int answer(const struct vram_snapshot *snapshot, const struct vram_fit_request *request,
                  struct room *rooms, struct vram_fit *fit, struct vram_fit_gpu *lines)
{
    for (size_t i = 0; i < fit->count; i++) {
        rooms[i] = room_of(vram_snapshot_gpu(snapshot, position_of(request, i)), request);
    }
    if (!room_any_usable(rooms, fit->count)) {
        return -ENODEV;
    }
    fit->answer = room_decide(rooms, fit->count, request->size_bytes, request->gpu_count);
    fit->margin_bytes = VRAM_UNKNOWN;
    for (size_t i = 0; i < fit->count; i++) {
        size_t position = position_of(request, i);
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, position);
        uint64_t margin = rooms[i].margin_bytes;
        lines[i] = line_of(gpu, &rooms[i], position);
        fit->promises_counted |= gpu->outstanding_bytes != VRAM_UNKNOWN;
        if (margin != VRAM_UNKNOWN &&
            (fit->margin_bytes == VRAM_UNKNOWN || margin > fit->margin_bytes)) {
            fit->margin_bytes = margin;
        }
    }
    return 0;
}

int vram_fit(const struct vram_snapshot *snapshot, const struct vram_fit_request *request,
             struct vram_fit **ret_fit)
{
    struct vram_fit_request asked = VRAM_FIT_REQUEST_INIT;
    if (request->size < sizeof(request->size)) {
        return -EINVAL;
    }
    memcpy(&asked, request, request->size < sizeof(asked) ? request->size : sizeof(asked));
    int r = check(snapshot, &asked);
    if (r < 0) {
        return r;
    }
    size_t count = asked.candidates ? asked.candidate_count : vram_snapshot_gpu_count(snapshot);
    struct vram_fit *fit = calloc(1, sizeof(*fit) + count * sizeof(struct vram_fit_gpu));
    struct room *rooms = calloc(count ? count : 1, sizeof(*rooms));
    if (!fit || !rooms) {
        free(fit);
        free(rooms);
        return -ENOMEM;
    }
    struct vram_fit_gpu *lines = (struct vram_fit_gpu *)(fit + 1);
    *fit = (struct vram_fit){
        .gpu_count = asked.gpu_count,
        .size_bytes = asked.size_bytes,
        .waiters = vram_snapshot_waiters(snapshot),
        .count = count,
        .gpus = lines,
    };
    r = answer(snapshot, &asked, rooms, fit, lines);
    free(rooms);
    if (r < 0) {
        free(fit);
        return r;
    }
    *ret_fit = fit;
    return 0;
}

struct vram_fit *vram_fit_free(struct vram_fit *fit)
{
    free(fit);
    return NULL;
}
