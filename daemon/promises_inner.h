/* SPDX-License-Identifier: MIT */
#ifndef VRAM_DAEMON_PROMISES_INNER_H
#define VRAM_DAEMON_PROMISES_INNER_H

#include <jansson.h>

#include "daemon/deal.h"
#include "daemon/journal.h"
#include "daemon/members.h"
#include "daemon/metrics.h"
#include "daemon/owners.h"
#include "daemon/promises.h"
#include "daemon/reclaim.h"

struct promises {
    struct daemon *daemon;
    struct ledger *ledger;
    struct members *members;
    struct owners *owners;
    struct deals *deals;
    struct reclaim *reclaim;
    struct offers *offers;
    const char *journal_path;
    struct journal *journal;
    bool journal_ready;
    const char *trouble; /* "journal_damaged" …; NULL: none */
    char trouble_text[JOURNAL_PROBLEM_MAX];
    int record_error; /* why the last record failed */
    bool ending;
    bool restored; /* and who waited before the restart may still return */
    bool wakes;    /* samples wake sleeping GPUs */
    uint64_t sample_cost_ns;
    struct event *on_time, *on_progress;
    size_t told_to;  /* how far the present round has told waiters how they stand */
    bool tell_again; /* something changed during it */
    bool has_notes;  /* of holders, at waiters */
    uint64_t *outstanding, *own, *kept; /* for promises_fill(), one per GPU */
    bool *closed;
    size_t figure_room;
    size_t drained_count;
    char (*drained)[LEDGER_UUID_MAX];    /* GPUs on which nothing new is promised */
    uint64_t verdicts[METRICS_VERDICTS]; /* how often each was given */
};

/* ---- promises.c ---- */
/* Begins with nothing promised, whatever was known before. 0; -ENOMEM. */
MUST_CHECK int promises_begin(struct promises *promises);
/* After anything that may change who waits: times, samples, the epoch. `ask`: a sample begun from now on is wanted. */
void promises_stir(struct promises *promises, bool ask);
/* Wants a sample begun since then, for a request that has come or is about to. */
void promises_look(struct promises *promises, uint64_t since_ns);
/* The owner that a process counts for and holds something; 0: none. */
uint64_t promises_holder_of(struct promises *promises, pid_t pid, uint64_t start_time);
/* The owner with a lease that a process counts for; 0: none. */
uint64_t promises_counts_for(struct promises *promises, const struct vram_process *process);
/* Makes an owner known to the members, or a holder of one that asked. 0, -ENOMEM. */
MUST_CHECK int promises_join(struct promises *promises, const struct owner_process *owner);
/* Tells the members what became of an owner; forgets it where it has no business left. */
void promises_settle_owner(struct promises *promises, uint64_t key);
/* Makes a deal's attachments members. 0; -ENOMEM, -EINVAL. */
MUST_CHECK int promises_attach(struct promises *promises, const struct deal *deal,
                               const struct deal_member *member);
/* Takes a deal out. What waits for its answer must have been answered. */
void promises_drop(struct promises *promises, struct deal *deal);

/* ---- promises_figures.c ---- */
int promises_fill(void *data, const struct peer *peer, const struct vram_snapshot *snapshot,
                  struct vram_promises *into);
const char *promises_lease(void *data, const struct vram_process *process);

/* ---- promises_ceilings.c ---- */
/* Whether samples must have command lines. */
bool ceilings_need_commands(const struct promises *promises);
/* The number of the ceiling that is for a process on a GPU; 0: none. */
uint32_t ceilings_number(const struct promises *promises, const struct vram_gpu *gpu,
                         const struct vram_process *process);
/* All of them on the snapshot's GPUs, for free(3). 0; -ENOMEM. */
MUST_CHECK int ceilings_list(const struct promises *promises, const struct vram_snapshot *snapshot,
                             struct ledger_ceiling **ret_list, size_t *ret_count);
/* Those that a process is under whether or not it holds memory: bit 0 is number 1. */
uint64_t ceilings_of_process(const struct promises *promises, pid_t pid, uint64_t start_time,
                             uid_t uid);
/* The same of an owner, and of what it has attached to its leases. */
uint64_t ceilings_of_owner(const struct promises *promises, uint64_t key);
/* Tells the ledger which of them an owner's leases stand for. */
void ceilings_put_under(struct promises *promises, uint64_t key);
/* The configuration is another. */
void ceilings_changed(struct promises *promises);

/* ---- promises_drain.c ---- */
bool drain_has(const struct promises *promises, const char *uuid);
/* Notes it, without writing it down. 0; -ENOMEM; -ENOSPC. */
MUST_CHECK int drain_note(struct promises *promises, const char *uuid, bool drained);
void drain_write_list(const struct promises *promises, struct json *json, const char *key);

/* ---- promises_ops.c ---- */
extern const struct ledger_ops promises_ledger_ops;
/* Tells some waiters their positions, where these have changed: those at `from`, which moves on. Returns whether there
 * are more. */
MUST_CHECK bool promises_tell_waiting(struct promises *promises, size_t *from);
/* A sample failed: answers those whom it would have served, where nothing better can be had. */
void promises_fail(struct promises *promises, const struct sample *sample);
/* What a user may have and has. */
void promises_say_limit(const struct promises *promises, uint32_t uid, char *text, size_t size);
/* What a waiter waits for, in words. */
void promises_waits_for(const struct promises *promises, const struct deal *deal,
                        const struct ledger_waiter *waiter, char text[DEAL_WAITS_FOR_MAX]);

/* ---- promises_request.c ---- */
#define REQUEST_LONGEST_MS ((uint64_t)1 << 40) /* decades */

/* Everything here that fails has answered the request. */

