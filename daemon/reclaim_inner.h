/* SPDX-License-Identifier: MIT */
/* What the files of reclaim.h share. */
#ifndef VRAM_DAEMON_RECLAIM_INNER_H
#define VRAM_DAEMON_RECLAIM_INNER_H

#include "daemon/reclaim.h"
#include "daemon/reclaim_ask.h"

#define SECOND_NS ((uint64_t)1000000000)

enum load {
    LOAD_UNKNOWN,
    LOAD_LOW,
    LOAD_HIGH,
};

/* In which a holder is, as far as asking it goes. */
enum readiness {
    ABSENT, /* it has nothing to give back */
    READY,  /* it may be asked */
    SOON,   /* it may be, once it was seen idle for long enough, or has said that it is */
    BUSY,
    UNTOLD,  /* nobody can tell whether it is busy */
    RESTING, /* nothing came back when it was asked */
    ASKED,
};

struct holder {
    struct reclaim *reclaim;
    char name[RECLAIM_NAME_MAX];
    struct config_holder config;

    /* of a lease */
    char lease[RECLAIM_ID_MAX]; /* "": it is a configured one */
    bool ready, seen;           /* as the last look has it; in the present one */

    /* as it was looked at last */
    uint64_t *held; /* for each GPU of the sample */
    uint64_t held_bytes, leased_bytes;
    enum load load;
    uint64_t idle_since_ns; /* 0: it is not idle */

    struct reclaim_ask *inquiry;
    uint64_t word_ns; /* when it said whether it is busy; 0: never */
    bool word_busy;
    char busy_id[RECLAIM_ID_MAX]; /* of a lease: for whom it was busy last */

    struct reclaim_ask *ask; /* is being asked */
    bool is_open;            /* was asked, and what came of it is not told yet */
    bool answered;
    char failure[RECLAIM_FAILURE_MAX];
    char id[RECLAIM_ID_MAX]; /* for whom */
    uint64_t asked_ns, before_bytes, least_bytes, least_ns;
    char uuid[96];

    unsigned failures; /* in a row */
    uint64_t rest_until_ns;
    char last[RECLAIM_TEXT_MAX];
    uint64_t last_ns;
    struct reclaim_tally tally; /* of a configured one */
};

struct reclaim {
    struct event_base *base;
    const struct reclaim_ops *ops;
    void *data;
    size_t count, configured; /* these first, then leases */
    struct holder **holders;
    bool wants_commands;
    struct reclaim_tally lease_tally;
    size_t gpu_count;
    uint64_t looked_ns;
    struct vram_snapshot *kept; /* that was looked at last */
};

/* ---- reclaim.c ---- */
struct holder *holder_new(struct reclaim *reclaim, const char *name);
struct holder *holder_free(struct holder *holder); /* returns NULL */

/* ---- reclaim_look.c ---- */
enum readiness readiness_of(const struct holder *holder, uint64_t now_ns);
/* A word that is wanted and not fresh is asked for. */
void holder_inquire(struct holder *holder, uint64_t now_ns);

/* ---- reclaim_result.c ---- */
uint64_t holder_returned(const struct holder *holder);
/* What came back is told; who gave nothing is left alone, longer each time. */
void holder_conclude(struct holder *holder, uint64_t now_ns);
/* With each look at one that was asked. */
void holder_judge(struct holder *holder, uint64_t now_ns);
/* Its client says, or it is known without it, that it is busy: this is told at once, and to the same request once. */
void holder_busy(struct holder *holder, uint64_t now_ns);
/* Its talk has ended: reclaim_ask_function. */
void holder_asked(void *data, const char *failure, bool busy);

#endif
