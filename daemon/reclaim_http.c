/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim_http.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((ev_ssize_t)1 << 20)
#define HEADERS_MAX 16384

struct reclaim_http {
    struct evhttp_connection *connection;
    struct event
        *on_end; /* the deadline, or the answer: outside evhttp, which frees nothing it is in */
    reclaim_http_function done;
    void *data;
    bool answered;
    char *answer;
    char failure[RECLAIM_FAILURE_MAX];
};

static void on_answer(struct evhttp_request *request, void *data)
{
    struct reclaim_http *http = data;
    int status = request ? evhttp_request_get_response_code(request) : 0;
    http->answered = true;
    if (status >= 200 && status < 300) {
        struct evbuffer *from = evhttp_request_get_input_buffer(request);
        size_t length = evbuffer_get_length(from);
        http->answer = malloc(length + 1);
        if (http->answer) {
            (void)evbuffer_remove(from, http->answer, length);
            http->answer[length] = '\0';
        } else {
            (void)snprintf(http->failure, sizeof(http->failure), "out of memory");
        }
    } else if (status) {
        (void)snprintf(http->failure, sizeof(http->failure), "it answered with status %d", status);
    } else if (!http->failure[0]) {
        (void)snprintf(http->failure, sizeof(http->failure), "it cannot be reached");
    }
    event_active(http->on_end, 0, 0);
}

static void on_error(enum evhttp_request_error error, void *data)
{
    struct reclaim_http *http = data;
    const char *what = error == EVREQ_HTTP_TIMEOUT          ? "no answer in time"
                       : error == EVREQ_HTTP_DATA_TOO_LONG  ? "its answer is too long"
                       : error == EVREQ_HTTP_INVALID_HEADER ? "its answer is no HTTP"
                                                            : "it broke off";
    (void)snprintf(http->failure, sizeof(http->failure), "%s", what);
}

static void on_end(evutil_socket_t none, short what, void *data)
{
    struct reclaim_http *http = data;
    (void)none;
    (void)what;
    if (!http->answered) {
        (void)snprintf(http->failure, sizeof(http->failure), "no answer in time");
    }
    if (http->connection) {
        evhttp_connection_free(http->connection);
        http->connection = NULL;
    }
    http->done(http->data, http->answer, http->failure);
}

static int send_request(struct reclaim_http *http, const struct reclaim_http_call *call)
{
    char path[2 * HOLDER_PATH_MAX], host[HOLDER_HOST_MAX + 16];
    bool is_v6 = strchr(call->url->host, ':') != NULL;
    (void)snprintf(path, sizeof(path), "%s%s", call->url->path, call->path ? call->path : "");
    (void)snprintf(host, sizeof(host), "%s%s%s:%u", is_v6 ? "[" : "", call->url->host,
                   is_v6 ? "]" : "", (unsigned)call->url->port);
    struct evhttp_request *request = evhttp_request_new(on_answer, http);
    if (!request) {
        return -1;
    }
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_request_set_error_cb(request, on_error);
    bool complete = evhttp_add_header(headers, "Host", host) == 0 &&
                    evhttp_add_header(headers, "Connection", "close") == 0;
    if (call->body) {
        complete = complete &&
                   evhttp_add_header(headers, "Content-Type", "application/json") == 0 &&
                   evbuffer_add(evhttp_request_get_output_buffer(request), call->body,
                                strlen(call->body)) == 0;
    }
    if (!complete) {
        evhttp_request_free(request);
        return -1;
    }
    return evhttp_make_request(http->connection, request,
                               call->is_post ? EVHTTP_REQ_POST : EVHTTP_REQ_GET,
                               path[0] ? path : "/");
}

struct reclaim_http *reclaim_http_new(struct event_base *base, const struct reclaim_http_call *call,
                                      reclaim_http_function done, void *data)
{
    struct timeval limit = {(time_t)(call->timeout_ns / 1000000000u),
                            (suseconds_t)(call->timeout_ns % 1000000000u / 1000)};
    struct reclaim_http *http = calloc(1, sizeof(*http));
    if (!http) {
        return NULL;
    }
    http->done = done;
    http->data = data;
    http->on_end = event_new(base, -1, 0, on_end, http);
    http->connection = evhttp_connection_base_new(base, NULL, call->url->host, call->url->port);
    if (!http->on_end || !http->connection) {
        return reclaim_http_free(http);
    }
    evhttp_connection_set_timeout_tv(http->connection, &limit);
    evhttp_connection_set_max_body_size(http->connection, ANSWER_MAX);
    evhttp_connection_set_max_headers_size(http->connection, HEADERS_MAX);
    evhttp_connection_set_retries(http->connection, 0);
    /* A connection that fails at once has told so, or tells it with the deadline, which is now then. */
    if (event_add(http->on_end, &limit) < 0) {
        return reclaim_http_free(http);
    }
    if (send_request(http, call) < 0 && !http->answered) {
        http->answered = true;
        (void)snprintf(http->failure, sizeof(http->failure), "it cannot be reached");
        event_active(http->on_end, 0, 0);
    }
    return http;
}

struct reclaim_http *reclaim_http_free(struct reclaim_http *http)
{
    if (http) {
        if (http->connection) {
            evhttp_connection_free(http->connection);
        }
        if (http->on_end) {
            event_free(http->on_end);
        }
        free(http->answer);
        free(http);
    }
    return NULL;
}
