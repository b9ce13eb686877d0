/* SPDX-License-Identifier: MIT */
/*
 * Where the daemon listens: the socket's directory, the lock that keeps a second daemon out of it, and the socket
 * itself; and the watch over all three, which are made anew when somebody removes them (a logout clears
 * $XDG_RUNTIME_DIR under living leases).
 */
#ifndef VRAM_DAEMON_PLACE_H
#define VRAM_DAEMON_PLACE_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct event_base;
struct place;

/* The place was made anew, with a new socket: `fd` listens, and is the callee's. Files beside the socket are to be
 * written again. */
typedef void (*place_moved_function)(void *data, int fd);

struct place_options {
    const char *socket; /* absolute path; must outlive the place */
    const char *lock;   /* in the same directory; likewise */
    bool
        is_private; /* one user's: 0700 and 0600. Else everyone may connect; rights go by who it is */
    int listening; /* a socket that already listens there, from a service manager; -1: none */
    place_moved_function moved;
    void *data;
};

/*
 * Takes the place. 0 with the listening socket, which is the caller's; -EBUSY: another daemon has it; -EPERM: the directory is
 * not one to trust; -ENAMETOOLONG; another errno. On failure `message` has a sentence.
 */
MUST_CHECK int place_take(struct event_base *base, const struct place_options *options,
                          struct place **ret_place, int *ret_fd, char *message, size_t size);

/* Removes the socket, unless a service manager made it, and lets the lock go, whose file stays. Returns NULL. */
struct place *place_leave(struct place *place);

/* A socket that the service manager handed over (LISTEN_FDS), with the variables taken out of the environment. Returns it; -1: none;
 * -EINVAL: what was handed over is no listening unix socket. */
int place_given_socket(void);

/* The path that a listening socket is bound to. 0; -EINVAL: none. */
MUST_CHECK int place_path_of(int fd, char *path, size_t size);

/* How a directory is to be judged, apart from the machine, for its tests: NULL, or what is wrong with it. */
const char *place_fault(const struct stat *directory, uid_t self, bool is_private);

#endif
