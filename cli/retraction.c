/* SPDX-License-Identifier: MIT */
#include "cli/retraction.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { STATUS_OF_SIGNALS = 128 };

static void choose_signals(sigset_t *signals)
{
    static const int all[] = {SIGINT, SIGTERM, SIGHUP};
    (void)sigemptyset(signals);
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
        struct sigaction action;
        if (sigaction(all[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            (void)sigaddset(signals, all[i]);
        }
    }
}

static void *wait_for_signals(void *data)
{
    struct retraction *retraction = data;
    struct pollfd ends[] = {{.fd = retraction->signal_fd, .events = POLLIN},
                            {.fd = retraction->done_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    for (;;) {
        if (poll(ends, ARRAY_LENGTH(ends), -1) < 0) {
            continue;
        }
        if (read(retraction->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
            (void)pthread_sigmask(SIG_UNBLOCK, &retraction->signals, NULL);
            (void)!vram_lease_end(retraction->vram, retraction->id);
            _exit(STATUS_OF_SIGNALS + (int)info.ssi_signo);
        }
        if (ends[1].revents) {
            return NULL;
        }
    }
}

int retraction_begin(struct retraction *retraction, struct vram *vram, const char *id)
{
    *retraction = (struct retraction){.vram = vram, .id = id};
    choose_signals(&retraction->signals);
    retraction->signal_fd = signalfd(-1, &retraction->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    retraction->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_sigmask(SIG_BLOCK, &retraction->signals, &retraction->before);
    int r = retraction->signal_fd < 0 || retraction->done_fd < 0
                ? -errno
                : -pthread_create(&retraction->thread, NULL, wait_for_signals, retraction);
    if (r < 0) {
        (void)pthread_sigmask(SIG_SETMASK, &retraction->before, NULL);
        (void)close(retraction->signal_fd);
        (void)close(retraction->done_fd);
    }
    return r;
}

void retraction_end(struct retraction *retraction)
{
    uint64_t one = 1;
    (void)!write(retraction->done_fd, &one, sizeof(one));
    (void)pthread_join(retraction->thread, NULL);
    (void)close(retraction->signal_fd);
    (void)close(retraction->done_fd);
    (void)pthread_sigmask(SIG_SETMASK, &retraction->before, NULL);
}
