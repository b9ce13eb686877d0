/* SPDX-License-Identifier: MIT */
/*
 * The one table of what objects have: a row's key, title and meaning, and where its value stands. JSON, CSV,
 * tables and help texts are made of it. To add a figure, add it to the structure and a row here.
 */
#include "common/attr.h"
#include "include/vram.h"

#include <stddef.h>

/* How a value is stored and what it becomes. */
enum storage {
    STORED_U32,
    STORED_U64,  /* VRAM_UNKNOWN becomes none */
    STORED_TEXT, /* NULL becomes none */
    STORED_BOOL,
    STORED_STATE,    /* enum vram_gpu_state */
    STORED_MEMORY,   /* enum vram_memory_kind */
    STORED_ANSWER,   /* enum vram_answer */
    STORED_LEASE,    /* enum vram_lease_state */
    STORED_KINDS,    /* VRAM_PROCESS_… */
    STORED_HEADROOM, /* of a struct vram_gpu, with the default margin */
    STORED_FIT_HEADROOM,
};

struct row {
    enum storage storage;
    size_t offset;
};

#define GPU_FIELDS(X)                                                                              \
    X(U32, index, NONE, "index", "GPU",                                                            \
      "the driver's number of the GPU; of a MIG instance, its card's")                             \
    X(TEXT, uuid, NONE, "uuid", "UUID", "the GPU's name for life")                                 \
    X(TEXT, name, NONE, "name", "NAME", "the product's name")                                      \
    X(TEXT, pci, NONE, "pci", "PCI", "its address on the bus")                                     \
    X(STATE, state, NONE, "state", "STATE", "ok, asleep, lost, denied or hung")                    \
    X(MEMORY, memory_kind, NONE, "memory_kind", "KIND",                                            \
      "dedicated, unified (the machine's own memory) or mig (an instance's share)")                \
    X(BOOL, used_includes_reserved, NONE, "used_includes_reserved", "INCLUSIVE",                   \
      "the driver is too old to tell its reserve from used memory")                                \
    X(U64, total_bytes, BYTES, "total_bytes", "TOTAL", "used + free + driver-reserved")            \
    X(U64, used_bytes, BYTES, "used_bytes", "USED", "allocated by programs")                       \
    X(U64, free_bytes, BYTES, "free_bytes", "FREE", "not allocated")                               \
    X(U64, driver_reserved_bytes, BYTES, "driver_reserved_bytes", "DRIVER",                        \
      "kept by the driver for itself")                                                             \
    X(U64, unattributed_bytes, BYTES, "unattributed_bytes", "UNATTRIBUTED",                        \
      "used, but by none of the listed processes")                                                 \
    X(U64, outstanding_bytes, BYTES, "outstanding_bytes", "OUTSTANDING",                           \
      "promised by leases and not yet allocated; unknown without a daemon")                        \
    X(HEADROOM, free_bytes, BYTES, "headroom_bytes", "HEADROOM",                                   \
      "free - (outstanding - own) - the default margin of 1024 MiB")                               \
    X(U64, temperature_c, CELSIUS, "temperature_c", "TEMP", "degrees Celsius")                     \
    X(U64, utilization_percent, PERCENT, "utilization_percent", "UTIL",                            \
      "part of the last moments in which it computed")                                             \
    X(U64, age_ms, MS, "age_ms", "AGE", "how old the figures are")                                 \
    X(TEXT, parent_uuid, NONE, "parent_uuid", "CARD", "of a MIG instance: its card")               \
    X(U64, mig_index, NONE, "mig_index", "MIG", "of a MIG instance: its number on the card")       \
    X(U64, gpu_instance_id, NONE, "gpu_instance_id", "GI", "of a MIG instance: the GPU instance")  \
    X(U64, compute_instance_id, NONE, "compute_instance_id", "CI",                                 \
      "of a MIG instance: the compute instance")                                                   \
    X(U32, pool, NONE, "pool", "POOL", "GPUs with the same number share one memory")               \
    X(U64, own_outstanding_bytes, BYTES, "own_outstanding_bytes", "OWN",                           \
      "of outstanding, what is promised to who asks; unknown without a daemon")                    \
    X(U64, ceiling_bytes, BYTES, "ceiling_bytes", "CEILINGS",                                      \
      "of outstanding, what is kept for programs that never ask; unknown without a daemon")        \
    X(BOOL, drained, NONE, "drained", "DRAINED", "whether no new lease is granted there")

