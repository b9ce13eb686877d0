/* SPDX-License-Identifier: MIT */
/*
 * Making room: holders that the configuration names are asked to give memory back when somebody would have to wait for it.
 * Idle ones alone, the cheapest that are enough, and the driver says what came of it. Nothing is killed.
 *
 *   config_holders.c   what the configuration says of them
 *   reclaim_match.c    which processes are a holder's own: pure
 *   reclaim_plan.c     whom to ask: pure
 *   reclaim.c          who is asked for whom
 *   reclaim_look.c     who holds what, who is idle, who may be asked
 *   reclaim_result.c   what came back
 *   reclaim_ask.c      a talk with one: reclaim_dialect.c (what programs understand, pure), reclaim_http.c,
 *                      reclaim_command.c
 *   promises_room.c    joins it with the desk
 *
 * It goes by samples: reclaim_look() with each, then reclaim_serve() for who still waits. A holder's processes that count for
 * a lease are left out, for what they gave back would stay promised to them.
 */
#ifndef VRAM_DAEMON_RECLAIM_H
#define VRAM_DAEMON_RECLAIM_H

#include "daemon/config_holders.h"
#include "daemon/reclaim_plan.h"
#include "include/vram.h"

#define RECLAIM_LEAST_BYTES ((uint64_t)64 << 20) /* less is nothing */
#define RECLAIM_TEXT_MAX 256
#define RECLAIM_ID_MAX 24

struct event_base;
struct reclaim;

/* A request that lacks room. */
struct reclaim_wish {
    const char *id;
    uint32_t wanted; /* on how many GPUs */
    size_t lack_count;
    const struct reclaim_lack *lacks; /* positions in the snapshot that was looked at last */
};

/* What came of asking. */
struct reclaim_result {
    const char *holder, *id; /* for whom it was asked */
    const char *uuid;        /* the GPU that it holds most of; NULL: none */
    uint64_t returned_bytes, took_ns;
    const char *text; /* "asked ollama: 9.1 GiB back in 0.8 s" */
};

typedef void (*reclaim_told_function)(void *data, const struct reclaim_result *result);
typedef uint64_t (*reclaim_promised_function)(void *data, const struct vram_gpu *gpu,
                                              const struct vram_process *process);

/* NULL: out of memory. No holder is known. */
struct reclaim *reclaim_new(struct event_base *base, reclaim_promised_function promised,
                            reclaim_told_function told, void *data);
struct reclaim *reclaim_free(struct reclaim *reclaim); /* returns NULL */
/* Others from now on; copied. What is being asked is broken off, without a result. -ENOMEM: then there are none. */
MUST_CHECK int reclaim_configure(struct reclaim *reclaim, const struct config_holder *holders,
                                 size_t count);

/* VRAM_TAKE_…: what samples must have so that holders can be told, and idle ones; 0: there are none. */
uint32_t reclaim_take(const struct reclaim *reclaim);
/* -ENOMEM: nothing was looked at. */
MUST_CHECK int reclaim_look(struct reclaim *reclaim, const struct vram_snapshot *snapshot,
                            uint64_t now_ns);
/* Sees to a request. True: somebody was asked for it, or is about to be. `note`: what is to be said of holders to who
 * waits; "": nothing. */
bool reclaim_serve(struct reclaim *reclaim, const struct reclaim_wish *wish, uint64_t now_ns,
                   char note[RECLAIM_TEXT_MAX]);
/* The request has what it wanted: what came back until now is told. */
void reclaim_settle(struct reclaim *reclaim, const char *id, uint64_t now_ns);
/* Whether something is awaited that only further samples tell. */
bool reclaim_is_open(const struct reclaim *reclaim);

/* ---- To look at ------------------------------------------------------------------------------ */

struct reclaim_view {
    const struct config_holder *config;
    const char *state;      /* "absent", "leased", "idle", "busy", "unknown", "asked", "resting" */
    uint64_t held_bytes;    /* that it could give back */
    uint64_t leased_bytes;  /* that stay promised, to a lease or to a ceiling */
    const char *last;       /* what came of asking it last; "": it was not asked */
    uint64_t last_ns;       /* CLOCK_MONOTONIC: when that was known */
    uint64_t rest_until_ns; /* of one that rests */
};

size_t reclaim_count(const struct reclaim *reclaim);
struct reclaim_view reclaim_view_at(const struct reclaim *reclaim, size_t i, uint64_t now_ns);

#endif
