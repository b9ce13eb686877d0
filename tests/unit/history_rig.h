/* SPDX-License-Identifier: MIT */
/* A directory with a file of history that a store has open, and rows for it; all that fails here fails the test. */
#ifndef VRAM_TESTS_HISTORY_RIG_H
#define VRAM_TESTS_HISTORY_RIG_H

#include "daemon/history_store_inner.h"

#define START_S INT64_C(1795748400) /* at a whole quarter of an hour */
#define START_MS (START_S * 1000)

struct scene {
    const char *root;
    char path[256], problem[HISTORY_PROBLEM_MAX];
    struct history_store *store;
    struct history_batch batch;
};

/* For cmocka: the setup and the end of a test. */
int scene_begin(void **state);
int scene_end(void **state);
#define SCENE(test) cmocka_unit_test_setup_teardown(test, scene_begin, scene_end)

/* Opens the file at `path`; as history_store_open(). */
int scene_open(struct scene *scene, uint64_t max_bytes, const char *boot);
/* Closes it, and opens it again. */
void scene_reopen(struct scene *scene);

/* Rows of GPU 1, into the batch. */
void scene_add_gpu(struct scene *scene, uint32_t id);
void scene_add_bucket(struct scene *scene, int64_t at_s, uint64_t low, uint64_t mean,
                      uint64_t high);
void scene_add_change(struct scene *scene, int64_t at_ms, uint64_t used);
void scene_add_process(struct scene *scene, uint64_t id, const char *name, int64_t ended_ms);
void scene_add_step(struct scene *scene, uint64_t process, int64_t at_ms, uint64_t used);
void scene_add_event(struct scene *scene, int64_t at_ms, uint32_t kind, const char *text);
/* Writes the batch and empties it; the second sees to it that it is written. */
int scene_try_write(struct scene *scene, int64_t now_ms);
void scene_write(struct scene *scene, int64_t now_ms);

#endif
