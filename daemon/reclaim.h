/* SPDX-License-Identifier: MIT */
/*
 * Making room: holders are asked to give memory back when somebody would have to wait for it: programs that the
 * configuration names, and leases whose clients have offered it. Idle ones alone, the cheapest that are enough, and the
 * driver says what came of it. Nothing is killed.
 *
 *   config_holders.c   what the configuration says of them
 *   reclaim_match.c    which processes are a holder's own: pure
 *   reclaim_plan.c     whom to ask: pure
 *   reclaim.c          who is asked for whom
 *   reclaim_look.c     who holds what, who is idle, who may be asked
 *   reclaim_result.c   what came back
 *   reclaim_ask.c      a talk with one: reclaim_dialect.c (what programs understand, pure), reclaim_http.c,
 *                      reclaim_command.c
 *   promises_room.c    joins it with the desk; promises_offer.c: the leases on offer, and what each could give back
 *
 * It goes by samples: reclaim_look() with each, then reclaim_serve() for who still waits. A configured holder's processes
 * that count for a lease are left out, for what they gave back would stay promised to them: nothing is counted twice. Nobody
 * is asked for himself, or by whom he started: such a request does not wait (ledger.h).
 */
#ifndef VRAM_DAEMON_RECLAIM_H
#define VRAM_DAEMON_RECLAIM_H

#include "daemon/config_holders.h"
#include "daemon/reclaim_ask.h"
#include "daemon/reclaim_plan.h"
#include "include/vram.h"

#define RECLAIM_LEAST_BYTES ((uint64_t)64 << 20) /* less is nothing */
#define RECLAIM_TEXT_MAX 256
#define RECLAIM_ID_MAX 24
#define RECLAIM_NAME_MAX 65
#define RECLAIM_COST 10        /* of a lease that names none: as of a holder */
#define RECLAIM_COST_MOST 1000 /* as a holder may have */
#define RECLAIM_TIMEOUT_NS                                                                         \
    UINT64_C(10000000000) /* for a lease's client to answer, and for the memory to come back */
#define RECLAIM_AGAIN_NS                                                                           \
    UINT64_C(60000000000)                    /* how long it is left alone after nothing came back */
#define RECLAIM_BUSY_NS UINT64_C(5000000000) /* and after it has said that it is busy */

struct event_base;
struct reclaim;

/* A request that lacks room. */
struct reclaim_wish {
    const char *id;
    uint32_t wanted; /* on how many GPUs */
    size_t lack_count;
    const struct reclaim_lack *lacks; /* positions in the snapshot that was looked at last */
};

/* A lease whose client has said that it can be asked. */
struct reclaim_offer {
    const char *id, *name;
    uint32_t cost;
    bool ready; /* its client listens, and it is nobody's who waits himself */
    const uint64_t *
        held_bytes; /* what it could give back, for each GPU of the sample; of one that is being asked also
                                   where it has ended */
};

enum reclaim_answer {
    RECLAIM_DONE, /* it has done what it could */
    RECLAIM_BUSY,
    RECLAIM_FAILED,
    RECLAIM_BROKEN, /* it does not know any more that it was asked */
};

/* What came of asking. */
struct reclaim_result {
    const char *holder;
    const char *lease; /* that was asked; NULL: a configured holder was */
    const char *id;    /* for whom */
    const char *uuid;  /* the GPU that it holds most of; NULL: none */
    uint64_t returned_bytes, took_ns;
    const char *text; /* "asked ollama: 9.1 GiB back in 0.8 s" */
};

enum reclaim_outcome {
    RECLAIM_GAVE,
    RECLAIM_NOTHING, /* came back, or it could not be asked */
    RECLAIM_REFUSED, /* it was busy */
    RECLAIM_OUTCOMES,
};

/* What came of it how often, since it is known. */
struct reclaim_tally {
    uint64_t outcomes[RECLAIM_OUTCOMES], returned_bytes;
};

struct reclaim_ops {
    /* How much of a process's memory would stay promised if it gave it back. */
    uint64_t (*promised)(void *data, const struct vram_gpu *gpu,
                         const struct vram_process *process);
    /* Asks a lease's client, for the request `id`. Negative: it cannot be. */
    int (*ask)(void *data, const char *lease, const struct reclaim_wanted *wanted, const char *id);
    void (*told)(void *data, const struct reclaim_result *result);
};

/* `ops` must outlive it. NULL: out of memory. No holder is known. */
struct reclaim *reclaim_new(struct event_base *base, const struct reclaim_ops *ops, void *data);
struct reclaim *reclaim_free(struct reclaim *reclaim); /* returns NULL */
/* Others from now on; copied. What is being asked is broken off, without a result. -ENOMEM: then there are none. Leases stay
 * as they are. */
MUST_CHECK int reclaim_configure(struct reclaim *reclaim, const struct config_holder *holders,
                                 size_t count);

/* VRAM_TAKE_…: what samples must have so that holders can be told, and idle ones; 0: there are none. */
uint32_t reclaim_take(const struct reclaim *reclaim);
/* `offers`: all of them; one that is not among them is forgotten. -ENOMEM: nothing was looked at. */
MUST_CHECK int reclaim_look(struct reclaim *reclaim, const struct vram_snapshot *snapshot,
                            const struct reclaim_offer *offers, size_t offer_count,
                            uint64_t now_ns);
/* What the client of a lease says that was asked. Nothing where it was not, or has been given up. */
void reclaim_answer(struct reclaim *reclaim, const char *lease, enum reclaim_answer answer,
                    uint64_t now_ns);
/* Sees to a request. True: somebody was asked for it, or is about to be. `note`: what is to be said of holders to who
 * waits; "": nothing. */
bool reclaim_serve(struct reclaim *reclaim, const struct reclaim_wish *wish, uint64_t now_ns,
                   char note[RECLAIM_TEXT_MAX]);
/* What a lease could give back has changed since the look: by its end, which the same sample has shown. */
void reclaim_hold(struct reclaim *reclaim, const char *lease, const uint64_t *held_bytes,
                  uint64_t now_ns);
/* The request has what it wanted: what came back until now is told. */
void reclaim_settle(struct reclaim *reclaim, const char *id, uint64_t now_ns);
/* Whether something is awaited that only further samples tell. */
bool reclaim_is_open(const struct reclaim *reclaim);

/* ---- To look at ------------------------------------------------------------------------------ */

struct reclaim_view {
    const char *name, *ask; /* "ollama" …; of a lease "lease" */
    const char *match;      /* NULL: of a lease */
    const char *lease;      /* its id; NULL: of a configured holder */
    uint32_t cost;
    const char *state;      /* "absent", "leased", "idle", "busy", "unknown", "asked", "resting" */
    uint64_t held_bytes;    /* that it could give back */
    uint64_t leased_bytes;  /* that stay promised, to a lease or to a ceiling */
    const char *last;       /* what came of asking it last; "": it was not asked */
    uint64_t last_ns;       /* CLOCK_MONOTONIC: when that was known */
    uint64_t rest_until_ns; /* of one that rests */
    struct reclaim_tally tally;
};

size_t reclaim_count(const struct reclaim *reclaim);
struct reclaim_view reclaim_view_at(const struct reclaim *reclaim, size_t i, uint64_t now_ns);
/* Of all leases that ever were on offer. */
struct reclaim_tally reclaim_lease_tally(const struct reclaim *reclaim);

#endif
