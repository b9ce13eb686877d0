/* SPDX-License-Identifier: MIT */
/* Exported functions: which processes use a GPU, and how much. */
#include "sim/answer.h"
#include "sim/generation.h"
#include "sim/session.h"

#include <string.h>
#include <time.h>

#define LIST_MAX 950u /* where the real driver stops */
#define UTILIZATION_RING 100u
#define UTILIZATION_PERIOD_US 166667u

/* ---- Lists ------------------------------------------------------------------------------------- */

struct collection {
    size_t count;
    struct listing entries[LIST_MAX];
};

static void collect_one(void *data, const struct listing *listing)
{
    struct collection *collection = data;
    if (collection->count < LIST_MAX) {
        collection->entries[collection->count++] = *listing;
    }
}

static bool hides_pids(void)
{
    uint64_t chosen = session.sim.now->pids;
    return chosen ? chosen == 1 : sim_generation.number >= RELEASE_HIDES_PIDS;
}

static void collect(const struct call *call, uint32_t kinds, struct collection *ret_collection)
{
    ret_collection->count = 0;
    sim_list(&session.sim, session.sim.lists, call->gpu, call->instance, kinds, hides_pids(),
             collect_one, ret_collection);
}

/* All entries begin alike; the smaller ones only end earlier. */
static struct nvml_process_32 make_entry(const struct call *call, const struct listing *listing)
{
    struct nvml_process_32 entry = {.pid = listing->pid,
                                    .used_bytes = listing->used,
                                    .gpu_instance = NVML_NO_INSTANCE,
                                    .compute_instance = NVML_NO_INSTANCE};
    if (listing->instance >= 0) {
        const struct instance *instance = &call_gpu(call)->instances[listing->instance];
        entry.gpu_instance = instance->gpu_instance;
        entry.compute_instance = instance->compute_instance;
    }
    return entry;
}

static size_t entry_size(unsigned version)
{
    uint32_t number = sim_generation.number;
    if (version == 1) {
        return sizeof(struct nvml_process_16);
    }
    if (session.sim.now->entry_size) {
        return session.sim.now->entry_size;
    }
    bool large = version == 3 && number >= RELEASE_LARGE_ENTRIES && number < RELEASE_SMALL_ENTRIES;
    return large ? sizeof(struct nvml_process_32) : sizeof(struct nvml_process_24);
}

static nvml_ret list(const struct call *call, uint32_t kinds, unsigned version, uint32_t *count,
                     void *entries)
{
    size_t size = entry_size(version);
    struct collection found;
    if (!count || (*count && !entries)) {
        return NVML_INVALID_ARGUMENT;
    }
    nvml_ret code = call_check_pool(call);
    if (code != NVML_SUCCESS) {
        return code;
    }
    call_check_buffer(call, entries, *count, size);
    collect(call, kinds, &found);
    uint32_t room = *count;
    *count = (uint32_t)found.count;
    if (room < found.count) {
        return NVML_INSUFFICIENT_SIZE;
    }
    for (size_t i = 0; i < found.count; i++) {
        struct nvml_process_32 entry = make_entry(call, &found.entries[i]);
        memcpy((char *)entries + i * size, &entry, size);
    }
    return NVML_SUCCESS;
}

#define LIST(name, kinds, version)                                                                 \
    EXPORT(name, nvml_device device, uint32_t *count, void *entries)                               \
    {                                                                                              \
        POOL_CALL(name, device, list(&call, kinds, version, count, entries));                      \
    }

LIST(nvmlDeviceGetComputeRunningProcesses, KIND_COMPUTE, 1)
LIST(nvmlDeviceGetComputeRunningProcesses_v2, KIND_COMPUTE, 2)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, KIND_COMPUTE, 3)
LIST(nvmlDeviceGetGraphicsRunningProcesses, KIND_GRAPHICS, 1)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, KIND_GRAPHICS, 2)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, KIND_GRAPHICS, 3)
LIST(nvmlDeviceGetMPSComputeRunningProcesses, KIND_MPS, 1)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2, KIND_MPS, 2)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, KIND_MPS, 3)

/* ---- The detail list --------------------------------------------------------------------------- */