#define PROCESS_FIELDS(X)                                                                          \
    X(U32, pid, NONE, "pid", "PID", "the process")                                                 \
    X(U64, start_time, TICKS, "start_time", "START",                                               \
      "when it began, in clock ticks after boot: with the pid its identity")                       \
    X(TEXT, name, NONE, "name", "NAME", "its short name; pid_N where it cannot be seen")           \
    X(TEXT, user, NONE, "user", "USER", "who runs it")                                             \
    X(KINDS, kind, NONE, "kind", "KIND", "C compute, G graphics, M MPS, or several")               \
    X(U64, used_bytes, BYTES, "used_bytes", "MEMORY", "what it holds on this GPU")                 \
    X(TEXT, container, NONE, "container", "CONTAINER", "the container that it runs in")            \
    X(TEXT, lease, NONE, "lease", "LEASE", "the lease that its memory counts for")                 \
    X(TEXT, unit, NONE, "unit", "UNIT", "the systemd unit that it runs in")                        \
    X(TEXT, command, NONE, "command", "COMMAND", "its command line, where it was asked for")       \
    X(BOOL, visible, NONE, "visible", "VISIBLE", "whether /proc shows it")

#define FIT_FIELDS(X)                                                                              \
    X(U64, size_bytes, BYTES, "size_bytes", "SIZE", "what was asked for, on each GPU")             \
    X(U64, margin_bytes, BYTES, "margin_bytes", "MARGIN", "what must stay free after it")          \
    X(ANSWER, answer, NONE, "answer", "ANSWER", "fits, not_now, never or unknown")                 \
    X(U32, gpu_count, NONE, "gpu_count", "GPUS", "on how many GPUs")                               \
    X(U64, waiters, NONE, "waiters", "WAITERS", "requests that wait; unknown without a daemon")    \
    X(BOOL, promises_counted, NONE, "promises_counted", "COUNTED",                                 \
      "whether a daemon's promises were subtracted")

#define FIT_GPU_FIELDS(X)                                                                          \
    X(TEXT, uuid, NONE, "uuid", "UUID", "the candidate")                                           \
    X(ANSWER, answer, NONE, "answer", "ANSWER", "for this GPU alone")                              \
    X(BOOL, usable, NONE, "usable", "USABLE", "false: lost or denied, and so no candidate")        \
    X(U64, free_bytes, BYTES, "free_bytes", "FREE", "not allocated")                               \
    X(U64, outstanding_bytes, BYTES, "outstanding_bytes", "OUTSTANDING",                           \
      "promised by leases and not yet allocated; unknown without a daemon")                        \
    X(U64, margin_bytes, BYTES, "margin_bytes", "MARGIN", "what must stay free")                   \
    X(FIT_HEADROOM, headroom_bytes, BYTES, "headroom_bytes", "HEADROOM",                           \
      "free - (outstanding - own) - margin")                                                       \
    X(U64, shortfall_bytes, BYTES, "shortfall_bytes", "SHORT", "what is missing; 0 where it fits") \
    X(U64, capacity_bytes, BYTES, "capacity_bytes", "CAPACITY", "total - driver-reserved")         \
    X(U64, own_outstanding_bytes, BYTES, "own_outstanding_bytes", "OWN",                           \
      "of outstanding, what is not held against who asks")

