/* SPDX-License-Identifier: MIT */
/*
 * The inside of the ledger, shared by the files daemon/ledger*.c:
 *
 *   ledger.c        life, requests, time
 *   ledger_account.c  GPUs, owners, accounts, leases: what it is made of
 *   ledger_ceiling.c  room kept for programs that never ask
 *   ledger_look.c   what can be looked at
 *   ledger_book.c   taking a sample in: figures, what members use, who grows, who holds on
 *   ledger_queue.c  going through the queue, and granting
 *   ledger_turn.c   the order of the queue: whose turn it is, and who was passed over; what users have and may have
 *   ledger_idle.c   leases that hold nothing
 *
 * GPUs are numbers in the ledger's own table, which only grows. GPUs that share a memory have the same `memory`,
 * the number of the first of them; accounts are kept by memory.
 */
#ifndef VRAM_DAEMON_LEDGER_INNER_H
#define VRAM_DAEMON_LEDGER_INNER_H

#include "daemon/ledger.h"

#define NO_GPU SIZE_MAX

struct gpu_set {
    uint64_t bits[LEDGER_GPUS / 64];
};

struct gpu {
    char uuid[LEDGER_UUID_MAX];
    size_t memory;
    bool usable, current, uses_known, drained;
    uint64_t total_bytes, reserved_bytes, free_bytes, margin_bytes;
    /* Of a memory, kept at its first GPU: */
    uint64_t outstanding_bytes; /* of all owners and ceilings; kept up to date by ledger_sum_up() */
    uint64_t kept_bytes;        /* of ceilings alone */
    uint64_t
        lowered_ns; /* when less was promised last: what a sample begun before shows may rest on more */
    bool unproven;           /* a process of unknown past was not watched long enough yet */
    uint64_t doubt_since_ns; /* since when somebody without a lease grows; 0: nobody does */
    uint32_t grower;
    char grower_name[LEDGER_NAME_MAX];
    uint32_t culprit; /* who most likely took what was promised */
    char culprit_name[LEDGER_NAME_MAX];
};

/* What one owner was promised in one memory. */
struct account {
    size_t memory;
    size_t leases;
    int64_t base_bytes;
    uint64_t unfilled_bytes, sizes_bytes; /* of the leases that are not filled; of all */
    uint64_t used_bytes;                  /* by members, as of the last sample */
    bool all_known;                       /* each of these is known */
    bool held;                            /* by a member that is not the owner itself */
    uint64_t spilt_bytes;  /* what nested owners' members use beyond their own promises */
    uint64_t inflow_bytes; /* the same, while it is reckoned */
};

struct owner {
    uint64_t key;
    uint64_t holder; /* with a lease: the nearest with one whose member it is; 0: none */
    size_t leases, requests;
    uint64_t ceilings; /* whose processes its leases stand for: bit 0 is number 1 */
    bool ended;
    bool looked_at; /* a sample begun after its end has shown who inherits */
    uint64_t ended_ns;
    size_t account_count;
    struct account *accounts;
};

/* Whoever has, or had not long ago, leases or requests. */
struct user {
    uint32_t id;
    size_t references;   /* leases and requests */
    uint64_t last_grant; /* the number of the last grant to it; 0: none that is remembered */
    uint64_t bytes;      /* of its leases; what follows is reckoned anew for each pass */
    uint32_t leases;
    struct gpu_set gpus;
    struct ledger_limits limits;
    uint64_t asked_bytes; /* of its requests that were looked at so far */
    bool passed;          /* one of its requests was, by the grant that is counted */
    bool promoted;
};

struct lease {
    char id[LEDGER_ID_MAX];
    struct user *user;
    uint64_t owner, size_bytes, until_ns;
    uint64_t notice_ns;     /* when its end is to be told; LEDGER_NEVER: it was, or needs not be */
    uint64_t idle_since_ns; /* since when it holds nothing; 0: it does, or that is not known */
    uint64_t idle_until_ns;
    bool filled;
    uint32_t state;
    size_t gpu_count;
    size_t *gpus;
    struct ledger_share *shares; /* what ledger_view() shows of them */
};

struct waiter {
    char id[LEDGER_ID_MAX];
    char grows[LEDGER_ID_MAX]; /* the lease that is to grow; "": a new one */
    struct user *user;
    uint64_t seq;  /* the order of arrival */
    size_t place;  /* in the order of arrival, while the queue is gone through */
    uint64_t tag;  /* what its user would have, were all before it granted */
    bool promoted; /* it, or one that its user asked for later, was passed over often enough */
    uint64_t owner, size_bytes, margin_bytes;
    uint32_t margin_millipercent, gpu_count;
    bool any_gpu; /* all that there are, also those seen later */
    struct gpu_set candidates;
    bool waits, absent;
    bool queued; /* it was looked at and is no holder's: it keeps its place if it becomes one's */
    uint64_t arrived_ns, deadline_ns, lasts_ns;
    unsigned passes;
    uint32_t reason;
    size_t nearest; /* or NO_GPU */
    uint64_t missing_bytes;
    size_t position;          /* kept by ledger_number(), as what follows */
    struct gpu_set memories;  /* of its candidates */
    struct waiter *next_kind; /* of those that are the first to ask for the same GPUs */
    size_t alike;             /* how many ask for the same, so far */
};