/* The body, an object to be given back with json_decref(); NULL: it is none. */
json_t *request_body(struct http_request *request);
void request_fail(struct http_request *request, const char *key, const char *what);
/* A number of the body, which may be null or left out: then `number` stays. */
bool request_number(struct http_request *request, const json_t *body, const char *key,
                    uint64_t most, uint64_t *number);
/* All of a request for a lease but its owner and members. */
bool request_read(struct http_request *request, const json_t *body, struct deal *deal);
/* Who asks, a process that can be seen from here; NULL: it was answered. */
const struct peer *request_peer(struct http_request *request);
/* The owner that the body names; NULL: it was answered. */
struct owner_process *request_owner(struct promises *promises, struct http_request *request,
                                    const json_t *body, const struct peer *peer);
/* The deal of this id, or of one that begins so, if who asks may change it. */
struct deal *request_deal(const struct promises *promises, struct http_request *request,
                          const struct peer *peer, const char *id);
/* A list of attachments, added to the deal as this PID namespace has them. */
bool request_members(const struct promises *promises, struct http_request *request,
                     const json_t *list, const char *key, const struct peer *peer,
                     struct deal *deal);

/* ---- promises_record.c ---- */
/* Each appends a record. 0; negative errno. */
MUST_CHECK int record_lease(struct promises *promises, const struct deal *deal,
                            const struct ledger_lease *lease);
MUST_CHECK int record_wait(struct promises *promises, const struct deal *deal);
/* The journal's first record: where it was written. */
MUST_CHECK int record_place(struct promises *promises);
/* The PID namespace of this daemon; 0: it cannot be told. */
uint64_t record_namespace(void);
int record_end(struct promises *promises, const char *id);
MUST_CHECK int record_drain(struct promises *promises, const char *uuid, bool drained);
int record_base(struct promises *promises, uint64_t owner, const char *uuid, int64_t base_bytes);
int record_member(struct promises *promises, const struct owner_process *owner, pid_t pid,
                  uint64_t start_time);
/* Writes the journal anew where it has become long, or was lost with its directory (`anew`). */
void record_compact(struct promises *promises, bool anew);
/* ---- promises_restore.c ---- */
/* Opens the journal and restores what it tells. 0, also where that fails (then `trouble` says so); -ENOMEM. */
MUST_CHECK int record_restore(struct promises *promises, bool forget);
/* Tries once more where the journal could not be opened. */
void record_retry(struct promises *promises);
/* The end: leaves the journal for who comes next, or deletes it where nothing is promised. */
void record_leave(struct promises *promises);

/* ---- promises_history.c ---- */
/* Tells history of a request that waits, and of what it, or its growth, has become. */
void promises_tell_queued(struct promises *promises, const struct deal *deal);
void promises_tell_granted(struct promises *promises, const struct deal *deal,
                           const struct ledger_lease *lease);

/* What the members of leases hold. */
void promises_tell_held(struct promises *promises, const struct vram_snapshot *snapshot);

/* ---- promises_view.c ---- */
/* {"schema": 1, "verdict": …} for free(3); NULL: out of memory. `sum` and `lease` may be NULL. */
char *view_verdict(const struct promises *promises, uint32_t verdict, const struct deal *deal,
                   const struct ledger_lease *lease, const struct ledger_sum *sum);
char *view_leases(const struct promises *promises);
/* The name of a user, or of who a container's label names; the number where there is none. */
void view_user(uid_t uid, char name[METRICS_USER_MAX]);
/* CLOCK_MONOTONIC as a date, in nanoseconds since 1970: as of now. */
uint64_t view_date_of(uint64_t monotonic_ns);
/* A GPU for people: "GPU 0". */
const char *view_gpu(const struct promises *promises, const char *uuid, char *text, size_t size);

/* ---- promises_reach.c ---- */
/* Of requests that have not met a sample yet: with the first one it is known which GPUs their owners can open. */
void reach_find_all(struct promises *promises, const struct vram_snapshot *snapshot);

/* ---- promises_room.c ---- */
/* Holders are asked to give memory back for who waits. 0; -ENOMEM. */
MUST_CHECK int room_open(struct promises *promises);
/* As the configuration has them now. */
void room_configure(struct promises *promises);
/* VRAM_TAKE_…: what samples must have for it besides. */
uint32_t room_take(const struct promises *promises);
/* With each sample: before the ledger has it, and after. */
void room_look(struct promises *promises, const struct sample *sample);
void room_serve(struct promises *promises, const struct sample *sample);
/* It is granted: what was done for it is told. */
void room_settle(struct promises *promises, const struct deal *deal);

/* ---- promises_offer.c ---- */
struct offers *offers_new(void); /* NULL: out of memory */
struct offers *offers_free(struct offers *offers);
bool offers_any(const struct promises *promises);
/* What each lease on offer could give back, as the ledger has its promise and the sample its members' memory; valid until
 * the next look. 0; -ENOMEM. */
MUST_CHECK int offers_look(struct promises *promises, const struct vram_snapshot *snapshot,
                           const struct reclaim_offer **ret_offers, size_t *ret_count);
/* The same of those that are being asked, as the ledger has their promises by now. */
void offers_look_again(struct promises *promises);
/* As struct reclaim_ops has it. */
MUST_CHECK int offers_ask(struct promises *promises, const char *lease,
                          const struct reclaim_wanted *wanted, const char *id);
/* What came of asking it is known. */
void offers_told(const struct promises *promises, const char *lease);
/* A lease has ended; `why`: enum ledger_end. */
void offers_ended(const struct promises *promises, const char *lease, uint32_t why);

/* ---- promises_metrics.c ---- */
int promises_metrics(void *data, struct metrics_leases *into);

#endif
