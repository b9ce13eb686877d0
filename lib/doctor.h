/* SPDX-License-Identifier: MIT */
/*
 * The doctor's inside: what a check sees and how it says what it found. A check is a pure
 * function of the scene: files below a root, the environment, and how the driver answered.
 */
#ifndef VRAM_LIB_DOCTOR_H
#define VRAM_LIB_DOCTOR_H

#include "common/gpu_name.h"
#include "include/vram.h"
#include "lib/err.h"

struct vram_report; /* lib/doctor/report.c */

#define DOCTOR_DRAINED_MAX 16 /* that are told */

/* How the daemon answered that this program would ask. */
struct doctor_daemon {
    const char *socket; /* its path; NULL: none is to be asked */
    bool expected; /* it is the machine's, or named: not one that is started when it is needed */
    const struct err *trouble; /* NULL: it answered */
    size_t gpu_count;          /* of those that it told of */
    size_t drained_count;      /* of those on which it grants no new lease */
    char drained[DOCTOR_DRAINED_MAX][GPU_NAME_LABEL_MAX];
};

/* What the checks look at. */
struct doctor_scene {
    const char *root;                     /* prefix of /proc, /sys, /dev, /etc; "" for none */
    const char *(*env)(const char *name); /* getenv, or a test's */
    const struct err *start;              /* why the driver did not start; NULL: it works */
    const struct vram_snapshot *snapshot; /* NULL where there is none */
    const char *library;    /* the driver library's file, NULL where none was loaded */
    const char *simulation; /* not NULL: the simulated driver, so hardware is not looked for */
    struct doctor_daemon daemon;
};

/*
 * Runs every check over the scene. The report owns all its texts; nothing of the scene is kept.
 * Nothing blocks, no device is opened or woken, and whatever the files hold, the texts can be shown
 * on a terminal. While the driver does not work there is at least one problem, and the first is the
 * most telling; but for a container that was given no GPU and has a daemon that answers. 0 or -ENOMEM.
 */
int doctor_examine(const struct doctor_scene *scene, struct vram_report **ret_report);

/* Adds a fact ("driver", "550.54.14"); facts stand before findings, in the order in which they were
 * added. One of the same name takes the other's place. NULL and "": nothing is known, nothing
 * added. 0 or -ENOMEM. */
int doctor_fact(struct vram_report *report, const char *name, const char *value);

#endif
