/* SPDX-License-Identifier: MIT */
/* The routes /v1/history …, /v1/processes and /v1/events (docs/api.md). What is not written yet is written first. */
#include "daemon/history_inner.h"

#include "common/gpu_name.h"
#include "common/utc.h"
#include "daemon/history_events.h"
#include "daemon/history_time.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USUAL_MS (INT64_C(3600) * 1000) /* what is told where no time is named: the last hour */
#define LIMIT_USUAL 1000
#define LIMIT_MOST 5000
#define GPUS_MOST 128
#define STEPS_MOST 500 /* of one process */
#define STEPS_OF_ALL 20000
#define LATER_MS 1000 /* what happens in this millisecond is asked for too */

/* One question on its way to its answer. */
struct asking {
    struct history *history;
    struct http_request *request;
    struct history_question question;
    char chosen[GPUS_MOST * 12]; /* GPUs, as the question has them */
    struct history_gpu gpus[GPUS_MOST];
    size_t gpu_count;
    uint64_t steps_left; /* to be told; 0: none are wanted, or no more */
    int steps_result;
    struct buf buf;
    struct json json;
};

/* ---- What is asked --------------------------------------------------------------------------- */

static void fail_parameter(struct http_request *request, const char *name, const char *what)
{
    http_fail(request, 400, "bad_request", EINVAL, NULL, "%s %s", name, what);
}

static void fail_memory(struct http_request *request)
{
    http_fail(request, 500, "out_of_memory", ENOMEM, NULL, "out of memory");
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
        fail_parameter(request, name,
                       "is no moment: Unix seconds, or such as 2026-11-26T03:00:00Z");
        return false;
    }
    return true;
}

static bool read_window(struct asking *asking)
{
    struct history_question *question = &asking->question;
    question->to_ms = history_wall_ms() + LATER_MS;
    if (!read_moment(asking->request, "to", &question->to_ms)) {
        return false;
    }
    question->from_ms = question->to_ms > USUAL_MS ? question->to_ms - USUAL_MS : 0;
    if (!read_moment(asking->request, "from", &question->from_ms)) {
        return false;
    }
    if (question->from_ms >= question->to_ms) {
        fail_parameter(asking->request, "to", "is not behind from");
        return false;
    }
    return true;
}

static bool read_limit(struct asking *asking)
{
    uint64_t limit = LIMIT_USUAL;
    if (http_query_number(asking->request, "limit", &limit) < 0 || limit < 1 ||
        limit > LIMIT_MOST) {
        fail_parameter(asking->request, "limit", "is a number from 1 to 5000");
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

static bool is_chosen(const struct asking *asking, uint32_t gpu)
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
    if (asking->gpu_count < GPUS_MOST) {
        asking->gpus[asking->gpu_count++] = *gpu;
    }
}

static void begin_answer(struct asking *asking)
{
    char text[UTC_TEXT_MAX];
    int64_t since_ms = history_store_since_ms(asking->history->store);
    asking->json = (struct json)JSON_INIT(&asking->buf);
    json_object(&asking->json, NULL);
    json_number(&asking->json, "schema", 1);
    json_text(&asking->json, "since",
              since_ms > 0 ? utc_format((uint64_t)since_ms * 1000000, text) : NULL);
}

/* Reads what all questions have. NULL: it was answered. */
static struct asking *begin(struct daemon *daemon, struct http_request *request)
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
        fail_memory(request);
        return NULL;
    }
    asking->history = history;
    asking->request = request;
    bool complete = false;
    if (history_store_gpus(history->store, keep_gpu, asking) < 0) {
        fail_store(asking);
    } else {
        complete = read_window(asking) && read_limit(asking) && read_gpus(asking);
    }
    if (!complete) {
        free(asking);
        return NULL;
    }
    begin_answer(asking);
    return asking;
}

/* `r`: what came of asking the store. */
static void answer(struct asking *asking, int r)
{
    json_end_object(&asking->json);
    char *text = buf_steal(&asking->buf, NULL);
    if (r < 0) {
        fail_store(asking);
    } else if (!text) {
        fail_memory(asking->request);
    } else {
        http_answer(asking->request, 200, text);
    }
    free(text);
    free(asking);
}

/* ---- Values ---------------------------------------------------------------------------------- */

static const struct history_gpu *find_gpu(const struct asking *asking, uint32_t id)
{
    for (size_t i = 0; i < asking->gpu_count; i++) {
        if (asking->gpus[i].id == id) {
            return &asking->gpus[i];
        }
    }
    return NULL;
}

