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
#include "daemon/http.h"

#include "common/clock.h"
#include "common/json.h"
#include "daemon/process.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADERS_MAX 8192
#define BODY_MAX 65536
#define UNREAD_MAX (HEADERS_MAX + BODY_MAX) /* what a client may send that nobody reads */
#define UNSENT_MAX (256u << 10)
#define BACKLOG 1024
#define MESSAGE_MAX 1024

#define DEADLINE_S 10
#define DEADLINE_NS ((uint64_t)DEADLINE_S * 1000000000u)

static const struct timeval deadline = {DEADLINE_S, 0};
static const struct timeval look_again = {1, 0};
static const struct timeval look_soon = {0, 20000};

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
    struct event *sweep;
    http_handler handler;
    void *data;
    size_t connections_max, count, waiting;
    struct connections connections; /* oldest first */
    struct connections touched;
    struct connection **by_fd;
    size_t fd_count;
};

/* Has the connection looked at once evhttp is done with the events of now. */
static void touch(struct connection *connection)
{
    struct http_server *server = connection->server;
    if (!connection->touched) {
        connection->touched = true;
        TAILQ_INSERT_TAIL(&server->touched, connection, touched_link);
    }
    event_active(server->sweep, 0, 0);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void request_free(struct http_request *request)
{
    evhttp_clear_headers(&request->query);
    peer_done(&request->peer);
    free(request->path);
    free(request->body);
    free(request);
}

/* Takes the request from its connection, which has no more to wait for. */
static void detach(struct http_request *request)
{
    request->connection->request = NULL;
    request->connection->phase = ANSWERED;
    request->connection->server->waiting--;
}

/* Nobody is there to be answered. */
static void tell_gone(struct connection *connection)
{
    struct http_request *request = connection->request;
    if (request) {
        detach(request);
        if (request->gone) {
            request->gone(request, request->gone_data);
        }
        request_free(request);
    }
}

const char *http_method(const struct http_request *request)
{
    switch (evhttp_request_get_command(request->request)) {
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    default:
        return "GET";
    }
}

const char *http_path(const struct http_request *request)
{
    return request->path;
}

const char *http_query(const struct http_request *request, const char *name)
{
    for (const struct evkeyval *pair = request->query.tqh_first; pair; pair = pair->next.tqe_next) {
        if (strcmp(pair->key, name) == 0) {
            return pair->value;
        }
    }
    return NULL;
}

int http_query_number(const struct http_request *request, const char *name, uint64_t *ret)
{
    const char *text = http_query(request, name);
    char *end;
    if (!text) {
        return 0;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno) {
        return -EINVAL;
    }
    *ret = number;
    return 0;
}

const char *http_body(const struct http_request *request)
{
    return request->body;
}

int http_peer(struct http_request *request, const struct peer **ret_peer)
{
    const struct connection *connection = request->connection;
    if (request->peer_result == 1) {
        request->peer_result =
            peer_read(connection->fd, connection->accepted_ticks, peer_flags(), &request->peer);
    }
    if (request->peer_result == 0) {
        *ret_peer = &request->peer;
    }
    return request->peer_result;
}

int http_take_peer(struct http_request *request, struct peer *ret_peer)
{
    const struct peer *peer;
    int r = http_peer(request, &peer);
    if (r == 0) {
        *ret_peer = *peer;
        request->peer = (struct peer){.pidfd = -1};
        request->peer_result = 1; /* read again if it is asked for again */
    }
    return r;
}

uint64_t http_arrived_ns(const struct http_request *request)
{
    return request->arrived_ns;
}

void http_on_gone(struct http_request *request, http_gone_function gone, void *data)
{
    request->gone = gone;
    request->gone_data = data;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static const char *phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {{200, "OK"},
                   {400, "Bad Request"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {429, "Too Many Requests"},
                   {500, "Internal Server Error"},
                   {503, "Service Unavailable"}};
    for (size_t i = 0; i < ARRAY_LENGTH(phrases); i++) {
        if (phrases[i].status == status) {
            return phrases[i].phrase;
        }
    }
    return "Error";
}

static void add_headers(struct http_request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request->request);
    (void)evhttp_add_header(headers, "Content-Type", "application/json");
    (void)evhttp_add_header(headers, "Cache-Control", "no-store");
    (void)evhttp_add_header(headers, "Connection", "close");
}

/* The request is answered: what remains is to send it, in so much time. */
static void finish(struct http_request *request)
{
    struct connection *connection = request->connection;
    detach(request);
    request_free(request);
    (void)event_add(connection->on_deadline, &deadline);
}

/* An answer that there is no memory for is no answer: the connection is closed instead. */
static void give_up(struct http_request *request)
{
    struct connection *connection = request->connection;
    connection->closed = true;
    detach(request);
    request_free(request);
    touch(connection);
}

void http_answer(struct http_request *request, int status, const char *json)
{
    struct evbuffer *body = evbuffer_new();
    if (!body || evbuffer_add(body, json, strlen(json)) < 0 || evbuffer_add(body, "\n", 1) < 0) {
        give_up(request);
    } else {
        struct evhttp_request *answered = request->request;
        add_headers(request);
        finish(request);
        evhttp_send_reply(answered, status, phrase(status), body);
    }
    if (body) {
        evbuffer_free(body);
    }
}

char *http_error_json(const char *code, int error, const char *hint, const char *message)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_object(&json, "error");
    json_text(&json, "code", code);
    json_text(&json, "message", message);
    json_text(&json, "hint", hint && *hint ? hint : NULL);
    json_number(&json, "errno", (uint64_t)(error < 0 ? -error : error));
    json_end_object(&json);
    json_end_object(&json);
    return buf_steal(&buf, NULL);
}

