/* SPDX-License-Identifier: MIT */
#include "lib/http_client.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define HEAD_MAX ((size_t)16 << 10)
#define READ_SIZE ((size_t)16 << 10)
#define NO_LENGTH SIZE_MAX

/* ---- The connection -------------------------------------------------------------------------- */

/* Connecting to a unix socket whose queue is full waits, and poll(2) cannot do that waiting: a time-out for
 * sending bounds it. Once connected nothing blocks. */
static int connect_until(int fd, const struct sockaddr_un *address, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now = clock_now_ns();
        if (now >= deadline_ns) {
            return -ETIMEDOUT;
        }
        if (deadline_ns != UINT64_MAX) {
            uint64_t us = (deadline_ns - now) / 1000 + 1;
            struct timeval limit = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        }
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
            int flags = fcntl(fd, F_GETFL);
            return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return errno == ENOTDIR      ? -ENOENT
                   : errno == EPERM      ? -EACCES
                   : errno == EPROTOTYPE ? -ECONNREFUSED
                                         : -errno;
        }
    }
}

static int open_socket(const struct sockaddr_un *address, uint64_t deadline_ns)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int r = connect_until(fd, address, deadline_ns);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    return fd;
}

static int await(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = events};
        uint64_t now = clock_now_ns();
        int limit = -1;
        if (now >= deadline_ns) {
            return -ETIMEDOUT;
        }
        if (deadline_ns != UINT64_MAX) {
            uint64_t ms = (deadline_ns - now) / 1000000 + 1;
            limit = ms < INT_MAX ? (int)ms : INT_MAX;
        }
        int r = poll(&poll_fd, 1, limit);
        if (r > 0) {
            return 0;
        }
        if (r < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

/* A daemon that has answered and closed before it read everything is heard out: then 0 as well. */
static int send_all(int fd, const struct buf *request, uint64_t deadline_ns)
{
    size_t sent = 0;
    while (sent < request->length) {
        ssize_t n = send(fd, request->data + sent, request->length - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            int r = await(fd, POLLOUT, deadline_ns);
            if (r < 0) {
                return r;
            }
        } else if (errno != EINTR) {
            return errno == EPIPE || errno == ECONNRESET ? 0 : -errno;
        }
    }
    return 0;
}

/* Some more bytes behind what the buffer has. Returns how many; 0: the end; negative errno. */
static int receive(int fd, struct buf *buf, uint64_t deadline_ns)
{
    char bytes[READ_SIZE];
    for (;;) {
        int r = await(fd, POLLIN, deadline_ns);
        if (r < 0) {
            return r;
        }
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n >= 0) {
            buf_add(buf, bytes, (size_t)n);
            return buf->failed ? -ENOMEM : (int)n;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return errno == EPIPE ? -ECONNRESET : -errno;
        }
    }
}

/* ---- The head -------------------------------------------------------------------------------- */

struct answer {
    int fd;
    uint64_t deadline_ns;
    struct buf buf; /* what has come and is not used up */
    int status;
    size_t length; /* of the body, or NO_LENGTH: up to the end */
    bool ended;    /* nothing more will come */
};

/* "HTTP/1.1 200 OK" */
static int parse_status(const char *line, size_t length)
{
    if (length < 12 || strncmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ' ||
        (length > 12 && line[12] != ' ')) {
        return -EPROTO;
    }
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9') {
            return -EPROTO;
        }
        status = status * 10 + (line[i] - '0');
    }
    return status >= 200 && status <= 599 ? status : -EPROTO;
}

static int parse_length(const char *text, size_t length, size_t *ret_length)
{
    size_t number = 0;
    for (; length && (text[length - 1] == ' ' || text[length - 1] == '\t'); length--) {
    }
    for (; length && (*text == ' ' || *text == '\t'); text++, length--) {
    }
    if (!length || *ret_length != NO_LENGTH) {
        return -EPROTO;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -EPROTO;
        }
        number = number * 10 + (size_t)(text[i] - '0');
        if (number > HTTP_BODY_MAX) {
            return -EPROTO;
        }
    }
    *ret_length = number;
    return 0;
}

/* Of all headers only two matter: how long the body is, and that it is not in pieces, for which we did not ask. */
static int parse_header(struct answer *answer, const char *line, size_t length)
{
    static const char length_name[] = "content-length:", coding_name[] = "transfer-encoding:";
    if (text_begins(line, length_name, sizeof(length_name) - 1)) {
        return parse_length(line + sizeof(length_name) - 1, length - (sizeof(length_name) - 1),
                            &answer->length);
    }
    return text_begins(line, coding_name, sizeof(coding_name) - 1) ? -EPROTO : 0;
}

/* `head` ends with the last header's line end. */
static int parse_head(struct answer *answer, const char *head, size_t size)
{
    const char *end = head + size;
    if (memchr(head, '\0', size)) {
        return -EPROTO;
    }
    answer->length = NO_LENGTH;
    for (const char *line = head; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)(stop - line);
        length -= length && line[length - 1] == '\r';
        int r = line == head ? answer->status = parse_status(line, length)
                             : parse_header(answer, line, length);
        if (r < 0) {
            return r;
        }
        line = stop + 1;
    }
    return 0;
}

static void drop_front(struct buf *buf, size_t count)
{
    memmove(buf->data, buf->data + count, buf->length - count);
    buf->length -= count;
    buf->data[buf->length] = '\0';
}

