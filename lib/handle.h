/* SPDX-License-Identifier: MIT */
/* What the library's own files may do with a handle beyond include/vram.h. */
#ifndef VRAM_LIB_HANDLE_H
#define VRAM_LIB_HANDLE_H

#include "lib/driver.h"
#include "lib/source/source.h"

/* Records an error for the calling thread; returns its result. */
int handle_fail(struct vram *vram, const struct err *err);

/* The same for a failure that is made on the spot. */
int handle_fail_with(struct vram *vram, int result, const char *code, const char *message);

/* Whether it asks the driver alone, and never a daemon. */
bool handle_is_direct(const struct vram *vram);
const char *handle_root(const struct vram *vram);
const struct driver *handle_driver(const struct vram *vram);
/* The driver in the caller's words, "auto" where there were none. */
const char *handle_driver_text(const struct vram *vram);

/* Whether the caller has asked for a daemon to be started, which is then done again where it vanishes. */
bool handle_may_start(const struct vram *vram);
void handle_set_may_start(struct vram *vram);

/* As vram_snapshot_take(), with the error for the caller too, and never through a daemon. */
int handle_take(struct vram *vram, uint32_t take, struct vram_snapshot **ret_snapshot,
                struct err *err);

/* What the open source says of itself; nothing where none is open. */
void handle_describe(struct vram *vram, source_fact_function fact, void *data);

#endif
