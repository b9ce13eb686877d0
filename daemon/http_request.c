/* SPDX-License-Identifier: MIT */
/* What was asked, by whom, and the answer on its way. */
#include "daemon/http_inner.h"

#include "common/clock.h"
#include "common/json.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define UNSENT_MAX (256u << 10)
#define MESSAGE_MAX 1024
#define STREAM_KEPT 65536

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

void http_request_tell_gone(struct connection *connection)
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

const char *http_header(const struct http_request *request, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(request->request), name);
}

size_t http_header_count(const struct http_request *request, const char *name)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request->request);
    size_t count = 0;
    for (const struct evkeyval *header = headers->tqh_first; header;
         header = header->next.tqe_next) {
        count += evutil_ascii_strcasecmp(header->key, name) == 0;
    }
    return count;
}

bool http_is_remote(const struct http_request *request)
{
    return request->connection->server->is_remote;
}

void http_set_route(struct http_request *request, const char *route)
{
    request->route = route;
}

int http_peer(struct http_request *request, const struct peer **ret_peer)
{
    const struct connection *connection = request->connection;
    if (connection->server->is_remote) {
        return -ENOTSOCK; /* of a TCP connection the kernel would tell of a process 0 */
    }
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
                   {304, "Not Modified"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {406, "Not Acceptable"},
                   {409, "Conflict"},
                   {410, "Gone"},
                   {413, "Content Too Large"},
                   {421, "Misdirected Request"},
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

void http_set_header(struct http_request *request, const char *name, const char *value)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request->request);
    (void)evhttp_remove_header(headers, name);
    (void)evhttp_add_header(headers, name, value);
}

/* A browser that was led here shall do nothing with it. */
static void add_headers(struct http_request *request, const char *type)
{
    const struct evkeyvalq *headers = evhttp_request_get_output_headers(request->request);
    http_set_header(request, "Content-Type", type);
    if (!evhttp_find_header(headers, "Cache-Control")) {
        http_set_header(request, "Cache-Control", "no-store");
    }
    http_set_header(request, "X-Content-Type-Options", "nosniff");
    http_set_header(request, "Connection", "close");
}

static void count_answer(const struct http_request *request, int status)
{
    struct http_counts *counts = request->connection->server->counts;
    const char *route = request->route ? request->route : "(other)";
    size_t i = 0;
    while (counts && i < counts->count &&
           (counts->counts[i].status != status || strcmp(counts->counts[i].route, route) != 0)) {
        i++;
    }
    if (!counts || i == HTTP_COUNTS_MAX) {
        return;
    }
    if (i == counts->count) {
        counts->counts[counts->count++] = (struct http_count){.route = route, .status = status};
    }
    counts->counts[i].number++;
}

/* The request is answered: what remains is to send it, in so much time. */
static void finish(struct http_request *request, int status)
{
    struct connection *connection = request->connection;
    count_answer(request, status);
    detach(request);
    request_free(request);
    (void)event_add(connection->on_deadline, &http_deadline);
}

/* An answer that there is no memory for is no answer: the connection is closed instead. */
static void give_up(struct http_request *request)
{
    struct connection *connection = request->connection;
    connection->closed = true;
    detach(request);
    request_free(request);
    connection_touch(connection);
}

static void send_whole(struct http_request *request, int status, const char *type, const char *text,
                       size_t length, const char *end)
{
    struct evbuffer *body = evbuffer_new();
    if (!body || evbuffer_add(body, text, length) < 0 || evbuffer_add(body, end, strlen(end)) < 0) {
        give_up(request);
    } else {
        struct evhttp_request *answered = request->request;
        add_headers(request, type);
        finish(request, status);
        evhttp_send_reply(answered, status, phrase(status), body);
    }
    if (body) {
        evbuffer_free(body);
    }
}

void http_answer(struct http_request *request, int status, const char *json)
{
    if (!json) {
        http_fail_memory(request);
    } else if (request->begun) { /* its status is out already: the answer is the last line */
        http_line(request, json);
        http_end(request);
    } else {
        send_whole(request, status, "application/json", json, strlen(json), "\n");
    }
}

