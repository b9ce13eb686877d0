/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/stream: figures, leases and events as they come, as server-sent events (docs/api.md).
 *
 * All readers are shown the same, what everybody may see, so that a hundred cost one text and the driver the calls of
 * one. Who reads too slowly misses some, is told how much, and then how things stand; nothing is kept for it meanwhile.
 */
#ifndef VRAM_DAEMON_STREAM_H
#define VRAM_DAEMON_STREAM_H

#include "daemon/daemon.h"

MUST_CHECK int streams_init(struct daemon *daemon); /* 0; -ENOMEM */
/* After the servers are gone. */
void streams_done(struct daemon *daemon);

void stream_answer(struct daemon *daemon, struct http_request *request);

/* Whether anybody reads; and how many of those that came over TCP. */
bool streams_are_open(const struct daemon *daemon);
size_t streams_remote(const struct daemon *daemon);

/* A sample came, or none did; figures or promises have changed; something happened, as JSON (NULL: there was no memory
 * for it). */
void streams_sampled(struct daemon *daemon, const struct sample *sample);
void streams_changed(struct daemon *daemon);
void streams_event(struct daemon *daemon, const char *json);

#endif
