/* SPDX-License-Identifier: MIT */
#include "daemon/place.h"

#include "common/path.h"
#include "common/text.h"
#include "daemon/log.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define FIRST_GIVEN_FD 3

static const struct timeval try_again = {1, 0};
static const struct timeval settle = {
    0, 100000}; /* whoever removes a directory removes what is in it first */

struct place {
    struct place_options options;
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int lock, inotify;
    struct stat directory_stat, lock_stat, socket_stat; /* what was there when it was taken */
    bool was_given;
    struct event *on_change, *on_retry;
};

/* What goes wrong while the place is made, in a sentence. */
struct trouble {
    char *message;
    size_t size;
};

static int PRINTF_LIKE(3, 4) trouble_set(struct trouble *trouble, int r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(trouble->message, trouble->size, format, args);
    va_end(args);
    return r;
}

/* ---- The directory --------------------------------------------------------------------------- */

const char *place_fault(const struct stat *directory, uid_t self, bool is_private)
{
    if (!S_ISDIR(directory->st_mode)) {
        return "is no directory";
    }
    if (directory->st_uid != self && (directory->st_uid != 0 || is_private)) {
        return "belongs to another user";
    }
    if (is_private && directory->st_mode & 077) {
        return "is open to other users";
    }
    if (directory->st_mode & 022 && !(directory->st_mode & S_ISVTX)) {
        return "can be written to by other users";
    }
    return NULL;
}

static int make_directory(struct place *place, struct trouble *trouble)
{
    const char *path = place->directory;
    bool is_private = place->options.is_private;
    if (mkdir(path, is_private ? 0700 : 0755) == 0) {
        (void)chmod(path, is_private ? 0700 : 0755); /* whatever the umask */
    } else if (errno != EEXIST) {
        return trouble_set(trouble, -errno, "%s cannot be made: %s", path, strerror(errno));
    }
    if (lstat(path, &place->directory_stat) < 0) {
        return trouble_set(trouble, -errno, "%s: %s", path, strerror(errno));
    }
    const char *fault = place_fault(&place->directory_stat, geteuid(), is_private);
    return fault ? trouble_set(trouble, -EPERM, "%s %s", path, fault) : 0;
}

/* ---- The lock -------------------------------------------------------------------------------- */

static int fail_locked(int fd, const char *path, struct trouble *trouble)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
    return trouble_set(trouble, -EBUSY, "another vramd%s%s has %s", text[0] ? ", process " : "",
                       text, path);
}

static int take_lock(struct place *place, struct trouble *trouble)
{
    const char *path = place->options.lock;
    struct stat there;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return trouble_set(trouble, -errno, "%s cannot be opened: %s", path, strerror(errno));
    }
    int r = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
    if (r == -EWOULDBLOCK) {
        r = fail_locked(fd, path, trouble);
    } else if (r < 0 || fstat(fd, &place->lock_stat) < 0 || stat(path, &there) < 0 ||
               there.st_ino != place->lock_stat.st_ino || there.st_dev != place->lock_stat.st_dev) {
        /* Removed while it was taken: whoever comes next would take another. */
        r = trouble_set(trouble, r < 0 ? r : -EAGAIN, "%s cannot be locked", path);
    }
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    char text[128], space[64] = "";
    if (path_read_link("", "/proc/self/ns/pid", space, sizeof(space)) < 0) {
        space[0] = '\0'; /* then it cannot be told where the number means something */
    }
    int length = snprintf(text, sizeof(text), "%ld\n%s\n", (long)getpid(), space);
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)length, 0) < 0) {
        /* Only for naming this daemon to a second one, and to who would start the next in a container. */
        log_line(LOG_LINE_WARNING, "%s cannot be written: %s", path, strerror(errno));
    }
    place->lock = fd;
    return 0;
}

/* ---- The socket ------------------------------------------------------------------------------ */

