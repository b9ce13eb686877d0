/* SPDX-License-Identifier: MIT */
/*
 * A process of its own that reads a driver, so that a driver that hangs or crashes does so there. It is never killed while it
 * is in a call: that has been seen to take the GPU with it. Left alone, it ends when its call returns;
 * with the simulated driver, when the recorder does.
 */
#ifndef VRAM_SIM_READER_H
#define VRAM_SIM_READER_H

#include "sim/reading.h"
#include <sys/types.h>

struct reader {
    pid_t pid;
    int commands, replies;   /* pipes */
    uint64_t timeout_ns;     /* for one call */
    struct reading *reading; /* shared with it */
    struct complaint *complaint;
};

/* Starts it and loads the driver's library. `state`: where a simulated machine keeps its state; NULL: as usual.
 * 0; negative errno with a complaint, and nothing to end. */
MUST_CHECK int reader_start(struct reader *reader, const char *driver, const char *state,
                            uint64_t timeout_ns, struct complaint *complaint);

/* Reads everything, or what moves. 0 with reader->reading; -ETIMEDOUT: a call does not return, -EPIPE: it crashed, each in
 * reading->function; -EINTR where *stop became true. */
MUST_CHECK int reader_read(struct reader *reader, bool moving, const volatile bool *stop);

/* Ends it, or leaves it where it hangs. */
void reader_end(struct reader *reader);

#endif
