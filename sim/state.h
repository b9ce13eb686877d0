/* SPDX-License-Identifier: MIT */
/*
 * The part of an instance that its processes share: a file, mapped by all of them. It holds the
 * scenario that the instance began with, what was added since (the log), counters, the clock, and
 * the slots of processes that hold memory (sim/holder.h). Read by sim/sim.c, sim/holder.c, vram-sim.
 *
 * What stands in the file is not trusted: sizes are checked before use, texts are copied before they
 * are parsed. The file must be the user's own, in a directory of the user's own.
 *
 * Whoever uses an instance holds a shared lock on one byte, so that the last one's end can be told.
 * Those are locks of the open file description: closing some other descriptor of the file, as a
 * second copy of the library in the process would, does not drop them.
 */
#ifndef VRAM_SIM_STATE_H
#define VRAM_SIM_STATE_H

#include "sim/scenario.h"
#include <stdatomic.h>

#define STATE_LOG_LINES 2048
#define STATE_LOG_BYTES ((size_t)192 << 10)
#define STATE_SLOTS 512
#define STATE_HISTORY 8 /* a power of two */
#define STATE_NAME_MAX 128

enum slot_state { SLOT_FREE, SLOT_LIVE, SLOT_DEAD };

/* One holder. Its fields without _Atomic are written before `state` says that it lives. */
struct slot {
    _Atomic uint32_t state;
    uint32_t gpu;
    int32_t instance;
    uint32_t kinds;
    uint32_t pid;             /* as the holder itself knows it */
    _Atomic uint32_t changes; /* how often its amount was set; the last ones are in `history` */
    _Atomic uint64_t died;    /* when its death was first noticed; WORLD_NEVER */
    _Atomic uint64_t peak;
    struct {
        _Atomic uint64_t time, bytes;
    } history[STATE_HISTORY];
    char name[WORLD_NAME_MAX];
};

struct state {
    char magic[8];
    uint32_t layout;        /* sizeof(struct state): changes whenever the layout does */
    _Atomic uint32_t epoch; /* changes when the instance is reset; odd while that happens */
    uint32_t text_length;
    _Atomic uint32_t virtual_clock;
    _Atomic uint64_t created; /* CLOCK_MONOTONIC */
    _Atomic uint64_t virtual_now;
    _Atomic uint64_t out_of_memory, wakes;
    _Atomic uint32_t log_length, log_lines;
    _Atomic uint32_t slots_used; /* slots from here on were never used */
    _Atomic uint32_t calls[FUNCTION_COUNT];
    _Atomic uint32_t hits[SCENARIO_LINES_MAX + STATE_LOG_LINES]; /* calls that a rule concerned */
    struct slot slots[STATE_SLOTS];
    char log[STATE_LOG_BYTES];
    char text[SCENARIO_TEXT_MAX];
};

/* A line of the log, followed by `length` bytes of text and padding to 8. */
struct log_entry {
    uint64_t time;
    uint32_t length, reserved;
};

struct state_file {
    struct state *state;
    int fd; /* -1: nobody else can see this state */
    struct {
        uint32_t own, shown; /* by which pid a slot's holder was last seen alive, and as who */
    } seen[STATE_SLOTS];
};

/*
 * Opens or creates the state called `name`, with that scenario where it begins anew: because there is
 * none yet, it is damaged, it is of an earlier boot, or nobody uses it and it is not `persistent`.
 * Where no file can be used the state is the process's own. 0, or -ENOMEM.
 */
MUST_CHECK int state_open(struct state_file *file, const char *name, bool persistent,
                          const char *text, size_t length, bool virtual_clock);
void state_close(struct state_file *file);

/* Nanoseconds since the instance began. */
uint64_t state_now(const struct state *state);

/* One process at a time; a process's threads must take turns by themselves. Ends with the process. */
void state_lock(const struct state_file *file);
void state_unlock(const struct state_file *file);

/* Everything but living holders begins anew, under all who use it. To be called locked. */
void state_reset(struct state *state, const char *text, size_t length, bool virtual_clock);

/* Adds a line that happens at `time`. 0 or -ENOSPC. To be called locked. */
MUST_CHECK int state_append(struct state *state, uint64_t time, const char *line);
/*
 * The log's line at *offset, copied into `text`; moves the offset on. 0; -ENOENT at the end or where
 * the log is damaged.
 */
MUST_CHECK int state_log_next(const struct state *state, size_t *offset, uint64_t *ret_time,
                              char text[WORDS_LINE_MAX + 1]);

/* A lock of the holder's slot: kept until the process ends. To be called locked. */
MUST_CHECK int state_claim(const struct state_file *file, size_t slot);
/* Who has it: 0 nobody; a pid; -1 somebody whom this PID namespace does not show. */
int state_owner(const struct state_file *file, size_t slot);

/* Where states are kept, for messages; "" where there is no such place. */
const char *state_directory(char *path, size_t size);

#endif
