/* SPDX-License-Identifier: MIT */
/* Exported functions: cards that are divided into instances. */
#include "sim/answer.h"
#include "sim/session.h"

static nvml_ret mig_mode(const struct call *call, uint32_t *ret_current, uint32_t *ret_pending)
{
    nvml_ret code = ret_pending ? answer_number(call_gpu(call)->numbers[NUMBER_MIG], ret_current)
                                : NVML_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS) {
        uint64_t pending = call_gpu(call)->numbers[NUMBER_MIG_PENDING];
        *ret_pending = pending == WORLD_UNKNOWN ? *ret_current : (uint32_t)pending;
    }
    return code;
}

/* Cards that cannot be divided answer too: none. */
static nvml_ret mig_places(const struct call *call, uint32_t *ret_count)
{
    const uint64_t *numbers = call_gpu(call)->numbers;
    uint64_t usual = numbers[NUMBER_MIG] == WORLD_UNKNOWN ? 0 : WORLD_INSTANCES;
    return answer_number(numbers[NUMBER_MIG_PLACES] == WORLD_UNKNOWN ? usual
                                                                     : numbers[NUMBER_MIG_PLACES],
                         ret_count);
}

static nvml_ret mig_device(const struct call *call, uint32_t index, nvml_device *ret_device)
{
    if (!ret_device || index >= WORLD_INSTANCES) {
        return NVML_INVALID_ARGUMENT;
    }
    if (call_gpu(call)->numbers[NUMBER_MIG] != 1) {
        return NVML_NOT_SUPPORTED;
    }
    if (!call_gpu(call)->instances[index].present) {
        return NVML_NOT_FOUND;
    }
    *ret_device = device_handle(call->gpu, (int)index);
    return NVML_SUCCESS;
}

/* The instance of the call, NULL where it was given a whole card. */
static const struct instance *instance_of(const struct call *call)
{
    return call->instance < 0 ? NULL : &call_gpu(call)->instances[call->instance];
}

static nvml_ret instance_id(const struct call *call, bool compute, uint32_t *ret_id)
{
    const struct instance *instance = instance_of(call);
    if (!instance) {
        return ret_id ? NVML_NOT_SUPPORTED : NVML_INVALID_ARGUMENT;
    }
    return answer_number(compute ? instance->compute_instance : instance->gpu_instance, ret_id);
}

static nvml_ret parent(const struct call *call, nvml_device *ret_device)
{
    if (!ret_device || call->instance < 0) {
        return NVML_INVALID_ARGUMENT;
    }
    *ret_device = device_handle(call->gpu, -1);
    return NVML_SUCCESS;
}

static nvml_ret attributes(const struct call *call, struct nvml_attributes *ret_attributes)
{
    const struct instance *instance = instance_of(call);
    uint64_t multiprocessors = call_gpu(call)->numbers[NUMBER_MULTIPROCESSORS];
    if (!ret_attributes) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!instance) {
        return NVML_NOT_SUPPORTED;
    }
    *ret_attributes = (struct nvml_attributes){
        .multiprocessors = instance->multiprocessors ? instance->multiprocessors
                           : multiprocessors == WORLD_UNKNOWN
                               ? 0
                               : (uint32_t)multiprocessors / 7 * instance->compute_slices,
        .gpu_slices = instance->gpu_slices,
        .compute_slices = instance->compute_slices,
        .memory_mib = instance->memory.total >> 20,
    };
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetMigMode, nvml_device device, uint32_t *ret_current, uint32_t *ret_pending)
{
    DEVICE_CALL(nvmlDeviceGetMigMode, device, mig_mode(&call, ret_current, ret_pending));
}

EXPORT(nvmlDeviceGetMaxMigDeviceCount, nvml_device device, uint32_t *ret_count)
{
    DEVICE_CALL(nvmlDeviceGetMaxMigDeviceCount, device, mig_places(&call, ret_count));
}

EXPORT(nvmlDeviceGetMigDeviceHandleByIndex, nvml_device device, uint32_t index,
       nvml_device *ret_device)
{
    DEVICE_CALL(nvmlDeviceGetMigDeviceHandleByIndex, device, mig_device(&call, index, ret_device));
}

EXPORT(nvmlDeviceIsMigDeviceHandle, nvml_device device, uint32_t *ret_is)
{
    POOL_CALL(nvmlDeviceIsMigDeviceHandle, device, answer_number(call.instance >= 0, ret_is));
}

EXPORT(nvmlDeviceGetGpuInstanceId, nvml_device device, uint32_t *ret_id)
{
    POOL_CALL(nvmlDeviceGetGpuInstanceId, device, instance_id(&call, false, ret_id));
}

EXPORT(nvmlDeviceGetComputeInstanceId, nvml_device device, uint32_t *ret_id)
{
    POOL_CALL(nvmlDeviceGetComputeInstanceId, device, instance_id(&call, true, ret_id));
}

EXPORT(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, nvml_device device, nvml_device *ret_device)
{
    POOL_CALL(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, device, parent(&call, ret_device));
}

EXPORT(nvmlDeviceGetAttributes, nvml_device device, struct nvml_attributes *ret_attributes)
{
    POOL_CALL(nvmlDeviceGetAttributes, device, attributes(&call, ret_attributes));
}

EXPORT(nvmlDeviceGetAttributes_v2, nvml_device device, struct nvml_attributes *ret_attributes)
{
    POOL_CALL(nvmlDeviceGetAttributes_v2, device, attributes(&call, ret_attributes));
}
