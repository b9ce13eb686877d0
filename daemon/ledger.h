/* SPDX-License-Identifier: MIT */
/*
 * The ledger: who was promised how much, who waits, and what may be promised next (DESIGN 4, 5.6, 10).
 *
 * A pure state machine. Requests, samples, deaths and time go in; grants, answers and ends come out through
 * the functions in `struct ledger_ops`. It knows no driver, clock, socket, process or file: `now_ns` is
 * passed in, and owners are numbers that the caller gave them. tests/simulation/ drives it through millions of
 * schedules. Not for several threads.
 *
 * The arithmetic, for one memory:
 *
 *     outstanding = sum over owners of max(0, base + sizes of their leases - used by their members)
 *     granted     where size <= free - outstanding - margin
 *
 * `base` is what counted as used by the members at their owner's first grant, lowered whenever it is less. A nested
 * owner (a member of another's lease that has one of its own) begins at 0: what it used before was promised to the
 * outer one. What a nested owner's members use beyond their own promise counts as used by the outer one's, so that
 * the two together have what both were promised. The outer one is the nearest that was promised something in this
 * memory: who is in between may hold on other GPUs only.
 *
 * A ceiling is room kept for programs that never ask. It is outstanding like a lease's, for what is left of it: its
 * size, less what its processes use, less what leases that stand for the same processes are promised and use, so that
 * nothing is kept twice. What is promised to such an owner comes out of it: how those of a ceiling share it is between
 * them.
 */
#ifndef VRAM_DAEMON_LEDGER_H
#define VRAM_DAEMON_LEDGER_H

#include "common/attr.h"
#include "common/room.h"
#include "include/vram.h"

#define LEDGER_ID_MAX 17   /* 16 hexadecimal digits */
#define LEDGER_GPUS 256    /* the ledger knows the first so many that it ever saw */
#define LEDGER_UUID_MAX 96 /* as a source has them */
#define LEDGER_NAME_MAX 64
#define LEDGER_CEILINGS 64 /* how many ceilings there may be */
#define LEDGER_PASSES 8    /* how often later requests may pass a user's first that cannot run */
#define LEDGER_NEVER UINT64_MAX

#define LEDGER_NOTICE_NS ((uint64_t)60000000000) /* how long before its end a lease is told of it */
#define LEDGER_GRACE_NS ((uint64_t)3000000000)   /* for waiters to return after a restart */
#define LEDGER_DOUBT_NS ((uint64_t)2000000000)   /* growth within this is doubt */
#define LEDGER_DOUBT_MAX_NS ((uint64_t)10000000000)
#define LEDGER_DOUBT_BYTES ((uint64_t)64 << 20)
#define LEDGER_PROOF_NS                                                                            \
    ((uint64_t)100000000) /* how long a process of unknown past is watched first */
#define LEDGER_ORPHAN_NS                                                                           \
    ((uint64_t)10000000000) /* how long heirs are awaited that no list can show */

struct ledger;

/* ---- What goes in ---------------------------------------------------------------------------- */

/* A GPU as a settled sample has it (VRAM_TAKE_SETTLED). Amounts may be VRAM_UNKNOWN. */
struct ledger_gpu {
    const char *uuid; /* its name from sample to sample */
    uint32_t pool;    /* GPUs with the same number share one memory */
    bool usable;      /* neither lost nor forbidden */
    bool current;     /* it answered for this sample */
    bool uses_known;  /* its process list could be read */
    bool drained;     /* nothing new is to be promised there */
    uint64_t total_bytes, reserved_bytes, free_bytes;
    uint64_t margin_bytes; /* the daemon's own for it */
};

/* A process's memory on a GPU. */
struct ledger_use {
    size_t gpu; /* position in the sample */
    uint32_t pid;
    uint64_t start_time;
    uint64_t age_ns;     /* how long the process had lived at the sample's end */
    uint64_t owner;      /* the nearest owner or requester that it counts for; 0: none */
    uint64_t outer;      /* where that one has no lease yet: the nearest that has; 0: none */
    bool is_owner;       /* it is that owner's own process */
    uint32_t ceiling;    /* the number of the ceiling that is for it there; 0: none */
    uint64_t used_bytes; /* may be unknown */
    const char *name;
};

