/* SPDX-License-Identifier: MIT */
/*
 * What is known of every device at one moment: the sampler's answer, and what a snapshot is made of.
 */
#ifndef VRAM_LIB_BOARD_H
#define VRAM_LIB_BOARD_H

#include "lib/source/source.h"
#include <stdatomic.h>

/* What one device said at one moment. Immutable once handed out; counted references. */
struct report {
    atomic_uint references;
    uint64_t taken_ns; /* CLOCK_MONOTONIC */
    size_t count;
    struct source_gpu *gpus;
};

struct board_entry {
    struct report *report; /* NULL: this device has never answered */
    bool hung;
    const char *hung_call; /* static text */
    uint64_t hung_since_ns;
};

/* What is known of every device: the last reports, each with its age. */
struct board {
    struct source_identity identity;
    size_t count;
    struct board_entry *entries;
};

void board_done(struct board *board);

/* Takes the array and what it owns, always. One reference; NULL: out of memory. */
struct report *report_new(struct source_gpu *gpus, size_t count, uint64_t taken_ns);
struct report *report_ref(struct report *report);
void report_unref(struct report *report); /* NULL is fine */

/* Gives back the reports of `count` entries; the entries are the caller's. */
void board_entries_done(struct board_entry *entries, size_t count);

#endif
