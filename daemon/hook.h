/* SPDX-License-Identifier: MIT */
/*
 * Runs the administrator's command for each event (`on_event` in the configuration): one at a time, no more than there is time
 * for, killed where it does not end. The event is a line of JSON on its stdin and nowhere else, so that nothing that a
 * program calls itself is ever part of a command.
 *
 *     one at a time, for HOOK_LIMIT_USUAL_NS at most; then its process group is killed, and so is what it leaves behind
 *     60 at once, and then one a second; 64 wait; what is more is dropped, and counted in the next one
 *     of what it writes 1 KiB is logged; after 64 KiB nobody reads it any more
 *
 * What goes wrong is logged, each kind of trouble once an hour.
 */
#ifndef VRAM_DAEMON_HOOK_H
#define VRAM_DAEMON_HOOK_H

#include "daemon/history_rows.h"
#include <event2/event.h>

#define HOOK_COMMAND_MAX 256
#define HOOK_LIMIT_USUAL_NS ((uint64_t)10000000000)

struct hook;

/* How many were run and what came of it, since the daemon's start. */
enum hook_result {
    HOOK_DONE,
    HOOK_FAILED,    /* it did not start, or ended with another status than 0 */
    HOOK_TIMED_OUT, /* it was killed */
    HOOK_DROPPED,   /* for there were too many */
    HOOK_RESULTS,
};

struct hook_options {
    const char *command; /* "": none is run */
    uint32_t kinds;      /* a bit for each enum history_kind; 0: all */
    uint64_t limit_ns;
};

/* NULL: out of memory. It runs nothing until it is told what. */
struct hook *hook_new(struct event_base *base);
/* Kills what runs. Returns NULL. */
struct hook *hook_free(struct hook *hook);

/* What holds from now on; what waits is told to the new command, what runs may end. */
void hook_configure(struct hook *hook, const struct hook_options *options);
/* `gpu` NULL: none's. Never waits. */
void hook_tell(struct hook *hook, const struct history_event *event, const struct history_gpu *gpu);

const uint64_t *hook_results(const struct hook *hook); /* HOOK_RESULTS of them */

#endif
