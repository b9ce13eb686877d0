/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "daemon/reclaim_dialect.h"

#include "common/text.h"
#include "daemon/config_holders.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct dialect dialects[] = {
    [HOLDER_ASK_OLLAMA] = {.list_path = "/api/ps", .path = "/api/generate", .is_post = true},
    [HOLDER_ASK_COMFYUI] = {.path = "/free",
                            .is_post = true,
                            .body = "{\"unload_models\": true, \"free_memory\": true}",
                            .work_path = "/queue"},
    [HOLDER_ASK_LLAMA_SWAP] = {.path = "/unload"},
    [HOLDER_ASK_LLAMA_SERVER] = {.list_path = "/models", .path = "/models/unload", .is_post = true},
    [HOLDER_ASK_VLLM] = {.path = "/sleep?level=1&mode=wait",
                         .is_post = true,
                         .work_path = "/metrics"},
};

const struct dialect *dialect_of(uint32_t ask)
{
    return ask < ARRAY_LENGTH(dialects) && dialects[ask].path ? &dialects[ask] : NULL;
}

/* ---- Models ---------------------------------------------------------------------------------- */

/* A model that is loaded. */
struct model {
    const char *name, *expires;
    uint64_t bytes; /* UINT64_MAX: it does not say */
};

/* Ollama's: {"models": [{"model": …, "size_vram": …, "expires_at": …}]} */
static bool read_ollama(const json_t *from, struct model *to)
{
    const json_t *size = json_object_get(from, "size_vram");
    const char *expires = json_string_value(json_object_get(from, "expires_at"));
    to->name = json_string_value(json_object_get(from, "model"));
    to->name = to->name ? to->name : json_string_value(json_object_get(from, "name"));
    to->expires = expires ? expires : "";
    to->bytes = json_is_integer(size) && json_integer_value(size) >= 0
                    ? (uint64_t)json_integer_value(size)
                    : UINT64_MAX;
    return to->name && to->bytes > 0; /* on the CPU alone it holds nothing of ours */
}

/* llama-server's: {"data": [{"id": …, "status": {"value": "loaded"}}]}. Of one that sleeps (--sleep-idle-seconds) the
 * weights are gone, its process with what the driver keeps for it is not. One that is being loaded is in use. */
static bool read_llama_server(const json_t *from, struct model *to)
{
    const char *status =
        json_string_value(json_object_get(json_object_get(from, "status"), "value"));
    *to = (struct model){json_string_value(json_object_get(from, "id")), "", UINT64_MAX};
    return to->name && status && (strcmp(status, "loaded") == 0 || strcmp(status, "sleeping") == 0);
}

/* How long a date of RFC 3339 is up to its zone: "2026-01-31T12:00:05.57+01:00". */
static size_t local_length(const char *date)
{
    size_t day = strcspn(date, "T");
    return day + strcspn(date + day, "Z+-");
}

/* Dates of one program, of one time zone, whose order is that of their texts: a fraction has as many digits as it needs,
 * so that what is the beginning of another is earlier. */
static int compare(const void *a, const void *b)
{
    const char *left = ((const struct model *)a)->expires,
               *right = ((const struct model *)b)->expires;
    size_t left_length = local_length(left), right_length = local_length(right);
    int order = strncmp(left, right, left_length < right_length ? left_length : right_length);
    return order ? order : (left_length > right_length) - (left_length < right_length);
}

static void choose(const struct model *models, size_t count, uint64_t wanted_bytes,
                   struct dialect_models *ret_models)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count && sum < wanted_bytes; i++) {
        if (strlen(models[i].name) < DIALECT_MODEL_MAX) {
            (void)text_copy(ret_models->names[ret_models->count++], DIALECT_MODEL_MAX,
                            models[i].name);
            sum += models[i].bytes == UINT64_MAX ? 0 : models[i].bytes;
        }
    }
}

int dialect_models(uint32_t ask, const char *answer, uint64_t wanted_bytes,
                   struct dialect_models *ret_models)
{
    struct model models[DIALECT_MODELS_MAX];
    bool is_ollama = ask == HOLDER_ASK_OLLAMA;
    json_t *document = json_loads(answer, 0, NULL);
    const json_t *list = json_object_get(document, is_ollama ? "models" : "data");
    size_t count = 0;
    ret_models->count = 0;
    if (!json_is_array(list)) {
        json_decref(document);
        return -EBADMSG;
    }
    for (size_t i = 0; i < json_array_size(list) && count < DIALECT_MODELS_MAX; i++) {
        const json_t *from = json_array_get(list, i);
        count +=
            is_ollama ? read_ollama(from, &models[count]) : read_llama_server(from, &models[count]);
    }
    qsort(models, count, sizeof(models[0]), compare);
    choose(models, count, wanted_bytes, ret_models);
    json_decref(document);
    return 0;
}

char *dialect_body(uint32_t ask, const char *model)
{
    json_t *body = ask == HOLDER_ASK_OLLAMA
                       ? json_pack("{s:s, s:i, s:b}", "model", model, "keep_alive", 0, "stream", 0)
                       : json_pack("{s:s}", "model", model);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return text;
}

/* ---- Work ------------------------------------------------------------------------------------ */

/* ComfyUI's: {"queue_running": […], "queue_pending": […]} */
static int read_queue(const char *answer, bool *ret_busy)
{
    json_t *document = json_loads(answer, 0, NULL);
    const json_t *running = json_object_get(document, "queue_running");
    const json_t *pending = json_object_get(document, "queue_pending");
    bool told = json_is_array(running) && json_is_array(pending);
    *ret_busy = json_array_size(running) + json_array_size(pending) > 0;
    json_decref(document);
    return told ? 0 : -EBADMSG;
}

/* The last number of a line "NAME{labels} NUMBER". */
static bool is_more_than_0(const char *line, size_t length)
{
    char text[64];
    size_t from = length;
    while (from > 0 && line[from - 1] != ' ') {
        from--;
    }
    (void)text_copy_n(text, sizeof(text), line + from, length - from);
    return strtod(text, NULL) > 0;
}

/* vLLM's metrics: vllm:num_requests_running, vllm:num_requests_waiting, one for each engine. */
static int read_metrics(const char *answer, bool *ret_busy)
{
    static const char running[] = "vllm:num_requests_running{",
                      waiting[] = "vllm:num_requests_waiting{";
    bool told = false;
    *ret_busy = false;
    for (const char *line = answer; *line;) {
        size_t length = strcspn(line, "\r\n");
        if (strncmp(line, running, sizeof(running) - 1) == 0 ||
            strncmp(line, waiting, sizeof(waiting) - 1) == 0) {
            told = true;
            *ret_busy = *ret_busy || is_more_than_0(line, length);
        }
        line += length + strspn(line + length, "\r\n");
    }
    return told ? 0 : -EBADMSG;
}

int dialect_work(uint32_t ask, const char *answer, bool *ret_busy)
{
    return ask == HOLDER_ASK_COMFYUI ? read_queue(answer, ret_busy)
                                     : read_metrics(answer, ret_busy);
}
