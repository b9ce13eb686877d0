/* SPDX-License-Identifier: MIT */
/* One HTTP exchange with a program that may be slow, babble or hang: bounded in time and size. */
#ifndef VRAM_DAEMON_RECLAIM_HTTP_H
#define VRAM_DAEMON_RECLAIM_HTTP_H

#include "common/attr.h"
#include "daemon/config_holders.h"

#define RECLAIM_FAILURE_MAX 96

struct event_base;
struct reclaim_http;

/* `answer`: the body of a status in 200…299; NULL: `failure` says what became of it. Called from the loop, once. */
typedef void (*reclaim_http_function)(void *data, const char *answer, const char *failure);

struct reclaim_http_call {
    const struct config_url *url; /* copied */
    const char *path;             /* added to the URL's */
    bool is_post;
    const char *body; /* NULL: none */
    uint64_t timeout_ns;
};

/* NULL: out of memory; nothing is called then. */
struct reclaim_http *reclaim_http_new(struct event_base *base, const struct reclaim_http_call *call,
                                      reclaim_http_function done, void *data);
/* Breaks it off, without a call; also from within `done`. Returns NULL. */
struct reclaim_http *reclaim_http_free(struct reclaim_http *http);

#endif
