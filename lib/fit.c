/* SPDX-License-Identifier: MIT */
/*
 * Does it fit? Pure arithmetic over a snapshot: no driver, no clock, no lock. Nothing here may wrap: amounts are
 * compared before they are subtracted, and sums stop at the largest number.
 */
#include "common/size.h"
#include "include/vram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t difference(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* a - b, as far as a signed number goes. */
static int64_t signed_difference(uint64_t a, uint64_t b)
{
    uint64_t distance = a > b ? a - b : b - a;
    int64_t limited = distance > INT64_MAX ? INT64_MAX : (int64_t)distance;
    return a >= b ? limited : -limited;
}

/* A GPU's memory when nobody uses it. Where the reserve is unknown, all of it: "never" must be certain. */
static uint64_t capacity_of(const struct vram_gpu *gpu)
{
    if (gpu->total_bytes == VRAM_UNKNOWN || gpu->driver_reserved_bytes == VRAM_UNKNOWN) {
        return gpu->total_bytes;
    }
    return difference(gpu->total_bytes, gpu->driver_reserved_bytes);
}

/* Lost and forbidden GPUs are nobody's candidates: a program could not open them either. */
static bool is_usable(const struct vram_gpu *gpu)
{
    return gpu->state != VRAM_GPU_LOST && gpu->state != VRAM_GPU_DENIED;
}

/* Nobody's own promise is held against itself. */
static uint64_t promised_to_others(const struct vram_gpu *gpu)
{
    uint64_t all = gpu->outstanding_bytes == VRAM_UNKNOWN ? 0 : gpu->outstanding_bytes;
    uint64_t own = gpu->own_outstanding_bytes == VRAM_UNKNOWN ? 0 : gpu->own_outstanding_bytes;
    return difference(all, own);
}

static void fill_headroom(struct vram_fit_gpu *line, const struct vram_gpu *gpu, uint64_t size)
{
    /* Figures of a GPU that no longer answers are shown, and promise nothing. */
    bool margin_known = line->margin_bytes != VRAM_UNKNOWN;
    if (gpu->state != VRAM_GPU_OK || gpu->free_bytes == VRAM_UNKNOWN || !margin_known) {
        return;
    }
    uint64_t spoken_for = sum(promised_to_others(gpu), line->margin_bytes);
    line->headroom_known = true;
    line->headroom_bytes = signed_difference(gpu->free_bytes, spoken_for);
    uint64_t need = sum(size, spoken_for);
    line->shortfall_bytes = difference(need, gpu->free_bytes);
    line->answer = need <= gpu->free_bytes && need != UINT64_MAX ? VRAM_FITS : VRAM_NOT_NOW;
}

static void weigh(struct vram_fit_gpu *line, const struct vram_gpu *gpu, size_t position,
                  const struct vram_fit_request *request)
{
    uint64_t margin = request->margin_bytes;
    if (request->margin_millipercent) {
        margin = gpu->total_bytes == VRAM_UNKNOWN
                     ? VRAM_UNKNOWN
                     : margin_of(gpu->total_bytes, request->margin_millipercent);
    }
    *line = (struct vram_fit_gpu){
        .position = position,
        .answer = VRAM_CANNOT_TELL,
        .usable = is_usable(gpu),
        .uuid = gpu->uuid,
        .free_bytes = gpu->free_bytes,
        .outstanding_bytes = gpu->outstanding_bytes,
        .own_outstanding_bytes = gpu->own_outstanding_bytes,
        .margin_bytes = margin,
        .shortfall_bytes = VRAM_UNKNOWN,
        .capacity_bytes = capacity_of(gpu),
    };
    fill_headroom(line, gpu, request->size_bytes);
    if (margin != VRAM_UNKNOWN && line->capacity_bytes != VRAM_UNKNOWN &&
        sum(request->size_bytes, margin) > line->capacity_bytes) {
        line->answer = VRAM_NEVER;
    }
}

/* ---- Choosing -------------------------------------------------------------------------------- */

