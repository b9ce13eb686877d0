/* SPDX-License-Identifier: MIT */
/*
 * What a scenario can say of a GPU or a MIG instance: one table of KEY=VALUE and the field that
 * each goes into. Read by sim/statement.c. Everything here takes hostile input.
 */
#ifndef VRAM_SIM_SETTING_H
#define VRAM_SIM_SETTING_H

#include "common/buf.h"
#include "sim/world.h"

/* What GPU number `index` is before its first line says anything. */
void gpu_set_defaults(struct gpu *gpu, uint32_t index);
/* lost, back, denied, allowed, suspended, awake. False: another word. */
bool gpu_set_state(struct gpu *gpu, const char *word);

/* 0, or -EINVAL with a complaint: no such key, or not a value of it. */
MUST_CHECK int gpu_set(struct gpu *gpu, const char *key, const char *text,
                       struct complaint *complaint);
MUST_CHECK int instance_set(struct instance *instance, const char *key, const char *text,
                            struct complaint *complaint);

/* The other way: adds " KEY=VALUE", "none" for WORLD_UNKNOWN where a number can be taken away. False, with nothing added: no
 * such key, or the language has no such value. */
bool gpu_print(struct buf *buf, const char *key, uint64_t value);
/* A size as the language writes it: "24564M", "12345B". */
void buf_size(struct buf *buf, uint64_t bytes);
/* A text of any bytes in quotes, cut after `most` of them. */
void buf_quoted(struct buf *buf, const char *text, size_t most);

#endif
