/* SPDX-License-Identifier: MIT */
/*
 * What goes wrong on the way to a daemon, and what a daemon says went wrong, as errors of the library. All return the
 * error's result, a negative errno: -ENOTCONN where no daemon runs, or none is to be asked.
 */
#ifndef VRAM_LIB_DAEMON_ERROR_H
#define VRAM_LIB_DAEMON_ERROR_H

#include "lib/err.h"

#include <jansson.h>

/* endpoint_find() failed with `result` for this driver. */
int daemon_error_place(int result, const char *driver, struct err *err);

/* http_call() or endpoint_check() failed with `result`, or (-EPROTO) what came cannot be used. */
int daemon_error_call(int result, const char *path, struct err *err);

/* An answer that is no success: the daemon's own words, where `document` has some; it may be NULL. A daemon that ends is
 * as one that is gone: -ECONNRESET. */
int daemon_error_reply(const json_t *document, const char *path, struct err *err);

#endif
