/* SPDX-License-Identifier: MIT */
/*
 * The daemon's memory of what was: it has the driver's memory figures taken once a second and its process lists every five,
 * lets the core make rows of them, and writes these every ten seconds, and at the end.
 *
 *   history.c            life, samples, writing
 *   history_leases.c     leases, as the desk tells of them
 *   history_needs.c      the routes /v1/needs: what is learned from leases; history_need.c is pure, history_learned.c the store
 *   history_api.c        the routes /v1/history …, /v1/processes, /v1/events; history_asking.c what all questions have
 *   history_report.c     the route /v1/report; history_report_read.c reads its rows, in a thread; history_tally.c is pure
 *   history_core.c, history_processes.c      what becomes of samples: pure
 *   history_store.c, history_write.c, history_prune.c, history_query.c      the file; history_sync.c has it on the disk
 *   history_time.c       moments and steps
 *
 * Nothing of it may cost the daemon its work: where history cannot be kept that is said, once, and all else goes on. Every
 * function here does nothing where none is kept.
 */
#ifndef VRAM_DAEMON_HISTORY_H
#define VRAM_DAEMON_HISTORY_H

#include "daemon/daemon.h"

/* Begins, changes or ends it, as the command line and the configuration say now. */
void history_configure(struct daemon *daemon);
/* Writes what is left. Before the promises are closed. */
void history_close(struct daemon *daemon);

/* A sample came, whoever asked for it. After the promises have seen it. */
void history_sampled(struct daemon *daemon, const struct sample *sample);

/* What metrics tell of it. False: none is kept, and no command is run for events. */
struct history_figures {
    const struct history_counts *counts;
    uint64_t bytes;    /* of the file; VRAM_UNKNOWN: there is none */
    uint64_t since_ns; /* 1970; VRAM_UNKNOWN */
};
bool history_figures(const struct daemon *daemon, struct history_figures *ret_figures);

/* ---- What the desk tells --------------------------------------------------------------------- */

struct history_deal {
    const char *id, *label, *user; /* label "": none */
    pid_t pid;                     /* its owner, or who asked */
    uint64_t size_bytes, since_ns; /* 1970 */
    size_t gpu_count;
    const char *const *gpus; /* UUIDs */
    bool
        is_mixed; /* its owner holds memory, or leases, besides: nothing is to be learned from it */
};
void history_lease_queued(struct daemon *daemon, const struct history_deal *deal);
void history_lease_granted(struct daemon *daemon, const struct history_deal *deal);
/* What its members hold: a look at all leases begins, finds each of their processes, and ends. */
void history_leases_look(struct daemon *daemon);
void history_lease_saw(struct daemon *daemon, const char *id, const struct vram_gpu *gpu,
                       uint64_t used_bytes);
void history_leases_looked(struct daemon *daemon);
/* Of one that nobody has heard of: nothing. */
void history_lease_ended(struct daemon *daemon, const char *id, const char *why);
/* Its promise is broken: by its own members, or (`squeezed`) by others; pid 0: nobody can be named. */
void history_lease_broken(struct daemon *daemon, const char *id, bool squeezed, pid_t pid,
                          const char *name);

/* A holder was asked to give memory back; `uuid` NULL: it held none. */
void history_holder_asked(struct daemon *daemon, const char *holder, const char *uuid,
                          uint64_t returned_bytes, const char *text);

/* ---- The routes ------------------------------------------------------------------------------ */

void history_get_memory(struct daemon *daemon, struct http_request *request);
void history_get_processes(struct daemon *daemon, struct http_request *request);
void history_get_leases(struct daemon *daemon, struct http_request *request);
void history_get_events(struct daemon *daemon, struct http_request *request);
void history_get_report(struct daemon *daemon, struct http_request *request);
void history_get_needs(struct daemon *daemon, struct http_request *request);
void history_forget_need(struct daemon *daemon, struct http_request *request);

#endif