static bool shares_pool(const struct vram_snapshot *snapshot, const struct vram_fit_gpu *a,
                        const struct vram_fit_gpu *b)
{
    return vram_snapshot_gpu(snapshot, a->position)->pool ==
           vram_snapshot_gpu(snapshot, b->position)->pool;
}

/* Whether candidate `i` stands for its memory: it has the best answer of those that share it, which may
 * differ, as they are asked one after the other. Of equals the first stands. */
static bool stands_for_pool(const struct vram_snapshot *snapshot, const struct vram_fit *fit,
                            size_t i)
{
    static const unsigned ranks[] = {
        [VRAM_FITS] = 0, [VRAM_CANNOT_TELL] = 1, [VRAM_NOT_NOW] = 2, [VRAM_NEVER] = 3};
    unsigned own = ranks[fit->gpus[i].answer];
    for (size_t j = 0; j < fit->count; j++) {
        const struct vram_fit_gpu *other = &fit->gpus[j];
        bool better = ranks[other->answer] < own || (ranks[other->answer] == own && j < i);
        if (other->usable && better && shares_pool(snapshot, other, &fit->gpus[i])) {
            return false;
        }
    }
    return true;
}

static size_t count_pools(const struct vram_snapshot *snapshot, const struct vram_fit *fit,
                          uint32_t answer)
{
    size_t count = 0;
    for (size_t i = 0; i < fit->count; i++) {
        count += fit->gpus[i].usable && fit->gpus[i].answer == answer &&
                 stands_for_pool(snapshot, fit, i);
    }
    return count;
}

/* The fullest GPU on which it still fits and whose memory is not chosen yet; -1: none. */
static int fullest(const struct vram_snapshot *snapshot, const struct vram_fit_gpu *lines,
                   size_t count)
{
    int best = -1;
    for (size_t i = 0; i < count; i++) {
        bool free = lines[i].usable && lines[i].answer == VRAM_FITS;
        for (size_t j = 0; free && j < count; j++) {
            free = !lines[j].chosen || !shares_pool(snapshot, &lines[i], &lines[j]);
        }
        if (free && (best < 0 || lines[i].headroom_bytes < lines[best].headroom_bytes)) {
            best = (int)i;
        }
    }
    return best;
}

static void decide(const struct vram_snapshot *snapshot, struct vram_fit *fit,
                   struct vram_fit_gpu *lines)
{
    size_t wanted = fit->gpu_count;
    size_t fits = count_pools(snapshot, fit, VRAM_FITS);
    size_t later = count_pools(snapshot, fit, VRAM_NOT_NOW);
    size_t unknown = count_pools(snapshot, fit, VRAM_CANNOT_TELL);
    if (fits >= wanted) {
        fit->answer = VRAM_FITS;
        for (size_t n = 0; n < wanted; n++) {
            lines[fullest(snapshot, lines, fit->count)].chosen = true;
        }
    } else if (fits + later + unknown < wanted) {
        fit->answer = VRAM_NEVER;
    } else {
        /* Unknown GPUs decide only where they could make up what is missing. */
        fit->answer = fits + unknown >= wanted ? VRAM_CANNOT_TELL : VRAM_NOT_NOW;
    }
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
    if (!fit) {
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
    bool any_usable = false;
    fit->margin_bytes = VRAM_UNKNOWN;
    for (size_t i = 0; i < count; i++) {
        size_t position = asked.candidates ? asked.candidates[i] : i;
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, position);
        weigh(&lines[i], gpu, position, &asked);
        any_usable |= lines[i].usable;
        fit->promises_counted |= gpu->outstanding_bytes != VRAM_UNKNOWN;
        uint64_t margin = lines[i].margin_bytes;
        if (margin != VRAM_UNKNOWN &&
            (fit->margin_bytes == VRAM_UNKNOWN || margin > fit->margin_bytes)) {
            fit->margin_bytes = margin;
        }
    }
    if (!any_usable) {
        free(fit);
        return -ENODEV;
    }
    decide(snapshot, fit, lines);
    *ret_fit = fit;
    return 0;
}

struct vram_fit *vram_fit_free(struct vram_fit *fit)
{
    free(fit);
    return NULL;
}
