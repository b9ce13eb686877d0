/* SPDX-License-Identifier: MIT */
#include "sim/shape.h"

#include "common/nvml_abi.h"

#define SYSTEM(name, how_, ...)                                                                    \
    [FUNCTION_nvml##name] = {.scope = SCOPE_SYSTEM, .how = HOW_##how_, __VA_ARGS__}
#define DEVICE(name, how_, ...)                                                                    \
    [FUNCTION_nvmlDevice##name] = {.scope = SCOPE_DEVICE, .how = HOW_##how_, __VA_ARGS__}
#define POOL(name, how_, ...)                                                                      \
    [FUNCTION_nvmlDevice##name] = {.scope = SCOPE_POOL, .how = HOW_##how_, __VA_ARGS__}
#define LIST(name) POOL(name, LIST, .moves = true, .counts_memory = true)
#define NUMBER(name) DEVICE(name, STRUCTURE, .layout = "u")
#define MOVING_NUMBER(name) DEVICE(name, STRUCTURE, .layout = "u", .moves = true)

const struct shape shapes[FUNCTION_COUNT] = {
    SYSTEM(SystemGetDriverVersion, TEXT),
    SYSTEM(SystemGetNVMLVersion, TEXT),
    SYSTEM(SystemGetCudaDriverVersion, STRUCTURE, .layout = "u"),
    SYSTEM(SystemGetCudaDriverVersion_v2, STRUCTURE, .layout = "u"),
    SYSTEM(SystemGetConfComputeState, STRUCTURE, .layout = "uuu"),
    SYSTEM(DeviceGetCount, STRUCTURE, .layout = "u"),
    SYSTEM(DeviceGetCount_v2, STRUCTURE, .layout = "u"),

    POOL(GetName, TEXT),
    POOL(GetUUID, TEXT),
    DEVICE(GetSerial, TEXT),
    NUMBER(GetMinorNumber),
    NUMBER(GetIndex),
    NUMBER(GetBrand),
    DEVICE(GetPciInfo, STRUCTURE, .layout = "suuuuu"),
    DEVICE(GetPciInfo_v2, STRUCTURE, .layout = "suuuuu"),
    DEVICE(GetPciInfo_v3, STRUCTURE, .layout = "suuuuut"),
    DEVICE(GetPciInfoExt, STRUCTURE, .layout = "_uuuuuuut", .version = NVML_PCI_EXTENDED_V1),
    POOL(GetCudaComputeCapability, PAIR),
    NUMBER(GetArchitecture),
    NUMBER(GetNumaNodeId),
    DEVICE(GetAddressingMode, STRUCTURE, .layout = "_u", .version = NVML_ADDRESSING_MODE_V1),

    POOL(GetMemoryInfo, STRUCTURE, .layout = "UUU", .moves = true, .counts_memory = true),
    POOL(GetMemoryInfo_v2, STRUCTURE, .layout = "_UUUU", .version = NVML_MEMORY_V2, .moves = true,
         .counts_memory = true),
    POOL(GetBAR1MemoryInfo, STRUCTURE, .layout = "UUU", .moves = true),
    DEVICE(GetConfComputeMemSizeInfo, STRUCTURE, .layout = "UU"),
    DEVICE(GetConfComputeProtectedMemoryUsage, STRUCTURE, .layout = "UUU"),

    LIST(GetComputeRunningProcesses),
    LIST(GetComputeRunningProcesses_v2),
    LIST(GetComputeRunningProcesses_v3),
    LIST(GetGraphicsRunningProcesses),
    LIST(GetGraphicsRunningProcesses_v2),
    LIST(GetGraphicsRunningProcesses_v3),
    LIST(GetMPSComputeRunningProcesses),
    LIST(GetMPSComputeRunningProcesses_v2),
    LIST(GetMPSComputeRunningProcesses_v3),
    POOL(GetRunningProcessDetailList, DETAILS, .counts_memory = true),
    DEVICE(GetProcessUtilization, SAMPLES),
    DEVICE(GetProcessesUtilizationInfo, SAMPLES_V1),

    DEVICE(GetUtilizationRates, STRUCTURE, .layout = "uu", .moves = true),
    DEVICE(GetEncoderUtilization, PAIR, .moves = true),
    DEVICE(GetDecoderUtilization, PAIR, .moves = true),
    DEVICE(GetTemperature, ARGUMENT, .arguments = 1, .moves = true),
    DEVICE(GetTemperatureV, STRUCTURE, .layout = "__u", .version = NVML_TEMPERATURE_V1),
    DEVICE(GetTemperatureThreshold, ARGUMENT, .arguments = 8),
    MOVING_NUMBER(GetPowerUsage),
    NUMBER(GetEnforcedPowerLimit),
    NUMBER(GetPowerManagementLimit),
    NUMBER(GetPowerManagementDefaultLimit),
    DEVICE(GetTotalEnergyConsumption, STRUCTURE, .layout = "U", .moves = true),
    MOVING_NUMBER(GetFanSpeed),
    DEVICE(GetClockInfo, ARGUMENT, .arguments = 4, .moves = true),
    DEVICE(GetMaxClockInfo, ARGUMENT, .arguments = 4),
    MOVING_NUMBER(GetPerformanceState),
    DEVICE(GetPcieThroughput, ARGUMENT, .arguments = 2),
    NUMBER(GetCurrPcieLinkGeneration),
    NUMBER(GetCurrPcieLinkWidth),
    NUMBER(GetMaxPcieLinkGeneration),
    NUMBER(GetMaxPcieLinkWidth),
    NUMBER(GetPersistenceMode),
    NUMBER(GetComputeMode),
    NUMBER(GetDisplayActive),
    NUMBER(GetDisplayMode),
    DEVICE(GetEccMode, PAIR),
    DEVICE(GetTotalEccErrors, TWO_ARGUMENTS, .arguments = 4),
    DEVICE(GetRemappedRows, FOUR),
    NUMBER(GetVirtualizationMode),
    DEVICE(GetDriverModel, PAIR),
    DEVICE(GetFieldValues, FIELDS),

    DEVICE(GetMigMode, PAIR),
    NUMBER(GetMaxMigDeviceCount),
    POOL(IsMigDeviceHandle, STRUCTURE, .layout = "u"),
    POOL(GetGpuInstanceId, STRUCTURE, .layout = "u"),
    POOL(GetComputeInstanceId, STRUCTURE, .layout = "u"),
    POOL(GetDeviceHandleFromMigDeviceHandle, PARENT),
    POOL(GetAttributes, STRUCTURE, .layout = "uuuuuuuuU"),
    POOL(GetAttributes_v2, STRUCTURE, .layout = "uuuuuuuuU"),

    NUMBER(GetAccountingMode),
    NUMBER(GetAccountingBufferSize),
    DEVICE(GetAccountingPids, ACCOUNTED),
    DEVICE(GetSupportedEventTypes, STRUCTURE, .layout = "U"),
};
