/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a unix socket: a process that connected, known by the kernel and not by a number.
 */
#ifndef VRAM_DAEMON_PEER_H
#define VRAM_DAEMON_PEER_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
    int pidfd;           /* of the process that connected; -1 only where pid is 0 */
    pid_t pid;           /* 0: it is in a PID namespace that this one cannot see */
    uint64_t start_time; /* clock ticks after boot; 0 where pid is */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* the supplementary ones */
    size_t group_count;
    bool is_near; /* in the daemon's own user and PID namespaces */
};

/* Without SO_PEERPIDFD, as on kernels before 6.5. VRAMD_WITHOUT=peerpidfd in the environment asks for it. */
#define PEER_WITHOUT_PIDFD 0x1u

/*
 * @socket          connected.
 * @accepted_ticks  process_now_ticks() when it was accepted: whoever started later did not connect.
 * 0 with what peer_done() gives back; -ESRCH: it has ended, or cannot be told from another by now; -ENOTSOCK and the
 * like; -ENOMEM.
 */
MUST_CHECK int peer_read(int socket, uint64_t accepted_ticks, unsigned flags,
                         struct peer *ret_peer);
void peer_done(struct peer *peer);

/* PEER_… as the environment asks for. */
unsigned peer_flags(void);

bool peer_in_group(const struct peer *peer, gid_t gid);

/* Root in the daemon's own namespaces, or the daemon's own user there. */
bool peer_is_admin(const struct peer *peer);

#endif