#define LEASE_FIELDS(X)                                                                            \
    X(TEXT, id, NONE, "id", "ID",                                                                  \
      "the lease's name; its beginning will do where it is the only one")                          \
    X(U64, owner_pid, NONE, "owner_pid", "OWNER",                                                  \
      "the process that holds it; unknown once it ended")                                          \
    X(TEXT, user, NONE, "user", "USER", "whose process that is")                                   \
    X(TEXT, label, NONE, "label", "LABEL", "what it was called when it was asked for")             \
    X(U64, size_bytes, BYTES, "size_bytes", "SIZE", "what is promised, on each of its GPUs")       \
    X(U64, held_bytes, BYTES, "held_bytes", "HELD", "what its members use, on its GPUs together")  \
    X(U64, outstanding_bytes, BYTES, "outstanding_bytes", "OUTSTANDING",                           \
      "promised and not yet allocated, on its GPUs together")                                      \
    X(TEXT, since, NONE, "since", "SINCE", "when it was granted")                                  \
    X(TEXT, until, NONE, "until", "UNTIL", "when it ends by itself; none: with its holders")       \
    X(LEASE, state, NONE, "state", "STATE",                                                        \
      "ok, filled (all is allocated), inherited (its owner has ended), over (its members use "     \
      "more "                                                                                      \
      "than was promised) or squeezed (others have grown into it)")                                \
    X(TEXT, ends, NONE, "ends", "ENDS",                                                            \
      "why it ends then: time (as asked for) or idle (it holds nothing)")

#define WAITER_FIELDS(X)                                                                           \
    X(U64, position, NONE, "position", "POSITION", "its place in the queue, from 1 on")            \
    X(TEXT, id, NONE, "id", "ID", "its name, and its lease's once it is granted")                  \
    X(U64, pid, NONE, "pid", "PID", "the process that would hold the lease")                       \
    X(TEXT, user, NONE, "user", "USER", "whose process that is")                                   \
    X(TEXT, label, NONE, "label", "LABEL", "what it was called when it was asked for")             \
    X(U64, gpu_count, NONE, "gpu_count", "GPUS", "on how many GPUs")                               \
    X(U64, size_bytes, BYTES, "size_bytes", "SIZE", "what it asks for, on each of its GPUs")       \
    X(TEXT, since, NONE, "since", "SINCE", "when it was asked for")                                \
    X(TEXT, waits_for, NONE, "waits_for", "WAITS FOR", "what keeps it waiting")

#define DAEMON_FIELDS(X)                                                                           \
    X(U64, pid, NONE, "pid", "PID", "the daemon's process")                                        \
    X(TEXT, version, NONE, "version", "VERSION", "its version")                                    \
    X(TEXT, driver, NONE, "driver", "DRIVER", "the driver that it serves")                         \
    X(BOOL, promising, NONE, "promising", "PROMISING", "whether it grants leases")                 \
    X(TEXT, reason, NONE, "reason", "REASON", "why it grants none, as a word")                     \
    X(TEXT, message, NONE, "message", "MESSAGE", "the same in a sentence, with the remedy")        \
    X(BOOL, paused, NONE, "paused", "PAUSED", "whether it has let go of the driver")               \
    X(TEXT, since, NONE, "since", "SINCE", "when it was started")                                  \
    X(U64, margin_bytes, BYTES, "margin_bytes", "MARGIN", "what must stay free where none is named")

#define CEILING_FIELDS(X)                                                                          \
    X(TEXT, name, NONE, "name", "CEILING", "what the configuration calls it")                      \
    X(TEXT, match, NONE, "match", "FOR", "the programs that it is for")                            \
    X(TEXT, gpu, NONE, "gpu", "GPU", "the GPU, by its UUID")                                       \
    X(U64, size_bytes, BYTES, "size_bytes", "SIZE", "how much is theirs there")                    \
    X(U64, held_bytes, BYTES, "held_bytes", "HELD", "what they use, with a lease or without")      \
    X(U64, outstanding_bytes, BYTES, "outstanding_bytes", "OUTSTANDING",                           \
      "what is kept for them besides")

