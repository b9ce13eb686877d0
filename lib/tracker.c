/* SPDX-License-Identifier: MIT */
/*
 * The convenience tracker: the library's only mutable globals. All trackers share one handle, made by the first
 * that is used and closed by the last that is shut down.
 */
#include "common/attr.h"
#include "common/text.h"
#include "lib/handle.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#define MOST_TRACKERS 64

struct vram_tracker {
    uint32_t index;
    bool in_use; /* counts among the handle's users */
};

/* A handle with the calls that are inside it; a shut-down one is closed by the last call to leave. */
struct shared {
    struct vram *vram;
    unsigned users, calls;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct vram_tracker trackers[MOST_TRACKERS];
static struct shared shared;

/* Kept here and not in the handle, which another thread's shutdown may close while this one reads. */
static _Thread_local struct err last_error;

/* A fork may fall between another thread's lock and unlock: then the child could never use a tracker. */
static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void set_up(void)
{
    for (uint32_t i = 0; i < MOST_TRACKERS; i++) {
        trackers[i].index = i;
    }
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}

struct vram_tracker *vram_tracker_get(uint32_t gpu_index)
{
    (void)pthread_once(&once, set_up);
    return &trackers[gpu_index < MOST_TRACKERS ? gpu_index : MOST_TRACKERS - 1];
}

static int enter(struct vram_tracker *tracker, struct vram **ret_vram)
{
    int r = 0;
    pthread_mutex_lock(&lock);
    if (!shared.vram) {
        r = vram_open(&shared.vram, NULL);
    }
    if (r == 0) {
        shared.users += !tracker->in_use;
        tracker->in_use = true;
        shared.calls++;
        *ret_vram = shared.vram;
    }
    pthread_mutex_unlock(&lock);
    return r < 0 ? err_no_memory(&last_error) : 0;
}

/* Leaves the handle with a call's result; of a failure the handle's words are kept. */
static int leave(struct vram *vram, int result)
{
    struct vram *unused = NULL;
    if (result < 0) {
        last_error.result = result;
        (void)text_copy(last_error.message, sizeof(last_error.message), vram_error(vram));
        (void)text_copy(last_error.hint, sizeof(last_error.hint), vram_error_hint(vram));
    }
    pthread_mutex_lock(&lock);
    if (--shared.calls == 0 && shared.users == 0) {
        unused = shared.vram;
        shared.vram = NULL;
    }
    pthread_mutex_unlock(&lock);
    (void)vram_close(unused);
    return result;
}

void vram_tracker_shutdown(struct vram_tracker *tracker)
{
    struct vram *unused = NULL;
    pthread_mutex_lock(&lock);
    shared.users -= tracker->in_use;
    tracker->in_use = false;
    if (shared.users == 0 && shared.calls == 0) {
        unused = shared.vram;
        shared.vram = NULL;
    }
    pthread_mutex_unlock(&lock);
    (void)vram_close(unused);
}

/* ---- The four questions ---------------------------------------------------------------------- */

static int no_such_gpu(struct vram *vram, uint32_t index, size_t count)
{
    struct err err = {0};
    if (count) {
        (void)err_set(&err, -ENODEV, "no_such_gpu", "there is no GPU %u; this machine has %zu",
                      index, count);
    } else {
        (void)err_set(&err, -ENODEV, "no_gpu", "the driver works and knows no GPU");
    }
    return handle_fail(vram, &err);
}

static int take(struct vram *vram, const struct vram_tracker *tracker, uint32_t what,
                struct vram_snapshot **ret_snapshot, size_t *ret_position)
{
    struct vram_snapshot *snapshot;
    int r = vram_snapshot_take(vram, what, &snapshot);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        if (vram_snapshot_gpu(snapshot, i)->index == tracker->index) {
            *ret_snapshot = snapshot;
            *ret_position = i;
            return 0;
        }
    }
    r = no_such_gpu(vram, tracker->index, vram_snapshot_gpu_count(snapshot));
    (void)vram_snapshot_unref(snapshot);
    return r;
}

int vram_tracker_status(struct vram_tracker *tracker, struct vram_snapshot **ret_snapshot,
                        size_t *ret_position)
{
    struct vram *vram = NULL;
    int r = enter(tracker, &vram);
    if (r < 0) {
        return r;
    }
    r = take(vram, tracker, VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH, ret_snapshot, ret_position);
    return leave(vram, r);
}

static int decide(struct vram *vram, const struct vram_snapshot *snapshot, size_t position,
                  uint64_t required_bytes, uint64_t margin_bytes)
{
    struct vram_fit_request request = VRAM_FIT_REQUEST_INIT;
    struct vram_fit *fit;
    request.size_bytes = required_bytes;
    request.margin_bytes = margin_bytes;
    request.candidates = &position;
    request.candidate_count = 1;
    int r = vram_fit(snapshot, &request, &fit);
    if (r < 0) {
        struct err err = {0};
        const char *state = vram_gpu_state_name(vram_snapshot_gpu(snapshot, position)->state);
        (void)(r == -ENODEV
                   ? err_set(&err, r, "gpu_unusable", "the GPU is %s", state)
                   : err_set(&err, r, "bad_request", "a size or margin that is no amount"));
        return handle_fail(vram, &err);
    }
    r = fit->answer == VRAM_FITS;
    if (fit->answer == VRAM_CANNOT_TELL) {
        struct err err = {0};
        (void)err_set(&err, -ENODATA, "unknown",
                      "the driver does not tell how much memory is free");
        r = handle_fail(vram, &err);
    }
    (void)vram_fit_free(fit);
    return r;
}

int vram_tracker_can_fit(struct vram_tracker *tracker, uint64_t required_bytes,
                         uint64_t margin_bytes)
{
    struct vram_snapshot *snapshot;
    struct vram *vram = NULL;
    size_t position;
    int r = enter(tracker, &vram);
    if (r < 0) {
        return r;
    }
    r = take(vram, tracker, 0, &snapshot, &position);
    if (r == 0) {
        r = decide(vram, snapshot, position, required_bytes, margin_bytes);
        (void)vram_snapshot_unref(snapshot);
    }
    return leave(vram, r);
}

int vram_tracker_find_process(struct vram_tracker *tracker, const char *pattern,
                              struct vram_snapshot **ret_snapshot,
                              const struct vram_process **ret_process)
{
    struct vram_snapshot *snapshot;
    size_t position;
    int r = vram_tracker_status(tracker, &snapshot, &position);
    if (r < 0) {
        return r;
    }
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, position);
    for (size_t i = 0; i < gpu->process_count; i++) {
        if (strcasestr(gpu->processes[i].name, pattern)) {
            *ret_snapshot = snapshot;
            *ret_process = &gpu->processes[i];
            return 1;
        }
    }
    (void)vram_snapshot_unref(snapshot);
    return 0;
}

const char *vram_tracker_error(const struct vram_tracker *tracker)
{
    (void)tracker;
    return last_error.result ? last_error.message : "no error";
}

const char *vram_tracker_error_hint(const struct vram_tracker *tracker)
{
    (void)tracker;
    return last_error.hint;
}
