/* SPDX-License-Identifier: MIT */
/*
 * The daemon's parts and what joins them. One thread, one loop: nothing here waits for a driver, a disk that may be slow, or
 * a client.
 *
 * The figures come from the collector when somebody asks, and are polled while somebody waits for them to change. What
 * promises are, only `struct promises_ops` tells: the frame works without any.
 */
#ifndef VRAM_DAEMON_DAEMON_H
#define VRAM_DAEMON_DAEMON_H

#include "common/buf.h"
#include "common/endpoint.h"
#include "common/json.h"
#include "daemon/collector.h"
#include "daemon/config.h"
#include "daemon/containers.h"
#include "daemon/grantor.h"
#include "daemon/http.h"
#include "daemon/metrics.h"
#include "daemon/parked.h"
#include "daemon/peaks.h"
#include "daemon/place.h"
#include "daemon/rights.h"
#include "include/vram.h"
#include <event2/event.h>

struct daemon;
struct history;
struct hook;
struct streams;

/* What the frame asks of the module that makes promises. `data` is daemon->promises_data. */
struct promises_ops {
    /* Fills in what is promised of the snapshot's GPUs, as `peer` is to see it (NULL: nobody in particular): the arrays,
     * which stay valid until the next call, and `waiters`. 0 or -ENOMEM. */
    int (*fill)(void *data, const struct peer *peer, const struct vram_snapshot *snapshot,
                struct vram_promises *into);
    /* The lease that a process counts for; NULL: none. */
    const char *(*lease)(void *data, const struct vram_process *process);
    /* A sample came, whoever asked for it, or none did (sample->snapshot is NULL). */
    void (*sampled)(void *data, const struct sample *sample);
    /* VRAM_TAKE_…: what samples must have while promises stand. */
    uint32_t (*take)(void *data);
    /* How often samples must be taken now, and of what; 0: none is needed. */
    uint64_t (*poll_ns)(void *data, uint32_t *ret_take);
    /* Whether the daemon must stay: leases, waiters. */
    bool (*is_busy)(void *data);
    /* Why nothing can be promised though this is the grantor and not paused: "journal_damaged", "journal_newer" and a sentence;
     * NULL: it can. */
    const char *(*trouble)(void *data, const char **ret_message);
    /* What metrics tell of promises; `into` is empty. 0 or -ENOMEM. */
    int (*metrics)(void *data, struct metrics_leases *into);
    /* The grantor's lock has become ours; pause or resume; the place was made anew, so the journal must be; the configuration was read again;
     * the end: waiters are not taken back, they return to the next daemon. */
    void (*promising_changed)(void *data);
    void (*moved)(void *data);
    void (*reload)(void *data);
    void (*ending)(void *data);
};

struct daemon_options {
    const char *driver;              /* as given; NULL: the environment's */
    const struct endpoint *endpoint; /* its socket, its journal, the driver's canonical name */
    bool is_private;                 /* a user's own: who can connect may lease */
    const char *listen, *token_file; /* for TCP; NULL: as configured */
    bool config_is_named;            /* on the command line */
    bool is_system;                  /* it has the machine's own socket */
    const char *history; /* as --history has it: "on", "off", a file; NULL: as configured */
    uint64_t linger_ns;  /* ends after so long without use; 0: never */
    uint64_t call_timeout_ns;
};

struct daemon {
    struct daemon_options options;
    struct config config;
    struct rights rights;
    struct event_base *base;
    struct http_server *http;
    struct listener *listener; /* for reading over TCP; NULL: none */
    struct collector *collector;
    struct grantor *grantor;
    struct place *place;
    struct parking *parking;
    struct containers *containers;       /* NULL: none is looked at */
    const struct promises_ops *promises; /* NULL: nothing is promised */
    void *promises_data;
    struct history *history; /* NULL: none is kept, and nobody is told of events */
    struct hook *hook;       /* NULL: no command is run for events */
    struct streams *streams;

    /* The last sample that had figures. */
    struct vram_snapshot *snapshot;
    uint32_t snapshot_take;
    uint64_t snapshot_begun_ns, snapshot_ended_ns;

    /* The last ones with process lists, and with temperatures and loads: not every sample has either. */
    struct vram_snapshot *listed, *healthy;
    uint64_t listed_ns, healthy_ns; /* when they were begun */

    struct peaks peaks; /* of the last minute */

    struct metrics_collector collected;
    struct http_counts http_counts;
    uint64_t metrics_since_ns, metrics_until_ns; /* figures are kept fresh for who reads metrics */

    uint64_t epoch;
    uint64_t since_ns;    /* 1970: when it began */
    uint64_t last_use_ns; /* when somebody last needed it */
    bool ending;
    struct event *on_epoch, *on_poll;
    uint64_t poll_due_ns;
};

/* ---- figures.c ------------------------------------------------------------------------------- */

/* The collector's deliveries come here; `data` is the daemon. */
void figures_sampled(void *data, const struct sample *sample);
/* Sees to it that samples are taken as long as they are needed. After anything that changes who waits. */
void figures_poll(struct daemon *daemon);
/* Whether they are, each second and for whoever reads: then nobody else need ask. */
bool figures_are_kept(const struct daemon *daemon);
/* Keeps fresh for some minutes what metrics tell. */
void figures_want(struct daemon *daemon);
#define FIGURES_OF_METRICS (VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH)
/* Figures or promises have changed: the epoch is another, and who waits for that is told, after the events of now. */
void daemon_changed(struct daemon *daemon);
/* The events behind both. 0; -ENOMEM. */
MUST_CHECK int figures_init(struct daemon *daemon);
void figures_done(struct daemon *daemon);

/* ---- api.c ----------------------------------------------------------------------------------- */

/* Finds the route of a request; `data` is the daemon. */
void api_handle(struct http_request *request, void *data);

/* The same for whoever asks over TCP, where there is only something to read. */
void api_handle_reading(struct http_request *request, void *data);

/* The object of /v1/daemon, as a member called `key`, or by itself where `key` is NULL. */
void api_write_daemon(struct daemon *daemon, struct json *json, const char *key);

/* The object of /v1/snapshot as everybody may see it, into an empty buffer. 0 or -ENOMEM. */
MUST_CHECK int api_write_snapshot(struct daemon *daemon, const struct vram_snapshot *snapshot,
                                  struct buf *buf);

#define DAEMON_MESSAGE_MAX 1024 /* with its NUL; a remedy that is cut off is none */

/* Whether promises are made, and if not why: the word and the sentence of /v1/daemon. */
bool daemon_is_promising(const struct daemon *daemon, const char **ret_reason, char *message,
                         size_t size);

/* Parks a request until the epoch is not `after` (its query parameters `after` and `timeout_ms`). 1: parked; 0: there is nothing to wait
 * for; negative: it was answered with an error. */
int api_park(struct daemon *daemon, struct http_request *request, parked_function answer);

#endif