/* How long the head is with the empty line behind it; 0: not all of it has come. */
static size_t head_size(const struct buf *buf, size_t *ret_lines)
{
    for (const char *at = buf->data;
         at && (at = memchr(at, '\n', buf->length - (size_t)(at - buf->data)));) {
        *ret_lines = (size_t)(++at - buf->data);
        if (at[0] == '\n' || (at[0] == '\r' && at[1] == '\n')) {
            return *ret_lines + (at[0] == '\n' ? 1 : 2);
        }
    }
    return 0;
}

static int read_head(struct answer *answer)
{
    size_t size, lines;
    while (!(size = head_size(&answer->buf, &lines))) {
        if (answer->buf.length > HEAD_MAX) {
            return -EPROTO;
        }
        int r = receive(answer->fd, &answer->buf, answer->deadline_ns);
        if (r <= 0) {
            return r < 0 ? r : answer->buf.length ? -EPROTO : -ECONNRESET;
        }
    }
    int r = parse_head(answer, answer->buf.data, lines);
    drop_front(&answer->buf, size);
    return r < 0 ? r : 0;
}

/* ---- The body -------------------------------------------------------------------------------- */

/* More of the body. 1: there is more; 0: that was all of it; negative errno. */
static int read_more(struct answer *answer)
{
    if (!answer->ended) {
        int r = receive(answer->fd, &answer->buf, answer->deadline_ns);
        if (r < 0) {
            return r;
        }
        answer->ended = r == 0;
    }
    return !answer->ended;
}

static int read_whole(struct answer *answer)
{
    struct buf *buf = &answer->buf;
    int r = 1;
    while (r > 0 && buf->length < answer->length) {
        if (buf->length > HTTP_BODY_MAX) {
            return -EPROTO;
        }
        r = read_more(answer);
    }
    if (r < 0 || answer->length == NO_LENGTH) {
        return r;
    }
    if (buf->length < answer->length) {
        return -EPROTO;
    }
    buf->length = answer->length;
    buf->data[buf->length] = '\0';
    return 0;
}

/* The next line of the body, left in `ret_line`. 1; 0: there is none; negative errno. A line without an end counts only
 * where the length says that nothing is missing. */
static int next_line(struct answer *answer, struct buf *ret_line)
{
    for (;;) {
        struct buf *buf = &answer->buf;
        size_t left = answer->length < buf->length ? answer->length : buf->length;
        const char *end = left ? memchr(buf->data, '\n', left) : NULL;
        bool all = answer->length != NO_LENGTH && left == answer->length;
        if (end || (all && left)) {
            size_t length = end ? (size_t)(end - buf->data) : left;
            size_t used = end ? length + 1 : left;
            buf_clear(ret_line);
            buf_add(ret_line, buf->data,
                    length - (length && buf->data[length - 1] == '\r' ? 1 : 0));
            bool odd = memchr(buf->data, '\0', length) != NULL;
            drop_front(buf, used);
            answer->length -= answer->length == NO_LENGTH ? 0 : used;
            return ret_line->failed ? -ENOMEM : odd ? -EPROTO : 1;
        }
        if (all) {
            return 0;
        }
        if (answer->ended || left > HTTP_LINE_MAX) {
            return answer->length == NO_LENGTH && !left ? 0 : -EPROTO;
        }
        int r = read_more(answer);
        if (r < 0) {
            return r;
        }
    }
}

/* Leaves the last line in the buffer. */
static int read_lines(struct answer *answer, http_line_function line, void *data)
{
    struct buf next CLEANUP(buf_done) = BUF_INIT, last CLEANUP(buf_done) = BUF_INIT;
    int r;
    while ((r = next_line(answer, &next)) > 0) {
        if (!next.length) {
            continue;
        }
        if (!line(data, next.data)) {
            return -ECANCELED;
        }
        struct buf swapped = last;
        last = next;
        next = swapped;
    }
    buf_clear(&answer->buf);
    buf_add(&answer->buf, last.data ? last.data : "", last.length);
    return r;
}

/* ---- The call -------------------------------------------------------------------------------- */

static void answer_done(struct answer *answer)
{
    if (answer->fd >= 0) {
        (void)close(answer->fd);
    }
    buf_done(&answer->buf);
}

static int send_request(int fd, const char *method, const char *target, const char *body,
                        uint64_t deadline_ns)
{
    struct buf request CLEANUP(buf_done) = BUF_INIT;
    buf_format(&request, "%s %s HTTP/1.0\r\nHost: vram\r\nConnection: close\r\n", method, target);
    if (body) {
        buf_format(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                   strlen(body));
    }
    buf_text(&request, "\r\n");
    buf_text(&request, body ? body : "");
    return request.failed ? -ENOMEM : send_all(fd, &request, deadline_ns);
}

int http_call(const char *socket_path, const char *method, const char *target, const char *body,
              uint64_t deadline_ns, http_line_function line, void *data,
              struct http_reply *ret_reply)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct answer answer CLEANUP(answer_done) = {.fd = -1, .deadline_ns = deadline_ns};
    if (strlen(socket_path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    int r = answer.fd = open_socket(&address, deadline_ns);
    r = r < 0 ? r : send_request(answer.fd, method, target, body, deadline_ns);
    r = r < 0 ? r : read_head(&answer);
    if (r == 0) {
        r = line && answer.status == 200 ? read_lines(&answer, line, data) : read_whole(&answer);
    }
    if (r < 0) {
        return r;
    }
    struct http_reply reply = {.status = answer.status};
    reply.body = buf_steal(&answer.buf, &reply.length);
    if (!reply.body) {
        return -ENOMEM;
    }
    *ret_reply = reply;
    return 0;
}

void http_reply_done(struct http_reply *reply)
{
    free(reply->body);
    *reply = (struct http_reply){0};
}