#define FIELD(storage, member, unit, key, title, help) {key, title, help, VRAM_UNIT_##unit},
#define GPU_ROW(storage, member, ...) {STORED_##storage, offsetof(struct vram_gpu, member)},
#define PROCESS_ROW(storage, member, ...) {STORED_##storage, offsetof(struct vram_process, member)},
#define FIT_ROW(storage, member, ...) {STORED_##storage, offsetof(struct vram_fit, member)},
#define FIT_GPU_ROW(storage, member, ...) {STORED_##storage, offsetof(struct vram_fit_gpu, member)},
#define LEASE_ROW(storage, member, ...) {STORED_##storage, offsetof(struct vram_lease, member)},
#define WAITER_ROW(storage, member, ...) {STORED_##storage, offsetof(struct vram_waiter, member)},
#define DAEMON_ROW(storage, member, ...) {STORED_##storage, offsetof(struct vram_daemon, member)},
#define CEILING_ROW(storage, member, ...) {STORED_##storage, offsetof(struct vram_ceiling, member)},

static const struct vram_field gpu_fields[] = {GPU_FIELDS(FIELD)};
static const struct row gpu_rows[] = {GPU_FIELDS(GPU_ROW)};
static const struct vram_field process_fields[] = {PROCESS_FIELDS(FIELD)};
static const struct row process_rows[] = {PROCESS_FIELDS(PROCESS_ROW)};
static const struct vram_field fit_fields[] = {FIT_FIELDS(FIELD)};
static const struct row fit_rows[] = {FIT_FIELDS(FIT_ROW)};
static const struct vram_field fit_gpu_fields[] = {FIT_GPU_FIELDS(FIELD)};
static const struct row fit_gpu_rows[] = {FIT_GPU_FIELDS(FIT_GPU_ROW)};
static const struct vram_field lease_fields[] = {LEASE_FIELDS(FIELD)};
static const struct row lease_rows[] = {LEASE_FIELDS(LEASE_ROW)};
static const struct vram_field waiter_fields[] = {WAITER_FIELDS(FIELD)};
static const struct row waiter_rows[] = {WAITER_FIELDS(WAITER_ROW)};
static const struct vram_field daemon_fields[] = {DAEMON_FIELDS(FIELD)};
static const struct row daemon_rows[] = {DAEMON_FIELDS(DAEMON_ROW)};
static const struct vram_field ceiling_fields[] = {CEILING_FIELDS(FIELD)};
static const struct row ceiling_rows[] = {CEILING_FIELDS(CEILING_ROW)};

static const struct {
    const struct vram_field *fields;
    const struct row *rows;
    size_t count;
} objects[] = {
    [VRAM_OBJECT_GPU] = {gpu_fields, gpu_rows, ARRAY_LENGTH(gpu_fields)},
    [VRAM_OBJECT_PROCESS] = {process_fields, process_rows, ARRAY_LENGTH(process_fields)},
    [VRAM_OBJECT_FIT] = {fit_fields, fit_rows, ARRAY_LENGTH(fit_fields)},
    [VRAM_OBJECT_FIT_GPU] = {fit_gpu_fields, fit_gpu_rows, ARRAY_LENGTH(fit_gpu_fields)},
    [VRAM_OBJECT_LEASE] = {lease_fields, lease_rows, ARRAY_LENGTH(lease_fields)},
    [VRAM_OBJECT_WAITER] = {waiter_fields, waiter_rows, ARRAY_LENGTH(waiter_fields)},
    [VRAM_OBJECT_DAEMON] = {daemon_fields, daemon_rows, ARRAY_LENGTH(daemon_fields)},
    [VRAM_OBJECT_CEILING] = {ceiling_fields, ceiling_rows, ARRAY_LENGTH(ceiling_fields)},
};

/* ---- Words ----------------------------------------------------------------------------------- */

static const char *word(const char *const words[], size_t count, uint32_t number)
{
    return number < count ? words[number] : "unknown";
}

const char *vram_answer_name(uint32_t answer)
{
    static const char *const words[] = {"fits", "not_now", "never", "unknown", "timed_out"};
    return word(words, ARRAY_LENGTH(words), answer);
}

const char *vram_gpu_state_name(uint32_t state)
{
    static const char *const words[] = {"ok", "asleep", "lost", "denied", "hung"};
    return word(words, ARRAY_LENGTH(words), state);
}

const char *vram_lease_state_name(uint32_t state)
{
    static const char *const words[] = {"ok", "filled", "inherited", "over", "squeezed"};
    return word(words, ARRAY_LENGTH(words), state);
}

