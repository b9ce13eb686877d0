/* SPDX-License-Identifier: MIT */
/* Exported functions: events. Those that happened before their registration are lost, as with NVML. */
#include "sim/answer.h"
#include "sim/session.h"

#include <string.h>
#include <time.h>

#define SETS 64
#define SET_MARK 0x5A1Eu
#define POLL_NS 1000000u
#define KNOWN_TYPES                                                                                \
    (NVML_EVENT_SINGLE_BIT_ECC | NVML_EVENT_DOUBLE_BIT_ECC | NVML_EVENT_PSTATE | NVML_EVENT_XID |  \
     NVML_EVENT_CLOCK | NVML_EVENT_MIG_CHANGE | NVML_EVENT_UNAVAILABLE)

static struct event_set {
    bool used;
    uint16_t stamp;             /* of the nvmlInit that it belongs to */
    size_t next;                /* the first event that it has not seen */
    uint64_t types[WORLD_GPUS]; /* what it was registered for */
    size_t first[WORLD_GPUS];   /* the first event after the registration */
} sets[SETS];

static struct event_set *find_set(nvml_event_set handle)
{
    uint64_t value = (uint64_t)(uintptr_t)handle, number = value & 0xFFFFFFFFu;
    if (value >> 48 != SET_MARK || number >= SETS) {
        return NULL;
    }
    struct event_set *set = &sets[number];
    return set->used && set->stamp == session.stamp && set->stamp == (uint16_t)(value >> 32) ? set
                                                                                             : NULL;
}

static nvml_ret create_set(nvml_event_set *ret_set)
{
    if (!ret_set) {
        return NVML_INVALID_ARGUMENT;
    }
    for (size_t i = 0; i < SETS; i++) {
        if (!sets[i].used || sets[i].stamp != session.stamp) {
            sets[i] = (struct event_set){.used = true, .stamp = session.stamp};
            uint64_t value = (uint64_t)SET_MARK << 48 | (uint64_t)session.stamp << 32 | i;
            *ret_set = (nvml_event_set)(uintptr_t)value; /* NOLINT(performance-no-int-to-ptr) */
            return NVML_SUCCESS;
        }
    }
    return NVML_INSUFFICIENT_RESOURCES;
}

static nvml_ret free_set(nvml_event_set handle)
{
    struct event_set *set = find_set(handle);
    if (!set) {
        return NVML_INVALID_ARGUMENT;
    }
    set->used = false;
    return NVML_SUCCESS;
}

static uint64_t supported_types(const struct call *call)
{
    const struct gpu *gpu = call_gpu(call);
    uint64_t types = gpu->numbers[NUMBER_EVENT_TYPES];
    if (types != WORLD_UNKNOWN) {
        return types;
    }
    types = KNOWN_TYPES;
    if (gpu->numbers[NUMBER_ECC] != 1) {
        types &= ~(uint64_t)(NVML_EVENT_SINGLE_BIT_ECC | NVML_EVENT_DOUBLE_BIT_ECC);
    }
    return gpu->numbers[NUMBER_EVENTS] == 1 ? types : 0;
}

static nvml_ret register_events(const struct call *call, uint64_t types, nvml_event_set handle)
{
    struct event_set *set = find_set(handle);
    if (!set) {
        return NVML_INVALID_ARGUMENT;
    }
    if (types & ~supported_types(call)) {
        return NVML_NOT_SUPPORTED;
    }
    set->types[call->gpu] |= types;
    set->first[call->gpu] = session.sim.now->event_count;
    return NVML_SUCCESS;
}

/* The next event that the set was registered for. */
static bool take_event(struct event_set *set, struct nvml_event *ret_event)
{
    const struct world *world = session.sim.now;
    if (set->next + WORLD_EVENTS < world->event_count) {
        set->next = world->event_count - WORLD_EVENTS;
    }
    while (set->next < world->event_count) {
        size_t number = set->next++;
        const struct event *event = &world->events[number % WORLD_EVENTS];
        if (set->types[event->gpu] & event->type && number >= set->first[event->gpu]) {
            *ret_event = (struct nvml_event){device_handle(event->gpu, -1), event->type,
                                             event->data, NVML_NO_INSTANCE, NVML_NO_INSTANCE};
            return true;
        }
    }
    return false;
}

static bool watches_lost_gpu(const struct event_set *set)
{
    for (uint32_t i = 0; i < session.sim.now->gpu_count; i++) {
        if (set->types[i] && session.sim.now->gpus[i].lost) {
            return true;
        }
    }
    return false;
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The timeout is in real time also under a virtual clock, or a waiting thread could never be let go. */
static nvml_ret wait_event(struct call *call, nvml_event_set handle, void *ret_event, size_t size,
                           uint32_t timeout_ms)
{
    uint64_t end = monotonic_ns() + (uint64_t)timeout_ms * 1000000u;
    if (!ret_event) {
        return NVML_INVALID_ARGUMENT;
    }
    for (;;) {
        struct nvml_event event;
        struct event_set *set = find_set(handle);
        if (!set) {
            return NVML_INVALID_ARGUMENT;
        }
        if (take_event(set, &event)) {
            memcpy(ret_event, &event, size);
            return NVML_SUCCESS;
        }
        if (watches_lost_gpu(set)) {
            return NVML_GPU_IS_LOST;
        }
        if (monotonic_ns() >= end) {
            return NVML_TIMEOUT;
        }
        if (!call_wait(call, POLL_NS)) {
            return NVML_UNINITIALIZED;
        }
    }
}

EXPORT(nvmlEventSetCreate, nvml_event_set *ret_set)
{
    SYSTEM_CALL(nvmlEventSetCreate, create_set(ret_set));
}

EXPORT(nvmlEventSetFree, nvml_event_set set)
{
    SYSTEM_CALL(nvmlEventSetFree, free_set(set));
}

EXPORT(nvmlDeviceGetSupportedEventTypes, nvml_device device, uint64_t *ret_types)
{
    DEVICE_CALL(nvmlDeviceGetSupportedEventTypes, device,
                answer_large(supported_types(&call), ret_types));
}

EXPORT(nvmlDeviceRegisterEvents, nvml_device device, uint64_t types, nvml_event_set set)
{
    DEVICE_CALL(nvmlDeviceRegisterEvents, device, register_events(&call, types, set));
}

EXPORT(nvmlEventSetWait, nvml_event_set set, void *ret_event, uint32_t timeout_ms)
{
    SYSTEM_CALL(nvmlEventSetWait,
                wait_event(&call, set, ret_event, NVML_EVENT_V1_SIZE, timeout_ms));
}

EXPORT(nvmlEventSetWait_v2, nvml_event_set set, struct nvml_event *ret_event, uint32_t timeout_ms)
{
    SYSTEM_CALL(nvmlEventSetWait_v2,
                wait_event(&call, set, ret_event, sizeof(*ret_event), timeout_ms));
}
