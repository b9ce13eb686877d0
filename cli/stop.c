/* SPDX-License-Identifier: MIT */
#include "cli/stop.h"

#include "common/clock.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

/* Signals that programs are stopped with have small numbers. */
enum { SIGNAL_MAX = 32 };

static volatile sig_atomic_t statuses[SIGNAL_MAX];

static void stop(int signal)
{
    _exit(statuses[signal]);
}

void stop_on(int signal, int status)
{
    struct sigaction action = {.sa_handler = stop}, before;
    if (signal >= SIGNAL_MAX || sigaction(signal, NULL, &before) < 0 ||
        before.sa_handler == SIG_IGN) {
        return;
    }
    statuses[signal] = status;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(signal, &action, NULL);
}

/* All signals that stop_on() was told of. */
static void change_mask(int how)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigprocmask(how, &signals, NULL);
}

void stop_hold(void)
{
    change_mask(SIG_BLOCK);
}

void stop_release(void)
{
    change_mask(SIG_UNBLOCK);
}

bool stop_closed_before(uint64_t then_ns)
{
    for (;;) {
        uint64_t now = clock_now_ns(), left = then_ns > now ? then_ns - now : 0;
        struct timespec timeout = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
        struct pollfd stdout_end = {.fd = STDOUT_FILENO};
        int n = ppoll(&stdout_end, 1, &timeout, NULL);
        if (n > 0 && (stdout_end.revents & (POLLERR | POLLHUP | POLLNVAL))) {
            return true;
        }
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
    }
}
