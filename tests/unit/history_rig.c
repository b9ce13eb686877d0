/* SPDX-License-Identifier: MIT */
#include "tests/unit/history_rig.h"

#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "include/vram.h"
#include <stdio.h>

int scene_open(struct scene *scene, uint64_t max_bytes, const char *boot)
{
    struct history_store_options options = {
        .path = scene->path, .max_bytes = max_bytes, .boot = boot, .now_ms = START_MS};
    int r = history_store_open(&options, &scene->store, scene->problem);
    if (r >= 0) {
        history_store_wait(scene->store, 60000); /* tests write faster than disks take it */
    }
    return r;
}

void scene_reopen(struct scene *scene)
{
    scene->store = history_store_close(scene->store);
    assert_int_equal(scene_open(scene, 64 * MIB, "boot"), 0);
}

int scene_begin(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    scene->root = fake_root_make();
    (void)snprintf(scene->path, sizeof(scene->path), "%s/a/b/history.db", scene->root);
    *state = scene;
    return scene_open(scene, 64 * MIB, "boot") == 0 && !scene->problem[0] ? 0 : -1;
}

int scene_end(void **state)
{
    struct scene *scene = *state;
    scene->store = history_store_close(scene->store);
    history_batch_done(&scene->batch);
    fake_root_remove(scene->root);
    free(scene);
    return 0;
}

void scene_add_gpu(struct scene *scene, uint32_t id)
{
    struct history_gpu gpu = {
        .id = id, .index = id - 1, .mig_index = UINT64_MAX, .total_bytes = 24 * GIB, .name = "One"};
    (void)snprintf(gpu.uuid, sizeof(gpu.uuid), "GPU-%u", id);
    HISTORY_ADD(&scene->batch, gpus, gpu);
}

void scene_add_bucket(struct scene *scene, int64_t at_s, uint64_t low, uint64_t mean, uint64_t high)
{
    struct history_bucket bucket = {.gpu = 1,
                                    .at_s = at_s,
                                    .low_bytes = low,
                                    .mean_bytes = mean,
                                    .high_bytes = high,
                                    .free_bytes = 24 * GIB - high,
                                    .weight_ms = 10000};
    HISTORY_ADD(&scene->batch, buckets, bucket);
}

void scene_add_change(struct scene *scene, int64_t at_ms, uint64_t used)
{
    struct history_change change = {
        .gpu = 1, .at_ms = at_ms, .used_bytes = used, .free_bytes = 24 * GIB - used};
    change.free_bytes = used == VRAM_UNKNOWN ? VRAM_UNKNOWN : change.free_bytes;
    HISTORY_ADD(&scene->batch, changes, change);
}

void scene_add_process(struct scene *scene, uint64_t id, const char *name, int64_t ended_ms)
{
    struct history_process process = {.id = id,
                                      .gpu = 1,
                                      .pid = (uint32_t)id,
                                      .start_time = 100 + id,
                                      .began_ms = START_MS,
                                      .ended_ms = ended_ms,
                                      .first_bytes = GIB,
                                      .last_bytes = 2 * GIB,
                                      .peak_bytes = id * GIB};
    history_text(process.name, sizeof(process.name), name);
    HISTORY_ADD(&scene->batch, processes, process);
}

void scene_add_step(struct scene *scene, uint64_t process, int64_t at_ms, uint64_t used)
{
    struct history_step step = {.process = process, .at_ms = at_ms, .used_bytes = used};
    HISTORY_ADD(&scene->batch, steps, step);
}

void scene_add_event(struct scene *scene, int64_t at_ms, uint32_t kind, const char *text)
{
    struct history_event event = {.at_ms = at_ms, .kind = kind, .gpu = 1, .bytes = VRAM_UNKNOWN};
    history_text(event.text, sizeof(event.text), text);
    HISTORY_ADD(&scene->batch, events, event);
}

int scene_try_write(struct scene *scene, int64_t now_ms)
{
    int r = history_store_write(scene->store, &scene->batch, now_ms);
    history_batch_clear(&scene->batch);
    return r;
}

void scene_write(struct scene *scene, int64_t now_ms)
{
    int r = scene_try_write(scene, now_ms);
    if (r < 0) {
        fail_msg("%d: %s", r, history_store_error(scene->store));
    }
}
