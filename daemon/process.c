/* SPDX-License-Identifier: MIT */
#include "daemon/process.h"

#include "common/path.h"
#include "include/vram.h"
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENVIRONMENT_MAX (4u << 20) /* more of an environment is not looked through */
#define STAT_FIELDS_TO_START 18    /* from the parent to the start time */

static int proc_path(char path[64], pid_t pid, const char *file)
{
    (void)snprintf(path, 64, "/proc/%ld/%s", (long)pid, file);
    return pid > 0 ? 0 : -ESRCH;
}

/* What is missing of a process is gone. */
static int gone(int r)
{
    return r == -ENOENT || r == -ESRCH ? -ESRCH : r;
}

static int read_file(const char *root, pid_t pid, const char *file, char *text, size_t size)
{
    char path[64];
    int r = proc_path(path, pid, file);
    return r < 0 ? r : gone(path_read(root, path, text, size));
}

/* A number that ends where its field does. */
static int read_number(const char *text, uint64_t *ret_number, const char **ret_end)
{
    char *end;
    if (*text < '0' || *text > '9') {
        return -EBADMSG;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || !strchr(" \t\n", *end)) {
        return -EBADMSG;
    }
    *ret_number = number;
    *ret_end = end;
    return 0;
}

int process_stat(const char *root, pid_t pid, struct process_stat *ret_stat)
{
    char text[1024];
    uint64_t parent, start_time;
    int r = read_file(root, pid, "stat", text, sizeof(text));
    if (r < 0) {
        return r;
    }
    const char *at = strrchr(text, ')'); /* the name before it may itself hold brackets */
    if (!at || strlen(at) < 5 || read_number(at + 4, &parent, &at) < 0) {
        return -EBADMSG;
    }
    for (int i = 1; i < STAT_FIELDS_TO_START; i++) {
        at = *at ? strchr(at + 1, ' ') : NULL;
        if (!at) {
            return -EBADMSG;
        }
    }
    if (!*at || read_number(at + 1, &start_time, &at) < 0 || parent > INT32_MAX) {
        return -EBADMSG;
    }
    *ret_stat = (struct process_stat){(pid_t)parent, start_time};
    return 0;
}

/* The text after "NAME:" in /proc/PID/status, or NULL. */
static const char *status_line(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            return line + strspn(line, " \t");
        }
    }
    return NULL;
}

int process_uid(const char *root, pid_t pid, uid_t *ret_uid)
{
    char text[4096];
    uint64_t real, effective;
    int r = read_file(root, pid, "status", text, sizeof(text));
    if (r < 0) {
        return r;
    }
    const char *line = status_line(text, "Uid");
    if (!line || read_number(line, &real, &line) < 0) {
        return -EBADMSG;
    }
    line += strspn(line, " \t");
    if (read_number(line, &effective, &line) < 0 || effective >= UINT32_MAX) {
        return -EBADMSG;
    }
    *ret_uid = (uid_t)effective;
    return 0;
}

/* ---- The environment ------------------------------------------------------------------------- */

struct search {
    const char *name;
    size_t name_length, matched; /* how much of "NAME=" the current variable begins with */
    bool here, missed;           /* in its value; it is another variable */
    char *value;
    size_t size, length;
};

/* Returns whether the variable was found to its end. */
static bool search_byte(struct search *search, char c)
{
    if (c == '\0') {
        if (search->here) {
            return true;
        }
        search->matched = 0;
        search->missed = false;
    } else if (search->here) {
        if (search->length < search->size) {
            search->value[search->length++] = c;
        }
    } else if (!search->missed) {
        char expected = search->matched < search->name_length ? search->name[search->matched] : '=';
        search->missed = c != expected;
        search->here = !search->missed && search->matched == search->name_length;
        search->matched++;
    }
    return false;
}

int process_environment(const char *root, pid_t pid, const char *name, char *value, size_t size)
{
    char path[64], chunk[4096];
    struct search search = {
        .name = name, .name_length = strlen(name), .value = value, .size = size};
    int r = proc_path(path, pid, "environ");
    int fd = r < 0 ? r : gone(path_open(root, path, O_RDONLY));
    if (fd < 0) {
        return fd;
    }
    bool found = false;
    for (size_t total = 0; !found && total < ENVIRONMENT_MAX;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            r = n < 0 ? gone(-errno) : 0;
            break;
        }
        for (ssize_t i = 0; i < n && !found; i++) {
            found = search_byte(&search, chunk[i]);
        }
        total += (size_t)n;
    }
    (void)close(fd);
    if (r < 0 || !found || search.length == size) {
        return r < 0 ? r : 0;
    }
    value[search.length] = '\0';
    return 1;
}

int process_cgroup(const char *root, pid_t pid, char *text, size_t size)
{
    return read_file(root, pid, "cgroup", text, size);
}

/* ---- Namespaces ------------------------------------------------------------------------------ */