void http_fail(struct http_request *request, int status, const char *code, int error,
               const char *hint, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    char *json = http_error_json(code, error, hint, message);
    if (json) {
        http_answer(request, status, json);
    } else {
        give_up(request);
    }
    free(json);
}

void http_line(struct http_request *request, const char *json)
{
    struct connection *connection = request->connection;
    struct evbuffer *line = evbuffer_new();
    struct evbuffer *unsent = bufferevent_get_output(connection->bev);
    if (!line || evbuffer_add(line, json, strlen(json)) < 0 || evbuffer_add(line, "\n", 1) < 0 ||
        evbuffer_get_length(unsent) > UNSENT_MAX) {
        connection->closed = true;
        touch(connection);
    } else {
        if (!request->begun) {
            add_headers(request);
            evhttp_send_reply_start(request->request, 200, phrase(200));
            request->begun = true;
        }
        evhttp_send_reply_chunk(request->request, line);
    }
    if (line) {
        evbuffer_free(line);
    }
}

void http_end(struct http_request *request)
{
    if (request->begun) {
        struct evhttp_request *answered = request->request;
        finish(request);
        evhttp_send_reply_end(answered);
    } else {
        give_up(request);
    }
}

/* ---- Arrival --------------------------------------------------------------------------------- */

/* What evhttp lets pass: every header that says where the body ends must be there once and mean it. */
static const char *find_fault(struct evhttp_request *request)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    size_t lengths = 0;
    for (const struct evkeyval *header = headers->tqh_first; header;
         header = header->next.tqe_next) {
        if (evutil_ascii_strcasecmp(header->key, "Transfer-Encoding") == 0) {
            return "Transfer-Encoding is not understood here; send Content-Length";
        }
        if (evutil_ascii_strcasecmp(header->key, "Content-Length") == 0) {
            lengths++;
            if (!header->value[0] || strspn(header->value, "0123456789") != strlen(header->value)) {
                return "Content-Length is not a number";
            }
        }
    }
    if (lengths > 1) {
        return "there are two Content-Length";
    }
    const char *target = evhttp_request_get_uri(request);
    return strstr(target, "%00") ? "the target holds a NUL" : NULL;
}

static char *copy_body(struct evhttp_request *request)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(input);
    char *body = malloc(length + 1);
    if (body) {
        (void)evbuffer_copyout(input, body, length);
        body[length] = '\0';
        if (strlen(body) != length) {
            body[0] = '\0'; /* a NUL within: no JSON text, and so none at all */
        }
    }
    return body;
}

/* 0; -EINVAL; -ENOMEM. */
static int parse_target(struct http_request *request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request->request);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
    if (!path) {
        return -EINVAL;
    }
    request->path = evhttp_uridecode(path, 0, NULL);
    if (!request->path) {
        return -ENOMEM;
    }
    return query && query[0] && evhttp_parse_query_str(query, &request->query) < 0 ? -EINVAL : 0;
}

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
    tell_gone(connection);
    if (orphan) {
        evhttp_request_free(orphan);
    }
    connection->closed = true;
    touch(connection);
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
    struct http_request *request = connection ? calloc(1, sizeof(*request)) : NULL;
    if (!request) {
        evhttp_send_error(whole, HTTP_SERVUNAVAIL, NULL);
        return;
    }
    *request = (struct http_request){
        .request = whole,
        .peer = {.pidfd = -1},
        .peer_result = 1,
        .arrived_ns = clock_now_ns(),
        .connection = connection,
    };
    request->query.tqh_last = &request->query.tqh_first;
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

    const char *fault = find_fault(whole);
    int r = fault ? 0 : parse_target(request);
    request->body = copy_body(whole);
    if (fault) {
        http_fail(request, 400, "bad_request", EINVAL, NULL, "%s", fault);
    } else if (r == -EINVAL) {
        http_fail(request, 400, "bad_request", EINVAL, NULL, "this is no path");
    } else if (r < 0 || !request->body) {
        give_up(request);
    } else {
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
    if (poll_fd.revents & (POLLHUP | POLLERR)) {
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
    touch(connection);
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
        touch(connection);
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
            touch(connection);
            return;
        }
    }
}

/* Ends what evhttp still has of a connection whose client is gone or out of time. */
static void end(struct connection *connection)
{
    tell_gone(connection);
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
    if (!connection->on_deadline || event_add(connection->on_deadline, &deadline) < 0) {
        connection->closed = true;
    }
    TAILQ_INSERT_TAIL(&server->connections, connection, link);
    if (++server->count > server->connections_max) {
        close_oldest_arriving(server);
    }
    touch(connection);
    return bev;
}

/* ---- The server ------------------------------------------------------------------------------ */

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
    server->evhttp = evhttp_new(base);
    if (!server->sweep || !server->evhttp) {
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
        tell_gone(connection);
    }
    if (server->evhttp) {
        evhttp_free(server->evhttp);
    }
    while ((connection = TAILQ_FIRST(&server->connections))) {
        connection_free(connection);
    }
    if (server->sweep) {
        event_free(server->sweep);
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
