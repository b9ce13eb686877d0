/* SPDX-License-Identifier: MIT */
/*
 * Starting a daemon: the one place where the library makes a process. It is made from programs with threads, so that
 * everything is prepared before fork() and only async-signal-safe functions are called after it.
 */
#include "lib/daemon_start.h"

#include "common/clock.h"
#include "common/path.h"
#include "common/program_path.h"
#include "common/text.h"
#include "include/vram.h"
#include "lib/daemon_call.h"
#include "lib/daemon_error.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS ((uint64_t)1000000000)
/* How long others may take to start one, and how long one may take until it is ready. */
#define LOCK_WAIT_NS (30 * SECOND_NS)
#define READY_WAIT_NS (20 * SECOND_NS)
#define NAP_NS 5000000
#define RECEIVED_NS ((uint64_t)1000000000) /* what lasts for so long a daemon has */
#define INITIAL_PID_NAMESPACE "pid:[4026531836]"

enum {
    READY_FD = 3, /* the daemon's number for the pipe that it says "ready" on */
    ENVIRONMENT_MAX = 64,
    LINE_MAX_SHOWN = 200,
};

/* Everything that a daemon is started with. */
struct start {
    struct endpoint place;
    char program[PATH_TEXT_MAX];
    char driver[PATH_TEXT_MAX];
    const char *arguments[10];
    char *environment[ENVIRONMENT_MAX + 1];
    int lock, ready, log; /* descriptors; -1: none */
};

static void start_done(struct start *start)
{
    const int fds[] = {start->lock, start->ready, start->log};
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
}

/* ---- Is there one? --------------------------------------------------------------------------- */

/* 0: somebody listens; else why not, as a negative errno. */
static int probe(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (text_copy(address.sun_path, sizeof(address.sun_path), path) < strlen(path)) {
        return -ENAMETOOLONG;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int r = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    (void)close(fd);
    return r == -EAGAIN || r == -EINPROGRESS ? 0 : r; /* it has much to do */
}

/* Whether promises may be alive: this boot's journal is there. */
static bool is_promised(const struct endpoint *place)
{
    static const char head[] = "vram-journal ";
    char text[256], boot[64];
    if (path_read("", place->journal, text, sizeof(text)) <= 0 ||
        path_read_line("", "/proc/sys/kernel/random/boot_id", boot, sizeof(boot)) <= 0) {
        return false;
    }
    text[strcspn(text, "\n")] = '\0';
    return strncmp(text, head, sizeof(head) - 1) == 0 && strstr(text, boot);
}

/* 1: one runs; 0: one may be started; else an error. */
static int look(const struct endpoint *place, struct err *err)
{
    int r = probe(place->socket);
    if (r == 0) {
        return 1;
    }
    if (r == -ENOENT || (r == -ECONNREFUSED && !place->system)) {
        return 0; /* what a private daemon that was killed leaves behind refuses too */
    }
    return daemon_error_call(r, place->socket, err);
}

/* ---- May we? --------------------------------------------------------------------------------- */

/* Whether the last daemon of this place was one of this PID namespace, as its lock tells, or there was none. */
static bool was_here(const struct endpoint *place, const char *space)
{
    char text[128];
    const char *line =
        path_read("", place->lock, text, sizeof(text)) > 0 ? strchr(text, '\n') : NULL;
    return !line || (strncmp(line + 1, space, strlen(space)) == 0);
}

static int check_namespace(const struct endpoint *place, struct err *err)
{
    char space[64];
    bool excepted = place->named || strncmp(place->driver, "sim:", 4) == 0;
    if (path_read_link("", "/proc/self/ns/pid", space, sizeof(space)) < 0 ||
        strcmp(space, INITIAL_PID_NAMESPACE) == 0 || (excepted && was_here(place, space))) {
        return 0;
    }
    return err_set(err, -ENOTSUP, "private_namespace",
                   "a daemon is not started from a private PID namespace, such as a container's");
}

/* Makes the socket's directory, or sees to it that an existing one is this user's alone. */
static int make_directory(const struct endpoint *place, struct err *err)
{
    const char *directory = place->directory;
    struct stat status;
    if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
        int error = errno;
        return err_set(err, -error, "no_directory", "%s cannot be made: %s", directory,
                       strerror(error));
    }
    /* Who names a place answers for it; elsewhere a link could have been laid by anybody. */
    int r = place->named ? stat(directory, &status) : lstat(directory, &status);
    if (r < 0 || !S_ISDIR(status.st_mode)) {
        return err_set(err, -ENOTDIR, "foreign_directory", "%s is no directory", directory);
    }
    bool ours = status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH));
    if (!ours && !place->named) {
        return err_set(err, -EACCES, "foreign_directory",
                       "%s belongs to another user, or others may write in it", directory);
    }
    return 0;
}

