/* SPDX-License-Identifier: MIT */
/*
 * Where the daemon of a driver is, for clients and for the daemon itself: its socket, what lies beside it, and the names
 * under which one machine's daemons know each other. Looks, and makes nothing.
 *
 *     VRAM_SOCKET        wherever it says; "none": no daemon is ever asked
 *     auto, nvml, …      /run/vram/vram.sock where there is one, else $XDG_RUNTIME_DIR/vram/vram.sock, else
 *                        /tmp/vram-UID/vram.sock
 *     sim:NAME@INSTANCE  sim-NAME@INSTANCE.sock in the latter two directories
 */
#ifndef VRAM_COMMON_ENDPOINT_H
#define VRAM_COMMON_ENDPOINT_H

#include "common/attr.h"
#include "common/sim_name.h"
#include <stdbool.h>
#include <sys/types.h>

#define ENDPOINT_SOCKET_MAX 108 /* what a socket's address has room for */
#define ENDPOINT_DRIVER_MAX (SIM_NAME_KEY_MAX + 4)
#define ENDPOINT_PATH_MAX (ENDPOINT_SOCKET_MAX + 12)

/* What the answer depends on; texts that are unset are NULL or "". */
struct endpoint_environment {
    uid_t uid;
    const char *vram_socket; /* $VRAM_SOCKET */
    const char
        *xdg_runtime_dir;      /* $XDG_RUNTIME_DIR; one that is no absolute path counts as unset */
    const char *sim_state_dir; /* $VRAM_SIM_STATE_DIR */
    const char *system_socket; /* NULL: /run/vram/vram.sock */
    const char *temporary_dir; /* NULL: /tmp */
};

struct endpoint {
    char socket[ENDPOINT_SOCKET_MAX];
    char directory[ENDPOINT_SOCKET_MAX]; /* the socket's */
    char lock[ENDPOINT_PATH_MAX];        /* held by the daemon of this socket */
    char start[ENDPOINT_PATH_MAX];       /* held by who starts it */
    char journal[ENDPOINT_PATH_MAX];
    char log[ENDPOINT_PATH_MAX];
    char driver[SIM_NAME_KEY_MAX +
                4]; /* what client and daemon compare: "nvml", "sim:rtx4090@default" */
    char grantor
        [ENDPOINT_SOCKET_MAX]; /* abstract, without the NUL in front: whose it is may promise room */
    bool system;               /* the machine's, not a user's own */
    bool named;                /* by VRAM_SOCKET */
    bool
        temporary; /* its directory is in /tmp, where anybody may have made it: see endpoint_check() */
};

/* The process's own: effective user, environment (of a setuid program: none). */
struct endpoint_environment endpoint_environment(void);

/*
 * @driver  as --driver has it
 * 0; -ENOTCONN: no daemon is to be asked; -EINVAL: it is no driver's name, or VRAM_SOCKET no absolute path;
 * -ENAMETOOLONG: the path does not fit a socket's address.
 */
MUST_CHECK int endpoint_find(const char *driver, const struct endpoint_environment *environment,
                             struct endpoint *ret_endpoint);

/* A driver's one name, as in struct endpoint: "nvml", "sim:rtx4090@default". 0 or -EINVAL. */
MUST_CHECK int endpoint_driver(const char *driver, char ret_name[ENDPOINT_DRIVER_MAX]);

/* Whether a directory in /tmp is the user's own and nobody else's; elsewhere it is not asked. 0; -ENOENT: there is none;
 * -EPERM: it is another's, or open to others, and so must not be used; another errno. */
MUST_CHECK int endpoint_check(const struct endpoint *endpoint, uid_t uid);

#endif