/* Bound under another name, and renamed when it listens: a client never meets a socket that refuses it, and a dead
 * daemon's is replaced in one step. */
static int make_socket(struct place *place, int *ret_fd, struct trouble *trouble)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = place->options.socket;
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s~", path);
    if (length < 0 || (size_t)length >= sizeof(address.sun_path)) {
        return trouble_set(trouble, -ENAMETOOLONG, "%s is too long for a socket's path", path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(address.sun_path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(address.sun_path, place->options.is_private ? 0600 : 0666) < 0 ||
        listen(fd, BACKLOG) < 0 || rename(address.sun_path, path) < 0 ||
        lstat(path, &place->socket_stat) < 0) {
        int r = -errno;
        if (fd >= 0) {
            (void)unlink(address.sun_path);
            (void)close(fd);
        }
        return trouble_set(trouble, r, "the socket %s cannot be made: %s", path, strerror(-r));
    }
    *ret_fd = fd;
    return 0;
}

/* ---- The watch ------------------------------------------------------------------------------- */

static bool is_same(const char *path, const struct stat *known)
{
    struct stat now;
    return lstat(path, &now) == 0 && now.st_ino == known->st_ino && now.st_dev == known->st_dev;
}

static bool is_whole(const struct place *place)
{
    return is_same(place->directory, &place->directory_stat) &&
           is_same(place->options.lock, &place->lock_stat) &&
           is_same(place->options.socket, &place->socket_stat);
}

static void watch_directory(struct place *place)
{
    uint32_t what = IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF |
                    IN_MOVE_SELF | IN_UNMOUNT | IN_ONLYDIR;
    if (inotify_add_watch(place->inotify, place->directory, what) < 0) {
        log_line(LOG_LINE_WARNING, "%s cannot be watched: %s", place->directory, strerror(errno));
    }
}

static int make_all(struct place *place, int *ret_fd, struct trouble *trouble)
{
    int r = make_directory(place, trouble);
    r = r < 0 ? r : take_lock(place, trouble);
    return r < 0 ? r : make_socket(place, ret_fd, trouble);
}

static void drop_lock(struct place *place)
{
    if (place->lock >= 0) {
        (void)close(place->lock);
        place->lock = -1;
    }
}

/* The old lock is kept as long as there is no new one: it may be the one in place still. */
static void make_anew(struct place *place)
{
    char message[256];
    struct trouble trouble = {message, sizeof(message)};
    int fd, old = place->lock, r;
    if (is_same(place->options.lock, &place->lock_stat) &&
        is_same(place->directory, &place->directory_stat)) {
        r = make_socket(place, &fd, &trouble);
    } else {
        place->lock = -1;
        r = make_all(place, &fd, &trouble);
        if (r < 0) {
            drop_lock(place);
            place->lock = old;
        } else if (old >= 0) {
            (void)close(old);
        }
    }
    if (r < 0) {
        log_line(LOG_LINE_ERROR, "%s; trying again", message);
        (void)event_add(place->on_retry, &try_again);
        return;
    }
    place->was_given = false;
    watch_directory(place);
    log_line(LOG_LINE_WARNING, "%s had been removed and is made anew", place->options.socket);
    place->options.moved(place->options.data, fd);
}

static void on_retry(evutil_socket_t none, short what, void *data)
{
    struct place *place = data;
    (void)none;
    (void)what;
    if (!is_whole(place)) {
        make_anew(place);
    }
}

static void on_change(evutil_socket_t fd, short what, void *data)
{
    struct place *place = data;
    char events[4096];
    (void)what;
    while (read(fd, events, sizeof(events)) > 0) { /* what happened is seen by looking */
    }
    if (!is_whole(place)) {
        (void)event_add(place->on_retry, &settle);
    }
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void place_free(struct place *place)
{
    drop_lock(place);
    if (place->on_change) {
        event_free(place->on_change);
    }
    if (place->on_retry) {
        event_free(place->on_retry);
    }
    if (place->inotify >= 0) {
        (void)close(place->inotify);
    }
    free(place);
}

static int take_all(struct place *place, struct event_base *base, int *ret_fd,
                    struct trouble *trouble)
{
    const struct place_options *options = &place->options;
    const char *slash = strrchr(options->socket, '/');
    size_t length = slash ? (size_t)(slash - options->socket) : 0;
    if (options->socket[0] != '/' || length >= sizeof(place->directory)) {
        return trouble_set(trouble, slash ? -ENAMETOOLONG : -EINVAL, "%s is no socket's path",
                           options->socket);
    }
    (void)text_copy_n(place->directory, sizeof(place->directory), options->socket,
                      length ? length : 1);
    place->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (place->inotify >= 0) {
        place->on_change = event_new(base, place->inotify, EV_READ | EV_PERSIST, on_change, place);
    }
    place->on_retry = event_new(base, -1, 0, on_retry, place);
    if (!place->on_retry || (place->inotify >= 0 && !place->on_change)) {
        return trouble_set(trouble, -ENOMEM, "out of memory");
    }
    int r = make_directory(place, trouble);
    r = r < 0 ? r : take_lock(place, trouble);
    if (r == 0 && options->listening >= 0) {
        place->was_given = true;
        *ret_fd = options->listening;
        (void)lstat(options->socket, &place->socket_stat);
    } else if (r == 0) {
        r = make_socket(place, ret_fd, trouble);
    }
    if (r == 0 && place->on_change) {
        watch_directory(place);
        (void)event_add(place->on_change, NULL);
    }
    return r;
}

int place_take(struct event_base *base, const struct place_options *options,
               struct place **ret_place, int *ret_fd, char *message, size_t size)
{
    struct trouble trouble = {message, size};
    struct place *place = calloc(1, sizeof(*place));
    if (!place) {
        return trouble_set(&trouble, -ENOMEM, "out of memory");
    }
    place->options = *options;
    place->lock = place->inotify = -1;
    int r = take_all(place, base, ret_fd, &trouble);
    if (r < 0) {
        place_free(place);
        return r;
    }
    *ret_place = place;
    return 0;
}

struct place *place_leave(struct place *place)
{
    if (place) {
        if (!place->was_given && is_same(place->options.socket, &place->socket_stat)) {
            (void)unlink(place->options.socket);
        }
        place_free(place);
    }
    return NULL;
}

/* ---- A service manager's socket -------------------------------------------------------------- */

int place_path_of(int fd, char *path, size_t size)
{
    struct sockaddr_un address;
    socklen_t length = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
        address.sun_family != AF_UNIX || length <= offsetof(struct sockaddr_un, sun_path) ||
        address.sun_path[0] != '/') {
        return -EINVAL;
    }
    size_t most = length - offsetof(struct sockaddr_un, sun_path);
    (void)text_copy_n(path, size, address.sun_path, most);
    return 0;
}

static bool is_number(const char *text, long expected)
{
    char *end;
    return text && *text >= '0' && *text <= '9' && strtol(text, &end, 10) == expected && !*end;
}

int place_given_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    bool given = is_number(pid, getpid()) && is_number(count, 1);
    bool wrong = is_number(pid, getpid()) && !given && !is_number(count, 0);
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    if (!given) {
        return wrong ? -EINVAL : -1;
    }
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int listening = 0;
    socklen_t size = sizeof(listening);
    if (getsockopt(FIRST_GIVEN_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 ||
        !listening || place_path_of(FIRST_GIVEN_FD, path, sizeof(path)) < 0) {
        return -EINVAL;
    }
    (void)fcntl(FIRST_GIVEN_FD, F_SETFD, FD_CLOEXEC);
    (void)fcntl(FIRST_GIVEN_FD, F_SETFL, O_NONBLOCK);
    return FIRST_GIVEN_FD;
}
