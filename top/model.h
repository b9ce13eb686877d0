/* SPDX-License-Identifier: MIT */
/*
 * What the screen is about, without a screen: the figures of now, what they were, the rows in their order, what is
 * chosen, and how lines are shared out. Pure: no terminal, no clock, no driver.
 */
#ifndef VRAM_TOP_MODEL_H
#define VRAM_TOP_MODEL_H

#include "include/vram.h"
#include "top/asker.h"

#define TRAIL_LENGTH ASKER_STEPS
#define TRAIL_UNKNOWN UINT16_MAX
#define FILTER_MAX 64
#define PERIOD_MIN_NS ((uint64_t)100000000)
#define PERIOD_MAX_NS ((uint64_t)60000000000)

/* What a GPU's used memory was, in thousandths of its total: a ring. */
struct trail {
    char uuid[96];
    uint16_t parts[TRAIL_LENGTH];
    size_t count; /* ever added */
};

/* The most that a process was seen to hold. */
struct peak {
    char uuid[96];
    uint32_t pid;
    uint64_t start_time, bytes;
    bool seen; /* in the last snapshot */
};

enum sort { SORT_MEMORY, SORT_PEAK, SORT_GPU, SORT_PID, SORT_NAME, SORT_COUNT };
enum pane { PANE_PROCESSES, PANE_LEASES };

struct row {
    const struct vram_gpu *gpu;
    const struct vram_process *process;
    uint64_t peak_bytes; /* may be unknown */
};

/* Where a list stands on the screen. */
struct place {
    size_t cursor, first; /* of its rows; `first` is the first that is shown */
};

struct model {
    struct findings findings;
    bool paused;
    uint64_t period_ns;
    const char *const *selectors; /* --gpu; NULL-terminated; empty: all */
    size_t *gpus;                 /* positions in the snapshot */
    size_t gpu_count;
    uint32_t only; /* not UINT32_MAX: this GPU's processes only, by its place */
    enum sort sort;
    char filter[FILTER_MAX];
    struct row *rows;
    size_t row_count, row_room;
    struct trail *trails;
    size_t trail_count;
    struct peak *peaks;
    size_t peak_count, peak_room;
    enum pane pane;
    struct place places[2];
    /* Who is under the cursor: it stays there when rows move. */
    uint32_t chosen_pid;
    char chosen_uuid[96], chosen_lease[20];
};

/* Takes the findings over and forgets the former ones. 0 or -ENOMEM: then rows may be missing. */
MUST_CHECK int model_take(struct model *model, struct findings *findings);
/* Makes the rows anew: the order, the filter or the GPU is another. */
MUST_CHECK int model_arrange(struct model *model);
void model_done(struct model *model);

size_t model_lease_count(const struct model *model);
size_t model_waiter_count(const struct model *model);
/* NULL: there is none under the cursor. */
const struct vram_lease *model_chosen_lease(const struct model *model);
const struct vram_gpu *model_gpu(const struct model *model, size_t place);
const struct trail *model_trail(const struct model *model, const char *uuid);
/* The part `ago` steps before the last; TRAIL_UNKNOWN where there was none. */
uint16_t trail_part(const struct trail *trail, size_t ago);

/* Moves the cursor of the pane in use by so many rows. */
void model_move(struct model *model, long rows);

/* How many lines each part of the screen gets. */
struct layout {
    size_t gpu_lines; /* for each GPU, its heading included */
    size_t gpus;      /* that are shown */
    size_t processes; /* rows, without the heading */
    size_t leases;    /* rows, without the heading; 0: no heading either */
    size_t waiters;
};

/* For a screen of so many lines, of which title and footer take one each. */
struct layout layout_make(size_t height, size_t gpus, size_t processes, size_t leases,
                          size_t waiters);

#endif
