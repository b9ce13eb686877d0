/* SPDX-License-Identifier: MIT */
/* Recording a machine, for vram-sim.c. */
#ifndef VRAM_SIM_RECORD_H
#define VRAM_SIM_RECORD_H

#include "sim/compose.h"

struct record_options {
    struct compose_options compose;
    const char *driver;
    const char *file;     /* "-": standard output */
    uint64_t readings;    /* of everything, for the latencies */
    uint64_t duration_ns; /* how long changes are followed after that; 0: not */
    uint64_t period_ns;
    uint64_t timeout_ns; /* for one call */
    bool answers;        /* write the answers as they are instead of a scenario */
    bool force;          /* overwrite */
    bool wake;
};

enum { RECORD_NO_DRIVER = 3, RECORD_NOT_WRITTEN = 4 };

/* The exit status: 0; RECORD_NO_DRIVER, RECORD_NOT_WRITTEN with the reason on stderr. */
int record(const struct record_options *options);

#endif
