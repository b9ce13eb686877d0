/* SPDX-License-Identifier: MIT */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define USUAL_DESCRIPTORS 1024

/* What the driver's library and our own read of the environment. */
static const char *const collector_needs[] = {
    "PATH=",           "LD_LIBRARY_PATH=", "XDG_RUNTIME_DIR=",
    "JOURNAL_STREAM=", "ASAN_OPTIONS=",    "UBSAN_OPTIONS=",
    "LSAN_OPTIONS=",   "TSAN_OPTIONS=",    NULL};

/* What a command of the administrator's expects; nothing of what the service manager handed to the daemon alone. */
static const char *const command_needs[] = {"PATH=", "HOME=", "USER=", "LOGNAME=",         "SHELL=",
                                            "LANG=", "LC_",   "TZ=",   "XDG_RUNTIME_DIR=", NULL};

static bool is_kept(const char *variable, const char *const *needs)
{
    if (strncmp(variable, "VRAM_", 5) == 0) {
        return strncmp(variable, "VRAM_LEASE=", 11) != 0;
    }
    for (size_t i = 0; needs[i]; i++) {
        if (strncmp(variable, needs[i], strlen(needs[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* With `more` behind it. The strings are the environment's own, and the caller's; the array is to be freed. */
static char **make_environment(const char *const *needs, const char *const *more)
{
    size_t count = 0, added = 0, at = 0;
    while (environ && environ[count]) {
        count++;
    }
    while (more && more[added]) {
        added++;
    }
    char **kept = calloc(count + added + 1, sizeof(*kept));
    for (size_t i = 0; kept && i < count; i++) {
        if (is_kept(environ[i], needs)) {
            kept[at++] = environ[i];
        }
    }
    for (size_t i = 0; kept && i < added; i++) {
        kept[at++] = (char *)(uintptr_t)more[i]; /* execve() changes none of them */
    }
    return kept;
}

/* Kernels before 5.9 have no such call; what the daemon opens is CLOEXEC anyway, and this is for what was open
 * before it began. */
static void close_others(void)
{
    if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) < 0) {
        long most = sysconf(_SC_OPEN_MAX);
        for (int fd = STDERR_FILENO + 1; fd < (most > 0 ? most : 1024); fd++) {
            (void)close(fd);
        }
    }
}

static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A child to be: its program, and what become its three descriptors; -1: the daemon's own. */
struct plan {
    const char *program;
    char *const *arguments, *const *environment;
    int in, out, err;
    bool leads; /* a process group, away from the daemon's directory and limits */
};

/* More descriptors than select() can have are the daemon's alone, and so is being spared when memory is short. */
static int stand_alone(void)
{
    struct rlimit limit;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, "0", 1);
    (void)n;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > USUAL_DESCRIPTORS) {
        limit.rlim_cur = USUAL_DESCRIPTORS;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return setsid() < 0 || chdir("/") < 0 ? -1 : 0;
}

/* In the child. Only calls that are safe after a fork. */
static void become(const struct plan *plan, pid_t daemon)
{
    if (dup2(plan->in, STDIN_FILENO) < 0 || dup2(plan->out, STDOUT_FILENO) < 0 ||
        (plan->err >= 0 && dup2(plan->err, STDERR_FILENO) < 0) ||
        (plan->leads && stand_alone() < 0)) {
        _exit(SPAWN_NOT_EXECUTED);
    }
    close_others();
    reset_signals();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != daemon) {
        _exit(SPAWN_NOT_EXECUTED); /* it died before it could be told to */
    }
    (void)execve(plan->program, plan->arguments, plan->environment);
    _exit(SPAWN_NOT_EXECUTED);
}

static int start(const struct plan *plan, pid_t *ret_pid)
{
    pid_t daemon = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become(plan, daemon);
    }
    if (pid < 0) {
        return -errno;
    }
    *ret_pid = pid;
    return 0;
}

/* ---- The collector --------------------------------------------------------------------------- */

static int start_collector(char *driver, char *const *environment, int socket, pid_t *ret_pid)
{
    static char name[] = "vramd", option[] = "--collector";
    char *arguments[] = {name, option, driver, NULL};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct plan plan = {.program = "/proc/self/exe",
                        .arguments = arguments,
                        .environment = environment,
                        .in = socket,
                        .out = null,
                        .err = -1};
    if (null < 0) {
        return -errno;
    }
    int r = start(&plan, ret_pid);
    (void)close(null);
    return r;
}

int spawn_collector(const char *driver, pid_t *ret_pid, int *ret_socket)
{
    int sockets[2];
    char **environment = make_environment(collector_needs, NULL);
    char *driver_copy = driver ? strdup(driver) : NULL;
    int r = environment && (driver_copy || !driver) ? 0 : -ENOMEM;
    if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) {
        r = -errno;
    } else if (r == 0) {
        r = start_collector(driver_copy, environment, sockets[1], ret_pid);
        (void)close(sockets[1]);
        if (r == 0) {
            (void)fcntl(sockets[0], F_SETFL, O_NONBLOCK);
            *ret_socket = sockets[0];
        } else {
            (void)close(sockets[0]);
        }
    }
    free(environment);
    free(driver_copy);
    return r;
}

/* ---- A command ------------------------------------------------------------------------------- */

/* A pipe that has the text in it already and nobody who writes: there is nothing left to wait for. */
static int fill_pipe(const char *text, size_t length, int *ret_fd)
{
    int ends[2];
    if (length > PIPE_BUF) {
        return -EMSGSIZE;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    bool filled = write(ends[1], text, length) == (ssize_t)length;
    (void)close(ends[1]);
    if (!filled) {
        (void)close(ends[0]);
        return -EIO;
    }
    *ret_fd = ends[0];
    return 0;
}

int spawn_command(const struct spawn_command *command, pid_t *ret_pid, int *ret_output)
{
    int in = -1, output[2];
    char **environment = make_environment(command_needs, command->environment);
    int r = environment ? fill_pipe(command->text, command->length, &in) : -ENOMEM;
    if (r == 0 && pipe2(output, O_CLOEXEC) < 0) {
        r = -errno;
        (void)close(in);
    } else if (r == 0) {
        struct plan plan = {.program = command->arguments[0],
                            .arguments = command->arguments,
                            .environment = environment,
                            .in = in,
                            .out = output[1],
                            .err = output[1],
                            .leads = true};
        r = start(&plan, ret_pid);
        (void)close(in);
        (void)close(output[1]);
        if (r == 0) {
            (void)fcntl(output[0], F_SETFL, O_NONBLOCK);
            *ret_output = output[0];
        } else {
            (void)close(output[0]);
        }
    }
    free(environment);
    return r;
}