/* The past of a process without a lease. */
struct past {
    size_t memory;
    uint32_t pid;
    uint64_t start_time;
    uint64_t floor_bytes, floor_ns; /* growth is counted from here */
    uint64_t last_bytes, last_ns;
    uint64_t grew_ns;  /* 0: never */
    uint64_t known_ns; /* since when it is watched without a gap */
};

/* Room kept in one memory for programs that never ask. */
struct ceiling {
    uint32_t number;
    size_t memory;
    uint64_t size_bytes;
    uint64_t used_bytes;                      /* by its processes that count for no lease there */
    uint64_t leased_bytes, leased_used_bytes; /* what leases that stand for it are promised or use;
                                                  what of that is used */
};

struct ledger {
    const struct ledger_ops *ops;
    void *data;
    size_t gpu_count;
    struct gpu gpus[LEDGER_GPUS];
    size_t owner_count, owner_room;
    struct owner *owners; /* by key, ascending */
    size_t lease_count, lease_room;
    struct lease **leases;
    size_t waiter_count, waiter_room, turn_room;
    struct waiter **waiters; /* as they came; with holes while they are gone through */
    struct waiter **turns;   /* the same by their turns in the last pass, later ones behind */
    bool numbered;           /* their positions are those of now */
    size_t user_count, user_room;
    struct user **users;
    uint64_t arrivals, grants; /* how many there were */
    uint64_t idle_after_ns, idle_notice_ns;
    size_t *places; /* of the last sample's GPUs in `gpus`, or NO_GPU */
    size_t ceiling_count;
    struct ceiling *ceilings;
    size_t past_count;
    struct past *pasts;
    uint64_t listed_ns; /* when processes were last looked at */
    uint64_t grace_ns;  /* until when absent waiters may return; 0: there are none */
};

/* A figure beyond any card's is a driver's nonsense; it would make sums wrap. */
static inline uint64_t ledger_believed(uint64_t bytes)
{
    return bytes <= (uint64_t)1 << 50 ? bytes : VRAM_UNKNOWN;
}

/* One reference less. It is remembered for a while. */
static inline void user_leave(struct user *user)
{
    user->references--;
}

static inline void gpu_set_add(struct gpu_set *set, size_t gpu)
{
    set->bits[gpu / 64] |= (uint64_t)1 << gpu % 64;
}

static inline bool gpu_set_has(const struct gpu_set *set, size_t gpu)
{
    return set->bits[gpu / 64] >> gpu % 64 & 1;
}

/* ---- ledger_account.c ---- */
/* Room for one more element. 0 or -ENOMEM. */
MUST_CHECK int ledger_make_room(void **array, size_t *room, size_t count, size_t size);
#define LEDGER_MAKE_ROOM(array, room, count)                                                       \
    ledger_make_room((void **)(void *)&(array), &(room), (count), sizeof(*(array)))
size_t ledger_gpu(const struct ledger *ledger, const char *uuid); /* NO_GPU: not known */
/* Makes it known. NO_GPU: the table is full. */
size_t ledger_gpu_add(struct ledger *ledger, const char *uuid);
struct owner *ledger_owner(const struct ledger *ledger, uint64_t key); /* NULL: not known */
struct owner *ledger_owner_make(struct ledger *ledger, uint64_t key);  /* NULL: out of memory */
/* Forgets an owner that has neither lease nor request. */
void ledger_owner_forget(struct ledger *ledger, uint64_t key);
struct account *ledger_account(const struct owner *owner, size_t memory);
/* Of an owner and those around it, the nearest that was promised something in a memory: who is in between may hold on
 * other GPUs only. NULL: none. */