/* ---- /v1/history ----------------------------------------------------------------------------- */

static void write_column(struct json *json, const char *key, const struct history_point *points,
                         size_t count, size_t offset)
{
    json_array(json, key);
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes;
        memcpy(&bytes, (const char *)&points[i] + offset, sizeof(bytes));
        history_write_bytes(json, NULL, points[i].weight_ms ? bytes : VRAM_UNKNOWN);
    }
    json_end_array(json);
}

static int write_memory(struct asking *asking, const struct history_window *window,
                        struct history_point *points)
{
    struct json *json = &asking->json;
    int r = 0;
    json_array(json, "gpus");
    for (size_t i = 0; r >= 0 && i < asking->gpu_count; i++) {
        const struct history_gpu *gpu = &asking->gpus[i];
        if (!is_chosen(asking, gpu->id)) {
            continue;
        }
        r = history_store_memory(asking->history->store, gpu->id, window->from_s, window->step_s,
                                 window->count, points);
        json_object(json, NULL);
        json_text(json, "uuid", gpu->uuid);
        json_number(json, "index", gpu->index);
        history_write_bytes(json, "mig_index", gpu->mig_index);
        history_write_text(json, "name", gpu->name);
        history_write_bytes(json, "total_bytes", gpu->total_bytes);
        write_column(json, "used", points, window->count,
                     offsetof(struct history_point, mean_bytes));
        write_column(json, "min", points, window->count, offsetof(struct history_point, low_bytes));
        write_column(json, "max", points, window->count,
                     offsetof(struct history_point, high_bytes));
        write_column(json, "free", points, window->count,
                     offsetof(struct history_point, free_bytes));
        json_end_object(json);
    }
    json_end_array(json);
    return r;
}

static bool plan(struct asking *asking, struct history_window *ret_window)
{
    uint64_t step_s = 0;
    if (http_query_number(asking->request, "step", &step_s) < 0) {
        fail_parameter(asking->request, "step", "is a number of seconds");
        return false;
    }
    int r =
        history_window_plan(asking->question.from_ms, asking->question.to_ms, step_s, ret_window);
    if (r < 0) {
        fail_parameter(asking->request, "step",
                       r == -E2BIG ? "is too short: these would be more than 5000 points"
                                   : "is too long");
    }
    return r == 0;
}

void history_get_memory(struct daemon *daemon, struct http_request *request)
{
    struct history_window window;
    struct asking *asking = begin(daemon, request);
    if (!asking) {
        return;
    }
    bool planned = plan(asking, &window);
    struct history_point *points = planned ? calloc(window.count, sizeof(*points)) : NULL;
    if (!points) {
        if (planned) {
            fail_memory(request);
        }
        buf_done(&asking->buf);
        free(asking);
        return;
    }
    json_number(&asking->json, "step_s", window.step_s);
    json_array(&asking->json, "t");
    for (size_t i = 0; i < window.count; i++) {
        json_signed(&asking->json, NULL, window.from_s + (int64_t)(i * window.step_s));
    }
    json_end_array(&asking->json);
    int r = write_memory(asking, &window, points);
    free(points);
    answer(asking, r);
}

/* ---- /v1/processes --------------------------------------------------------------------------- */

static void write_step(void *data, const struct history_step *step)
{
    struct asking *asking = data;
    json_array(&asking->json, NULL);
    json_signed(&asking->json, NULL, step->at_ms);
    history_write_bytes(&asking->json, NULL, step->used_bytes);
    json_end_array(&asking->json);
    asking->steps_left--;
}

static void write_steps(struct asking *asking, uint64_t process)
{
    const struct history_question *question = &asking->question;
    size_t limit = asking->steps_left < STEPS_MOST ? (size_t)asking->steps_left : STEPS_MOST;
    json_array(&asking->json, "steps");
    int r = history_store_steps(asking->history->store, process, question->from_ms, question->to_ms,
                                limit, write_step, asking);
    json_end_array(&asking->json);
    asking->steps_result = r < 0 ? r : asking->steps_result;
}

