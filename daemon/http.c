/* SPDX-License-Identifier: MIT */
/*
 * Over libevent's evhttp, which knows no deadline for a request that trickles in, no bound on connections, and no
 * client that vanishes while it waits. So each connection keeps a reference to its bufferevent, which owns the
 * descriptor: that stays open, and so this connection's, until the connection is let go here.
 *
 * A vanished client is told by EV_CLOSED on the descriptor. (Watching for readable data instead would let a client that
 * sends some make evhttp end the program.) What such an event says is looked at in sweep(), once evhttp is done with
 * the same events.
 */
#include "daemon/http_inner.h"

#include "common/clock.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include <errno.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEADERS_MAX 8192
#define BODY_MAX 65536
#define UNREAD_MAX (HEADERS_MAX + BODY_MAX) /* what a client may send that nobody reads */
#define BACKLOG 1024
#define UNHEARD_MS 60000
#define DEADLINE_NS ((uint64_t)HTTP_DEADLINE_S * 1000000000u)

static const struct timeval look_again = {1, 0};
static const struct timeval look_soon = {0, 20000};

void connection_touch(struct connection *connection)
{
    struct http_server *server = connection->server;
    if (!connection->touched) {
        connection->touched = true;
        TAILQ_INSERT_TAIL(&server->touched, connection, touched_link);
    }
    event_active(server->sweep, 0, 0);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void on_connection_freed(struct evhttp_connection *evcon, void *data)
{
    struct connection *connection = data;
    struct evhttp_request *orphan = NULL;
    (void)evcon;
    /* evhttp noticed first that a stream's reader is gone: it let go of the request, which is now ours. */
    if (connection->request && !evhttp_request_get_connection(connection->request->request)) {
        orphan = connection->request->request;
    }
    connection->evcon = NULL;
    http_request_tell_gone(connection);
    if (orphan) {
        evhttp_request_free(orphan);
    }
    connection->closed = true;
    connection_touch(connection);
}

static struct connection *find_connection(struct http_server *server,
                                          struct evhttp_request *request)
{
    struct bufferevent *bev =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
    int fd = bufferevent_getfd(bev);
    struct connection *connection =
        fd >= 0 && (size_t)fd < server->fd_count ? server->by_fd[fd] : NULL;
    return connection && connection->bev == bev ? connection : NULL;
}

static void on_request(struct evhttp_request *whole, void *data)
{
    struct http_server *server = data;
    struct connection *connection = find_connection(server, whole);
    struct http_request *request = connection ? http_request_new(connection, whole) : NULL;
    if (!request) {
        evhttp_send_error(whole, HTTP_SERVUNAVAIL, NULL);
        return;
    }
    connection->request = request;
    connection->phase = WAITING;
    connection->evcon = evhttp_request_get_connection(whole);
    evhttp_connection_set_closecb(connection->evcon, on_connection_freed, connection);
    server->waiting++;
    if (connection->half_closed) {
        (void)event_add(connection->on_deadline, &look_again);
    } else {
        (void)event_del(connection->on_deadline);
    }
    if (http_request_read(request)) {
        server->handler(request, server->data);
    }
}

/* ---- Connections ----------------------------------------------------------------------------- */

static void connection_free(struct connection *connection)
{
    struct http_server *server = connection->server;
    TAILQ_REMOVE(&server->connections, connection, link);
    if (connection->touched) {
        TAILQ_REMOVE(&server->touched, connection, touched_link);
    }
    server->count--;
    if (connection->fd >= 0) {
        server->by_fd[connection->fd] = NULL;
    }
    if (connection->on_closed) {
        event_free(connection->on_closed);
    }
    if (connection->on_deadline) {
        event_free(connection->on_deadline);
    }
    (void)bufferevent_decref(connection->bev); /* the last reference closes the descriptor */
    free(connection);
}

/* evhttp takes its callbacks away from the bufferevent of a connection that it frees. */
static bool evhttp_has(const struct connection *connection)
{
    bufferevent_event_cb callback = NULL;
    bufferevent_getcb(connection->bev, NULL, NULL, &callback, NULL);
    return callback != NULL;
}

/* The client has sent its last byte, or closed. Told once: the event would be told again and again. */
static void on_closed(evutil_socket_t fd, short what, void *data)
{
    struct connection *connection = data;
    struct pollfd poll_fd = {.fd = fd, .events = 0};
    (void)what;
    (void)poll(&poll_fd, 1, 0);
    /* Over TCP a client that has closed cannot be told from one that would read on: who waits so has gone. */
    bool has_gone = connection->server->is_remote && connection->phase == WAITING;
    if (poll_fd.revents & (POLLHUP | POLLERR) || has_gone) {
        connection->closed = true;
    } else {
        /* It may still read: looked at again from time to time. Soon, where its request cannot become whole any more: evhttp
         * sends what it has to say to that, and tells nobody when that is done. */
        connection->half_closed = true;
        if (connection->phase != ANSWERED) {
            (void)event_add(connection->on_deadline,
                            connection->phase == WAITING ? &look_again : &look_soon);
        }
    }
    connection_touch(connection);
}

static void on_deadline(evutil_socket_t fd, short what, void *data)
{
    struct connection *connection = data;
    (void)fd;
    (void)what;
    bool may_arrive =
        connection->phase == ARRIVING && clock_now_ns() - connection->accepted_ns < DEADLINE_NS;
    if (connection->phase == WAITING || (may_arrive && connection->half_closed)) {
        on_closed(connection->fd, 0, connection);
    } else {
        connection->closed = true;
        connection_touch(connection);
    }
}

static void learn_fd(struct connection *connection)
{
    struct http_server *server = connection->server;
    int fd = bufferevent_getfd(connection->bev);
    if (fd >= 0 && (size_t)fd >= server->fd_count) {
        size_t count = (size_t)fd * 2 + 64;
        struct connection **by_fd = realloc(server->by_fd, count * sizeof(struct connection *));
        if (!by_fd) {
            connection->closed = true;
            return;
        }
        memset(by_fd + server->fd_count, 0,
               (count - server->fd_count) * sizeof(struct connection *));
        server->by_fd = by_fd;
        server->fd_count = count;
    }
    if (fd >= 0 && server->is_remote) {
        int on =
            1; /* these tell of a machine that vanished, while nothing is sent and while something is */
        unsigned unheard_ms = UNHEARD_MS;
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unheard_ms, sizeof(unheard_ms));
    }
    if (fd >= 0) {
        connection->fd = fd;
        server->by_fd[fd] = connection;
        connection->on_closed = event_new(server->base, fd, EV_CLOSED, on_closed, connection);
    }
    if (!connection->on_closed || event_add(connection->on_closed, NULL) < 0) {
        connection->closed = true;
    }
}

