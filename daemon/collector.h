/* SPDX-License-Identifier: MIT */
/*
 * The daemon's side of the child that asks the driver: starts it, asks it, gives it up when it does not answer, and
 * starts another.
 *
 * One sample is taken at a time. Whatever is asked for meanwhile is served by the next, so that a hundred who ask at
 * once cost the driver one sample.
 */
#ifndef VRAM_DAEMON_COLLECTOR_H
#define VRAM_DAEMON_COLLECTOR_H

#include "common/attr.h"
#include "daemon/collector_child.h"
#include "include/vram.h"
#include <sys/types.h>

struct event_base;
struct collector;

/* What came of asking. Valid during the call that delivers it; a reference to the snapshot may be kept. */
struct sample {
    struct vram_snapshot *snapshot;      /* NULL: there is none, and `error` says why */
    int result;                          /* 0, or a negative errno */
    const struct collector_error *error; /* NULL where result is 0 */
    uint32_t take;                       /* VRAM_TAKE_…: what was asked for */
    uint64_t begun_ns, ended_ns;         /* CLOCK_MONOTONIC; begun: when the child was asked */
};

typedef void (*sample_function)(void *data, const struct sample *sample);
typedef void (*collector_paused_function)(void *data);

struct collector_options {
    const char
        *driver; /* as `--driver` has it; NULL: the environment's; must outlive the collector */
    uint64_t call_timeout_ns; /* what the library in the child gives one driver call */
};

/* NULL: out of memory. The child is started by the first question. */
struct collector *collector_new(struct event_base *base, const struct collector_options *options,
                                sample_function deliver, void *data);
/* The child ends by itself, or never; it is not waited for. Returns NULL. */
struct collector *collector_free(struct collector *collector);

/* Asks for a sample begun after now that has at least what `take` says. While paused nothing is delivered. */
void collector_ask(struct collector *collector, uint32_t take);
/* The same, unless the sample that is under way has that and began at most so long ago: the questions that come while one is
 * taken then share it. */
void collector_ask_unless_running(struct collector *collector, uint32_t take, uint64_t max_age_ns);

/* Whether a sample is being taken, or will be as soon as a child runs. */
bool collector_is_asked(const struct collector *collector);

/* For how long the sample that is being taken now has been; 0: none is. */
uint64_t collector_running_ns(const struct collector *collector);

/* Ends the child, so that nothing of ours holds the driver open; `paused` is called when it has ended, or cannot be ended (then a child is left
 * that collector_left() counts). */
void collector_pause(struct collector *collector, collector_paused_function paused, void *data);
void collector_resume(struct collector *collector);
bool collector_is_paused(const struct collector *collector);

/* Children that were killed and have not died, stuck in the driver. */
size_t collector_left(const struct collector *collector);
/* The child's pid; 0: there is none. */
pid_t collector_pid(const struct collector *collector);

#endif
