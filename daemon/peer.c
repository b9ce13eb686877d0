/* SPDX-License-Identifier: MIT */
#include "daemon/peer.h"

#include "daemon/process.h"
#include "include/vram.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD /* Linux 6.5; the C library's headers are older */
#define SO_PEERPIDFD 77
#endif
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#define GROUPS_MAX 65536

unsigned peer_flags(void)
{
    const char *without = getenv("VRAMD_WITHOUT");
    return without && strcmp(without, "peerpidfd") == 0 ? PEER_WITHOUT_PIDFD : 0;
}

static int read_groups(int socket, struct peer *peer)
{
    gid_t few[64];
    gid_t *groups = few;
    socklen_t size = sizeof(few);
    int r = getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, few, &size);
    if (r < 0 && errno == ERANGE && size <= GROUPS_MAX * sizeof(gid_t)) {
        groups = malloc(size);
        if (!groups) {
            return -ENOMEM;
        }
        r = getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    }
    if (r == 0 && groups == few && size > 0) {
        groups = malloc(size);
        if (!groups) {
            return -ENOMEM;
        }
        memcpy(groups, few, size);
    }
    if (r == 0 && size > 0) {
        peer->groups = groups;
        peer->group_count = size / sizeof(gid_t);
    } else if (groups != few) {
        free(groups);
    }
    return 0; /* a kernel that cannot tell them: none, which grants less and never more */
}

/* Whoever held the socket when it ended would hold it open no longer, but for what it handed on. */
static bool hung_up(int socket)
{
    struct pollfd poll_fd = {.fd = socket, .events = 0};
    return poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & (POLLHUP | POLLERR);
}

/* The pid alone, and so a proof that it is the same process still: it started before the connection was accepted,
 * and the descriptor was opened between two readings of one start time. */
static int open_by_number(int socket, uint64_t accepted_ticks, struct peer *peer)
{
    struct process_stat stat;
    if (peer->pid <= 0) { /* another PID namespace, which only SO_PEERPIDFD sees into */
        peer->pid = 0;
        return hung_up(socket) ? -ESRCH : 0;
    }
    int r = process_stat("", peer->pid, &stat);
    if (r < 0 || stat.start_time > accepted_ticks) {
        return r < 0 ? r : -ESRCH;
    }
    r = process_open(peer->pid, stat.start_time, &peer->pidfd);
    if (r == 0 && hung_up(socket)) {
        r = -ESRCH;
    }
    peer->start_time = stat.start_time;
    return r;
}

static int read_start(struct peer *peer)
{
    struct process_stat stat;
    if (peer->pid <= 0) {
        peer->pid = 0;
        return process_ended(peer->pidfd) ? -ESRCH : 0;
    }
    int r = process_stat("", peer->pid, &stat);
    if (r < 0 || process_ended(peer->pidfd)) {
        return -ESRCH; /* alive after the reading: what was read is this process's */
    }
    peer->start_time = stat.start_time;
    return 0;
}

static bool same_namespace(pid_t pid, const char *kind)
{
    uint64_t ours, theirs;
    return process_namespace("", getpid(), kind, &ours) == 0 &&
           process_namespace("", pid, kind, &theirs) == 0 && ours == theirs;
}

int peer_read(int socket, uint64_t accepted_ticks, unsigned flags, struct peer *ret_peer)
{
    struct peer peer = {.pidfd = -1};
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) {
        return -errno;
    }
    peer.pid = credentials.pid;
    peer.uid = credentials.uid;
    peer.gid = credentials.gid;
    size = sizeof(peer.pidfd);
    int r = -ENOPROTOOPT;
    if (!(flags & PEER_WITHOUT_PIDFD)) {
        r = getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &peer.pidfd, &size) < 0 ? -errno : 0;
    }
    if (r == 0) {
        r = read_start(&peer);
    } else if (r == -ENOPROTOOPT) {
        r = open_by_number(socket, accepted_ticks, &peer);
    } else {
        peer.pidfd = -1;
        r = -ESRCH; /* it ended, and nobody has waited for a descriptor of it */
    }
    r = r == 0 ? read_groups(socket, &peer) : r;
    if (r < 0) {
        peer_done(&peer);
        return r;
    }
    peer.is_near = peer.pid > 0 && same_namespace(peer.pid, "user") &&
                   same_namespace(peer.pid, "pid") && !process_ended(peer.pidfd);
    *ret_peer = peer;
    return 0;
}

void peer_done(struct peer *peer)
{
    if (peer->pidfd >= 0) {
        (void)close(peer->pidfd);
    }
    free(peer->groups);
    *peer = (struct peer){.pidfd = -1};
}

bool peer_in_group(const struct peer *peer, gid_t gid)
{
    bool in = peer->gid == gid;
    for (size_t i = 0; i < peer->group_count && !in; i++) {
        in = peer->groups[i] == gid;
    }
    return in;
}

bool peer_is_admin(const struct peer *peer)
{
    return peer->is_near && (peer->uid == 0 || peer->uid == geteuid());
}
