/* SPDX-License-Identifier: MIT */
/* The routes /v1/history …, /v1/processes and /v1/events (docs/api.md). What is not written yet is written first. */
#include "daemon/history_asking.h"

#include "daemon/history_events.h"
#include "daemon/history_time.h"
#include <stdlib.h>
#include <string.h>

#define STEPS_MOST 500 /* of one process */
#define STEPS_OF_ALL 20000

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
        if (!asking_is_chosen(asking, gpu->id)) {
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
        asking_fail_parameter(asking->request, "step", "is a number of seconds");
        return false;
    }
    int r =
        history_window_plan(asking->question.from_ms, asking->question.to_ms, step_s, ret_window);
    if (r < 0) {
        asking_fail_parameter(asking->request, "step",
                              r == -E2BIG ? "is too short: these would be more than 5000 points"
                                          : "is too long");
    }
    return r == 0;
}

void history_get_memory(struct daemon *daemon, struct http_request *request)
{
    struct history_window window;
    struct asking *asking = asking_begin(daemon, request, ASKING_HOUR_MS);
    if (!asking) {
        return;
    }
    bool planned = plan(asking, &window);
    struct history_point *points = planned ? calloc(window.count, sizeof(*points)) : NULL;
    if (!points) {
        if (planned) {
            http_fail_memory(request);
        }
        (void)asking_free(asking);
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
    asking_answer(asking, r);
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
    const struct history_gpu *gpu = asking_find_gpu(asking, process->gpu);
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
        asking_fail_parameter(request, "steps", "is 0 or 1");
        return;
    }
    struct asking *asking = asking_begin(daemon, request, ASKING_HOUR_MS);
    if (asking) {
        asking->steps_left = with_steps ? STEPS_OF_ALL : 0;
        json_array(&asking->json, "processes");
        int r = history_store_processes(asking->history->store, &asking->question, write_process,
                                        asking);
        json_end_array(&asking->json);
        asking_answer(asking, r < 0 ? r : asking->steps_result);
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
    struct asking *asking = asking_begin(daemon, request, ASKING_HOUR_MS);
    if (asking) {
        json_array(&asking->json, "leases");
        int r =
            history_store_leases(asking->history->store, &asking->question, write_lease, asking);
        json_end_array(&asking->json);
        asking_answer(asking, r);
    }
}

/* ---- /v1/events ------------------------------------------------------------------------------ */

/* False: it was answered. */
static bool read_kinds(struct http_request *request, uint32_t *ret_kinds)
{
    const char *text = http_query(request, "kind");
    if (history_kinds_parse(text ? text : "", ret_kinds) < 0) {
        asking_fail_parameter(request, "kind", "is a list with commas of kinds of events");
        return false;
    }
    *ret_kinds = *ret_kinds ? *ret_kinds : UINT32_MAX;
    return true;
}

static void write_event(void *data, const struct history_event *event)
{
    struct asking *asking = data;
    json_object(&asking->json, NULL);
    history_event_write(&asking->json, event, asking_find_gpu(asking, event->gpu));
    json_end_object(&asking->json);
}

void history_get_events(struct daemon *daemon, struct http_request *request)
{
    uint32_t kinds;
    if (!read_kinds(request, &kinds)) {
        return;
    }
    struct asking *asking = asking_begin(daemon, request, ASKING_HOUR_MS);
    if (asking) {
        json_array(&asking->json, "events");
        int r = history_store_events(asking->history->store, &asking->question, kinds, write_event,
                                     asking);
        json_end_array(&asking->json);
        asking_answer(asking, r);
    }
}
