/* SPDX-License-Identifier: MIT */
/*
 * How fast vramd promises. One lease fills the GPU; owners are children that do nothing.
 *
 *     grant ask SOCKET ROUNDS LIBRARY          request to answer, by the library and by a bare connection that is made
 *                                              before, and the driver's calls of one settled sample, alone;
 *                                              prints: library_us library_p99_us bare_us bare_p99_us driver_us
 *     grant wake SOCKET ROUNDS WAITERS HOW [SIZE]
 *                                              HOW the holder goes ("release", "kill") to the next waiter's answer, each
 *                                              asking for SIZE bytes; prints: median_us p99_us
 */
#include "common/nvml_abi.h"
#include "include/vram.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 100000
/* Most of an rtx4090: one has it, the others wait. */
static const char *full_size = "20000000000";

struct waiter {
    int fd;
    pid_t owner;
    uint64_t id;
};

static const char *socket_path;
static double times[ROUNDS_MAX];
static int events;

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void die(const char *what)
{
    fprintf(stderr, "grant: %s\n", what);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static void print_times(int count)
{
    qsort(times, (size_t)count, sizeof(*times), compare);
    printf("%.1f %.1f ", times[count / 2], times[(int)((double)count * 0.99)]);
}

/* ---- Bare requests --------------------------------------------------------------------------- */

static int connect_to_daemon(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        die("no daemon");
    }
    return fd;
}

static void send_text(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        die("the request cannot be sent");
    }
}

/* Until the daemon hangs up. */
static void read_answer(int fd, char *text, size_t size)
{
    size_t length = 0;
    ssize_t n;
    while (length + 1 < size && (n = read(fd, text + length, size - length - 1)) > 0) {
        length += (size_t)n;
    }
    text[length] = '\0';
}

static void ask(int fd, uint64_t id, const char *size, pid_t owner, const char *wait)
{
    char body[512], text[1024];
    int length = snprintf(body, sizeof(body),
                          "{\"id\":\"%016" PRIx64
                          "\",\"size_bytes\":%s,\"margin_bytes\":0,\"owner\":{\"pid\":%ld},"
                          "\"wait_ms\":%s}",
                          id, size, (long)owner, wait);
    (void)snprintf(text, sizeof(text), "POST /v1/leases HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s",
                   length, body);
    send_text(fd, text);
}

static void request_end(int fd, uint64_t id)
{
    char text[128];
    (void)snprintf(text, sizeof(text), "DELETE /v1/leases/%016" PRIx64 " HTTP/1.0\r\n\r\n", id);
    send_text(fd, text);
}

static void end_lease(uint64_t id)
{
    char answer[4096];
    int fd = connect_to_daemon();
    request_end(fd, id);
    read_answer(fd, answer, sizeof(answer));
    (void)close(fd);
}

/* The daemon has read what was sent to it before. */
static void settle(void)
{
    char answer[4096];
    for (int i = 0; i < 2; i++) {
        int fd = connect_to_daemon();
        send_text(fd, "GET /v1/daemon HTTP/1.0\r\n\r\n");
        read_answer(fd, answer, sizeof(answer));
        (void)close(fd);
    }
}

/* ---- Request to answer ----------------------------------------------------------------------- */

static void *library;
#define CALL(name, ...) ((int (*)())dlsym(library, #name))(__VA_ARGS__)

/* The calls of one settled sample of one GPU: memory, lists, memory, lists, memory. */
static double driver_us(const char *path, int rounds)
{
    static unsigned char list[32 * 1024];
    nvml_device device;
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library || CALL(nvmlInit_v2) || CALL(nvmlDeviceGetHandleByIndex_v2, 0, &device)) {
        die("no driver");
    }
    int (*memory)() = (int (*)())dlsym(library, "nvmlDeviceGetMemoryInfo_v2");
    int (*lists[])() = {(int (*)())dlsym(library, "nvmlDeviceGetComputeRunningProcesses_v3"),
                        (int (*)())dlsym(library, "nvmlDeviceGetGraphicsRunningProcesses_v3"),
                        (int (*)())dlsym(library, "nvmlDeviceGetMPSComputeRunningProcesses_v3")};
    for (int round = 0; round < rounds; round++) {
        double start = now_us();
        for (int i = 0; i < 5; i++) {
            struct nvml_memory_v2 m = {.version = NVML_MEMORY_V2};
            uint32_t count;
            if (i % 2 == 0) {
                memory(device, &m);
            }
            for (int j = 0; i % 2 == 1 && j < 3; j++) {
                count = 1024;
                lists[j](device, &count, list);
            }
        }
        times[round] = now_us() - start;
    }
    qsort(times, (size_t)rounds, sizeof(*times), compare);
    return times[rounds / 2];
}