static nvml_ret detail_list(const struct call *call, struct nvml_process_detail_list *wanted)
{
    static const uint32_t kinds[] = {KIND_COMPUTE, KIND_GRAPHICS, KIND_MPS, KIND_ALL};
    struct collection found;
    if (!wanted) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!call_check_version(call, wanted->version, NVML_PROCESS_DETAIL_LIST_V1)) {
        return NVML_ARGUMENT_VERSION_MISMATCH;
    }
    uint32_t modes = sim_generation.number >= RELEASE_LISTS_ALL ? 4 : 3;
    if (wanted->mode >= modes) {
        return NVML_INVALID_ARGUMENT;
    }
    nvml_ret code = call_check_pool(call);
    if (code != NVML_SUCCESS) {
        return code;
    }
    call_check_buffer(call, wanted->entries, wanted->count, sizeof(*wanted->entries));
    collect(call, kinds[wanted->mode], &found);
    uint32_t room = wanted->entries ? wanted->count : 0;
    wanted->count = (uint32_t)found.count;
    if (room < found.count) {
        return NVML_INSUFFICIENT_SIZE;
    }
    for (size_t i = 0; i < found.count; i++) {
        struct nvml_process_32 entry = make_entry(call, &found.entries[i]);
        memcpy(&wanted->entries[i], &entry, sizeof(entry));
    }
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetRunningProcessDetailList, nvml_device device,
       struct nvml_process_detail_list *wanted)
{
    POOL_CALL(nvmlDeviceGetRunningProcessDetailList, device, detail_list(&call, wanted));
}

/* ---- Utilization ------------------------------------------------------------------------------- */

/* The driver samples by its own clock; every process that runs has one sample, the latest. */
static uint64_t sample_time_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
    return us - us % UTILIZATION_PERIOD_US;
}

/* Which samples are newer than the caller's last. NVML_NOT_FOUND: none. */
static nvml_ret collect_samples(const struct call *call, uint64_t last_seen_us,
                                uint64_t *ret_time_us, struct collection *ret_collection)
{
    *ret_time_us = sample_time_us();
    collect(call, KIND_ALL, ret_collection);
    if (ret_collection->count > UTILIZATION_RING) {
        ret_collection->count = UTILIZATION_RING;
    }
    return ret_collection->count && *ret_time_us > last_seen_us ? NVML_SUCCESS : NVML_NOT_FOUND;
}

static nvml_ret process_utilization(const struct call *call,
                                    struct nvml_process_utilization *samples, uint32_t *count,
                                    uint64_t last_seen_us)
{
    struct collection found;
    uint64_t time_us;
    if (!count) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!samples) {
        *count = UTILIZATION_RING;
        return NVML_INSUFFICIENT_SIZE;
    }
    call_check_buffer(call, samples, *count, sizeof(*samples));
    nvml_ret code = collect_samples(call, last_seen_us, &time_us, &found);
    if (code == NVML_SUCCESS && *count < found.count) {
        *count = UTILIZATION_RING;
        code = NVML_INSUFFICIENT_SIZE;
    }
    if (code != NVML_SUCCESS) {
        return code;
    }
    for (size_t i = 0; i < found.count; i++) {
        samples[i] =
            (struct nvml_process_utilization){.pid = found.entries[i].pid,
                                              .timestamp_us = time_us,
                                              .sm = (uint32_t)found.entries[i].utilization};
    }
    *count = (uint32_t)found.count;
    return NVML_SUCCESS;
}

static nvml_ret processes_utilization(const struct call *call,
                                      struct nvml_processes_utilization *wanted)
{
    struct collection found;
    uint64_t time_us;
    if (!wanted) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!call_check_version(call, wanted->version, NVML_PROCESSES_UTILIZATION_V1)) {
        return NVML_ARGUMENT_VERSION_MISMATCH;
    }
    call_check_buffer(call, wanted->samples, wanted->count, sizeof(*wanted->samples));
    nvml_ret code = collect_samples(call, wanted->last_seen_us, &time_us, &found);
    if (code != NVML_SUCCESS) {
        return code;
    }
    if (!wanted->samples || wanted->count < found.count) {
        wanted->count = UTILIZATION_RING;
        return NVML_INSUFFICIENT_SIZE;
    }
    for (size_t i = 0; i < found.count; i++) {
        wanted->samples[i] =
            (struct nvml_process_utilization_v1){.timestamp_us = time_us,
                                                 .pid = found.entries[i].pid,
                                                 .sm = (uint32_t)found.entries[i].utilization};
    }
    wanted->count = (uint32_t)found.count;
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetProcessUtilization, nvml_device device,
       struct nvml_process_utilization *samples, uint32_t *count, uint64_t last_seen_us)
{
    DEVICE_CALL(nvmlDeviceGetProcessUtilization, device,
                process_utilization(&call, samples, count, last_seen_us));
}

EXPORT(nvmlDeviceGetProcessesUtilizationInfo, nvml_device device,
       struct nvml_processes_utilization *wanted)
{
    DEVICE_CALL(nvmlDeviceGetProcessesUtilizationInfo, device,
                processes_utilization(&call, wanted));
}
