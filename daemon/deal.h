/* SPDX-License-Identifier: MIT */
/*
 * What is known of a request, and of the lease that it becomes, besides its figures, which are the ledger's: who asked,
 * what for, who counts as a member, who waits for the answer.
 */
#ifndef VRAM_DAEMON_DEAL_H
#define VRAM_DAEMON_DEAL_H

#include "daemon/http.h"
#include "daemon/ledger.h"

#define DEAL_LABEL_MAX 65
#define DEAL_ATTACHED_MAX 32 /* attachments of one lease */
#define DEAL_WAITS_FOR_MAX 384
#define DEAL_NOTE_MAX 256
#define DEAL_MADE_ROOM_MAX 512

enum deal_kind {
    DEAL_ASKED = 0,
    DEAL_HELD = 1,
    DEAL_GROWTH = 2, /* a lease wants more: its own deal stands beside */
};

/* Who counts as a member besides descendants. */
struct deal_member {
    char *text;          /* owned; a pid's as this namespace has it */
    uint64_t start_time; /* of a pid: which process it is; else 0 */
};

struct deal {
    char id[LEDGER_ID_MAX];
    enum deal_kind kind;
    char grows[LEDGER_ID_MAX]; /* of DEAL_GROWTH: which lease */
    uint64_t owner;            /* its key */
    pid_t asker;               /* who asked, for people */
    uid_t uid;                 /* by which it is told who may change it */
    uint32_t user; /* under which it is counted: the same, or one that a container's label names */
    char label[DEAL_LABEL_MAX]; /* "": none */
    size_t attached_count;
    struct deal_member *attached; /* owned */
    uint64_t since_ns;            /* 1970 */
    uint64_t asked_ns;            /* CLOCK_MONOTONIC */

    /* of a request */
    struct ledger_request request; /* its candidates point into `candidates` */
    char **candidates;             /* owned */
    struct http_request *http;     /* NULL: nobody waits for the answer now */
    bool reached;                  /* its candidates are those that its owner can open */
    size_t told_position;
    char told[DEAL_WAITS_FOR_MAX];
    char note[DEAL_NOTE_MAX]; /* of holders that are asked for it, or cannot be; "": none */
    char made_room[DEAL_MADE_ROOM_MAX]; /* what came of asking them; "": none was asked */
};

struct deals;

struct deals *deals_new(void);                 /* NULL: out of memory */
struct deals *deals_free(struct deals *deals); /* returns NULL */

/* NULL: out of memory, or there is one of this id. Whether it is one is not looked at. */
struct deal *deals_add(struct deals *deals, const char *id);
void deals_remove(struct deals *deals, struct deal *deal);
struct deal *deals_find(const struct deals *deals, const char *id); /* NULL: none */
size_t deals_count(const struct deals *deals);
struct deal *deals_at(const struct deals *deals, size_t i);

/* Both copy; 0, -ENOMEM. */
MUST_CHECK int deal_attach(struct deal *deal, const char *text, uint64_t start_time);
MUST_CHECK int deal_add_candidate(struct deal *deal, const char *uuid);

/* Its candidates are no others than these any more, where any of them are among these. */
void deal_restrict(struct deal *deal, const char *const *uuids, size_t count);

/* Whether it is one: 16 hexadecimal digits, small ones. */
bool deal_is_id(const char *text);

#endif
