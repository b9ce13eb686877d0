/* SPDX-License-Identifier: MIT */
/*
 * Brings what was written to SQLite's log into the file itself, in a thread of its own with a connection of its own: that is what
 * waits for a disk, for as long as the disk takes, and the daemon's loop must not. The loop's own writes go to the log alone
 * and are not waited for.
 */
#ifndef VRAM_DAEMON_HISTORY_SYNC_H
#define VRAM_DAEMON_HISTORY_SYNC_H

#include <stdbool.h>

struct history_sync;

/* NULL: it cannot be had; then the loop's connection has to do it. `path` is copied. */
struct history_sync *history_sync_start(const char *path);
/* There is enough in the log. Never waits. */
void history_sync_poke(struct history_sync *sync);
/* Whether it has not done yet what it was poked for. */
bool history_sync_is_busy(struct history_sync *sync);
/* Once it is done with what it is at. Returns NULL. */
struct history_sync *history_sync_stop(struct history_sync *sync);

#endif
