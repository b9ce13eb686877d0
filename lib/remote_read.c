/* SPDX-License-Identifier: MIT */
/* A snapshot of the daemon's JSON: the tables say which key is which member, and of what type it must be. */
#include <jansson.h>

#include "lib/remote.h"

#include "common/text.h"
#include "common/utc.h"
#include "lib/snapshot.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum key_type {
    KEY_NUMBER, /* uint64_t; null: VRAM_UNKNOWN */
    KEY_INDEX,  /* uint32_t; must be there */
    KEY_TEXT,   /* null: NULL */
    KEY_TRUTH,  /* null: false */
    KEY_STATE,  /* enum vram_gpu_state; must be there, and be a word that we know */
    KEY_MEMORY, /* enum vram_memory_kind; the same */
    KEY_KINDS,  /* VRAM_PROCESS_…: letters, unknown ones left out */
};

struct key {
    const char *key;
    enum key_type type;
    size_t offset;
};

#define GPU(type, member)                                                                          \
    {                                                                                              \
#member, KEY_##type, offsetof(struct vram_gpu, member)                                     \
    }
#define PROCESS(type, member)                                                                      \
    {                                                                                              \
#member, KEY_##type, offsetof(struct vram_process, member)                                 \
    }
#define PROBLEM(type, member)                                                                      \
    {                                                                                              \
#member, KEY_##type, offsetof(struct vram_problem, member)                                 \
    }
#define DRIVER(type, member)                                                                       \
    {                                                                                              \
#member, KEY_##type, offsetof(struct vram_driver, member)                                  \
    }

static const struct key gpu_keys[] = {
    GPU(INDEX, index),
    GPU(STATE, state),
    GPU(MEMORY, memory_kind),
    GPU(INDEX, pool),
    GPU(TEXT, uuid),
    GPU(TEXT, name),
    GPU(TEXT, pci),
    GPU(TEXT, parent_uuid),
    GPU(NUMBER, mig_index),
    GPU(NUMBER, gpu_instance_id),
    GPU(NUMBER, compute_instance_id),
    GPU(NUMBER, total_bytes),
    GPU(NUMBER, used_bytes),
    GPU(NUMBER, free_bytes),
    GPU(NUMBER, driver_reserved_bytes),
    GPU(NUMBER, unattributed_bytes),
    GPU(NUMBER, outstanding_bytes),
    GPU(NUMBER, own_outstanding_bytes),
    GPU(NUMBER, ceiling_bytes),
    GPU(TRUTH, drained),
    GPU(NUMBER, temperature_c),
    GPU(NUMBER, utilization_percent),
    GPU(NUMBER, age_ms),
    GPU(TRUTH, used_includes_reserved),
};
static const struct key process_keys[] = {
    PROCESS(INDEX, pid),         PROCESS(KINDS, kind),    PROCESS(NUMBER, start_time),
    PROCESS(TEXT, name),         PROCESS(TEXT, command),  PROCESS(TEXT, user),
    PROCESS(TEXT, container),    PROCESS(TEXT, unit),     PROCESS(TEXT, lease),
    PROCESS(NUMBER, used_bytes), PROCESS(TRUTH, visible),
};
static const struct key problem_keys[] = {
    PROBLEM(TEXT, gpu),
    PROBLEM(TEXT, what),
    PROBLEM(TEXT, code),
    PROBLEM(TEXT, message),
};
static const struct key driver_keys[] = {
    DRIVER(TEXT, kind),
    DRIVER(TEXT, version),
    DRIVER(TEXT, cuda),
    DRIVER(TEXT, library),
};
#define TABLE(keys) (keys), ARRAY_LENGTH(keys)

/* ---- Values ---------------------------------------------------------------------------------- */

