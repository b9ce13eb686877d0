/* SPDX-License-Identifier: MIT */
/*
 * From the words in which a simulated machine is chosen, "rtx4090", "rtx4090@demo", "./my.scenario",
 * to a scenario's text and the name of the state that its processes share.
 */
#ifndef VRAM_SIM_LOCATE_H
#define VRAM_SIM_LOCATE_H

#include "sim/state.h"

#define LOCATE_DEFAULT "rtx4090"

struct location {
    char path[512];
    char title[80];             /* the file's own name, for messages */
    char state[STATE_NAME_MAX]; /* "rtx4090@demo" */
    bool persistent;            /* an instance was named: it outlives its users */
    char *text;
    size_t length;
};

/* 0; -EINVAL, -ENOENT, another errno, or -ENOMEM, with a complaint and nothing to free. */
MUST_CHECK int locate(const char *spec, struct location *ret_location, struct complaint *complaint);
void location_done(struct location *location);

/* The first directory that holds profiles; "" where none does. */
const char *locate_profiles(char *path, size_t size);

#endif
