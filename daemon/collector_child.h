/* SPDX-License-Identifier: MIT */
/*
 * The child that asks the driver. It has nothing of the daemon's but one socket, its stdin, so that a driver call
 * that never returns keeps nothing of the daemon's alive or locked. It ends when that socket closes.
 *
 * Requests and replies are structures in the machine's own order: both ends are the same program.
 */
#ifndef VRAM_DAEMON_COLLECTOR_CHILD_H
#define VRAM_DAEMON_COLLECTOR_CHILD_H

#include <stdint.h>

#define COLLECTOR_REPLY_MAX (64u << 20)

/* With VRAM_TAKE_…: sleeping GPUs are woken, for somebody wants to use them. */
#define COLLECTOR_WAKE 0x80000000u

struct collector_request {
    uint32_t sequence;
    uint32_t take; /* VRAM_TAKE_… */
};

/* Followed by `size` bytes: a packed snapshot, or where `result` is negative a struct collector_error. */
struct collector_reply {
    uint32_t sequence; /* the request's */
    int32_t result;
    uint64_t size;
};

/* Why there is no snapshot; each text ends with a NUL. */
struct collector_error {
    char code[64], message[512], hint[512];
};

/* The child's main. `driver`: as `--driver` has it; NULL: the environment's. Returns an exit status. */
int collector_child_run(const char *driver);

#endif