/* A ceiling on a GPU. The same number on several GPUs is so much on each; on GPUs that share a memory it counts once. */
struct ledger_ceiling {
    uint32_t number; /* from 1 to LEDGER_CEILINGS */
    size_t gpu;      /* position in the sample */
    uint64_t size_bytes;
};

struct ledger_sample {
    uint64_t begun_ns, ended_ns;
    size_t gpu_count, use_count, ceiling_count;
    const struct ledger_gpu *gpus;
    const struct ledger_use *uses;
    const struct ledger_ceiling *ceilings;
};

/* What is asked for. */
struct ledger_request {
    char id[LEDGER_ID_MAX];
    uint64_t owner; /* who will hold it */
    uint32_t user;  /* whose it is: users take turns, and have limits */
    uint64_t size_bytes;
    uint32_t gpu_count;
    uint64_t margin_bytes;         /* VRAM_UNKNOWN: the daemon's */
    uint32_t margin_millipercent;  /* not 0: instead */
    const char *const *candidates; /* UUIDs; copied. NULL: all */
    size_t candidate_count;
    bool waits;
    uint64_t deadline_ns; /* of a waiter; LEDGER_NEVER: none */
    uint64_t lasts_ns;    /* how long a lease lasts; LEDGER_NEVER: as its holders */
};

/* ---- What comes out -------------------------------------------------------------------------- */

/* One GPU of a lease. */
struct ledger_share {
    const char *uuid;
    int64_t base_bytes;                     /* of its owner there */
    uint64_t held_bytes, outstanding_bytes; /* this lease's part; earlier leases are filled first */
};

/* A ceiling in a memory. */
struct ledger_ceiling_share {
    uint32_t number;
    const char *uuid;
    uint64_t size_bytes;
    uint64_t held_bytes;        /* by its processes and the members of leases that stand for them */
    uint64_t outstanding_bytes; /* what of it is kept besides leases */
};

enum ledger_state {
    LEDGER_OK = 0,
    LEDGER_FILLED = 1,    /* the owner has allocated all it will */
    LEDGER_INHERITED = 2, /* the owner has ended; members hold memory still */
    LEDGER_OVER = 3,      /* its members use more than was promised */
    LEDGER_SQUEEZED = 4,  /* others have grown into what was promised */
};

struct ledger_lease {
    const char *id;
    uint64_t owner, holder; /* of its owner, as holder() said when either got its first lease */
    uint64_t size_bytes;
    uint32_t user;
    uint64_t until_ns;
    uint64_t
        idle_until_ns; /* when it is ended for holding nothing; LEDGER_NEVER: it is not about to be */
    bool filled;
    uint32_t state; /* enum ledger_state */
    size_t gpu_count;
    const struct ledger_share *gpus;
};

enum ledger_reason {
    LEDGER_FOR_SAMPLE = 0, /* the driver is being asked */
    LEDGER_FOR_ROOM = 1,   /* memory is missing */
    LEDGER_FOR_TURN = 2,   /* others were first */
    LEDGER_FOR_QUIET = 3,  /* a process without a lease is growing */
    LEDGER_FOR_RETURN = 4, /* after a restart: others may still return to their places */
    LEDGER_FOR_GPU = 5,    /* no candidate tells its figures */
    LEDGER_FOR_LIMIT = 6,  /* its user has as much as it may have */
    LEDGER_FOR_DRAIN = 7,  /* nothing new is promised on its candidates */
};

/* What a user may have at once. UINT64_MAX, UINT32_MAX: as much as there is. */
struct ledger_limits {
    uint64_t bytes; /* on all GPUs together */
    uint32_t gpus, leases;
};

/* What a user has. */
struct ledger_tally {
    uint64_t bytes;
    uint32_t gpus, leases, waiters;
};

struct ledger_waiter {
    const char *id;
    uint64_t owner;
    uint64_t size_bytes;
    uint32_t gpu_count;
    bool absent; /* known from before a restart and not back yet */
    uint32_t user;
    size_t position;        /* among those whose GPUs overlap; from 1 */
    uint32_t reason;        /* enum ledger_reason */
    const char *uuid;       /* the candidate nearest to having room; NULL: none */
    uint64_t missing_bytes; /* there; may be unknown */
    uint32_t pid;           /* who grows */
    const char *name;
};

/* The figures that an answer rests on, one per candidate; after room_decide(). */
struct ledger_sum {
    size_t count;
    const struct room *rooms;
    const char *const *uuids;
    size_t others; /* requests that wait besides this one */
};

