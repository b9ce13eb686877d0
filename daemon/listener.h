/* SPDX-License-Identifier: MIT */
/*
 * TCP, for reading only, where the daemon was told to listen: a server of its own beside the unix socket's, with fewer
 * connections and a gate in front. Who asks over it is nobody in particular: sees what everybody may see, and nobody's
 * command lines.
 */
#ifndef VRAM_DAEMON_LISTENER_H
#define VRAM_DAEMON_LISTENER_H

#include "daemon/daemon.h"

struct listener;

/* What the unix socket's server is given, in front of api_handle(). `data` is the daemon. */
void listener_handle_local(struct http_request *request, void *data);

/* Opens what the options want, or else the configuration; daemon->listener stays NULL where neither wants any. 0; a
 * negative errno with a sentence. */
MUST_CHECK int listener_open(struct daemon *daemon, char *message, size_t size);
/* The configuration was read again: moves to where it says. What cannot be done is logged, and what was goes on. */
void listener_reload(struct daemon *daemon);
/* Accepts no more; who waits is answered with this. */
void listener_stop(struct daemon *daemon, const char *json);
void listener_close(struct daemon *daemon);

/* "127.0.0.1:9464"; NULL: nowhere. */
const char *listener_address(const struct daemon *daemon);
size_t listener_connections(const struct daemon *daemon);

#endif