const char *vram_memory_kind_name(uint32_t kind)
{
    static const char *const words[] = {"dedicated", "unified", "mig"};
    return word(words, ARRAY_LENGTH(words), kind);
}

static const char *kinds_name(uint32_t kinds)
{
    static const char *const words[] = {NULL, "C", "G", "CG", "M", "CM", "GM", "CGM"};
    return kinds < ARRAY_LENGTH(words) ? words[kinds] : NULL;
}

/* ---- Values ---------------------------------------------------------------------------------- */

static struct vram_value number_value(uint64_t number)
{
    if (number == VRAM_UNKNOWN) {
        return (struct vram_value){.type = VRAM_VALUE_NONE};
    }
    return (struct vram_value){.type = VRAM_VALUE_NUMBER, .number = number};
}

static struct vram_value text_value(const char *text)
{
    if (!text) {
        return (struct vram_value){.type = VRAM_VALUE_NONE};
    }
    return (struct vram_value){.type = VRAM_VALUE_TEXT, .text = text};
}

static struct vram_value signed_value(int64_t number)
{
    return (struct vram_value){.type = VRAM_VALUE_SIGNED, .signed_number = number};
}

/* Amounts of memory stay far below 2^63: no driver speaks of exabytes, and lib/source refuses those that do. */
static struct vram_value headroom_value(const struct vram_gpu *gpu)
{
    if (gpu->free_bytes == VRAM_UNKNOWN || gpu->state != VRAM_GPU_OK) {
        return (struct vram_value){.type = VRAM_VALUE_NONE};
    }
    uint64_t promised = gpu->outstanding_bytes == VRAM_UNKNOWN ? 0 : gpu->outstanding_bytes;
    uint64_t own = gpu->own_outstanding_bytes == VRAM_UNKNOWN ? 0 : gpu->own_outstanding_bytes;
    promised -= own < promised ? own : promised; /* nobody's own promise is held against itself */
    uint64_t most = INT64_MAX / 4;
    int64_t free = (int64_t)(gpu->free_bytes < most ? gpu->free_bytes : most);
    int64_t taken = (int64_t)(promised < most ? promised : most);
    return signed_value(free - taken - (int64_t)VRAM_DEFAULT_MARGIN_BYTES);
}

const struct vram_field *vram_fields(uint32_t object, size_t *ret_count)
{
    if (object >= ARRAY_LENGTH(objects)) {
        *ret_count = 0;
        return NULL;
    }
    *ret_count = objects[object].count;
    return objects[object].fields;
}

struct vram_value vram_field_value(uint32_t object, size_t field, const void *data)
{
    struct vram_value none = {.type = VRAM_VALUE_NONE};
    if (object >= ARRAY_LENGTH(objects) || field >= objects[object].count) {
        return none;
    }
    const struct row *row = &objects[object].rows[field];
    const void *at = (const char *)data + row->offset;
    switch (row->storage) {
    case STORED_U32:
        return number_value(*(const uint32_t *)at);
    case STORED_U64:
        return number_value(*(const uint64_t *)at);
    case STORED_TEXT:
        return text_value(*(const char *const *)at);
    case STORED_BOOL:
        return (struct vram_value){.type = VRAM_VALUE_BOOL, .truth = *(const bool *)at};
    case STORED_STATE:
        return text_value(vram_gpu_state_name(*(const uint32_t *)at));
    case STORED_MEMORY:
        return text_value(vram_memory_kind_name(*(const uint32_t *)at));
    case STORED_ANSWER:
        return text_value(vram_answer_name(*(const uint32_t *)at));
    case STORED_LEASE:
        return text_value(vram_lease_state_name(*(const uint32_t *)at));
    case STORED_KINDS:
        return text_value(kinds_name(*(const uint32_t *)at));
    case STORED_HEADROOM:
        return headroom_value(data);
    case STORED_FIT_HEADROOM: {
        const struct vram_fit_gpu *line = data;
        return line->headroom_known ? signed_value(line->headroom_bytes) : none;
    }
    }
    return none;
}
