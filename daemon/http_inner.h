/* SPDX-License-Identifier: MIT */
/* What http.c, which has the connections, and http_request.c, which has the requests, know of each other. */
#ifndef VRAM_DAEMON_HTTP_INNER_H
#define VRAM_DAEMON_HTTP_INNER_H

#include "daemon/http.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <sys/queue.h>

TAILQ_HEAD(connections, connection);

enum phase {
    ARRIVING = 0, /* the request is not whole yet, or was refused by evhttp */
    WAITING,      /* the request is the handler's */
    ANSWERED,
};

struct http_request {
    struct evhttp_request *request;
    struct evkeyvalq query;
    char *path, *body;
    struct peer peer;
    int peer_result; /* 1: not read yet */
    uint64_t arrived_ns;
    bool begun; /* a stream */
    const char *route;
    http_gone_function gone;
    void *gone_data;
    struct connection *connection;
};

struct connection {
    TAILQ_ENTRY(connection) link, touched_link;
    struct http_server *server;
    struct bufferevent *bev;
    int fd; /* -1: evhttp has not said yet */
    enum phase phase;
    bool touched;
    bool closed;      /* by the client, or to be closed */
    bool half_closed; /* the client has sent its last byte */
    uint64_t accepted_ticks, accepted_ns;
    struct event *on_closed, *on_deadline;
    struct evhttp_connection *evcon; /* while evhttp has it, from WAITING on */
    struct http_request *request;    /* while WAITING */
};

struct http_server {
    struct event_base *base;
    struct evhttp *evhttp;
    struct evhttp_bound_socket *bound;
    struct event *sweep, *listen_again;
    http_handler handler;
    void *data;
    size_t connections_max, count, waiting;
    bool is_remote;
    struct http_counts *counts;     /* NULL: nobody wants to know */
    struct connections connections; /* oldest first */
    struct connections touched;
    struct connection **by_fd;
    size_t fd_count;
};

#define HTTP_DEADLINE_S 10
static const struct timeval http_deadline = {HTTP_DEADLINE_S, 0};

/* ---- http.c ---------------------------------------------------------------------------------- */

/* Has the connection looked at once evhttp is done with the events of now. */
void connection_touch(struct connection *connection);

/* ---- http_request.c -------------------------------------------------------------------------- */

/* Makes the request of a connection on which one is whole. NULL: out of memory. */
struct http_request *http_request_new(struct connection *connection, struct evhttp_request *whole);
/* Refuses what says nothing, or two things. False: it was answered. */
bool http_request_read(struct http_request *request);
/* Nobody is there to be answered: tells who works on the request, and frees it. */
void http_request_tell_gone(struct connection *connection);

#endif
