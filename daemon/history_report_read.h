/* SPDX-License-Identifier: MIT */
/* Rows of the file, piece by piece, into a tally. It has a connection of its own, and may run in a thread. */
#ifndef VRAM_DAEMON_HISTORY_REPORT_READ_H
#define VRAM_DAEMON_HISTORY_REPORT_READ_H

#include "daemon/history_store.h"
#include "daemon/history_tally.h"

#include <stdatomic.h>

struct report_question {
    char path[HISTORY_PATH_MAX];
    int64_t from_ms, to_ms;
    size_t gpu_count;
    struct history_gpu *gpus; /* that are reported on, by their numbers */
};

/* How long each GPU's processes were looked at goes into `ret_seen_ms`, an array as long as `gpus`. 0; -ECANCELED: `stop` was set; negative
 * errno, with a sentence in `problem`. */
MUST_CHECK int history_report_read(const struct report_question *question, const atomic_bool *stop,
                                   struct tally *tally, int64_t *ret_seen_ms, int64_t *ret_since_ms,
                                   char problem[HISTORY_PROBLEM_MAX]);

#endif