static bool get_number(const json_t *value, uint64_t *ret_number)
{
    if (json_is_null(value)) {
        *ret_number = VRAM_UNKNOWN;
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *ret_number = (uint64_t)json_integer_value(value);
    return true;
}

static bool get_index(const json_t *value, uint32_t *ret_index)
{
    uint64_t number;
    if (!get_number(value, &number) || number > UINT32_MAX) {
        return false;
    }
    *ret_index = (uint32_t)number;
    return true;
}

static bool get_word(const json_t *value, const char *(*name)(uint32_t), uint32_t count,
                     uint32_t *ret_number)
{
    const char *text = json_string_value(value);
    for (uint32_t i = 0; text && i < count; i++) {
        if (strcmp(text, name(i)) == 0) {
            *ret_number = i;
            return true;
        }
    }
    return false;
}

static uint32_t kinds_of(const char *letters)
{
    return (strchr(letters, 'C') ? VRAM_PROCESS_COMPUTE : 0) |
           (strchr(letters, 'G') ? VRAM_PROCESS_GRAPHICS : 0) |
           (strchr(letters, 'M') ? VRAM_PROCESS_MPS : 0);
}

static bool get_value(const json_t *value, enum key_type type, void *at)
{
    bool absent = !value || json_is_null(value);
    switch (type) {
    case KEY_NUMBER:
        return get_number(absent ? json_null() : value, at);
    case KEY_INDEX:
        return get_index(value, at);
    case KEY_TEXT:
        *(const char **)at = json_string_value(value);
        return absent || json_is_string(value);
    case KEY_TRUTH:
        *(bool *)at = json_is_true(value);
        return absent || json_is_boolean(value);
    case KEY_STATE:
        return get_word(value, vram_gpu_state_name, VRAM_GPU_HUNG + 1, at);
    case KEY_MEMORY:
        return get_word(value, vram_memory_kind_name, VRAM_MEMORY_MIG + 1, at);
    case KEY_KINDS:
        *(uint32_t *)at = json_is_string(value) ? kinds_of(json_string_value(value)) : 0;
        return absent || json_is_string(value);
    }
    return false;
}

/* Texts stay the document's. */
static bool get(const json_t *object, const struct key *keys, size_t count, void *structure)
{
    bool good = json_is_object(object);
    for (size_t i = 0; good && i < count; i++) {
        good = get_value(json_object_get(object, keys[i].key), keys[i].type,
                         (char *)structure + keys[i].offset);
    }
    return good;
}

/* ---- Lists ----------------------------------------------------------------------------------- */

/* What is being put together. */
struct parts {
    json_t *document;
    struct snapshot_view view;
    struct vram_gpu *gpus;
    struct vram_problem *problems;
};

static void parts_done(struct parts *parts)
{
    for (size_t i = 0; parts->gpus && i < parts->view.gpu_count; i++) {
        free((void *)(uintptr_t)parts->gpus[i].processes);
    }
    free(parts->gpus);
    free(parts->problems);
    json_decref(parts->document);
}

/* Zeroed room for as many as a list has. */
static void *make_room(const json_t *list, size_t size)
{
    size_t count = json_array_size(list);
    return calloc(count ? count : 1, size);
}

static int read_processes(const json_t *list, struct vram_gpu *gpu)
{
    gpu->processes_known = json_is_array(list);
    if (!gpu->processes_known) {
        return !list || json_is_null(list) ? 0 : -EPROTO;
    }
    struct vram_process *processes = make_room(list, sizeof(*processes));
    if (!processes) {
        return -ENOMEM;
    }
    gpu->processes = processes;
    gpu->process_count = json_array_size(list);
    for (size_t i = 0; i < gpu->process_count; i++) {
        if (!get(json_array_get(list, i), TABLE(process_keys), &processes[i])) {
            return -EPROTO;
        }
    }
    return 0;
}

static uint64_t grown(uint64_t age_ms, uint64_t taken_at_ns, uint64_t now_ns)
{
    uint64_t since_ms = now_ns > taken_at_ns ? (now_ns - taken_at_ns) / 1000000 : 0;
    bool fits = age_ms < INT64_MAX && since_ms < INT64_MAX - age_ms; /* as documents' numbers do */
    return fits ? age_ms + since_ms : age_ms;
}

static int read_gpus(struct parts *parts, uint64_t now_ns)
{
    const json_t *list = json_object_get(parts->document, "gpus");
    parts->gpus = json_is_array(list) ? make_room(list, sizeof(*parts->gpus)) : NULL;
    if (!parts->gpus) {
        return json_is_array(list) ? -ENOMEM : -EPROTO;
    }
    parts->view.gpus = parts->gpus;
    parts->view.gpu_count = json_array_size(list);
    for (size_t i = 0; i < parts->view.gpu_count; i++) {
        const json_t *object = json_array_get(list, i);
        struct vram_gpu *gpu = &parts->gpus[i];
        if (!get(object, TABLE(gpu_keys), gpu)) {
            return -EPROTO;
        }
        gpu->age_ms = grown(gpu->age_ms, parts->view.taken_at_ns, now_ns);
        int r = read_processes(json_object_get(object, "processes"), gpu);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int read_problems(struct parts *parts)
{
    const json_t *list = json_object_get(parts->document, "errors");
    if (list && !json_is_array(list)) {
        return -EPROTO;
    }
    parts->problems = make_room(list, sizeof(*parts->problems));
    if (!parts->problems) {
        return -ENOMEM;
    }
    parts->view.problems = parts->problems;
    parts->view.problem_count = json_array_size(list);
    for (size_t i = 0; i < parts->view.problem_count; i++) {
        if (!get(json_array_get(list, i), TABLE(problem_keys), &parts->problems[i])) {
            return -EPROTO;
        }
    }
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int read_head(struct parts *parts)
{
    struct snapshot_view *view = &parts->view;
    const json_t *taken = json_object_get(parts->document, "taken_at");
    const json_t *epoch = json_object_get(parts->document, "epoch");
    bool good =
        json_is_string(taken) && utc_parse(json_string_value(taken), &view->taken_at_ns) >= 0;
    good =
        good && get(json_object_get(parts->document, "driver"), TABLE(driver_keys), &view->driver);
    good = good && view->driver.kind && view->driver.kind[0];
    good =
        good && get_value(json_object_get(parts->document, "waiters"), KEY_NUMBER, &view->waiters);
    good = good && get_value(epoch, KEY_NUMBER, &view->epoch);
    view->epoch = view->epoch == VRAM_UNKNOWN ? 0 : view->epoch;
    return good ? 0 : -EPROTO;
}

static int read_document(struct parts *parts, uint64_t now_ns, struct vram_snapshot **ret_snapshot)
{
    int r = read_head(parts);
    r = r < 0 ? r : read_gpus(parts, now_ns);
    r = r < 0 ? r : read_problems(parts);
    return r < 0 ? r : snapshot_copy(&parts->view, ret_snapshot);
}

int remote_read(const char *text, size_t length, uint64_t now_ns,
                char ret_driver[REMOTE_DRIVER_MAX], struct vram_snapshot **ret_snapshot)
{
    struct parts parts = {0};
    json_error_t error;
    parts.document = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!parts.document) {
        return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EPROTO;
    }
    int r = read_document(&parts, now_ns, ret_snapshot);
    if (r == 0 && ret_driver) {
        const json_t *daemon = json_object_get(parts.document, "daemon");
        const char *driver = json_string_value(json_object_get(daemon, "driver"));
        (void)text_copy(ret_driver, REMOTE_DRIVER_MAX, driver ? driver : "");
    }
    parts_done(&parts);
    return r;
}
