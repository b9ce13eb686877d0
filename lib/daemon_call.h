/* SPDX-License-Identifier: MIT */
/*
 * One request to the daemon of a handle's driver: its place, the connection, its answer or what went wrong. Every
 * request may be made twice, so that one whose connection broke is made again.
 */
#ifndef VRAM_LIB_DAEMON_CALL_H
#define VRAM_LIB_DAEMON_CALL_H

#include "common/endpoint.h"
#include "lib/handle.h"

#include <jansson.h>

struct daemon_call {
    const char *method, *target;
    const char *body; /* JSON; NULL: none */
    uint64_t wait_ms; /* how long the daemon may take on purpose; VRAM_UNKNOWN: for ever */
    /* Each line of the answer as it comes; false ends the call with -ECANCELED. NULL: nobody wants to know. */
    bool (*line)(void *data, const char *line);
    void *data;
    bool *again; /* set where it may have been done before its answer was lost; NULL: no matter */
};

/* Where the daemon of this handle's driver is, whether or not there is one. */
MUST_CHECK int daemon_call_place(struct vram *vram, struct endpoint *ret_place, struct err *err);

/* The answer's last object. A negative errno, with the error that the daemon sent, or one of the way there. */
MUST_CHECK int daemon_call(struct vram *vram, const struct daemon_call *call, json_t **ret_document,
                           struct err *err);
/* The same without a second try. */
MUST_CHECK int daemon_call_once(struct vram *vram, const struct daemon_call *call,
                                json_t **ret_document, struct err *err);

/* CLOCK_MONOTONIC: until when an answer is waited for that may take `wait_ms` on purpose. */
uint64_t daemon_call_deadline(uint64_t wait_ms);

/* Whether a daemon that is being restarted may be the reason of a failure; `connected`: there was one before. */
bool daemon_call_is_lost(const struct err *err, bool connected);

/* How long a daemon that vanished is waited for: begin with {0}. Takes a nap, or returns false where it took too long. `err`:
 * why it is asked again; where a daemon has just said that it is ending, the next one has all the time. */
struct patience {
    uint64_t since_ns;
};
bool patience_lasts(struct patience *patience, const struct err *err);

/* "/v1/…?after=5&timeout_ms=1000" */
void daemon_call_wait_target(char *target, size_t size, const char *begin, uint64_t after_epoch,
                             uint64_t timeout_ms);

#endif
