/* SPDX-License-Identifier: MIT */
/* Exported functions: memory. */
#include "sim/answer.h"
#include "sim/session.h"

#include <unistd.h>

/* A divided card shows itself as a whole only to root, or where the monitor's right was given. */
nvml_ret call_check_pool(const struct call *call)
{
    const struct gpu *gpu = call_gpu(call);
    bool closed = call->instance < 0 && gpu->numbers[NUMBER_MIG] == 1 &&
                  gpu->numbers[NUMBER_MIG_MONITOR] != 1 && geteuid() != 0;
    return closed ? NVML_NO_PERMISSION : NVML_SUCCESS;
}

/* total = reserved + free + used, in this order of belief where a scenario puts more on a card than fits. */
static nvml_ret read_memory(const struct call *call, struct nvml_memory_v2 *ret_memory)
{
    const struct world *world = session.sim.free;
    nvml_ret code = call_check_pool(call);
    if (code != NVML_SUCCESS) {
        return code;
    }
    if (call_gpu(call)->numbers[NUMBER_MEMORY_UNSUPPORTED] == 1) {
        return NVML_NOT_SUPPORTED;
    }
    uint64_t total = world_memory(world, call->gpu, call->instance)->total;
    uint64_t reserved = sim_reserved(world, call->gpu, call->instance);
    uint64_t used = sim_used(&session.sim, world, call->gpu, call->instance);
    reserved = reserved < total ? reserved : total;
    used = used < total - reserved ? used : total - reserved;
    ret_memory->total = total;
    ret_memory->reserved = reserved;
    ret_memory->used = used;
    ret_memory->free = total - reserved - used;
    return NVML_SUCCESS;
}

static nvml_ret memory_v1(const struct call *call, struct nvml_memory_v1 *ret_memory)
{
    struct nvml_memory_v2 memory;
    nvml_ret code = ret_memory ? read_memory(call, &memory) : NVML_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS) {
        *ret_memory =
            (struct nvml_memory_v1){memory.total, memory.free, memory.used + memory.reserved};
    }
    return code;
}

static nvml_ret memory_v2(const struct call *call, struct nvml_memory_v2 *memory)
{
    if (!memory) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!call_check_version(call, memory->version, NVML_MEMORY_V2)) {
        return NVML_FUNCTION_NOT_FOUND;
    }
    return read_memory(call, memory);
}

EXPORT(nvmlDeviceGetMemoryInfo, nvml_device device, struct nvml_memory_v1 *ret_memory)
{
    POOL_CALL(nvmlDeviceGetMemoryInfo, device, memory_v1(&call, ret_memory));
}

EXPORT(nvmlDeviceGetMemoryInfo_v2, nvml_device device, struct nvml_memory_v2 *memory)
{
    POOL_CALL(nvmlDeviceGetMemoryInfo_v2, device, memory_v2(&call, memory));
}

static nvml_ret bar1(const struct call *call, struct nvml_bar1 *ret_memory)
{
    uint64_t total = call_gpu(call)->numbers[NUMBER_BAR1_TOTAL];
    uint64_t used = call_gpu(call)->numbers[NUMBER_BAR1_USED];
    if (!ret_memory) {
        return NVML_INVALID_ARGUMENT;
    }
    if (total == WORLD_UNKNOWN) {
        return NVML_NOT_SUPPORTED;
    }
    used = used < total ? used : 0;
    *ret_memory = (struct nvml_bar1){total, total - used, used};
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetBAR1MemoryInfo, nvml_device device, struct nvml_bar1 *ret_memory)
{
    POOL_CALL(nvmlDeviceGetBAR1MemoryInfo, device, bar1(&call, ret_memory));
}

/* Without confidential computing all memory is unprotected. */
static nvml_ret confidential_sizes(const struct call *call,
                                   struct nvml_confidential_sizes *ret_sizes)
{
    if (!ret_sizes) {
        return NVML_INVALID_ARGUMENT;
    }
    *ret_sizes = (struct nvml_confidential_sizes){0, call_gpu(call)->memory.total >> 10};
    return NVML_SUCCESS;
}

static nvml_ret confidential_usage(struct nvml_memory_v1 *ret_memory)
{
    if (!ret_memory) {
        return NVML_INVALID_ARGUMENT;
    }
    *ret_memory = (struct nvml_memory_v1){0, 0, 0};
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetConfComputeMemSizeInfo, nvml_device device,
       struct nvml_confidential_sizes *ret_sizes)
{
    DEVICE_CALL(nvmlDeviceGetConfComputeMemSizeInfo, device, confidential_sizes(&call, ret_sizes));
}

EXPORT(nvmlDeviceGetConfComputeProtectedMemoryUsage, nvml_device device,
       struct nvml_memory_v1 *ret_memory)
{
    DEVICE_CALL(nvmlDeviceGetConfComputeProtectedMemoryUsage, device,
                confidential_usage(ret_memory));
}
