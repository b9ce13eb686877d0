/* SPDX-License-Identifier: MIT */
/* What the two halves of a tally share: time (history_tally.c) and rows (history_tally_rows.c). */
#ifndef VRAM_DAEMON_HISTORY_TALLY_INNER_H
#define VRAM_DAEMON_HISTORY_TALLY_INNER_H

#include "daemon/history_tally.h"

#define TALLY_NOWHERE SIZE_MAX

/* How long a lease of a row waited. */
struct tally_wait {
    size_t row;
    uint64_t ms;
};

/* From this moment on so much more, or less, of a lease on one of its GPUs. */
struct tally_turn {
    size_t place;
    int64_t at_ms;
    int64_t held, size; /* bytes */
    int32_t unknown;    /* how much of it is not known */
};

/* A growing list. */
#define TALLY_LIST(type)                                                                           \
    struct {                                                                                       \
        struct type *items;                                                                        \
        size_t count, capacity;                                                                    \
    }

struct tally {
    enum tally_by by;
    TALLY_LIST(tally_row) rows;
    size_t *slots; /* of rows by their names, plus 1; 0: free */
    size_t slot_count;
    TALLY_LIST(tally_wait) waits;
    TALLY_LIST(tally_turn) turns; /* of a piece */
    bool failed;
};

/* Room for one more; NULL: there is none. Use TALLY_GROW(). */
void *tally_grow(struct tally *tally, void **items, size_t *count, size_t *capacity, size_t size);
#define TALLY_GROW(tally, list, ret_item)                                                          \
    do {                                                                                           \
        void *items_of_list = (tally)->list.items;                                                 \
        (ret_item) = tally_grow((tally), &items_of_list, &(tally)->list.count,                     \
                                &(tally)->list.capacity, sizeof(*(tally)->list.items));            \
        (tally)->list.items = items_of_list;                                                       \
    } while (0)

/* The row of this name, made where there is none; TALLY_NOWHERE: out of memory. */
size_t tally_row(struct tally *tally, enum tally_kind kind, const char *name);
/* The row that a lease, or a process without one, counts for on this GPU. */
size_t tally_row_of_lease(struct tally *tally, const struct history_lease *lease, const char *uuid);
size_t tally_row_of_process(struct tally *tally, const struct tally_process *process,
                            const char *uuid);
/* A lease that was granted. */
void tally_count(struct tally *tally, size_t row, uint64_t waited_ms);

/* To a row and to the total, which is the first. */
#define TALLY_TO(tally, row, member, amount)                                                       \
    do {                                                                                           \
        if ((row) != TALLY_NOWHERE) {                                                              \
            (tally)->rows.items[row].sum.member += (amount);                                       \
            (tally)->rows.items[0].sum.member += (amount);                                         \
        }                                                                                          \
    } while (0)

#endif
