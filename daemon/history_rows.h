/* SPDX-License-Identifier: MIT */
/*
 * What history consists of: rows, as the core makes them and the store keeps them, and a batch of them on the way.
 *
 * Moments are milliseconds since 1970 as the wall clock had them; VRAM_UNKNOWN amounts are unknown. Texts are valid
 * UTF-8 without control characters, whatever a program calls itself.
 */
#ifndef VRAM_DAEMON_HISTORY_ROWS_H
#define VRAM_DAEMON_HISTORY_ROWS_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_UUID_MAX 64
#define HISTORY_NAME_MAX 64
#define HISTORY_PCI_MAX 24
#define HISTORY_TEXT_MAX 96
#define HISTORY_ID_MAX 20
#define HISTORY_GPUS_MAX 8        /* of a lease, those that are named */
#define HISTORY_BUCKET_S 10       /* the finest tier */
#define HISTORY_RUNNING INT64_MIN /* an end that has not come */

enum history_kind {
    HISTORY_DAEMON_STARTED = 1,
    HISTORY_DAEMON_STOPPED = 2,
    HISTORY_CLOCK_CHANGED = 3,
    HISTORY_GPU_LOST = 4,
    HISTORY_GPU_BACK = 5,
    HISTORY_NEARLY_FULL = 6,
    HISTORY_OOM_SUSPECTED = 7,
    HISTORY_LEASE_QUEUED = 8,
    HISTORY_LEASE_GRANTED = 9,
    HISTORY_LEASE_ENDED = 10,
    HISTORY_LEASE_OVER = 11,
    HISTORY_LEASE_SQUEEZED = 12,
    HISTORY_PROCESS_STARTED = 13, /* never stored: intervals tell them */
    HISTORY_PROCESS_ENDED = 14,
    HISTORY_HOLDER_ASKED = 15,
    HISTORY_KINDS = 16,
};

/* "nearly_full" …; NULL: there is none of this number. */
const char *history_kind_name(uint32_t kind);

struct history_gpu {
    uint32_t id; /* from 1 */
    uint32_t index;
    uint64_t mig_index; /* VRAM_UNKNOWN: it is no MIG instance */
    uint64_t total_bytes;
    char uuid[HISTORY_UUID_MAX], name[HISTORY_NAME_MAX], pci[HISTORY_PCI_MAX];
};

/* From this moment on it is so. Unknown `used_bytes`: from here on nothing is known. */
struct history_change {
    uint32_t gpu;
    int64_t at_ms;
    uint64_t used_bytes, free_bytes;
};

/* What was seen of a GPU in the HISTORY_BUCKET_S seconds from `at_s` on. Several of the same moment add up. */
struct history_bucket {
    uint32_t gpu;
    int64_t at_s;
    uint64_t low_bytes, mean_bytes, high_bytes; /* used */
    uint64_t free_bytes;                        /* the least; may be unknown */
    uint64_t weight_ms;                         /* how long it was looked at; at least 1 */
};

struct history_process {
    uint64_t id; /* from 1 */
    uint32_t gpu, pid;
    uint64_t start_time;        /* clock ticks after boot; may be unknown */
    int64_t began_ms, ended_ms; /* HISTORY_RUNNING */
    bool was_running;           /* when its GPU was first looked at: nobody saw it begin */
    uint64_t first_bytes, last_bytes, peak_bytes;
    char name[HISTORY_NAME_MAX], user[HISTORY_NAME_MAX], unit[HISTORY_TEXT_MAX];
    char container[HISTORY_TEXT_MAX], lease[HISTORY_TEXT_MAX]; /* "": none */
};

/* What a process holds from this moment on. */
struct history_step {
    uint64_t process;
    int64_t at_ms;
    uint64_t used_bytes;
};

