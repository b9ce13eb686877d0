/* SPDX-License-Identifier: MIT */
/* Starting a daemon, and what is asked again while one is being restarted. */
#ifndef VRAM_LIB_DAEMON_START_H
#define VRAM_LIB_DAEMON_START_H

#include "lib/daemon_call.h"

/* As vram_daemon_start(), with the error for the caller. */
MUST_CHECK int daemon_start(struct vram *vram, uint32_t flags, struct err *err);

/* A request that waits and outlasts daemons: begin with {0}. */
struct daemon_again {
    bool connected; /* a daemon has spoken to us */
    struct patience patience;
    struct err not_started; /* why the last attempt to start one failed; result 0: it did not */
};
/* A daemon has spoken to us. */
void daemon_again_heard(struct daemon_again *again);
/* A request that began then has failed now: one that lasted had been received, whatever became of it. */
void daemon_again_lasted(struct daemon_again *again, uint64_t begun_ns);
/* Whether a failure is worth another try, after a nap; a daemon that this handle has started is started again. Where that
 * cannot be done, who had been heard may be started by whoever did so before: a service manager, another user. */
MUST_CHECK bool daemon_again(struct vram *vram, struct daemon_again *again, struct err *err);

#endif
