/* SPDX-License-Identifier: MIT */
#include "tests/unit/one_answer.h"

#include "tests/unit/unit.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[] = "/tmp/vram-answer-XXXXXX", path[64];
static char request[4096];
static int listener = -1;
static pthread_t thread;
static enum answer_end how;
static const char *const *texts;
static const size_t *lengths;

static size_t length_of(size_t part)
{
    return lengths ? lengths[part] : strlen(texts[part]);
}

/* All of a request whose body, if it has one, ends with '}'. */
static void read_request(int fd)
{
    size_t length = 0;
    for (;;) {
        ssize_t n = recv(fd, request + length, sizeof(request) - 1 - length, 0);
        if (n <= 0) {
            return;
        }
        length += (size_t)n;
        request[length] = '\0';
        const char *body = strstr(request, "\r\n\r\n");
        if (body && (!strstr(request, "Content-Length") || request[length - 1] == '}')) {
            return;
        }
    }
}

static void *answer(void *data)
{
    int fd = accept(listener, NULL, NULL);
    (void)data;
    if (fd < 0) {
        return NULL;
    }
    if (how == ANSWER_RESETS) { /* closing with something unread resets */
        struct pollfd asked = {.fd = fd, .events = POLLIN};
        (void)poll(&asked, 1, -1);
    } else {
        read_request(fd);
    }
    for (size_t i = 0; texts && texts[i]; i++) {
        size_t sent = 0;
        while (sent < length_of(i)) {
            ssize_t n = send(fd, texts[i] + sent, length_of(i) - sent, MSG_NOSIGNAL);
            if (n <= 0) {
                break;
            }
            sent += (size_t)n;
        }
    }
    if (how == ANSWER_HANGS) {
        char rest;
        while (recv(fd, &rest, 1, 0) > 0) {
        }
    }
    (void)close(fd);
    return NULL;
}

const char *one_answer_start(enum answer_end end, const char *const *parts, const size_t *sizes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(directory, sizeof(directory), "/tmp/vram-answer-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/vram.sock", directory);
    memcpy(address.sun_path, path, strlen(path) + 1);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 0), 0);
    how = end;
    texts = parts;
    lengths = sizes;
    request[0] = '\0';
    if (end != ANSWER_NO_MORE) {
        assert_int_equal(pthread_create(&thread, NULL, answer, NULL), 0);
    }
    return path;
}

const char *one_answer_stop(void)
{
    if (how != ANSWER_NO_MORE) {
        (void)shutdown(listener, SHUT_RDWR); /* where nobody came */
        (void)pthread_join(thread, NULL);
    }
    (void)close(listener);
    (void)unlink(path);
    (void)rmdir(directory);
    return request;
}
