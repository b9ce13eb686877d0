/* SPDX-License-Identifier: MIT */
/*
 * Which driver is meant: reads "auto", "nvml", "nvml:/path", "sim:NAME", and finds the simulated
 * driver's library for the generation that its machine has.
 */
#ifndef VRAM_LIB_DRIVER_H
#define VRAM_LIB_DRIVER_H

#include "lib/err.h"
#include <stdbool.h>

struct driver {
    const struct source_ops *ops;
    char *path;       /* the library to load; NULL: search */
    char *simulation; /* what the simulated driver plays; NULL: a real driver */
};

/* 0; -EINVAL: `text` names no driver; -ENOENT: no such machine to simulate; -ENOMEM. */
int driver_parse(struct driver *ret_driver, const char *text, struct err *err);
void driver_done(struct driver *driver);

#endif