void http_answer_text(struct http_request *request, int status, const char *type, const char *text,
                      size_t length)
{
    send_whole(request, status, type, text, length, "");
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

void http_fail_memory(struct http_request *request)
{
    http_fail(request, 500, "out_of_memory", ENOMEM, NULL, "out of memory");
}

void http_line(struct http_request *request, const char *json)
{
    struct connection *connection = request->connection;
    struct evbuffer *line = evbuffer_new();
    struct evbuffer *unsent = bufferevent_get_output(connection->bev);
    if (!line || evbuffer_add(line, json, strlen(json)) < 0 || evbuffer_add(line, "\n", 1) < 0 ||
        evbuffer_get_length(unsent) > UNSENT_MAX) {
        connection->closed = true;
        connection_touch(connection);
    } else {
        if (!request->begun) {
            add_headers(request, "application/json");
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
        finish(request, 200);
        evhttp_send_reply_end(answered);
    } else {
        give_up(request);
    }
}

/* ---- Streams for many ------------------------------------------------------------------------ */

struct http_text {
    size_t references, length;
    char text[];
};

struct http_text *http_text_new(const char *text, size_t length)
{
    struct http_text *made = malloc(sizeof(*made) + length);
    if (made) {
        made->references = 1;
        made->length = length;
        memcpy(made->text, text, length);
    }
    return made;
}

void http_text_unref(struct http_text *text)
{
    if (text && --text->references == 0) {
        free(text);
    }
}

static void on_sent(const void *bytes, size_t length, void *data)
{
    (void)bytes;
    (void)length;
    http_text_unref(data);
}

void http_begin_stream(struct http_request *request, const char *type)
{
    add_headers(request, type);
    /* The kernel is to keep no more for a slow reader than we do. */
    int kept = STREAM_KEPT;
    (void)setsockopt(request->connection->fd, SOL_SOCKET, SO_SNDBUF, &kept, sizeof(kept));
    /* evhttp's own time-outs count from the last byte, whoever it was that had nothing to say. */
    (void)bufferevent_set_timeouts(request->connection->bev, NULL, NULL);
    evhttp_send_reply_start(request->request, 200, phrase(200));
    request->begun = true;
}

void http_push(struct http_request *request, struct http_text *text)
{
    struct evbuffer *more = evbuffer_new();
    text->references++;
    if (!more || evbuffer_add_reference(more, text->text, text->length, on_sent, text) < 0) {
        http_text_unref(text);
        http_drop(request);
    } else {
        evhttp_send_reply_chunk(request->request, more);
    }
    if (more) {
        evbuffer_free(more);
    }
}

size_t http_unsent(const struct http_request *request)
{
    return evbuffer_get_length(bufferevent_get_output(request->connection->bev));
}

void http_drop(struct http_request *request)
{
    request->connection->closed = true;
    connection_touch(request->connection);
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

struct http_request *http_request_new(struct connection *connection, struct evhttp_request *whole)
{
    struct http_request *request = calloc(1, sizeof(*request));
    if (request) {
        *request = (struct http_request){
            .request = whole,
            .peer = {.pidfd = -1},
            .peer_result = 1,
            .arrived_ns = clock_now_ns(),
            .connection = connection,
        };
        request->query.tqh_last = &request->query.tqh_first;
    }
    return request;
}

bool http_request_read(struct http_request *request)
{
    const char *fault = find_fault(request->request);
    int r = fault ? 0 : parse_target(request);
    request->body = copy_body(request->request);
    if (fault) {
        http_fail(request, 400, "bad_request", EINVAL, NULL, "%s", fault);
    } else if (r == -EINVAL) {
        http_fail(request, 400, "bad_request", EINVAL, NULL, "this is no path");
    } else if (r < 0 || !request->body) {
        give_up(request);
    } else {
        return true;
    }
    return false;
}