static void write_process(void *data, const struct history_interval *interval)
{
    struct asking *asking = data;
    struct json *json = &asking->json;
    const struct history_process *process = &interval->process;
    json_object(json, NULL);
    const struct history_gpu *gpu = find_gpu(asking, process->gpu);
    json_text(json, "gpu", gpu ? gpu->uuid : NULL);
    history_write_bytes(json, "gpu_index", gpu ? gpu->index : VRAM_UNKNOWN);
    history_write_bytes(json, "gpu_mig_index", gpu ? gpu->mig_index : VRAM_UNKNOWN);
    json_number(json, "pid", process->pid);
    history_write_bytes(json, "start_time", process->start_time);
    history_write_text(json, "name", process->name);
    history_write_text(json, "user", process->user);
    history_write_text(json, "container", process->container);
    history_write_text(json, "unit", process->unit);
    history_write_text(json, "lease", process->lease);
    history_write_moment(json, "began", process->began_ms);
    history_write_moment(json, "ended", process->ended_ms);
    json_bool(json, "was_running", process->was_running);
    history_write_bytes(json, "first_bytes", process->first_bytes);
    history_write_bytes(json, "last_bytes", process->last_bytes);
    history_write_bytes(json, "peak_bytes", process->peak_bytes);
    history_write_bytes(json, "from_bytes", interval->from_bytes);
    history_write_bytes(json, "to_bytes", interval->to_bytes);
    history_write_bytes(json, "most_bytes", interval->most_bytes);
    if (asking->steps_left) {
        write_steps(asking, process->id);
    }
    json_end_object(json);
}

void history_get_processes(struct daemon *daemon, struct http_request *request)
{
    uint64_t with_steps = 0;
    if (http_query_number(request, "steps", &with_steps) < 0 || with_steps > 1) {
        fail_parameter(request, "steps", "is 0 or 1");
        return;
    }
    struct asking *asking = begin(daemon, request);
    if (asking) {
        asking->steps_left = with_steps ? STEPS_OF_ALL : 0;
        json_array(&asking->json, "processes");
        int r = history_store_processes(asking->history->store, &asking->question, write_process,
                                        asking);
        json_end_array(&asking->json);
        answer(asking, r < 0 ? r : asking->steps_result);
    }
}

/* ---- /v1/history/leases ---------------------------------------------------------------------- */

static void write_lease(void *data, const struct history_lease *lease)
{
    struct asking *asking = data;
    struct json *json = &asking->json;
    json_object(json, NULL);
    json_text(json, "id", lease->id);
    history_write_text(json, "label", lease->label);
    history_write_text(json, "user", lease->user);
    json_number(json, "owner_pid", lease->pid);
    history_write_bytes(json, "size_bytes", lease->size_bytes);
    json_array(json, "gpus");
    for (size_t i = 0; i < lease->gpu_count; i++) {
        json_text(json, NULL, lease->gpus[i]);
    }
    json_end_array(json);
    history_write_moment(json, "asked", lease->asked_ms);
    history_write_moment(json, "granted", lease->granted_ms);
    history_write_moment(json, "ended", lease->ended_ms);
    history_write_text(json, "why", lease->why);
    json_end_object(json);
}

void history_get_leases(struct daemon *daemon, struct http_request *request)
{
    struct asking *asking = begin(daemon, request);
    if (asking) {
        json_array(&asking->json, "leases");
        int r =
            history_store_leases(asking->history->store, &asking->question, write_lease, asking);
        json_end_array(&asking->json);
        answer(asking, r);
    }
}

/* ---- /v1/events ------------------------------------------------------------------------------ */

/* False: it was answered. */
static bool read_kinds(struct http_request *request, uint32_t *ret_kinds)
{
    const char *text = http_query(request, "kind");
    if (history_kinds_parse(text ? text : "", ret_kinds) < 0) {
        fail_parameter(request, "kind", "is a list with commas of kinds of events");
        return false;
    }
    *ret_kinds = *ret_kinds ? *ret_kinds : UINT32_MAX;
    return true;
}

static void write_event(void *data, const struct history_event *event)
{
    struct asking *asking = data;
    json_object(&asking->json, NULL);
    history_event_write(&asking->json, event, find_gpu(asking, event->gpu));
    json_end_object(&asking->json);
}

void history_get_events(struct daemon *daemon, struct http_request *request)
{
    uint32_t kinds;
    if (!read_kinds(request, &kinds)) {
        return;
    }
    struct asking *asking = begin(daemon, request);
    if (asking) {
        json_array(&asking->json, "events");
        int r = history_store_events(asking->history->store, &asking->question, kinds, write_event,
                                     asking);
        json_end_array(&asking->json);
        answer(asking, r);
    }
}
