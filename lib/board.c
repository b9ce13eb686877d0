/* SPDX-License-Identifier: MIT */
#include "lib/board.h"

#include <stdlib.h>

struct report *report_new(struct source_gpu *gpus, size_t count, uint64_t taken_ns)
{
    struct report *report = malloc(sizeof(*report));
    if (!report) {
        for (size_t i = 0; i < count; i++) {
            source_gpu_done(&gpus[i]);
        }
        free(gpus);
        return NULL;
    }
    atomic_init(&report->references, 1);
    report->taken_ns = taken_ns;
    report->count = count;
    report->gpus = gpus;
    return report;
}

struct report *report_ref(struct report *report)
{
    if (report) {
        atomic_fetch_add(&report->references, 1);
    }
    return report;
}

void report_unref(struct report *report)
{
    if (!report || atomic_fetch_sub(&report->references, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < report->count; i++) {
        source_gpu_done(&report->gpus[i]);
    }
    free(report->gpus);
    free(report);
}

void board_entries_done(struct board_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        report_unref(entries[i].report);
    }
}

void board_done(struct board *board)
{
    board_entries_done(board->entries, board->count);
    free(board->entries);
    *board = (struct board){0};
}