/* ---- Only one starts it ---------------------------------------------------------------------- */

static int take_lock(struct start *start, struct err *err)
{
    struct timespec nap = {0, NAP_NS};
    uint64_t begun = clock_now_ns();
    start->lock = open(start->place.start, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (start->lock < 0) {
        int r = -errno;
        return err_set(err, r, "no_directory", "%s cannot be opened: %s", start->place.start,
                       strerror(-r));
    }
    while (flock(start->lock, LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;
        if (r == -EINTR) {
            continue;
        }
        if (r != -EWOULDBLOCK || clock_now_ns() - begun > LOCK_WAIT_NS) {
            return err_set(err, r == -EWOULDBLOCK ? -ETIMEDOUT : r, "daemon_silent",
                           "another program has been starting the daemon for long: %s",
                           start->place.start);
        }
        (void)nanosleep(&nap, NULL);
    }
    return 0;
}

/* ---- What it is started with ----------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A daemon outlives its starter, whose variables are none of its business: a few, and its own. A lease in it would
 * make it a member, and whose descriptors or libraries are preloaded is unknown. */
static bool is_kept(const char *variable)
{
    static const char *const kept[] = {
        "PATH=", "HOME=", "XDG_RUNTIME_DIR=", "LD_LIBRARY_PATH=", "VRAM_"};
    static const char *const dropped[] = {"VRAM_LEASE=", "VRAM_DRIVER=", "VRAM_SOCKET="};
    bool is = false;
    for (size_t i = 0; i < ARRAY_LENGTH(kept); i++) {
        is = is || begins(variable, kept[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(dropped); i++) {
        is = is && !begins(variable, dropped[i]);
    }
    return is;
}

static void choose_environment(struct start *start)
{
    size_t count = 0;
    for (char **at = environ; at && *at && count < ENVIRONMENT_MAX; at++) {
        if (is_kept(*at)) {
            start->environment[count++] = *at;
        }
    }
    start->environment[count] = NULL;
}

/* A relative scenario file is another one once the daemon has left this directory. */
static int choose_driver(struct start *start, const char *driver, struct err *err)
{
    char directory[PATH_TEXT_MAX] = "";
    size_t prefix = strcspn(driver, ":") + 1;
    bool is_path = strchr(driver, '/') && strchr(driver, ':');
    bool generation = is_path && begins(driver, "sim:r") && driver[5] >= '0' && driver[5] <= '9';
    if (generation) {
        prefix += strcspn(driver + prefix, "/") + 1;
        is_path = strchr(driver + prefix, '/');
    }
    bool relative = is_path && driver[prefix] != '/';
    if (relative && !getcwd(directory, sizeof(directory))) {
        return err_set(err, -errno, "no_directory", "there is no current directory");
    }
    int n = snprintf(start->driver, sizeof(start->driver), "%.*s%s%s%s", relative ? (int)prefix : 0,
                     driver, directory, relative ? "/" : "", driver + (relative ? prefix : 0));
    return n > 0 && (size_t)n < sizeof(start->driver)
               ? 0
               : err_set(err, -ENAMETOOLONG, "bad_driver", "the driver's name is too long");
}

static int prepare(struct start *start, const char *driver, struct err *err)
{
    static const char ready[] = {'0' + READY_FD, '\0'};
    if (daemon_path(start->program, sizeof(start->program)) < 0) {
        const char *named = secure_getenv("VRAM_DAEMON");
        return err_set(err, -ENOENT, "no_vramd", "the daemon's program, vramd, is not %s%.200s",
                       named ? "at " : "installed", named ? named : "");
    }
    int r = choose_driver(start, driver, err);
    if (r < 0) {
        return r;
    }
    const char *const arguments[] = {start->program, "--on-demand",       "--ready-fd",
                                     ready,          "--driver",          start->driver,
                                     "--socket",     start->place.socket, NULL};
    memcpy(start->arguments, arguments, sizeof(arguments));
    choose_environment(start);
    /* What it complains of until it is ready is told; what it says later stays there. */
    start->log = open(start->place.log,
                      O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return start->log < 0
               ? err_set(err, -errno, "no_directory", "%s cannot be made", start->place.log)
               : 0;
}

/* ---- Two forks ------------------------------------------------------------------------------- */

static void put_descriptor(int fd, int at)
{
    if (fd == at) {
        (void)fcntl(fd, F_SETFD, 0);
    } else {
        (void)dup2(fd, at);
    }
}

/* In the grandchild; never returns. */
static void become_daemon(const struct start *start, int pipe_end)
{
    static const char failed[] = "vramd cannot be executed\n";
    sigset_t none;
    /* First out of the way of the numbers that they are to have. */
    int ready = fcntl(pipe_end, F_DUPFD, READY_FD + 1),
        log = fcntl(start->log, F_DUPFD, READY_FD + 1);
    int null = open("/dev/null", O_RDWR);
    put_descriptor(null, STDIN_FILENO);
    put_descriptor(null, STDOUT_FILENO);
    put_descriptor(log, STDERR_FILENO);
    put_descriptor(ready, READY_FD);
#ifdef SYS_close_range
    bool closed = syscall(SYS_close_range, READY_FD + 1, ~0u, 0) == 0;
#else
    bool closed = false;
#endif
    for (long fd = READY_FD + 1, end = closed ? 0 : sysconf(_SC_OPEN_MAX); fd < end; fd++) {
        (void)close((int)fd);
    }
    for (int signal_number = 1; signal_number < NSIG; signal_number++) {
        (void)signal(signal_number, SIG_DFL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)umask(022);
    if (ready >= 0 && log >= 0 && null >= 0 && chdir("/") == 0) {
        (void)execve(start->program, (char *const *)(uintptr_t)start->arguments,
                     start->environment);
    }
    (void)!write(STDERR_FILENO, failed, sizeof(failed) - 1);
    _exit(127);
}

/* Makes the process, which init inherits. With all signals blocked: the caller's handlers are not for its child. */
static int make_process(struct start *start)
{
    int ends[2], r = 0;
    sigset_t all, before;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = setsid() < 0 ? -1 : fork();
        if (grandchild == 0) {
            become_daemon(start, ends[1]);
        }
        _exit(grandchild < 0);
    }
    if (child < 0) {
        r = -errno;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    (void)close(ends[1]);
    start->ready = ends[0];
    return r;
}

/* ---- Until it is ready ----------------------------------------------------------------------- */

/* The last line that it wrote, without a newline; "" where it wrote nothing. */
static const char *last_words(const struct start *start, char *text, size_t size)
{
    off_t end = lseek(start->log, 0, SEEK_END);
    off_t from = end > (off_t)size - 1 ? end - (off_t)size + 1 : 0;
    ssize_t length = pread(start->log, text, size - 1, from);
    text[length > 0 ? length : 0] = '\0';
    for (size_t last = strlen(text); last > 0 && text[last - 1] == '\n'; last--) {
        text[last - 1] = '\0';
    }
    const char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static int await_ready(const struct start *start, struct err *err)
{
    uint64_t deadline = clock_now_ns() + READY_WAIT_NS;
    char byte, words[LINE_MAX_SHOWN];
    ssize_t n = -1;
    for (uint64_t now; n < 0 && (now = clock_now_ns()) < deadline;) {
        struct pollfd end = {.fd = start->ready, .events = POLLIN};
        if (poll(&end, 1, (int)((deadline - now) / 1000000 + 1)) > 0) {
            n = read(start->ready, &byte, 1);
        }
    }
    if (n > 0) {
        return 1;
    }
    const char *said = last_words(start, words, sizeof(words));
    if (n < 0) {
        return err_set(err, -ETIMEDOUT, "daemon_silent", "%s was started and is not ready%s%s",
                       start->program, said[0] ? ": " : "", said);
    }
    return err_set(err, -ECHILD, "daemon_failed", "%s ended before it was ready%s%s",
                   start->program, said[0] ? ": " : "", said);
}

static int start_one(struct start *start, const char *driver, struct err *err)
{
    int r = check_namespace(&start->place, err);
    if (r == 0) {
        r = make_directory(&start->place, err);
    }
    if (r == 0) {
        r = take_lock(start, err);
    }
    if (r == 0) {
        r = look(&start->place, err); /* who held the lock before has started one */
    }
    if (r != 0) {
        return r;
    }
    r = prepare(start, driver, err);
    if (r < 0) {
        return r;
    }
    r = make_process(start);
    return r < 0 ? err_set(err, r, "daemon_failed", "no process could be made: %s", strerror(-r))
                 : await_ready(start, err);
}

int daemon_start(struct vram *vram, uint32_t flags, struct err *err)
{
    struct start start CLEANUP(start_done) = {.lock = -1, .ready = -1, .log = -1};
    int r = daemon_call_place(vram, &start.place, err);
    bool conditional = flags & VRAM_START_IF_PROMISED;
    if (r < 0) { /* where none is to be asked, or none can be, none promises */
        return conditional && (r == -ENOTCONN || r == -ENAMETOOLONG) ? 0 : r;
    }
    if (conditional && !is_promised(&start.place)) {
        return 0;
    }
    r = look(&start.place, err);
    if (r == 0) {
        r = start_one(&start, handle_driver_text(vram), err);
    }
    if (r > 0 && !conditional) {
        handle_set_may_start(vram);
    }
    return r;
}

int vram_daemon_start(struct vram *vram, uint32_t flags)
{
    struct err err = {0};
    int r = daemon_start(vram, flags, &err);
    return r < 0 ? handle_fail(vram, &err) : r;
}

/* ---- Again ----------------------------------------------------------------------------------- */

void daemon_again_heard(struct daemon_again *again)
{
    again->connected = true;
    again->patience = (struct patience){0};
}

void daemon_again_lasted(struct daemon_again *again, uint64_t begun_ns)
{
    if (clock_now_ns() - begun_ns > RECEIVED_NS) {
        daemon_again_heard(again);
    }
}

bool daemon_again(struct vram *vram, struct daemon_again *again, struct err *err)
{
    bool started = handle_may_start(vram);
    bool heard = again->connected || err->result == -ECONNRESET;
    bool torn = err->result == -EPROTO && again->connected;
    if (!torn && !daemon_call_is_lost(err, heard || started)) {
        return false;
    }
    again->connected = true;
    if (!patience_lasts(&again->patience, err)) {
        *err = again->not_started.result < 0 ? again->not_started : *err; /* that says more */
        return false;
    }
    int r = started ? daemon_start(vram, 0, err) : 0;
    bool foreign = r == -ENOTSUP; /* in a container, which starts none itself */
    again->not_started = r < 0 && !foreign ? *err : (struct err){0};
    return r >= 0 || foreign || heard;
}
