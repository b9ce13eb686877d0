/* SPDX-License-Identifier: MIT */
/*
 * The configuration of holders: programs that can be asked to give memory back before somebody waits for it. Read for
 * config.c, which knows lines and files; here it is known what a holder may say.
 *
 *     [holder NAME]  match, ask, body, busy, idle, timeout, again_after, cost
 */
#ifndef VRAM_DAEMON_CONFIG_HOLDERS_H
#define VRAM_DAEMON_CONFIG_HOLDERS_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOLDERS_MAX 16 /* every set of them is looked at for the cheapest */
#define HOLDER_NAME_MAX 33
#define HOLDER_TEXT_MAX 256 /* of a match, a command, a body */
#define HOLDER_HOST_MAX 48
#define HOLDER_PATH_MAX 256
#define HOLDER_WORDS_MAX 16 /* of a command */
#define HOLDER_WHY_MAX 256

/* How it is asked: in a language of its own, or as it is written. */
enum holder_ask {
    HOLDER_ASK_NONE = 0,
    HOLDER_ASK_OLLAMA,
    HOLDER_ASK_COMFYUI,
    HOLDER_ASK_LLAMA_SWAP,
    HOLDER_ASK_LLAMA_SERVER,
    HOLDER_ASK_VLLM,
    HOLDER_ASK_POST,
    HOLDER_ASK_GET,
    HOLDER_ASK_COMMAND,
};

/* What tells whether it is busy. */
enum holder_busy {
    HOLDER_BUSY_OWN = 0, /* its own word, of those whose language has one; of others the GPU */
    HOLDER_BUSY_GPU,     /* the load of the GPUs that it holds memory of */
    HOLDER_BUSY_NEVER,
    HOLDER_BUSY_COMMAND, /* that ends with 0 where it is, and with 1 where it is not */
};

struct config_url {
    char host[HOLDER_HOST_MAX]; /* an address: names would have to be looked up */
    uint16_t port;
    char path[HOLDER_PATH_MAX]; /* "" or "/…" */
};

struct config_holder {
    char name[HOLDER_NAME_MAX];
    unsigned line;               /* of its section */
    unsigned set;                /* which of its settings were, a bit for each */
    char match[HOLDER_TEXT_MAX]; /* "unit:…", "name:…" …, with blanks between */
    uint32_t ask;                /* enum holder_ask */
    struct config_url url;
    char command[HOLDER_TEXT_MAX]; /* as it is written: words with blanks between */
    char body[HOLDER_TEXT_MAX];
    uint32_t busy; /* enum holder_busy */
    uint32_t busy_percent;
    char busy_command[HOLDER_TEXT_MAX];
    uint64_t idle_ns;    /* how long it must have been idle, as far as it was looked at */
    uint64_t timeout_ns; /* for its answer, and for the memory to come back */
    uint64_t again_ns;   /* how long it is left alone after nothing came back */
    uint32_t cost;
};

/* One more, with what holds where nothing is said. -EINVAL: `why` says what is wrong; -ENOMEM. */
MUST_CHECK int config_holder_begin(struct config_holder **holders, size_t *count, const char *name,
                                   unsigned line, char why[HOLDER_WHY_MAX]);
/* A setting of the last one. -EINVAL. `shown`: the value as it can be quoted. */
MUST_CHECK int config_holder_set(struct config_holder *holder, const char *name, const char *value,
                                 const char *shown, char why[HOLDER_WHY_MAX]);
/* Whether it says all that it must. -EINVAL. */
MUST_CHECK int config_holder_check(const struct config_holder *holder, char why[HOLDER_WHY_MAX]);

/* "ollama", "POST" … */
const char *config_holder_ask_name(uint32_t ask);

/* The next of the words that stand between blanks; moves on. False: there is none. */
bool config_holder_word(const char **text, char *word, size_t size);

#endif
