/* SPDX-License-Identifier: MIT */
#include "daemon/history_asking.h"

#include "common/gpu_name.h"
#include "common/utc.h"
#include "daemon/history_time.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_USUAL 1000
#define LIMIT_MOST 5000
#define LATER_MS 1000 /* what happens in this millisecond is asked for too */

void asking_fail_parameter(struct http_request *request, const char *name, const char *what)
{
    http_fail(request, 400, "bad_request", EINVAL, NULL, "%s %s", name, what);
}

static void fail_store(struct asking *asking)
{
    http_fail(asking->request, 500, "history_failed", EIO, NULL, "the history cannot be read: %s",
              history_store_error(asking->history->store));
    history_mend(asking->history);
}

static bool read_moment(struct http_request *request, const char *name, int64_t *ms)
{
    const char *text = http_query(request, name);
    if (text && history_time_parse(text, ms) < 0) {
        asking_fail_parameter(request, name,
                              "is no moment: Unix seconds, or such as 2026-11-26T03:00:00Z");
        return false;
    }
    return true;
}

static bool read_window(struct asking *asking, int64_t usual_ms)
{
    struct history_question *question = &asking->question;
    question->to_ms = history_wall_ms() + LATER_MS;
    if (!read_moment(asking->request, "to", &question->to_ms)) {
        return false;
    }
    question->from_ms = question->to_ms > usual_ms ? question->to_ms - usual_ms : 0;
    if (!read_moment(asking->request, "from", &question->from_ms)) {
        return false;
    }
    if (question->from_ms >= question->to_ms) {
        asking_fail_parameter(asking->request, "to", "is not behind from");
        return false;
    }
    return true;
}

static bool read_limit(struct asking *asking)
{
    uint64_t limit = LIMIT_USUAL;
    if (http_query_number(asking->request, "limit", &limit) < 0 || limit < 1 ||
        limit > LIMIT_MOST) {
        asking_fail_parameter(asking->request, "limit", "is a number from 1 to 5000");
        return false;
    }
    asking->question.limit = (size_t)limit;
    return true;
}

static bool means(const char *selector, size_t length, const struct history_gpu *gpu)
{
    unsigned wanted[4], address[4];
    char text[HISTORY_UUID_MAX];
    if (length == 0 || length >= sizeof(text)) {
        return false;
    }
    memcpy(text, selector, length);
    text[length] = '\0';
    size_t digits = strcspn(text, ":");
    bool instance =
        text[digits] == ':' && gpu_name_is_number(text + digits + 1, length - digits - 1);
    if (gpu_name_is_number(text, digits) && (instance || digits == length)) {
        return strtoul(text, NULL, 10) == gpu->index &&
               (!instance || strtoul(text + digits + 1, NULL, 10) == gpu->mig_index);
    }
    if (gpu_name_parse_pci(text, wanted)) {
        return gpu_name_parse_pci(gpu->pci, address) &&
               memcmp(wanted, address, sizeof(wanted)) == 0;
    }
    return gpu_name_is_uuid_like(text) && gpu_name_begins_uuid(text, length, gpu->uuid);
}

bool asking_is_chosen(const struct asking *asking, uint32_t gpu)
{
    char text[16];
    (void)snprintf(text, sizeof(text), ",%" PRIu32 ",", gpu);
    return !asking->chosen[0] || strstr(asking->chosen, text);
}

/* `gpu` is a list with commas of indexes ("0"; "0:1": of a MIG instance), UUIDs or their beginnings, and PCI addresses. */
static bool read_gpus(struct asking *asking)
{
    const char *text = http_query(asking->request, "gpu");
    size_t room = sizeof(asking->chosen), used = 0;
    while (text && *text) {
        size_t length = strcspn(text, ","), found = 0;
        for (size_t i = 0; i < asking->gpu_count; i++) {
            if (means(text, length, &asking->gpus[i])) {
                used += (size_t)snprintf(asking->chosen + used, room - used, "%s%" PRIu32 ",",
                                         used ? "" : ",", asking->gpus[i].id);
                used = used < room ? used : room - 1;
                found++;
            }
        }
        if (!found) {
            http_fail(
                asking->request, 404, "no_gpu", ENOENT, "`vram history` shows those that it knows",
                "no GPU that history knows is called %.*s", (int)(length < 64 ? length : 64), text);
            return false;
        }
        text += length + (text[length] == ',');
    }
    asking->question.gpus = asking->chosen;
    return true;
}

static void keep_gpu(void *data, const struct history_gpu *gpu)
{
    struct asking *asking = data;
    if (asking->gpu_count < ASKING_GPUS_MOST) {
        asking->gpus[asking->gpu_count++] = *gpu;
    }
}

void asking_write_head(struct json *json, struct history_store *store)
{
    char text[UTC_TEXT_MAX];
    int64_t since_ms = history_store_since_ms(store);
    json_number(json, "schema", 1);
    json_text(json, "since", since_ms > 0 ? utc_format((uint64_t)since_ms * 1000000, text) : NULL);
}

struct asking *asking_begin(struct daemon *daemon, struct http_request *request, int64_t usual_ms)
{
    struct history *history = daemon->history;
    if (!history || !history->store) {
        http_fail(request, 503, "no_history", ENODATA,
                  "write `history = on` under [daemon] in /etc/vram.conf, and reload vramd; or "
                  "start `vramd --history on`",
                  history ? "history is to be kept, and cannot be: %s" : "no history is kept%s",
                  history ? history->said : "");
        return NULL;
    }
    struct asking *asking = history_is_ready(history) ? calloc(1, sizeof(*asking)) : NULL;
    if (!asking) {
        http_fail_memory(request);
        return NULL;
    }
    asking->history = history;
    asking->request = request;
    bool complete = false;
    if (history_store_gpus(history->store, keep_gpu, asking) < 0) {
        fail_store(asking);
    } else {
        complete = read_window(asking, usual_ms) && read_limit(asking) && read_gpus(asking);
    }
    if (!complete) {
        free(asking);
        return NULL;
    }
    asking->json = (struct json)JSON_INIT(&asking->buf);
    json_object(&asking->json, NULL);
    asking_write_head(&asking->json, history->store);
    return asking;
}

void asking_answer(struct asking *asking, int r)
{
    json_end_object(&asking->json);
    char *text = buf_steal(&asking->buf, NULL);
    if (r < 0) {
        fail_store(asking);
    } else {
        http_answer(asking->request, 200, text);
    }
    free(text);
    (void)asking_free(asking);
}

struct asking *asking_free(struct asking *asking)
{
    buf_done(&asking->buf);
    free(asking);
    return NULL;
}

const struct history_gpu *asking_find_gpu(const struct asking *asking, uint32_t id)
{
    for (size_t i = 0; i < asking->gpu_count; i++) {
        if (asking->gpus[i].id == id) {
            return &asking->gpus[i];
        }
    }
    return NULL;
}
