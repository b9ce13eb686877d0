/* SPDX-License-Identifier: MIT */
/*
 * Requests that are put aside until something happens: figures that are fresh enough, or another epoch. A client
 * that vanishes meanwhile is forgotten by itself.
 */
#ifndef VRAM_DAEMON_PARKED_H
#define VRAM_DAEMON_PARKED_H

#include "common/attr.h"
#include "daemon/collector.h"
#include "daemon/http.h"

struct parking;

enum parked_end {
    PARKED_SAMPLE = 0, /* a sample came that serves it */
    PARKED_EPOCH = 1,  /* the epoch is another */
    PARKED_LATE = 2,   /* its time is over */
};

/* Answers the request. `sample`: the one that serves it; NULL at any other end. */
typedef void (*parked_function)(void *data, struct http_request *request, enum parked_end end,
                                const struct sample *sample);

struct parked_wish {
    bool for_sample; /* begun after now, or at most `max_age_ns` before, with at least `take` */
    uint32_t take;
    uint64_t max_age_ns;
    bool for_epoch; /* other than `after` */
    uint64_t after;
    uint64_t timeout_ms; /* UINT64_MAX: none */
    parked_function answer;
    void *data;
};

/* NULL: out of memory. */
struct parking *parking_new(struct event_base *base);
/* Forgets all that are parked, without answering. Returns NULL. */
struct parking *parking_free(struct parking *parking);

/* 0; -ENOMEM: the request is not parked, and the caller's still. Replaces what was said to http_on_gone(). */
MUST_CHECK int parking_add(struct parking *parking, struct http_request *request,
                           const struct parked_wish *wish);

void parking_sampled(struct parking *parking, const struct sample *sample);
void parking_epoch(struct parking *parking, uint64_t epoch);

/* How many wait for another epoch: while any does, the figures must be looked at again and again. */
size_t parking_watchers(const struct parking *parking);

#endif
