/* SPDX-License-Identifier: MIT */
/*
 * The daemon's configuration: an INI file (packaging/vram.conf shows one) that is read strictly. What it does not know
 * is an error with its place, for a setting that is misspelt must not be one that is not obeyed.
 *
 *     [daemon]       margin, lease_group, admin_group, max_waiters, max_leases, linger, history, history_max, listen, token_file,
 *                    public_host
 *     [gpu SEL]      margin; SEL is an index, a UUID or its beginning, or a PCI address
 *     [holder NAME]  config_holders.h
 */
#ifndef VRAM_DAEMON_CONFIG_H
#define VRAM_DAEMON_CONFIG_H

#include "common/attr.h"
#include "daemon/config_holders.h"
#include "daemon/gate.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_PATH "/etc/vram.conf"
#define CONFIG_BYTES_MAX 65536 /* of a file */
#define CONFIG_GROUP_MAX 33
#define CONFIG_SELECTOR_MAX 48
#define CONFIG_PATH_MAX 256
#define CONFIG_HOSTS_MAX 256
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
    struct config_gpu *gpus;    /* in the order of the file */
    size_t gpu_count;
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

/*
 * The margin of a GPU: that of the last section that means it, else everybody's. `uuid` and `pci` may be NULL. A MIG
 * instance has its card's index and PCI address, and so its card's margin where its UUID has none.
 */
struct config_margin config_margin_for(const struct config *config, uint64_t index,
                                       const char *uuid, const char *pci);

/* In bytes, of a GPU with this total. VRAM_UNKNOWN where it is a part of an unknown total. */
uint64_t config_margin_bytes(struct config_margin margin, uint64_t total_bytes);

#endif
