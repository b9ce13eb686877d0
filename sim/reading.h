/* SPDX-License-Identifier: MIT */
/*
 * What a driver answers: every function of functions.def asked once, for the whole driver, each GPU and each MIG instance.
 * Of a real driver as of a simulated one. Nothing is ever set: the two functions that change a GPU are left alone.
 *
 * A reading is plain memory without pointers, so that another process can look at it while the driver hangs.
 */
#ifndef VRAM_SIM_READING_H
#define VRAM_SIM_READING_H

#include "common/buf.h"
#include "common/nvml_abi.h"
#include "sim/function.h"
#include "sim/world.h"
#include <stdatomic.h>

#define READING_ANSWERS 24576
#define READING_ENTRIES 32768
#define READING_NUMBERS 9
#define READING_LATENCIES 256

#define ANSWER_ABSENT (-1000) /* in place of a code: the library does not export the function */

struct answer {
    uint16_t function;
    int16_t gpu;     /* -1: of the driver as a whole */
    int8_t instance; /* place of a MIG instance; -1 */
    uint8_t argument;
    uint8_t count; /* of numbers */
    nvml_ret code;
    uint64_t numbers[READING_NUMBERS];
    char text[WORLD_PROCESS_NAME_MAX];
};

/* An entry of a list of processes. */
struct entry {
    uint16_t function;
    int16_t gpu;
    int8_t instance;
    uint8_t argument;
    uint32_t pid;
    uint64_t used; /* or a percentage, or an accounted peak */
    uint32_t gpu_instance, compute_instance;
};

struct latencies {
    uint32_t count; /* of all; the last READING_LATENCIES are kept */
    uint32_t ns[READING_LATENCIES];
};

struct reading {
    /* The call in progress, for who watches. */
    _Atomic uint64_t calls;
    _Atomic int function, gpu;
    bool is_full; /* there was more than fits */
    bool failed;  /* the driver did not start: `start_code` */
    nvml_ret start_code;
    uint64_t taken_ns; /* CLOCK_MONOTONIC */
    uint32_t gpu_count, answer_count, entry_count;
    uint32_t entry_size; /* of lists with a version where it is not the generation's; 0 */
    struct latencies latencies[FUNCTION_COUNT];
    struct answer answers[READING_ANSWERS];
    struct entry entries[READING_ENTRIES];
};

/* A driver's library, loaded. */
struct library {
    char path[512];
    void *handle;
    void *functions[FUNCTION_COUNT]; /* NULL: not exported */
};

/*
 * "nvml", "auto", "nvml:PATH" or "sim:…". 0; negative errno with a complaint. The library stays until the process ends.
 */
MUST_CHECK int library_load(struct library *library, const char *driver,
                            struct complaint *complaint);

/* Starts the driver and asks it everything. `reading` is zeroed memory, or one that was taken before. */
void reading_take(const struct library *library, struct reading *reading);
/* Asks again for what moves by itself: memory, processes, sensors. The driver must have started. */
void reading_take_moving(const struct library *library, struct reading *reading);

/* NULL: not asked. */
const struct answer *reading_find(const struct reading *reading, enum function function, int gpu,
                                  int instance, unsigned argument);

/* Lists the answers as text, one a line; the processes of each list by pid. */
void reading_print(struct buf *buf, const struct reading *reading);
/* One answer's code and values. */
void answer_print(struct buf *buf, const struct answer *answer);

#endif
