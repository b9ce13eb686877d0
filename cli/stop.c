/* SPDX-License-Identifier: MIT */
#include "cli/stop.h"

#include <signal.h>
#include <stddef.h>
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