enum ledger_end {
    LEDGER_RELEASED = 0,
    LEDGER_OWNER_GONE = 1, /* and no member holds memory */
    LEDGER_EXPIRED = 2,
    LEDGER_IDLE = 3, /* it held nothing for too long */
};

enum ledger_verdict {
    LEDGER_GRANTED = 0,
    LEDGER_NOT_NOW = 1,
    LEDGER_WILL_NEVER = 2,
    LEDGER_CANNOT_TELL = 3,
    LEDGER_TIMED_OUT = 4,
    LEDGER_UNRECORDED = 5, /* it would fit, and record() failed: nothing was granted */
};

/* Called from within the ledger's functions; they must not call it back but to look. */
struct ledger_ops {
    /* The nearest owner with a lease whose member this one is; 0: none. Such a one, and who has a lease itself, is
     * answered at once. */
    uint64_t (*holder)(void *data, uint64_t owner);
    /* A lease is about to be granted, or (`known`) was one before and is to grow: writes it down. Negative: it is not
     * granted. Also where a known one has lost a GPU, or its owner has another holder; then it stands whatever comes
     * back. */
    int (*record)(void *data, const struct ledger_lease *lease, bool known);
    /* A request's end. `lease`: what it became, or what grew; NULL where it was not granted. `sum` is NULL where
     * nothing was reckoned: at a time-out. */
    void (*answer)(void *data, const char *id, uint32_t verdict, const struct ledger_lease *lease,
                   const struct ledger_sum *sum);
    /* A lease has ended. */
    void (*ended)(void *data, const char *id, uint32_t why);
    /* What a user may have now. NULL: nobody has limits. */
    struct ledger_limits (*limits)(void *data, uint32_t user);
    /* A lease will end by itself: in LEDGER_NOTICE_NS by its time, or for being idle. Or it is not idle any more. */
    void (*notice)(void *data, const struct ledger_lease *lease);
    /* An owner's base has changed, other than by a first grant. */
    void (*base)(void *data, uint64_t owner, const char *uuid, int64_t base_bytes);
    /* A lease's state has changed; of SQUEEZED with who did it most likely, pid 0 where nobody can be named. */
    void (*state)(void *data, const struct ledger_lease *lease, uint32_t pid, const char *name);
};

/* ---- Life ------------------------------------------------------------------------------------ */

/* `ops` must outlive it. NULL: out of memory. */
struct ledger *ledger_new(const struct ledger_ops *ops, void *data);
void ledger_free(struct ledger *ledger);

/* After a restart, before anything else: what the journal has, of a share its GPU and base. -EEXIST: there is one of
 * this id; -EINVAL: it is none; -ENOMEM; -ENOSPC: more than LEDGER_GPUS GPUs. */
MUST_CHECK int ledger_restore_lease(struct ledger *ledger, const struct ledger_lease *lease);
/* A waiter, in the order of the queue. It is absent until the same request is made again. */
MUST_CHECK int ledger_restore_waiter(struct ledger *ledger, const struct ledger_request *request,
                                     uint64_t now_ns);

/* ---- Requests -------------------------------------------------------------------------------- */

/*
 * Puts a request into the queue; it is answered by a sample that begins after now. The same id as an absent waiter's
 * takes its place. -EEXIST: a request or lease of this id is there; -ENOMEM; -EINVAL: no size or GPU asked for.
 */
MUST_CHECK int ledger_ask(struct ledger *ledger, const struct ledger_request *request,
                          uint64_t now_ns);

/* A waiter's candidates are no others than these any more. Nothing where there is none of this id. */
void ledger_restrict(struct ledger *ledger, const char *id, const char *const *uuids, size_t count);

/* More for a lease, on each of its GPUs; answered by the next sample under `request_id`. -ENOENT. */
MUST_CHECK int ledger_grow(struct ledger *ledger, const char *id, const char *request_id,
                           uint64_t more_bytes, uint64_t now_ns);
/* Less. -ENOENT; -EINVAL: not less, or 0. */
MUST_CHECK int ledger_shrink(struct ledger *ledger, const char *id, uint64_t size_bytes,
                             uint64_t now_ns);
/* The owner has allocated all it will. -ENOENT. */
MUST_CHECK int ledger_fill(struct ledger *ledger, const char *id, uint64_t now_ns);
/* -ENOENT. LEDGER_NEVER: as its holders. */
MUST_CHECK int ledger_until(struct ledger *ledger, const char *id, uint64_t until_ns,
                            uint64_t now_ns);

