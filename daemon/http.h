/* SPDX-License-Identifier: MIT */
/*
 * HTTP on a unix socket, or TCP: requests come in whole, answers are JSON texts or streams of lines. One request per
 * connection. Nothing else in the daemon knows which HTTP library does it.
 *
 * Bounded: 8 KiB of headers, 64 KiB of body, 10 s for a request to arrive and as long for its answer to be taken, and
 * so many connections at once; beyond, the oldest that has not finished its request is closed. Who waits for an answer
 * may wait for ever.
 */
#ifndef VRAM_DAEMON_HTTP_H
#define VRAM_DAEMON_HTTP_H

#include "common/attr.h"
#include "daemon/peer.h"
#include <stdint.h>

struct event_base;
struct http_server;

/* A request that has arrived whole. It is the handler's until it is answered or ended, or its `gone` was called. */
struct http_request;

typedef void (*http_handler)(struct http_request *request, void *data);
typedef void (*http_gone_function)(struct http_request *request, void *data);

/* `connections_max`: more than so many are not kept. NULL: out of memory. */
struct http_server *http_server_new(struct event_base *base, size_t connections_max,
                                    http_handler handler, void *data);
/* Closes all connections, telling `gone` of those that wait. Returns NULL. Not from within a handler. */
struct http_server *http_server_free(struct http_server *server);

/* Takes a listening socket over, in place of the one before, which is closed. 0; -ENOMEM (`fd` is still the
 * caller's). */
MUST_CHECK int http_server_listen(struct http_server *server, int fd);
/* Accepts no more. Connections live on. */
void http_server_stop(struct http_server *server);

/* Connections that are open, whatever their state. */
size_t http_server_connections(const struct http_server *server);
/* Its clients are no processes of this machine, and http_peer() tells of none. */
void http_server_set_remote(struct http_server *server);
bool http_is_remote(const struct http_request *request);

/* How often each route was answered with each status. Routes are those that handlers have named. */
#define HTTP_COUNTS_MAX 128
struct http_count {
    const char *route;
    int status;
    uint64_t number;
};
struct http_counts {
    size_t count;
    struct http_count counts[HTTP_COUNTS_MAX];
};
/* Answers are counted there from now on. */
void http_server_count(struct http_server *server, struct http_counts *counts);

/* Requests that wait for their answers, and streams. */
size_t http_server_waiting(const struct http_server *server);
/* Calls `gone` of every request that waits, and answers it with this instead; a stream just ends. */
void http_server_turn_away(struct http_server *server, int status, const char *json);

/* ---- A request ------------------------------------------------------------------------------- */

const char *http_method(const struct http_request *request); /* "GET", "POST", "PATCH", "DELETE" */
const char *http_path(const struct http_request *request);   /* decoded: "/v1/leases" */
/* A header of the request, of several the first; NULL: not there. How many there are. */
const char *http_header(const struct http_request *request, const char *name);
size_t http_header_count(const struct http_request *request, const char *name);
/* Under which name it is counted: one of few, and a text that stays. "(other)" where it is not said. */
void http_set_route(struct http_request *request, const char *route);

/* A query parameter, decoded; of several the first. NULL: not there. */
const char *http_query(const struct http_request *request, const char *name);
/* The same as a number: 0, `*ret` untouched where it is not there; -EINVAL: it is none. */
MUST_CHECK int http_query_number(const struct http_request *request, const char *name,
                                 uint64_t *ret);
/* Ends with a NUL, and has none within. */
const char *http_body(const struct http_request *request);

/* Who asks. Belongs to the request. 0; -ENOTSOCK: a remote one; -ESRCH: it has ended; negative errno. */
MUST_CHECK int http_peer(struct http_request *request, const struct peer **ret_peer);
/* The same, taken over: peer_done() is the caller's. */
MUST_CHECK int http_take_peer(struct http_request *request, struct peer *ret_peer);

/* CLOCK_MONOTONIC, when it was whole. */
uint64_t http_arrived_ns(const struct http_request *request);

/* Called at once when who asked has closed its connection, and at the server's end; not after the answer. The request is gone after it. */
void http_on_gone(struct http_request *request, http_gone_function gone, void *data);

/* ---- Its answer ------------------------------------------------------------------------------ */

/* Each ends the request; `json` is copied. In a stream that has begun it is the last line, whatever the status.
 * NULL: there was no memory for it, which is answered instead. */
void http_answer(struct http_request *request, int status, const char *json);
/* The same of a text as it is. */
void http_answer_text(struct http_request *request, int status, const char *type, const char *text,
                      size_t length);
/* A header of the answer, before it. One of this name that was there before is gone. */
void http_set_header(struct http_request *request, const char *name, const char *value);
/* `error`: positive errno. `hint` may be NULL. */
void http_fail(struct http_request *request, int status, const char *code, int error,
               const char *hint, const char *format, ...) PRINTF_LIKE(6, 7);
/* 500 "out_of_memory". */
void http_fail_memory(struct http_request *request);

/* A line of a stream (status 200), without its newline; the first begins it. Lines of who does not read them are
 * kept up to 256 KiB, and then it is gone, soon after the call. */
void http_line(struct http_request *request, const char *json);
/* Ends a stream. */
void http_end(struct http_request *request);

/* ---- Streams for many ------------------------------------------------------------------------ */

/* A text that is on its way to many at once, and in memory once. */
struct http_text;
/* Copies it. NULL: out of memory. */
struct http_text *http_text_new(const char *text, size_t length);
/* Lets go of it; who still sends it has it on. NULL is none. */
void http_text_unref(struct http_text *text);

/* Begins a stream of a type of its own (status 200), which may be silent for as long as it likes. */
void http_begin_stream(struct http_request *request, const char *type);
/* More of it, as it is. */
void http_push(struct http_request *request, struct http_text *text);
/* How much of it waits for its reader here: it is up to the caller to push no more. */
size_t http_unsent(const struct http_request *request);
/* Closes the connection as it is, soon after the call, which tells `gone`. */
void http_drop(struct http_request *request);

/* The object {"error": …} as a text for free(3). NULL: out of memory. */
char *http_error_json(const char *code, int error, const char *hint, const char *message);

#endif