static void measure_asking(int rounds, const char *path)
{
    struct vram *vram;
    char answer[8192], id[17];
    if (vram_open(&vram, NULL) < 0) {
        die("out of memory");
    }
    for (int i = 0; i < rounds; i++) {
        struct vram_lease_request request = VRAM_LEASE_REQUEST_INIT;
        request.id = id;
        request.size_bytes = 1 << 20;
        request.margin_bytes = 0;
        (void)snprintf(id, sizeof(id), "%016x", i + 1);
        double start = now_us();
        if (vram_lease_acquire(vram, &request, NULL) != VRAM_FITS) {
            die(vram_error(vram));
        }
        times[i] = now_us() - start;
        if (vram_lease_end(vram, id) < 0) {
            die(vram_error(vram));
        }
    }
    vram_close(vram);
    print_times(rounds);
    for (int i = 0; i < rounds; i++) {
        uint64_t number = (uint64_t)i + ((uint64_t)1 << 32);
        int fd = connect_to_daemon();
        settle(); /* accepted */
        double start = now_us();
        ask(fd, number, "1048576", getpid(), "0");
        read_answer(fd, answer, sizeof(answer));
        times[i] = now_us() - start;
        (void)close(fd);
        if (!strstr(answer, "\"granted\"")) {
            die(answer);
        }
        end_lease(number);
    }
    print_times(rounds);
    printf("%.1f\n", driver_us(path, rounds));
}

/* ---- Waking ---------------------------------------------------------------------------------- */

static pid_t start_owner(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        (void)syscall(SYS_close_range, 3, ~0U, 0); /* the connections are their parent's alone */
        for (;;) {
            (void)pause();
        }
    }
    if (pid < 0) {
        die("no process can be made");
    }
    return pid;
}

static void begin_waiting(struct waiter *waiter)
{
    static uint64_t last;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = waiter};
    *waiter = (struct waiter){.fd = connect_to_daemon(), .owner = start_owner(), .id = ++last};
    ask(waiter->fd, waiter->id, full_size, waiter->owner, "null");
    if (epoll_ctl(events, EPOLL_CTL_ADD, waiter->fd, &event) < 0) {
        die("epoll");
    }
}

/* Reads what waiters are told until one is granted. */
static struct waiter *await_grant(double *ret_us)
{
    for (;;) {
        char text[4096];
        struct epoll_event event;
        if (epoll_wait(events, &event, 1, 20000) < 1) {
            die("nobody is granted anything");
        }
        struct waiter *waiter = event.data.ptr;
        ssize_t n = read(waiter->fd, text, sizeof(text) - 1);
        double now = now_us();
        if (n <= 0) {
            die("the daemon broke off");
        }
        text[n] = '\0';
        if (strstr(text, "\"granted\"")) {
            *ret_us = now;
            (void)epoll_ctl(events, EPOLL_CTL_DEL, waiter->fd, NULL);
            (void)close(waiter->fd);
            return waiter;
        }
        if (strstr(text, "\"verdict\"") || strstr(text, "\"error\"")) {
            die(text);
        }
    }
}

static void measure_waking(int rounds, int count, bool by_kill)
{
    struct waiter *waiters = calloc((size_t)count + 1, sizeof(*waiters));
    double at;
    events = epoll_create1(EPOLL_CLOEXEC);
    if (!waiters || events < 0) {
        die("out of memory");
    }
    for (int i = 0; i <= count; i++) {
        begin_waiting(&waiters[i]);
        if (i % 50 == 0) {
            settle();
        }
    }
    struct waiter *holder = await_grant(&at);
    for (int i = 0; i < rounds; i++) {
        int fd = connect_to_daemon();
        settle();
        double start = now_us();
        if (by_kill) {
            (void)kill(holder->owner, SIGKILL);
        } else {
            request_end(fd, holder->id);
        }
        struct waiter *next = await_grant(&at);
        times[i] = at - start;
        (void)close(fd);
        (void)kill(holder->owner, SIGKILL);
        (void)waitpid(holder->owner, NULL, 0);
        begin_waiting(holder);
        holder = next;
    }
    print_times(rounds);
    printf("\n");
    free(waiters);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int rounds = argc > 4 ? (int)strtol(argv[3], NULL, 10) : 0;
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr,
                "usage: grant ask SOCKET ROUNDS LIBRARY | wake SOCKET ROUNDS WAITERS HOW [SIZE]\n");
        return 2;
    }
    socket_path = argv[2];
    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (strcmp(argv[1], "ask") == 0) {
        measure_asking(rounds, argv[4]);
    } else if (argc == 6 || argc == 7) {
        full_size = argc == 7 ? argv[6] : full_size;
        measure_waking(rounds, (int)strtol(argv[4], NULL, 10), strcmp(argv[5], "kill") == 0);
    }
    return 0;
}
