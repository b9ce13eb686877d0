/* SPDX-License-Identifier: MIT */
/* What all questions to history have in common: the time, the GPUs, how much, and how they are answered. */
#ifndef VRAM_DAEMON_HISTORY_ASKING_H
#define VRAM_DAEMON_HISTORY_ASKING_H

#include "daemon/history_inner.h"

#define ASKING_GPUS_MOST 128
#define ASKING_HOUR_MS (INT64_C(3600) * 1000)

/* One question on its way to its answer. */
struct asking {
    struct history *history;
    struct http_request *request;
    struct history_question question;
    char chosen[ASKING_GPUS_MOST * 12]; /* GPUs, as the question has them */
    struct history_gpu gpus[ASKING_GPUS_MOST];
    size_t gpu_count;
    uint64_t steps_left; /* to be told; 0: none are wanted, or no more */
    int steps_result;
    struct buf buf;
    struct json json;
};

/* Reads it, and begins its answer; where no time is named the last `usual_ms` are meant. What is not written yet is written first. NULL:
 * it was answered. */
struct asking *asking_begin(struct daemon *daemon, struct http_request *request, int64_t usual_ms);
/* Lets go of it without an answer. Returns NULL. */
struct asking *asking_free(struct asking *asking);
/* Ends it. `r`: what came of asking the store. */
void asking_answer(struct asking *asking, int r);

bool asking_is_chosen(const struct asking *asking, uint32_t gpu);
/* NULL: it is not known. */
const struct history_gpu *asking_find_gpu(const struct asking *asking, uint32_t id);
/* "schema", and since when there is history. */
void asking_write_head(struct json *json, struct history_store *store);

void asking_fail_parameter(struct http_request *request, const char *name, const char *what);

#endif
