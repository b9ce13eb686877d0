/* SPDX-License-Identifier: MIT */
/* Exported functions: finding devices, and who they are. */
#include "sim/answer.h"
#include "sim/session.h"

#include <stdio.h>
#include <string.h>

/* ---- Counting and finding ---------------------------------------------------------------------- */

/* The functions without suffix leave out what the caller may not open; those with one do not. */
static nvml_ret count_devices(bool all, uint32_t *ret_count)
{
    uint32_t count = 0;
    if (!ret_count) {
        return NVML_INVALID_ARGUMENT;
    }
    for (uint32_t i = 0; i < session.sim.now->gpu_count; i++) {
        count += all || !session.sim.now->gpus[i].denied;
    }
    *ret_count = count;
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetCount, uint32_t *ret_count)
{
    SYSTEM_CALL(nvmlDeviceGetCount, count_devices(false, ret_count));
}

EXPORT(nvmlDeviceGetCount_v2, uint32_t *ret_count)
{
    SYSTEM_CALL(nvmlDeviceGetCount_v2, count_devices(true, ret_count));
}

/* The GPU with that index among all, or among those that may be opened; -1. */
static int find_index(uint32_t index, bool all)
{
    for (uint32_t i = 0; i < session.sim.now->gpu_count; i++) {
        if (!all && session.sim.now->gpus[i].denied) {
            continue;
        }
        if (index-- == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Opens a GPU that was found. */
static nvml_ret attach(const struct call *call, int gpu, nvml_ret missing, nvml_device *ret_device)
{
    if (!ret_device) {
        return NVML_INVALID_ARGUMENT;
    }
    if (gpu < 0) {
        return missing;
    }
    nvml_ret code = call_touch(call, (uint32_t)gpu);
    if (code == NVML_SUCCESS) {
        *ret_device = device_handle((uint32_t)gpu, -1);
    }
    return code;
}

/* Finds a GPU before the rules are asked, for a rule may be about that GPU alone. */
#define LOOKUP(name, find, missing, ret_device)                                                    \
    struct call call;                                                                              \
    nvml_ret code = call_enter(&call, FUNCTION_##name);                                            \
    int gpu = code == NVML_SUCCESS ? (find) : -1;                                                  \
    if (code == NVML_SUCCESS) {                                                                    \
        code = call_meet(&call, gpu);                                                              \
    }                                                                                              \
    if (code == NVML_SUCCESS) {                                                                    \
        code = attach(&call, gpu, missing, ret_device);                                            \
    }                                                                                              \
    return call_end(&call, code)

EXPORT(nvmlDeviceGetHandleByIndex, uint32_t index, nvml_device *ret_device)
{
    LOOKUP(nvmlDeviceGetHandleByIndex, find_index(index, false), NVML_INVALID_ARGUMENT, ret_device);
}

EXPORT(nvmlDeviceGetHandleByIndex_v2, uint32_t index, nvml_device *ret_device)
{
    LOOKUP(nvmlDeviceGetHandleByIndex_v2, find_index(index, true), NVML_INVALID_ARGUMENT,
           ret_device);
}

static int find_pci(const char *text)
{
    struct pci_address pci;
    if (!text || pci_parse(text, &pci) < 0) {
        return -1;
    }
    for (uint32_t i = 0; i < session.sim.now->gpu_count; i++) {
        const struct gpu *gpu = &session.sim.now->gpus[i];
        if (gpu->pci_domain == pci.domain && gpu->pci_bus == pci.bus &&
            gpu->pci_device == pci.device) {
            return (int)i;
        }
    }
    return -1;
}

EXPORT(nvmlDeviceGetHandleByPciBusId, const char *text, nvml_device *ret_device)
{
    LOOKUP(nvmlDeviceGetHandleByPciBusId, find_pci(text),
           text ? NVML_NOT_FOUND : NVML_INVALID_ARGUMENT, ret_device);
}

EXPORT(nvmlDeviceGetHandleByPciBusId_v2, const char *text, nvml_device *ret_device)
{
    LOOKUP(nvmlDeviceGetHandleByPciBusId_v2, find_pci(text),
           text ? NVML_NOT_FOUND : NVML_INVALID_ARGUMENT, ret_device);
}

/* Only the GPUs themselves know their UUIDs, so each one before the right one is opened and one that is lost
 * fails the search. */
static nvml_ret search(struct call *call, const char *uuid, const char *serial,
                       nvml_device *ret_device)
{
    if (!ret_device || (!uuid && !serial)) {
        return NVML_INVALID_ARGUMENT;
    }
    for (uint32_t i = 0; i < session.sim.now->gpu_count; i++) {
        const struct gpu *gpu = &session.sim.now->gpus[i];
        nvml_ret code = gpu->denied ? NVML_NO_PERMISSION : call_touch(call, i);
        if (code == NVML_NO_PERMISSION) {
            continue;
        }
        if (code != NVML_SUCCESS) {
            return code;
        }
        if (uuid ? strcmp(gpu->uuid, uuid) == 0
                 : gpu->serial[0] && strcmp(gpu->serial, serial) == 0) {
            *ret_device = device_handle(i, -1);
            return NVML_SUCCESS;
        }
        for (int j = 0; uuid && j < WORLD_INSTANCES; j++) {
            if (gpu->instances[j].present && strcmp(gpu->instances[j].uuid, uuid) == 0) {
                *ret_device = device_handle(i, j);
                return NVML_SUCCESS;
            }
        }
    }
    return NVML_NOT_FOUND;
}

static nvml_ret search_uuid(struct call *call, const struct nvml_uuid *uuid,
                            nvml_device *ret_device)
{
    if (!uuid) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!call_check_version(call, uuid->version, NVML_UUID_V1)) {
        return NVML_ARGUMENT_VERSION_MISMATCH;
    }
    char text[sizeof(uuid->text) + 1] = "";
    memcpy(text, uuid->text, sizeof(uuid->text));
    return uuid->type == 1 ? search(call, text, NULL, ret_device) : NVML_INVALID_ARGUMENT;
}

EXPORT(nvmlDeviceGetHandleByUUID, const char *uuid, nvml_device *ret_device)
{
    SYSTEM_CALL(nvmlDeviceGetHandleByUUID, search(&call, uuid, NULL, ret_device));
}

EXPORT(nvmlDeviceGetHandleByUUIDV, const struct nvml_uuid *uuid, nvml_device *ret_device)
{
    SYSTEM_CALL(nvmlDeviceGetHandleByUUIDV, search_uuid(&call, uuid, ret_device));
}

EXPORT(nvmlDeviceGetHandleBySerial, const char *serial, nvml_device *ret_device)
{
    SYSTEM_CALL(nvmlDeviceGetHandleBySerial, search(&call, NULL, serial, ret_device));
}

/* ---- Identity ---------------------------------------------------------------------------------- */

static nvml_ret device_name(const struct call *call, char *text, uint32_t size)
{
    const struct gpu *gpu = call_gpu(call);
    return answer_text(call->instance < 0 ? gpu->name : gpu->instances[call->instance].name, text,
                       size);
}

static nvml_ret device_uuid(const struct call *call, char *text, uint32_t size)
{
    const struct gpu *gpu = call_gpu(call);
    return answer_text(call->instance < 0 ? gpu->uuid : gpu->instances[call->instance].uuid, text,
                       size);
}

static nvml_ret device_serial(const struct call *call, char *text, uint32_t size)
{
    const char *serial = call_gpu(call)->serial;
    return serial[0] ? answer_text(serial, text, size) : NVML_NOT_SUPPORTED;
}

EXPORT(nvmlDeviceGetName, nvml_device device, char *text, uint32_t size)
{
    POOL_CALL(nvmlDeviceGetName, device, device_name(&call, text, size));
}

EXPORT(nvmlDeviceGetUUID, nvml_device device, char *text, uint32_t size)
{
    POOL_CALL(nvmlDeviceGetUUID, device, device_uuid(&call, text, size));
}

EXPORT(nvmlDeviceGetSerial, nvml_device device, char *text, uint32_t size)
{
    DEVICE_CALL(nvmlDeviceGetSerial, device, device_serial(&call, text, size));
}

EXPORT(nvmlDeviceGetIndex, nvml_device device, uint32_t *ret_index)
{
    DEVICE_CALL(nvmlDeviceGetIndex, device, answer_number(call.gpu, ret_index));
}

EXPORT(nvmlDeviceGetMinorNumber, nvml_device device, uint32_t *ret_minor)
{
    DEVICE_CALL(nvmlDeviceGetMinorNumber, device,
                answer_number(call_gpu(&call)->numbers[NUMBER_MINOR], ret_minor));
}

/* Drivers before 396 knew only the short form, and wrote nothing behind the numbers. */
static nvml_ret pci_info(const struct call *call, size_t written, struct nvml_pci *ret_pci)
{
    const struct gpu *gpu = call_gpu(call);
    struct nvml_pci pci = {.domain = gpu->pci_domain,
                           .bus = gpu->pci_bus,
                           .device = gpu->pci_device,
                           .pci_device_id = gpu->pci_id,
                           .pci_subsystem_id = gpu->pci_subsystem_id};
    if (!ret_pci) {
        return NVML_INVALID_ARGUMENT;
    }
    (void)snprintf(pci.bus_id_legacy, sizeof(pci.bus_id_legacy), "%04X:%02X:%02X.0",
                   pci.domain & 0xFFFF, pci.bus & 0xFF, pci.device & 0xFF);
    (void)snprintf(pci.bus_id, sizeof(pci.bus_id), "%08X:%02X:%02X.0", pci.domain, pci.bus,
                   pci.device);
    memcpy(ret_pci, &pci, written);
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetPciInfo, nvml_device device, struct nvml_pci *ret_pci)
{
    DEVICE_CALL(nvmlDeviceGetPciInfo, device,
                pci_info(&call, offsetof(struct nvml_pci, bus_id), ret_pci));
}

EXPORT(nvmlDeviceGetPciInfo_v2, nvml_device device, struct nvml_pci *ret_pci)
{
    DEVICE_CALL(nvmlDeviceGetPciInfo_v2, device,
                pci_info(&call, offsetof(struct nvml_pci, bus_id), ret_pci));
}

EXPORT(nvmlDeviceGetPciInfo_v3, nvml_device device, struct nvml_pci *ret_pci)
{
    DEVICE_CALL(nvmlDeviceGetPciInfo_v3, device, pci_info(&call, sizeof(*ret_pci), ret_pci));
}

static nvml_ret pci_extended(const struct call *call, struct nvml_pci_extended *pci)
{
    struct nvml_pci known;
    nvml_ret code = pci ? pci_info(call, sizeof(known), &known) : NVML_INVALID_ARGUMENT;
    if (code != NVML_SUCCESS) {
        return code;
    }
    if (!call_check_version(call, pci->version, NVML_PCI_EXTENDED_V1)) {
        return NVML_ARGUMENT_VERSION_MISMATCH;
    }
    pci->domain = known.domain;
    pci->bus = known.bus;
    pci->device = known.device;
    pci->pci_device_id = known.pci_device_id;
    pci->pci_subsystem_id = known.pci_subsystem_id;
    const struct gpu *gpu = call_gpu(call);
    uint32_t class = gpu->pci_class; /* of display controllers: with a screen VGA, else 3D */
    if (class == UINT32_MAX) {
        class = gpu->numbers[NUMBER_DISPLAY] == 1 ? 0x0300 : 0x0302;
    }
    pci->base_class = class >> 8;
    pci->sub_class = class & 0xFF;
    memcpy(pci->bus_id, known.bus_id, sizeof(pci->bus_id));
    return NVML_SUCCESS;
}

EXPORT(nvmlDeviceGetPciInfoExt, nvml_device device, struct nvml_pci_extended *pci)
{
    DEVICE_CALL(nvmlDeviceGetPciInfoExt, device, pci_extended(&call, pci));
}

/* ---- Kind of device ---------------------------------------------------------------------------- */

static nvml_ret compute_capability(const struct call *call, int *ret_major, int *ret_minor)
{
    uint64_t capability = call_gpu(call)->numbers[NUMBER_COMPUTE_CAPABILITY];
    if (!ret_major || !ret_minor) {
        return NVML_INVALID_ARGUMENT;
    }
    if (capability == WORLD_UNKNOWN) {
        return NVML_NOT_SUPPORTED;
    }
    *ret_major = (int)(capability / 10);
    *ret_minor = (int)(capability % 10);
    return NVML_SUCCESS;
}

static nvml_ret addressing_mode(const struct call *call, struct nvml_addressing_mode *mode)
{
    if (!mode) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!call_check_version(call, mode->version, NVML_ADDRESSING_MODE_V1)) {
        return NVML_ARGUMENT_VERSION_MISMATCH;
    }
    return answer_number(call_gpu(call)->numbers[NUMBER_ADDRESSING], &mode->value);
}

EXPORT(nvmlDeviceGetCudaComputeCapability, nvml_device device, int *ret_major, int *ret_minor)
{
    POOL_CALL(nvmlDeviceGetCudaComputeCapability, device,
              compute_capability(&call, ret_major, ret_minor));
}

EXPORT(nvmlDeviceGetArchitecture, nvml_device device, uint32_t *ret_architecture)
{
    DEVICE_CALL(nvmlDeviceGetArchitecture, device,
                answer_number(call_gpu(&call)->numbers[NUMBER_ARCHITECTURE], ret_architecture));
}

EXPORT(nvmlDeviceGetBrand, nvml_device device, uint32_t *ret_brand)
{
    DEVICE_CALL(nvmlDeviceGetBrand, device,
                answer_number(call_gpu(&call)->numbers[NUMBER_BRAND], ret_brand));
}

EXPORT(nvmlDeviceGetNumaNodeId, nvml_device device, uint32_t *ret_node)
{
    DEVICE_CALL(nvmlDeviceGetNumaNodeId, device,
                answer_number(call_gpu(&call)->numbers[NUMBER_NUMA], ret_node));
}

EXPORT(nvmlDeviceGetAddressingMode, nvml_device device, struct nvml_addressing_mode *mode)
{
    DEVICE_CALL(nvmlDeviceGetAddressingMode, device, addressing_mode(&call, mode));
}