int process_namespace(const char *root, pid_t pid, const char *kind, uint64_t *ret_id)
{
    char path[64], file[32], text[64];
    (void)snprintf(file, sizeof(file), "ns/%s", kind);
    int r = proc_path(path, pid, file);
    r = r < 0 ? r : gone(path_read_link(root, path, text, sizeof(text)));
    if (r < 0) {
        return r;
    }
    char *open = strchr(text, '['), *end = NULL;
    errno = 0;
    unsigned long long id = open ? strtoull(open + 1, &end, 10) : 0;
    if (!open || end == open + 1 || *end != ']' || errno) {
        return -EBADMSG;
    }
    *ret_id = id;
    return 0;
}

/* Its pid in its own, innermost namespace: the last of NSpid. */
static int innermost_pid(const char *root, pid_t pid, pid_t *ret_pid)
{
    char text[4096];
    uint64_t number = 0;
    int r = read_file(root, pid, "status", text, sizeof(text));
    const char *line = r < 0 ? NULL : status_line(text, "NSpid");
    if (!line) {
        return r < 0 ? r : -EBADMSG;
    }
    while (*line && *line != '\n') {
        if (read_number(line, &number, &line) < 0) {
            return -EBADMSG;
        }
        line += strspn(line, " \t");
    }
    if (number == 0 || number > INT32_MAX) {
        return -EBADMSG;
    }
    *ret_pid = (pid_t)number;
    return 0;
}

static pid_t pid_of_name(const char *name)
{
    char *end;
    if (*name < '1' || *name > '9') {
        return 0;
    }
    errno = 0;
    long pid = strtol(name, &end, 10);
    return errno || *end || pid > INT32_MAX ? 0 : (pid_t)pid;
}

int process_translate(const char *root, pid_t peer, pid_t pid, pid_t *ret_pid)
{
    uint64_t theirs, ours, other;
    pid_t inner;
    int r = process_namespace(root, peer, "pid", &theirs);
    if (r < 0) {
        return r;
    }
    if (process_namespace(root, getpid(), "pid", &ours) == 0 && ours == theirs) {
        struct process_stat stat;
        r = process_stat(root, pid, &stat);
        if (r == 0) {
            *ret_pid = pid;
        }
        return r;
    }
    DIR *dir = path_open_dir(root, "/proc");
    if (!dir) {
        return -ESRCH;
    }
    pid_t found = 0;
    for (struct dirent *entry; !found && (entry = readdir(dir));) {
        pid_t candidate = pid_of_name(entry->d_name);
        if (candidate && innermost_pid(root, candidate, &inner) == 0 && inner == pid &&
            process_namespace(root, candidate, "pid", &other) == 0 && other == theirs) {
            found = candidate;
        }
    }
    (void)closedir(dir);
    if (!found) {
        return -ESRCH;
    }
    *ret_pid = found;
    return 0;
}

uint64_t process_now_ticks(void)
{
    struct timespec now;
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * hz + (uint64_t)now.tv_nsec / (1000000000u / hz);
}

/* ---- Life ------------------------------------------------------------------------------------ */

bool process_ended(int pidfd)
{
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) != 0;
}

int process_open_child(pid_t pid, int *ret_pidfd)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* CLOEXEC by itself */
    if (fd < 0) {
        return -errno;
    }
    *ret_pidfd = fd;
    return 0;
}

int process_open(pid_t pid, uint64_t start_time, int *ret_pidfd)
{
    struct process_stat stat;
    int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1; /* CLOEXEC by itself */
    if (fd < 0) {
        return pid > 0 && errno != ESRCH && errno != EINVAL ? -errno : -ESRCH;
    }
    /* Read after the descriptor was opened: if it is the expected one's now, it was so then. */
    bool right = start_time == VRAM_UNKNOWN ||
                 (process_stat("", pid, &stat) == 0 && stat.start_time == start_time);
    if (!right || process_ended(fd)) {
        (void)close(fd);
        return -ESRCH;
    }
    *ret_pidfd = fd;
    return 0;
}

struct process_watch {
    int pidfd;
    struct event *event;
    process_ended_function ended;
    void *data;
};

static void on_readable(evutil_socket_t fd, short what, void *data)
{
    struct process_watch *watch = data;
    (void)fd;
    (void)what;
    watch->ended(watch->data);
}

struct process_watch *process_watch_free(struct process_watch *watch)
{
    if (watch) {
        if (watch->event) {
            event_free(watch->event);
        }
        (void)close(watch->pidfd);
        free(watch);
    }
    return NULL;
}

int process_watch_new(struct event_base *base, int pidfd, process_ended_function ended, void *data,
                      struct process_watch **ret_watch)
{
    struct process_watch *watch = calloc(1, sizeof(*watch));
    if (!watch) {
        (void)close(pidfd);
        return -ENOMEM;
    }
    *watch = (struct process_watch){.pidfd = pidfd, .ended = ended, .data = data};
    watch->event = event_new(base, pidfd, EV_READ, on_readable, watch);
    if (!watch->event || event_add(watch->event, NULL) < 0) {
        (void)process_watch_free(watch);
        return -ENOMEM;
    }
    *ret_watch = watch;
    return 0;
}
