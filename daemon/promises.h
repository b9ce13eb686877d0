/* SPDX-License-Identifier: MIT */
/*
 * The desk where promises are made: it joins the ledger, which decides, with what the ledger does not know: processes
 * and their ends, members, the driver's samples, the journal, and the clients who wait.
 *
 *   promises.c          life, samples, owners' ends, time
 *   promises_ops.c      what the ledger says: grants written down and told, ends, states
 *   promises_ceilings.c room kept for programs that never ask
 *   promises_drain.c    GPUs on which nothing new is promised
 *   promises_figures.c  what is promised of a snapshot's figures
 *   promises_record.c   the journal's records
 *   promises_restore.c  the restart that they are for
 *   promises_view.c     JSON of leases, waiters and answers
 *   promises_history.c  what history hears of them
 *   promises_request.c  what a request says, and who makes it
 *   promises_api.c      the routes below /v1/leases
 *   promises_metrics.c  leases as metrics
 *   promises_reach.c    which GPUs those who ask can open
 *   promises_room.c     holders are asked to give memory back (reclaim.h), for who waits
 */
#ifndef VRAM_DAEMON_PROMISES_H
#define VRAM_DAEMON_PROMISES_H

#include "daemon/daemon.h"

struct promises;

/*
 * Joins the daemon: sets daemon->promises and daemon->promises_data, and reads the journal of its endpoint; with `forget`
 * one that cannot be read is begun anew. 0, also where the journal is of no use: then nothing is promised, and the
 * daemon says so. -ENOMEM.
 */
MUST_CHECK int promises_open(struct daemon *daemon, bool forget);
void promises_close(struct daemon *daemon);

/* Each lease that stands, as history has it. */
struct history_deal;
typedef void (*promises_each_function)(void *data, const struct history_deal *deal, bool granted);
void promises_each(struct daemon *daemon, promises_each_function each, void *data);

/* The object of /v1/leases, for free(3). NULL: nothing is promised here, or out of memory. */
char *promises_leases(const struct daemon *daemon);

/* The routes. */
void promises_drain(struct daemon *daemon, struct http_request *request);
void promises_undrain(struct daemon *daemon, struct http_request *request);
void promises_list(struct daemon *daemon, struct http_request *request);
void promises_ask(struct daemon *daemon, struct http_request *request);
void promises_offer(struct daemon *daemon, struct http_request *request);
void promises_change(struct daemon *daemon, struct http_request *request);
void promises_end(struct daemon *daemon, struct http_request *request);
void promises_holders(struct daemon *daemon, struct http_request *request);

#endif