static void close_oldest_arriving(struct http_server *server)
{
    struct connection *connection;
    TAILQ_FOREACH(connection, &server->connections, link)
    {
        if (connection->phase == ARRIVING && !connection->closed) {
            connection->closed = true;
            connection_touch(connection);
            return;
        }
    }
}

/* Ends what evhttp still has of a connection whose client is gone or out of time. */
static void end(struct connection *connection)
{
    http_request_tell_gone(connection);
    if (connection->evcon) {
        evhttp_connection_free(connection->evcon);
    } else if (evhttp_has(connection)) {
        /* Only evhttp knows its connection: it is told by an end of file, and frees it. */
        (void)shutdown(connection->fd, SHUT_RDWR);
        (void)event_add(connection->on_deadline, &look_again);
    }
}

static void on_sweep(evutil_socket_t none, short what, void *data)
{
    struct http_server *server = data;
    struct connection *connection;
    (void)none;
    (void)what;
    while ((connection = TAILQ_FIRST(&server->touched))) {
        TAILQ_REMOVE(&server->touched, connection, touched_link);
        connection->touched = false;
        if (connection->fd < 0) {
            learn_fd(connection);
        }
        if (connection->closed && evhttp_has(connection)) {
            end(connection); /* which touches it again where evhttp lets go of it */
        } else if (!evhttp_has(connection) && (connection->closed || connection->half_closed)) {
            connection_free(connection);
        }
    }
}

/* A new connection, of which evhttp only wants the bufferevent yet; the descriptor is told in sweep(). */
static struct bufferevent *on_accept(struct event_base *base, void *data)
{
    struct http_server *server = data;
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    struct connection *connection = bev ? calloc(1, sizeof(*connection)) : NULL;
    if (!connection) {
        return bev; /* without a deadline, and refused when its request is whole; NULL: evhttp makes one */
    }
    bufferevent_setwatermark(bev, EV_READ, 0, UNREAD_MAX);
    bufferevent_incref(bev);
    connection->server = server;
    connection->bev = bev;
    connection->fd = -1;
    connection->accepted_ticks = process_now_ticks();
    connection->accepted_ns = clock_now_ns();
    connection->on_deadline = event_new(base, -1, 0, on_deadline, connection);
    if (!connection->on_deadline || event_add(connection->on_deadline, &http_deadline) < 0) {
        connection->closed = true;
    }
    TAILQ_INSERT_TAIL(&server->connections, connection, link);
    if (++server->count > server->connections_max) {
        close_oldest_arriving(server);
    }
    connection_touch(connection);
    return bev;
}