struct history_lease {
    char id[HISTORY_ID_MAX], label[HISTORY_TEXT_MAX], user[HISTORY_NAME_MAX];
    uint32_t pid;
    uint64_t size_bytes; /* on each GPU */
    size_t gpu_count;
    char gpus[HISTORY_GPUS_MAX][HISTORY_UUID_MAX];
    int64_t asked_ms;
    int64_t granted_ms;         /* HISTORY_RUNNING: not yet, or never */
    int64_t ended_ms;           /* HISTORY_RUNNING: it stands, or waits */
    char why[HISTORY_NAME_MAX]; /* it ended */
    uint64_t
        peak_bytes; /* the most that its members held at once on one GPU; unknown: never seen */
    uint64_t steady_bytes; /* the median of its last half, of what peak_bytes is the most of */
    uint64_t room_bytes, total_bytes; /* of that GPU: what it could have taken when it began; all */
    bool whole; /* it was watched from its grant to its end: what it needs can be learned from it */
};

/* From this moment on a process counts for this lease; "": for none. */
struct history_member {
    uint64_t process;
    int64_t at_ms;
    char lease[HISTORY_ID_MAX];
};

/* Until this moment a lease was so large. */
struct history_resize {
    char lease[HISTORY_ID_MAX];
    int64_t at_ms;
    uint64_t was_bytes;
};

/* From this moment on the processes of a GPU are looked at, or are not. */
struct history_look {
    uint32_t gpu;
    int64_t at_ms;
    bool seen;
};

struct history_event {
    int64_t at_ms;
    uint32_t kind;  /* enum history_kind */
    uint32_t gpu;   /* 0: none */
    uint32_t pid;   /* 0: none */
    uint64_t bytes; /* free, of a nearly full GPU; else what was held or asked for */
    char name[HISTORY_NAME_MAX], user[HISTORY_NAME_MAX], lease[HISTORY_ID_MAX];
    char text[HISTORY_TEXT_MAX]; /* a label, or a reason */
};

/* A growing list; what there is no room for is counted in `lost`. */
#define HISTORY_LIST(type)                                                                         \
    struct {                                                                                       \
        struct type *rows;                                                                         \
        size_t count, capacity;                                                                    \
    }

/* Rows that are not written yet. Bounded: what a disk that is full for long has not taken is lost. */
#define HISTORY_BATCH_MAX 4096 /* of each kind */
struct history_batch {
    HISTORY_LIST(history_gpu) gpus;
    HISTORY_LIST(history_change) changes;
    HISTORY_LIST(history_bucket) buckets;
    HISTORY_LIST(history_process) processes;
    HISTORY_LIST(history_step) steps;
    HISTORY_LIST(history_member) members;
    HISTORY_LIST(history_look) looks;
    HISTORY_LIST(history_lease) leases;
    HISTORY_LIST(history_resize) resizes;
    HISTORY_LIST(history_event) events;
    size_t lost;
};

/* Room for one more row of a batch's list; NULL: there is none. Use history_add(). */
void *history_room(struct history_batch *batch, void **rows, size_t *count, size_t *capacity,
                   size_t size);
#define HISTORY_ADD(batch, list, row)                                                              \
    do {                                                                                           \
        void *rows_of_list = (batch)->list.rows;                                                   \
        if (history_room((batch), &rows_of_list, &(batch)->list.count, &(batch)->list.capacity,    \
                         sizeof(*(batch)->list.rows))) {                                           \
            (batch)->list.rows = rows_of_list;                                                     \
            (batch)->list.rows[(batch)->list.count - 1] = (row);                                   \
        }                                                                                          \
    } while (0)

bool history_batch_is_empty(const struct history_batch *batch);
void history_batch_clear(struct history_batch *batch); /* keeps the memory */
void history_batch_done(struct history_batch *batch);

/* Copies a text from outside: what is no UTF-8, steers a terminal or hides what it is becomes '?'; cut between characters.
 * NULL is "". */
void history_text(char *to, size_t size, const char *from);

#endif
