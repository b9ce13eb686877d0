/* SPDX-License-Identifier: MIT */
#include "daemon/grantor.h"

#include "daemon/log.h"
#include "daemon/peer.h"
#include "daemon/process.h"
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16
#define ASKERS_MAX 16

static const struct timeval try_again = {2, 0}; /* where the holder cannot be watched */

struct grantor {
    struct event_base *base;
    struct sockaddr_un address;
    socklen_t address_length;
    grantor_changed_function changed;
    void *data;
    struct evconnlistener *listener; /* not NULL: ours */
    struct process_watch *holder_watch;
    pid_t holder;
    size_t askers;
    struct event *on_retry;
};

static void try_to_take(struct grantor *grantor);

static void on_asker_done(evutil_socket_t fd, short what, void *data)
{
    struct grantor *grantor = data;
    (void)what;
    grantor->askers--;
    (void)close(fd);
}

/* Somebody asks who has it, which the connection alone tells; it is kept until that has been read from it. */
static void on_asked(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                     int length, void *data)
{
    static const struct timeval limit = {1, 0};
    struct grantor *grantor = data;
    (void)listener;
    (void)address;
    (void)length;
    if (grantor->askers >= ASKERS_MAX ||
        event_base_once(grantor->base, fd, EV_READ, on_asker_done, grantor, &limit) < 0) {
        (void)close(fd);
    } else {
        grantor->askers++;
    }
}

static void on_holder_ended(void *data)
{
    try_to_take(data);
}

static void on_retry(evutil_socket_t none, short what, void *data)
{
    (void)none;
    (void)what;
    try_to_take(data);
}

/* Finds out who has the name, and watches for its end. */
static void look_for_holder(struct grantor *grantor)
{
    struct peer peer;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    grantor->holder = 0;
    if (fd >= 0 &&
        connect(fd, (struct sockaddr *)&grantor->address, grantor->address_length) == 0 &&
        peer_read(fd, UINT64_MAX, peer_flags(), &peer) == 0) {
        int pidfd = peer.pidfd;
        peer.pidfd = -1;
        grantor->holder = peer.pid;
        peer_done(&peer);
        if (pidfd >= 0 && process_watch_new(grantor->base, pidfd, on_holder_ended, grantor,
                                            &grantor->holder_watch) < 0) {
            grantor->holder_watch = NULL;
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (!grantor->holder_watch) {
        (void)event_add(grantor->on_retry, &try_again);
    }
}

static void try_to_take(struct grantor *grantor)
{
    grantor->holder_watch = process_watch_free(grantor->holder_watch);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&grantor->address, grantor->address_length) == 0) {
        grantor->listener =
            evconnlistener_new(grantor->base, on_asked, grantor,
                               LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
        if (grantor->listener) {
            grantor->holder = 0;
            grantor->changed(grantor->data);
            return;
        }
    }
    int r = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (r == EADDRINUSE) {
        look_for_holder(grantor);
    } else {
        log_line(LOG_LINE_ERROR, "the grantor's lock cannot be taken: %s", strerror(r));
        (void)event_add(grantor->on_retry, &try_again);
    }
}

struct grantor *grantor_new(struct event_base *base, const char *name,
                            grantor_changed_function changed, void *data)
{
    struct grantor *grantor = calloc(1, sizeof(*grantor));
    size_t length = strlen(name);
    if (!grantor || length >= sizeof(grantor->address.sun_path)) {
        free(grantor);
        return NULL;
    }
    grantor->base = base;
    grantor->changed = changed;
    grantor->data = data;
    grantor->address.sun_family = AF_UNIX;
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): an abstract name ends with its length */
    memcpy(grantor->address.sun_path + 1, name, length);
    grantor->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    grantor->on_retry = event_new(base, -1, 0, on_retry, grantor);
    if (!grantor->on_retry) {
        return grantor_free(grantor);
    }
    try_to_take(grantor);
    return grantor;
}

struct grantor *grantor_free(struct grantor *grantor)
{
    if (grantor) {
        if (grantor->listener) {
            evconnlistener_free(grantor->listener);
        }
        (void)process_watch_free(grantor->holder_watch);
        if (grantor->on_retry) {
            event_free(grantor->on_retry);
        }
        free(grantor);
    }
    return NULL;
}

bool grantor_is_ours(const struct grantor *grantor)
{
    return grantor && grantor->listener != NULL;
}

pid_t grantor_holder(const struct grantor *grantor)
{
    return grantor ? grantor->holder : 0;
}