struct owner *ledger_nearest(const struct ledger *ledger, uint64_t key, size_t memory);
uint64_t account_outstanding(const struct account *account);
/* What is used beyond all that was promised. */
uint64_t account_excess(const struct account *account);
/* Reckons a memory's outstanding sum anew. */
void ledger_sum_up(struct ledger *ledger, size_t memory);
void ledger_sum_up_all(struct ledger *ledger);
struct lease *ledger_lease_of_id(const struct ledger *ledger, const char *id);
/* Who became a member before `owner` had its first lease, and is nearer to it than to its holder, is its member now. */
void ledger_step_in(struct ledger *ledger, const struct owner *owner);
/* Writes down anew what its members hold, whose holder has changed. */
void ledger_record_members(struct ledger *ledger, const struct owner *owner);
/* Takes lease number `i` out of the books; who was its owner's member is the holder's where it was the last. */
struct lease *ledger_take_lease(struct ledger *ledger, size_t i);
/* The same as its end; `why`: enum ledger_end. */
void ledger_remove_lease(struct ledger *ledger, size_t i, uint32_t why);
/* Less is promised on its GPUs from now on. */
void ledger_lower(struct ledger *ledger, const struct lease *lease, uint64_t now_ns);
/* One GPU less for a lease that has several. */
void ledger_drop_share(struct ledger *ledger, struct lease *lease, size_t which);
/* Books a lease that is complete but for its place in the list, with the bases for accounts that are
 * new, and the holder for an owner that has no lease yet. Negative errno: nothing has changed. */
MUST_CHECK int ledger_add_lease(struct ledger *ledger, struct lease *lease, uint64_t holder,
                                const int64_t *bases);
/* A lease with room for so many GPUs. NULL: out of memory. */
struct lease *lease_new(const char *id, size_t gpu_count);
struct lease *lease_free(struct lease *lease);

/* ---- ledger_ceiling.c ---- */
/* Takes over which ceilings there are, and what their processes use. -ENOMEM: nothing has changed. */
MUST_CHECK int ledger_book_ceilings(struct ledger *ledger, const struct ledger_sample *sample);
/* What their processes use that count for no lease; and for whom the others make leases stand. */
void ledger_book_ceiling_uses(struct ledger *ledger, const struct ledger_sample *sample);
/* Reckons anew what is kept in a memory. Returns it. */
uint64_t ledger_keep(struct ledger *ledger, size_t memory);
/* What is kept in a memory for the processes that an owner's leases stand for: a lease of its own comes out of it. */
uint64_t ledger_kept_for(const struct ledger *ledger, const struct owner *owner, size_t memory);
/* Whether this use grows into room that is kept for it. */
bool ledger_is_kept(const struct ledger *ledger, const struct ledger_use *use, size_t memory);

/* ---- ledger_turn.c ---- */
/* The user, one reference more. NULL: out of memory. */
struct user *ledger_user(struct ledger *ledger, uint32_t id);
/* What each user has, reckoned anew. */
void ledger_weigh_users(struct ledger *ledger);
/* Puts the turns in order. */
void ledger_order(struct ledger *ledger);
/* Reckons positions where something has changed. */
void ledger_number(struct ledger *ledger);
/* Those that asked before and whose memory was taken were passed over once more. Returns in `barred` the memories of those
 * that were often enough. */
void ledger_count_passes(struct ledger *ledger, const struct waiter *granted,
                         const struct gpu_set *taken, struct gpu_set *barred);
void waiter_add_memories(const struct ledger *ledger, const struct waiter *waiter,
                         struct gpu_set *set);
/* Whether its user may have it. */
enum limited { LIMIT_ALLOWS, LIMIT_LATER, LIMIT_NEVER };
enum limited ledger_limit(const struct ledger *ledger, const struct waiter *waiter);
/* Whether its user's limit of GPUs leaves only those that it has. */
bool waiter_is_bound_to_own_gpus(const struct waiter *waiter);

/* ---- ledger_idle.c ---- */
/* Looks which leases hold nothing, as a sample shows it. */
void ledger_watch_idle(struct ledger *ledger, uint64_t now_ns);
/* When its end is to be told. */
uint64_t lease_notice(uint64_t until_ns, uint64_t now_ns);

/* ---- ledger.c ---- */
bool waiter_wants(const struct waiter *waiter, size_t gpu);
/* Takes a waiter out that was removed from the queue: its owner has a request less. */
void ledger_forget_waiter(struct ledger *ledger, struct waiter *waiter);
/* ---- ledger_look.c ---- */
/* A lease as others see it, its shares as of now. */
struct ledger_lease ledger_view(const struct ledger *ledger, const struct lease *lease);

/* ---- ledger_book.c ---- */
MUST_CHECK int ledger_book(struct ledger *ledger, const struct ledger_sample *sample);
/* The owner in whose account a use counts. NULL: nobody's. */
struct owner *ledger_counts_for(const struct ledger *ledger, const struct ledger_use *use,
                                size_t memory);
/* Books what members use, as the sample shows it, anew: more is promised. */
void ledger_book_uses(struct ledger *ledger, const struct ledger_sample *sample);
/* The same, where these shares of a lease are the first that its owner was promised there. */
void ledger_book_first(struct ledger *ledger, const struct ledger_sample *sample,
                       const struct lease *lease, const bool *first);

/* ---- ledger_queue.c ---- */
void ledger_decide(struct ledger *ledger, const struct ledger_sample *sample);

#endif
