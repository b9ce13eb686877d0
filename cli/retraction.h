/* SPDX-License-Identifier: MIT */
/*
 * A request for a lease is taken back when its program is stopped: SIGINT, SIGTERM and SIGHUP end the lease or the
 * request, whichever it has become, and then the program, with 128 and the signal's number. A second signal ends it at
 * once. Signals that were ignored when the program started stay ignored.
 */
#ifndef VRAM_CLI_RETRACTION_H
#define VRAM_CLI_RETRACTION_H

#include "common/attr.h"
#include "include/vram.h"

#include <pthread.h>
#include <signal.h>

struct retraction {
    struct vram *vram;
    const char *id;
    sigset_t signals, before;
    int signal_fd, done_fd; /* the thread hears of signals by one, of the end by the other */
    pthread_t thread;
};

/* From now on; `id` must live as long. 0 or negative errno, and nothing has changed. */
MUST_CHECK int retraction_begin(struct retraction *retraction, struct vram *vram, const char *id);

/* From now on signals do what they did before. Does not return where one has come already. */
void retraction_end(struct retraction *retraction);

#endif
