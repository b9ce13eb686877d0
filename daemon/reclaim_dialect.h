/* SPDX-License-Identifier: MIT */
/*
 * What the programs that are known by name understand. Each has one call that unloads; of some it is made for each model
 * that another call lists; some tell whether they are at work. Pure: answers go in, calls come out.
 *
 *   ollama        GET /api/ps, then POST /api/generate {"model": …, "keep_alive": 0} for each, which unloads models of
 *                 embeddings too (v0.5.0 to v0.33.0-rc2: server/routes.go, GenerateHandler, PsHandler)
 *   comfyui       GET /queue tells its work; POST /free {"unload_models": true, "free_memory": true}, which it answers
 *                 before it does it (server.py, main.py at 005f3ba4aefa)
 *   llama-swap    GET /unload, which it answers when all have stopped (v100 to v250: internal/server/server.go, api.go)
 *   llama-server  (as a router) GET /models, then POST /models/unload {"model": …} for each that has a process, which it
 *                 answers before that ends (tools/server/server-models.cpp at 00dd0816129a)
 *   vllm          GET /metrics tells its work; POST /sleep?level=1&mode=wait (--enable-sleep-mode,
 *                 VLLM_SERVER_DEV_MODE=1; vllm/entrypoints/serve/dev/sleep/api_router.py at e7a47b821ef4). Without a
 *                 mode it aborts what came in since it was looked at; versions that know none pay no heed to it.
 */
#ifndef VRAM_DAEMON_RECLAIM_DIALECT_H
#define VRAM_DAEMON_RECLAIM_DIALECT_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIALECT_MODELS_MAX 32
#define DIALECT_MODEL_MAX 256

struct dialect {
    const char *list_path; /* NULL: it is asked once */
    const char *path;
    bool is_post;
    const char *body;      /* of one that is asked once */
    const char *work_path; /* NULL: it has no word on whether it is at work */
};

struct dialect_models {
    size_t count;
    char names[DIALECT_MODELS_MAX][DIALECT_MODEL_MAX];
};

/* NULL: `ask` (enum holder_ask) is asked as it is written. */
const struct dialect *dialect_of(uint32_t ask);

/* Which models to unload, of those that the answer lists: the next to be unloaded anyway first, and where sizes are told
 * as many as `wanted_bytes` need. -EBADMSG. */
MUST_CHECK int dialect_models(uint32_t ask, const char *answer, uint64_t wanted_bytes,
                              struct dialect_models *ret_models);
/* The body that unloads one, for free(3); NULL: out of memory. */
char *dialect_body(uint32_t ask, const char *model);
/* Whether it is at work, as its answer has it. -EBADMSG. */
MUST_CHECK int dialect_work(uint32_t ask, const char *answer, bool *ret_busy);

#endif
