/* SPDX-License-Identifier: MIT */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the driver's library and our own read of the environment. */
static bool is_kept(const char *variable)
{
    static const char *const kept[] = {
        "PATH=",         "LD_LIBRARY_PATH=", "XDG_RUNTIME_DIR=", "JOURNAL_STREAM=",
        "ASAN_OPTIONS=", "UBSAN_OPTIONS=",   "LSAN_OPTIONS=",    "TSAN_OPTIONS="};
    if (strncmp(variable, "VRAM_", 5) == 0) {
        return strncmp(variable, "VRAM_LEASE=", 11) != 0;
    }
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (strncmp(variable, kept[i], strlen(kept[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* With `more` behind it. The strings are the environment's own, and the caller's; so is the array. */
static char **make_environment(const char *const *more)
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
        if (is_kept(environ[i])) {
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

/* In the child. Only calls that are safe after a fork. */
static void become_collector(int socket, pid_t daemon, char *const *arguments,
                             char *const *environment)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0 || dup2(socket, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0) {
        _exit(127);
    }
    close_others();
    reset_signals();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != daemon) {
        _exit(127); /* it died before it could be told to */
    }
    (void)execve("/proc/self/exe", arguments, environment);
    _exit(127);
}

int spawn_collector(const char *driver, pid_t *ret_pid, int *ret_socket)
{
    static char name[] = "vramd", option[] = "--collector";
    int sockets[2];
    char **environment = make_environment(NULL);
    char *driver_copy = driver ? strdup(driver) : NULL;
    char *arguments[] = {name, option, driver_copy, NULL};
    if (!environment || (driver && !driver_copy)) {
        free(environment);
        free(driver_copy);
        return -ENOMEM;
    }
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0 ? -errno : 0;
    if (r == 0) {
        pid_t daemon = getpid();
        pid_t pid = fork();
        if (pid == 0) {
            become_collector(sockets[1], daemon, arguments, environment);
        }
        r = pid < 0 ? -errno : 0;
        (void)close(sockets[1]);
        if (r == 0) {
            (void)fcntl(sockets[0], F_SETFL, O_NONBLOCK);
            *ret_pid = pid;
            *ret_socket = sockets[0];
        } else {
            (void)close(sockets[0]);
        }
    }
    free(environment);
    free(driver_copy);
    return r;
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* In the child. Only calls that are safe after a fork. */
static void become_command(int output, pid_t daemon, char *const *arguments,
                           char *const *environment)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)setpgid(0, 0);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0) {
        _exit(SPAWN_NOT_EXECUTED);
    }
    close_others();
    reset_signals();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == daemon) {
        (void)execve(arguments[0], arguments, environment);
    }
    _exit(SPAWN_NOT_EXECUTED);
}

int spawn_command(char *const *arguments, const char *const *more, pid_t *ret_pid, int *ret_output)
{
    int pipes[2];
    char **environment = make_environment(more);
    if (!environment) {
        return -ENOMEM;
    }
    int r = pipe2(pipes, O_CLOEXEC) < 0 ? -errno : 0;
    if (r == 0) {
        pid_t daemon = getpid(), pid = fork();
        if (pid == 0) {
            become_command(pipes[1], daemon, arguments, environment);
        }
        r = pid < 0 ? -errno : 0;
        (void)close(pipes[1]);
        if (r == 0) {
            (void)setpgid(pid, pid); /* whoever of the two is first */
            (void)fcntl(pipes[0], F_SETFL, O_NONBLOCK);
            *ret_pid = pid;
            *ret_output = pipes[0];
        } else {
            (void)close(pipes[0]);
        }
    }
    free(environment);
    return r;
}