/* The owner's leases stand for the processes of these ceilings (bit 0: number 1), besides those that its members are seen
 * to be of. Nothing where the owner has neither lease nor request. */
void ledger_put_under(struct ledger *ledger, uint64_t owner, uint64_t ceilings);

/* Numbers mean other ceilings from now on: none is known until the next sample, and nobody stands for any. */
void ledger_forget_ceilings(struct ledger *ledger);

/* Leases that hold nothing for `after_ns` are told that they end, and end `notice_ns` later if they still do. 0: none. */
void ledger_end_idle(struct ledger *ledger, uint64_t after_ns, uint64_t notice_ns);

/* Ends a lease, or takes a request back, without answering it. Returns 1: a lease ended; 0: a request; -ENOENT. */
int ledger_end(struct ledger *ledger, const char *id, uint64_t now_ns);

/* The owner's process has ended. Its requests are taken back; its leases pass to members, which the next
 * sample shows. */
void ledger_owner_ended(struct ledger *ledger, uint64_t owner, uint64_t now_ns);

/* ---- Time and samples ------------------------------------------------------------------------ */

/* Takes a sample in: books it, ends what nobody holds, and answers whom it can. -ENOMEM: nothing was done. */
MUST_CHECK int ledger_take(struct ledger *ledger, const struct ledger_sample *sample,
                           uint64_t now_ns);
/* Ends what is over. */
void ledger_tick(struct ledger *ledger, uint64_t now_ns);
/* When ledger_tick() has something to do next; LEDGER_NEVER: at no time. */
uint64_t ledger_next_ns(const struct ledger *ledger);
/* Whether a sample begun now could change something soon: somebody waits, or an owner has just ended. While leases stand
 * a look now and then is wanted besides: heirs end, members give back, others squeeze. */
bool ledger_wants_sample(const struct ledger *ledger);

/* ---- To look at ------------------------------------------------------------------------------ */

size_t ledger_lease_count(const struct ledger *ledger);
/* In the order of their grants. Valid until the ledger changes. */
struct ledger_lease ledger_lease_at(const struct ledger *ledger, size_t i);
size_t ledger_waiter_count(const struct ledger *ledger);
/* Whether absent waiters may still return. */
bool ledger_awaits_return(const struct ledger *ledger);
struct ledger_waiter ledger_waiter_at(struct ledger *ledger, size_t i);
/* -1: none. Of a beginning of an id: -2 where several begin so. */
int ledger_find_lease(const struct ledger *ledger, const char *id);
int ledger_find_waiter(const struct ledger *ledger, const char *id);

/* What a user has, and how many of its requests wait. */
struct ledger_tally ledger_tally_of(const struct ledger *ledger, uint32_t user);

/* All that is outstanding in this GPU's memory; what of it is one owner's, and of those around it. */
uint64_t ledger_outstanding(const struct ledger *ledger, const char *uuid);
uint64_t ledger_outstanding_of(const struct ledger *ledger, const char *uuid, uint64_t owner);
/* What its owner was promised there, with what it had before, and what of that nested owners use beyond their own. */
struct ledger_claim {
    uint64_t promised_bytes, spilt_bytes;
};
struct ledger_claim ledger_claim_of(const struct ledger *ledger, const char *uuid, uint64_t owner);
/* What of it is kept for ceilings; and for those among them that are in `ceilings`. */
uint64_t ledger_kept(const struct ledger *ledger, const char *uuid);
uint64_t ledger_kept_of(const struct ledger *ledger, const char *uuid, uint64_t ceilings);
/* What the programs of this ceiling hold there beyond it. */
uint64_t ledger_beyond(const struct ledger *ledger, const char *uuid, uint32_t number);
/* As of the last sample. */
size_t ledger_ceiling_count(const struct ledger *ledger);
struct ledger_ceiling_share ledger_ceiling_at(const struct ledger *ledger, size_t i);
/* Whether the owner has a lease or a request. */
bool ledger_knows(const struct ledger *ledger, uint64_t owner);
bool ledger_holds(const struct ledger *ledger, uint64_t owner);
/* Whether it has a request. */
bool ledger_waits(const struct ledger *ledger, uint64_t owner);

#endif
