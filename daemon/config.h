/* SPDX-License-Identifier: MIT */
/*
 * The daemon's configuration: an INI file (packaging/vram.conf shows one) that is read strictly. What it does not know
 * is an error with its place, for a setting that is misspelt must not be one that is not obeyed.
 *
 *     [daemon]       margin, lease_group, admin_group, max_waiters, max_leases, linger, idle_after, idle_notice, history,
 *                    history_max, on_event, on_event_kinds, on_event_timeout, listen, token_file, public_host,
 *                    container_user_label
 *     [gpu SEL]      margin; SEL is an index, a UUID or its beginning, or a PCI address
 *     [users]        memory, gpus, leases, waiters: what a user may have at once
 *     [user NAME]    the same for one
 *     [ceiling NAME] match, size, gpu: room that is kept for programs that never ask
 *     [holder NAME]  config_holders.h
 */
#ifndef VRAM_DAEMON_CONFIG_H
#define VRAM_DAEMON_CONFIG_H

#include "common/attr.h"
#include "daemon/config_holders.h"
#include "daemon/gate.h"
#include "daemon/match.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_PATH "/etc/vram.conf"
#define CONFIG_BYTES_MAX 65536 /* of a file */
#define CONFIG_GROUP_MAX 33
#define CONFIG_SELECTOR_MAX 48
#define CONFIG_NAME_MAX 33
#define CONFIG_GPUS_MAX 256
#define CONFIG_CEILINGS_MAX 64
#define CONFIG_SIZE_MAX ((uint64_t)1 << 50) /* more than any card has */
#define CONFIG_PATH_MAX 256
#define CONFIG_COMMAND_MAX 256
#define CONFIG_HOSTS_MAX 256
#define CONFIG_LABEL_MAX 129
#define CONFIG_PROBLEM_MAX 512

/* What must stay free on a GPU after a promise is kept: bytes, or where these are 0 a part of its total. */
struct config_margin {
    uint64_t bytes;
    uint32_t millipercent; /* thousandths of a percent, at most 100 000 */
};

struct config_gpu {
    char selector[CONFIG_SELECTOR_MAX]; /* as it is written */
    struct config_margin margin;
    unsigned line; /* where it is set; 0: its section sets none */
};

enum config_history {
    CONFIG_HISTORY_AUTO = 0, /* of the machine's own daemon */
    CONFIG_HISTORY_ON = 1,
    CONFIG_HISTORY_OFF = 2,
};

/* What a user may have at once. UINT64_MAX, UINT32_MAX: nothing is said of it. */
struct config_limits {
    uint64_t bytes; /* of its leases, on all GPUs together */
    uint32_t gpus, leases, waiters;
};

struct config_user {
    char name[CONFIG_NAME_MAX]; /* or number */
    struct config_limits limits;
    unsigned line;
};

/* Room that is kept for programs that never ask. */
struct config_ceiling {
    char name[CONFIG_NAME_MAX];
    struct match match; /* whose memory fills it */
    uint64_t size_bytes;
    char gpus[CONFIG_GPUS_MAX]; /* selectors, with blanks between them; "": every GPU */
    unsigned line;              /* where its section begins */
};

struct config {
    struct config_margin margin; /* of GPUs that have none of their own: 1024 MiB */
    char lease_group
        [CONFIG_GROUP_MAX]; /* may lease, at the system's daemon: "vram"; "": administrators alone */
    char admin_group[CONFIG_GROUP_MAX]; /* administrators besides root: ""; that is nobody */
    uint32_t max_waiters;               /* requests that wait: 4096 */
    uint32_t max_leases;                /* 4096 */
    uint64_t linger_ns; /* of a daemon started on demand that nobody uses: 60 s; 0: it stays */
    char listen[GATE_TEXT_MAX];       /* where to listen on TCP for reading; "": nowhere */
    char token_file[CONFIG_PATH_MAX]; /* whose token readers must have; "": none need */
    char public_host
        [CONFIG_HOSTS_MAX];     /* names of this machine besides localhost, with blanks between */
    uint32_t history;           /* enum config_history: whether one is kept */
    uint64_t history_max_bytes; /* what its file may take: 64 MiB */
    char on_event[CONFIG_COMMAND_MAX]; /* what the shell is to run for each event; "": nothing */
    uint32_t on_event_kinds;           /* a bit for each enum history_kind; 0: all */
    uint64_t on_event_timeout_ns;      /* 10 s */
    char container_user_label[CONFIG_LABEL_MAX]; /* "vram.user"; "": containers have none */
    struct config_gpu *gpus;                     /* in the order of the file */
    size_t gpu_count;
    uint64_t idle_after_ns;      /* leases that hold nothing for so long are ended: 0; none are */
    uint64_t idle_notice_ns;     /* so long after they were told: 5 min */
    struct config_limits limits; /* of every user but root: none */
    struct config_user *users;
    size_t user_count;
    struct config_ceiling
        *ceilings; /* in the order of the file: of several for a process the first counts */
    size_t ceiling_count;
    struct config_holder *holders; /* in the order of the file */
    size_t holder_count;
};

/* What holds where nothing is configured. Cannot fail; config_done() is fine with it. */
void config_init(struct config *config);
void config_done(struct config *config);

/*
 * Reads a file. `path` NULL: CONFIG_PATH, which may be missing. 0; on failure *ret_config is untouched (so that one
 * that was read before goes on), and `problem` is a sentence with the place: -EINVAL where the file says what it cannot,
 * else why it was not read.
 */
MUST_CHECK int config_load(const char *path, struct config *ret_config,
                           char problem[CONFIG_PROBLEM_MAX]);

/* The same of a text; `name` is what problems call it. */
MUST_CHECK int config_parse(const char *name, const char *text, size_t length,
                            struct config *ret_config, char problem[CONFIG_PROBLEM_MAX]);

/* What a user may have: what its own section says, and for the rest what [users] says, which does not mean root. */
struct config_limits config_limits_for(const struct config *config, uint32_t uid, const char *name);

/* Whether the text has the form of a GPU's name; whether this one means that GPU. `uuid` and `pci` may be NULL. */
bool config_is_selector(const char *text);
bool config_means(const char *selector, uint64_t index, const char *uuid, const char *pci);
/* The next of a list of selectors. False: there is none any more. */
bool config_next_selector(const char **rest, char selector[CONFIG_SELECTOR_MAX]);

/* Whether a ceiling keeps room on that GPU. */
bool config_ceiling_is_on(const struct config_ceiling *ceiling, uint64_t index, const char *uuid,
                          const char *pci);

/*
 * The margin of a GPU: that of the last section that means it, else everybody's. `uuid` and `pci` may be NULL. A MIG
 * instance has its card's index and PCI address, and so its card's margin where its UUID has none.
 */
struct config_margin config_margin_for(const struct config *config, uint64_t index,
                                       const char *uuid, const char *pci);

/* In bytes, of a GPU with this total. VRAM_UNKNOWN where it is a part of an unknown total. */
uint64_t config_margin_bytes(struct config_margin margin, uint64_t total_bytes);

#endif