/* ---- The server ------------------------------------------------------------------------------ */

/* No descriptor is left, most likely: somebody is closed, and the rest wait a moment. */
static void on_accept_failed(struct evconnlistener *listener, void *data)
{
    static const struct timeval moment = {0, 100000};
    struct http_server *server = data;
    log_line(LOG_LINE_WARNING, "a connection cannot be accepted: %s", strerror(errno));
    close_oldest_arriving(server);
    (void)evconnlistener_disable(listener);
    (void)event_add(server->listen_again, &moment);
}

static void on_listen_again(evutil_socket_t none, short what, void *data)
{
    struct http_server *server = data;
    (void)none;
    (void)what;
    if (server->bound) {
        (void)evconnlistener_enable(evhttp_bound_socket_get_listener(server->bound));
    }
}

struct http_server *http_server_new(struct event_base *base, size_t connections_max,
                                    http_handler handler, void *data)
{
    struct http_server *server = calloc(1, sizeof(*server));
    if (!server) {
        return NULL;
    }
    server->base = base;
    server->handler = handler;
    server->data = data;
    server->connections_max = connections_max;
    TAILQ_INIT(&server->connections);
    TAILQ_INIT(&server->touched);
    server->sweep = event_new(base, -1, 0, on_sweep, server);
    server->listen_again = event_new(base, -1, 0, on_listen_again, server);
    server->evhttp = evhttp_new(base);
    if (!server->sweep || !server->listen_again || !server->evhttp) {
        return http_server_free(server);
    }
    evhttp_set_max_headers_size(server->evhttp, HEADERS_MAX);
    evhttp_set_max_body_size(server->evhttp, BODY_MAX);
    evhttp_set_allowed_methods(server->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PATCH |
                                                   EVHTTP_REQ_DELETE);
    evhttp_set_bevcb(server->evhttp, on_accept, server);
    evhttp_set_gencb(server->evhttp, on_request, server);
    return server;
}

struct http_server *http_server_free(struct http_server *server)
{
    if (!server) {
        return NULL;
    }
    struct connection *connection;
    TAILQ_FOREACH(connection, &server->connections, link)
    {
        http_request_tell_gone(connection);
    }
    if (server->evhttp) {
        evhttp_free(server->evhttp);
    }
    while ((connection = TAILQ_FIRST(&server->connections))) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that the list has lost it */
        connection_free(connection);
    }
    if (server->sweep) {
        event_free(server->sweep);
    }
    if (server->listen_again) {
        event_free(server->listen_again);
    }
    free(server->by_fd);
    free(server);
    return NULL;
}

int http_server_listen(struct http_server *server, int fd)
{
    struct evconnlistener *listener = evconnlistener_new(
        server->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
    struct evhttp_bound_socket *bound =
        listener ? evhttp_bind_listener(server->evhttp, listener) : NULL;
    if (!bound) {
        return -ENOMEM;
    }
    evconnlistener_set_error_cb(listener, on_accept_failed);
    http_server_stop(server);
    server->bound = bound;
    return 0;
}

void http_server_stop(struct http_server *server)
{
    if (server->bound) {
        evhttp_del_accept_socket(server->evhttp, server->bound);
        server->bound = NULL;
    }
}

size_t http_server_connections(const struct http_server *server)
{
    return server->count;
}

void http_server_set_remote(struct http_server *server)
{
    server->is_remote = true;
}

void http_server_count(struct http_server *server, struct http_counts *counts)
{
    server->counts = counts;
}

size_t http_server_waiting(const struct http_server *server)
{
    return server->waiting;
}

void http_server_turn_away(struct http_server *server, int status, const char *json)
{
    struct connection *connection;
    TAILQ_FOREACH(connection, &server->connections, link)
    {
        struct http_request *request = connection->request;
        if (!request) {
            continue;
        }
        if (request->gone) {
            request->gone(request, request->gone_data);
            request->gone = NULL;
        }
        if (request->begun) {
            http_end(request);
        } else {
            http_answer(request, status, json);
        }
    }
}
