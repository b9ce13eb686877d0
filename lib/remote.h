/* SPDX-License-Identifier: MIT */
/*
 * The daemon's snapshot: asks the daemon of a driver where one runs, and makes of its JSON what the driver itself would have
 * given. Keeps nothing between calls. Safe for threads.
 */
#ifndef VRAM_LIB_REMOTE_H
#define VRAM_LIB_REMOTE_H

#include "include/vram.h"
#include "lib/err.h"

struct remote_request {
    const char *driver;   /* as the caller has it: "auto", "sim:NAME" … */
    uint32_t take;        /* VRAM_TAKE_…, without VRAM_TAKE_SETTLED */
    uint64_t max_age_ms;  /* how old figures may be; 0: asked for after this call */
    uint64_t after;       /* not 0: answer only when the epoch is no longer this one … */
    uint64_t timeout_ms;  /* … or after so long; VRAM_UNKNOWN: for ever */
    uint64_t deadline_ns; /* CLOCK_MONOTONIC, for the whole; UINT64_MAX: none */
};

enum remote_outcome {
    REMOTE_TAKEN = 0, /* there is a snapshot */
    REMOTE_ABSENT,    /* no daemon runs, or none is to be asked */
    REMOTE_UNUSABLE, /* what is there refuses, is silent, talks nonsense, or serves another driver */
    REMOTE_FAILED,   /* the daemon says why it has no figures */
};

/* `err` is filled in unless a snapshot was taken: no_daemon (-ENOTCONN), daemon_refused, daemon_denied, daemon_silent,
 * daemon_gone, daemon_unreachable, bad_daemon, other_driver, out_of_memory, or what the daemon says. */
MUST_CHECK enum remote_outcome remote_snapshot(const struct remote_request *request,
                                               struct vram_snapshot **ret_snapshot,
                                               struct err *err);

/*
 * Reads the object of GET /v1/snapshot, which is that of `vram status --json`. What is missing is unknown, what is new is
 * ignored, ages grow by the time since it was taken.
 *
 * @now_ns      since 1970
 * @ret_driver  the driver that the daemon says it serves; "" where it does not say. May be NULL.
 * 0; -EPROTO: it is no such object; -ENOMEM.
 */
#define REMOTE_DRIVER_MAX 256
MUST_CHECK int remote_read(const char *text, size_t length, uint64_t now_ns,
                           char ret_driver[REMOTE_DRIVER_MAX], struct vram_snapshot **ret_snapshot);

#endif
