/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "cli/past.h"
#include "common/utc.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS_NS 1000000

/* ---- Values ---------------------------------------------------------------------------------- */

/* What is of another type than it should be is unknown: it is shown so. */
static uint64_t number_of(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0
               ? (uint64_t)json_integer_value(value)
               : VRAM_UNKNOWN;
}

static uint64_t number(const json_t *object, const char *key)
{
    return number_of(json_object_get(object, key));
}

static double decimal(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : -1;
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int64_t moment(const json_t *object, const char *key)
{
    const char *value = text(object, key);
    uint64_t ns;
    return value && utc_parse(value, &ns) == 0 ? (int64_t)(ns / MS_NS) : PAST_NEVER;
}

/* ---- Answers --------------------------------------------------------------------------------- */

void past_done(struct past *past)
{
    for (size_t i = 0; past->gpus && i < past->count; i++) {
        free(past->gpus[i].used);
        free(past->gpus[i].min);
        free(past->gpus[i].max);
        free(past->gpus[i].free);
    }
    free(past->t);
    free(past->gpus);
    free(past->processes);
    free(past->leases);
    free(past->events);
    free(past->holders);
    free(past->needs);
    free(past->rows);
    free(past->seen);
    json_decref(past->document);
    *past = (struct past){0};
}

/* Asks, and finds the list `key` in the answer. */
static int ask(struct vram *vram, const char *target, const char *key, struct past *past,
               const json_t **ret_list)
{
    char *answer = NULL;
    *past = (struct past){0};
    int r = vram_daemon_get(vram, target, &answer);
    if (r < 0) {
        return r;
    }
    past->document = json_loads(answer, 0, NULL);
    free(answer);
    *ret_list = json_object_get(past->document, key);
    if (!json_is_array(*ret_list)) {
        return PAST_UNREADABLE;
    }
    past->count = json_array_size(*ret_list);
    past->since_ms = moment(past->document, "since");
    return 0;
}

void past_print(struct buf *out, const void *document)
{
    char *dumped = json_dumps(document, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (dumped) {
        buf_text(out, dumped);
    } else {
        out->failed = true;
    }
    free(dumped);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* As many as there are steps, whatever came. */
static uint64_t *column(const json_t *object, const char *key, size_t count)
{
    const json_t *list = json_object_get(object, key);
    uint64_t *numbers = calloc(count + 1, sizeof(*numbers));
    for (size_t i = 0; numbers && i < count; i++) {
        numbers[i] = number_of(json_array_get(list, i));
    }
    return numbers;
}

static bool read_gpu(const json_t *object, size_t steps, struct past_gpu *gpu)
{
    *gpu = (struct past_gpu){
        .uuid = text(object, "uuid"),
        .name = text(object, "name"),
        .index = number(object, "index"),
        .mig_index = number(object, "mig_index"),
        .total_bytes = number(object, "total_bytes"),
        .used = column(object, "used", steps),
        .min = column(object, "min", steps),
        .max = column(object, "max", steps),
        .free = column(object, "free", steps),
    };
    return gpu->used && gpu->min && gpu->max && gpu->free;
}

int past_take_memory(struct vram *vram, const char *target, struct past *ret_past)
{
    const json_t *list = NULL;
    int r = ask(vram, target, "gpus", ret_past, &list);
    if (r < 0) {
        return r;
    }
    const json_t *times = json_object_get(ret_past->document, "t");
    ret_past->step_s = number(ret_past->document, "step_s");
    ret_past->step_count = json_array_size(times);
    if (ret_past->step_s == VRAM_UNKNOWN || ret_past->step_s == 0) {
        return PAST_UNREADABLE;
    }
    ret_past->t = calloc(ret_past->step_count + 1, sizeof(*ret_past->t));
    ret_past->gpus = calloc(ret_past->count + 1, sizeof(*ret_past->gpus));
    bool complete = ret_past->t && ret_past->gpus;
    for (size_t i = 0; complete && i < ret_past->step_count; i++) {
        ret_past->t[i] = json_integer_value(json_array_get(times, i));
    }
    for (size_t i = 0; complete && i < ret_past->count; i++) {
        complete = read_gpu(json_array_get(list, i), ret_past->step_count, &ret_past->gpus[i]);
    }
    return complete ? 0 : -ENOMEM;
}

/* ---- Processes, leases, events --------------------------------------------------------------- */

int past_take_processes(struct vram *vram, const char *target, struct past *ret_past)
{
    const json_t *list = NULL;
    int r = ask(vram, target, "processes", ret_past, &list);
    if (r < 0) {
        return r;
    }
    ret_past->processes = calloc(ret_past->count + 1, sizeof(*ret_past->processes));
    for (size_t i = 0; ret_past->processes && i < ret_past->count; i++) {
        json_t *object = json_array_get(list, i);
        ret_past->processes[i] = (struct past_process){
            .gpu = text(object, "gpu"),
            .name = text(object, "name"),
            .user = text(object, "user"),
            .container = text(object, "container"),
            .unit = text(object, "unit"),
            .lease = text(object, "lease"),
            .gpu_index = number(object, "gpu_index"),
            .gpu_mig_index = number(object, "gpu_mig_index"),
            .pid = number(object, "pid"),
            .start_time = number(object, "start_time"),
            .began_ms = moment(object, "began"),
            .ended_ms = moment(object, "ended"),
            .peak_bytes = number(object, "peak_bytes"),
            .last_bytes = number(object, "last_bytes"),
            .from_bytes = number(object, "from_bytes"),
            .to_bytes = number(object, "to_bytes"),
            .most_bytes = number(object, "most_bytes"),
            .document = object,
        };
    }
    return ret_past->processes ? 0 : -ENOMEM;
}

int past_take_leases(struct vram *vram, const char *target, struct past *ret_past)
{
    const json_t *list = NULL;
    int r = ask(vram, target, "leases", ret_past, &list);
    if (r < 0) {
        return r;
    }
    ret_past->leases = calloc(ret_past->count + 1, sizeof(*ret_past->leases));
    for (size_t i = 0; ret_past->leases && i < ret_past->count; i++) {
        json_t *object = json_array_get(list, i);
        const json_t *gpus = json_object_get(object, "gpus");
        ret_past->leases[i] = (struct past_lease){
            .id = text(object, "id"),
            .label = text(object, "label"),
            .user = text(object, "user"),
            .size_bytes = number(object, "size_bytes"),
            .gpu_count = json_array_size(gpus),
            .first_gpu = json_string_value(json_array_get(gpus, 0)),
            .asked_ms = moment(object, "asked"),
            .granted_ms = moment(object, "granted"),
            .ended_ms = moment(object, "ended"),
            .document = object,
        };
    }
    return ret_past->leases ? 0 : -ENOMEM;
}

int past_take_events(struct vram *vram, const char *target, struct past *ret_past)
{
    const json_t *list = NULL;
    int r = ask(vram, target, "events", ret_past, &list);
    if (r < 0) {
        return r;
    }
    ret_past->events = calloc(ret_past->count + 1, sizeof(*ret_past->events));
    for (size_t i = 0; ret_past->events && i < ret_past->count; i++) {
        json_t *object = json_array_get(list, i);
        ret_past->events[i] = (struct past_event){
            .kind = text(object, "kind"),
            .gpu = text(object, "gpu"),
            .name = text(object, "name"),
            .user = text(object, "user"),
            .lease = text(object, "lease"),
            .text = text(object, "text"),
            .gpu_index = number(object, "gpu_index"),
            .gpu_mig_index = number(object, "gpu_mig_index"),
            .pid = number(object, "pid"),
            .bytes = number(object, "bytes"),
            .at_ms = moment(object, "at"),
            .document = object,
        };
        if (!ret_past->events[i].kind) {
            return PAST_UNREADABLE;
        }
    }
    return ret_past->events ? 0 : -ENOMEM;
}

static struct past_sum sum_of(const json_t *object)
{
    return (struct past_sum){
        .leased = decimal(object, "leased_gib_hours"),
        .held = decimal(object, "held_gib_hours"),
        .idle = decimal(object, "idle_gib_hours"),
        .unleased = decimal(object, "unleased_gib_hours"),
        .unknown_held_h = decimal(object, "unknown_held_hours"),
        .unknown_idle_h = decimal(object, "unknown_idle_hours"),
        .wait_mean_s = decimal(object, "wait_mean_s"),
        .wait_median_s = decimal(object, "wait_median_s"),
        .wait_longest_s = decimal(object, "wait_longest_s"),
        .granted = number(object, "granted"),
        .waited = number(object, "waited"),
        .gave_up = number(object, "gave_up"),
        .waiting = number(object, "waiting"),
    };
}

static struct past_row row_of(const json_t *object)
{
    return (struct past_row){
        .user = text(object, "user"),
        .label = text(object, "label"),
        .gpu = text(object, "gpu"),
        .has_lease = !json_is_false(json_object_get(object, "has_lease")),
        .gpu_index = number(object, "gpu_index"),
        .gpu_mig_index = number(object, "gpu_mig_index"),
        .seen_h = decimal(object, "seen_hours"),
        .sum = sum_of(object),
    };
}

int past_take_report(struct vram *vram, const char *target, struct past *ret_past)
{
    const json_t *list = NULL;
    int r = ask(vram, target, "rows", ret_past, &list);
    const json_t *seen = json_object_get(ret_past->document, "gpus");
    const json_t *total = json_object_get(ret_past->document, "total");
    if (r < 0) {
        return r;
    }
    if (!json_is_object(total) || !json_is_array(seen)) {
        return PAST_UNREADABLE;
    }
    ret_past->hours = decimal(ret_past->document, "hours");
    ret_past->left_out = number(ret_past->document, "left_out");
    ret_past->total.sum = sum_of(total);
    ret_past->seen_count = json_array_size(seen);
    ret_past->rows = calloc(ret_past->count + 1, sizeof(*ret_past->rows));
    ret_past->seen = calloc(ret_past->seen_count + 1, sizeof(*ret_past->seen));
    for (size_t i = 0; ret_past->rows && i < ret_past->count; i++) {
        ret_past->rows[i] = row_of(json_array_get(list, i));
    }
    for (size_t i = 0; ret_past->seen && i < ret_past->seen_count; i++) {
        ret_past->seen[i] = row_of(json_array_get(seen, i));
    }
    return ret_past->rows && ret_past->seen ? 0 : -ENOMEM;
}

int past_take_holders(struct vram *vram, struct past *ret_past)
{
    const json_t *list = NULL;
    int r = ask(vram, "/v1/holders", "holders", ret_past, &list);
    if (r < 0) {
        return r;
    }
    ret_past->holders = calloc(ret_past->count + 1, sizeof(*ret_past->holders));
    for (size_t i = 0; ret_past->holders && i < ret_past->count; i++) {
        const json_t *object = json_array_get(list, i);
        ret_past->holders[i] = (struct past_holder){
            .name = text(object, "name"),
            .ask = text(object, "ask"),
            .state = text(object, "state"),
            .last = text(object, "last"),
            .held_bytes = number(object, "held_bytes"),
            .leased_bytes = number(object, "leased_bytes"),
            .last_ms = moment(object, "last_at"),
            .again_ms = moment(object, "again_at"),
        };
    }
    return ret_past->holders ? 0 : -ENOMEM;
}

int past_take_needs(struct vram *vram, const char *label, struct past *ret_past)
{
    struct buf target CLEANUP(buf_done) = BUF_INIT;
    const json_t *list = NULL;
    buf_text(&target, "/v1/needs");
    if (label) {
        buf_text(&target, "?label=");
        buf_query(&target, label);
    }
    *ret_past = (struct past){0};
    int r = target.failed ? -ENOMEM : ask(vram, target.data, "needs", ret_past, &list);
    if (r < 0) {
        return r;
    }
    ret_past->needs = calloc(ret_past->count + 1, sizeof(*ret_past->needs));
    for (size_t i = 0; ret_past->needs && i < ret_past->count; i++) {
        const json_t *object = json_array_get(list, i);
        ret_past->needs[i] = (struct past_need){
            .label = text(object, "label"),
            .user = text(object, "user"),
            .verdict = text(object, "verdict"),
            .message = text(object, "message"),
            .need_bytes = number(object, "need_bytes"),
            .peak_bytes = number(object, "peak_bytes"),
            .steady_bytes = number(object, "steady_bytes"),
            .runs = number(object, "runs"),
        };
        if (!ret_past->needs[i].message) {
            return PAST_UNREADABLE;
        }
    }
    return ret_past->needs ? 0 : -ENOMEM;
}
