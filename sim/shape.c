/* SPDX-License-Identifier: MIT */
#include "sim/shape.h"

#include "common/nvml_abi.h"

#define SYSTEM(name, ...) [FUNCTION_nvml##name] = {.scope = SCOPE_SYSTEM, .how = __VA_ARGS__}
#define DEVICE(name, ...) [FUNCTION_nvmlDevice##name] = {.scope = SCOPE_DEVICE, .how = __VA_ARGS__}
#define POOL(name, ...) [FUNCTION_nvmlDevice##name] = {.scope = SCOPE_POOL, .how = __VA_ARGS__}
#define LIST(name) POOL(name, HOW_LIST, .moves = true, .counts_memory = true)
#define NUMBER(name) DEVICE(name, HOW_STRUCTURE, .layout = "u")
#define MOVING_NUMBER(name) DEVICE(name, HOW_STRUCTURE, .layout = "u", .moves = true)

const struct shape shapes[FUNCTION_COUNT] = {
    SYSTEM(SystemGetDriverVersion, HOW_TEXT),
    SYSTEM(SystemGetNVMLVersion, HOW_TEXT),
    SYSTEM(SystemGetCudaDriverVersion, HOW_STRUCTURE, .layout = "u"),
    SYSTEM(SystemGetCudaDriverVersion_v2, HOW_STRUCTURE, .layout = "u"),
    SYSTEM(SystemGetConfComputeState, HOW_STRUCTURE, .layout = "uuu"),
    SYSTEM(DeviceGetCount, HOW_STRUCTURE, .layout = "u"),
    SYSTEM(DeviceGetCount_v2, HOW_STRUCTURE, .layout = "u"),

    POOL(GetName, HOW_TEXT),
    POOL(GetUUID, HOW_TEXT),
    DEVICE(GetSerial, HOW_TEXT),
    NUMBER(GetMinorNumber),
    NUMBER(GetIndex),
    NUMBER(GetBrand),
    DEVICE(GetPciInfo, HOW_STRUCTURE, .layout = "suuuuu"),
    DEVICE(GetPciInfo_v2, HOW_STRUCTURE, .layout = "suuuuu"),
    DEVICE(GetPciInfo_v3, HOW_STRUCTURE, .layout = "suuuuut"),
    DEVICE(GetPciInfoExt, HOW_STRUCTURE, .layout = "_uuuuuuut", .version = NVML_PCI_EXTENDED_V1),
    POOL(GetCudaComputeCapability, HOW_PAIR),
    NUMBER(GetArchitecture),
    NUMBER(GetNumaNodeId),
    DEVICE(GetAddressingMode, HOW_STRUCTURE, .layout = "_u", .version = NVML_ADDRESSING_MODE_V1),

    POOL(GetMemoryInfo, HOW_STRUCTURE, .layout = "UUU", .moves = true, .counts_memory = true),
    POOL(GetMemoryInfo_v2, HOW_STRUCTURE, .layout = "_UUUU", .version = NVML_MEMORY_V2,
         .moves = true, .counts_memory = true),
    POOL(GetBAR1MemoryInfo, HOW_STRUCTURE, .layout = "UUU", .moves = true),
    DEVICE(GetConfComputeMemSizeInfo, HOW_STRUCTURE, .layout = "UU"),
    DEVICE(GetConfComputeProtectedMemoryUsage, HOW_STRUCTURE, .layout = "UUU"),

    LIST(GetComputeRunningProcesses),
    LIST(GetComputeRunningProcesses_v2),
    LIST(GetComputeRunningProcesses_v3),
    LIST(GetGraphicsRunningProcesses),
    LIST(GetGraphicsRunningProcesses_v2),
    LIST(GetGraphicsRunningProcesses_v3),
    LIST(GetMPSComputeRunningProcesses),
    LIST(GetMPSComputeRunningProcesses_v2),
    LIST(GetMPSComputeRunningProcesses_v3),
    POOL(GetRunningProcessDetailList, HOW_DETAILS, .counts_memory = true),
    DEVICE(GetProcessUtilization, HOW_SAMPLES),
    DEVICE(GetProcessesUtilizationInfo, HOW_SAMPLES_V1),

    DEVICE(GetUtilizationRates, HOW_STRUCTURE, .layout = "uu", .moves = true),
    DEVICE(GetEncoderUtilization, HOW_PAIR, .moves = true),
    DEVICE(GetDecoderUtilization, HOW_PAIR, .moves = true),
    DEVICE(GetTemperature, HOW_ARGUMENT, .arguments = 1, .moves = true),
    DEVICE(GetTemperatureV, HOW_STRUCTURE, .layout = "__u", .version = NVML_TEMPERATURE_V1),
    DEVICE(GetTemperatureThreshold, HOW_ARGUMENT, .arguments = 8),
    MOVING_NUMBER(GetPowerUsage),
    NUMBER(GetEnforcedPowerLimit),
    NUMBER(GetPowerManagementLimit),
    NUMBER(GetPowerManagementDefaultLimit),
    DEVICE(GetTotalEnergyConsumption, HOW_STRUCTURE, .layout = "U", .moves = true),
    MOVING_NUMBER(GetFanSpeed),
    DEVICE(GetClockInfo, HOW_ARGUMENT, .arguments = 4, .moves = true),
    DEVICE(GetMaxClockInfo, HOW_ARGUMENT, .arguments = 4),
    MOVING_NUMBER(GetPerformanceState),
    DEVICE(GetPcieThroughput, HOW_ARGUMENT, .arguments = 2),
    NUMBER(GetCurrPcieLinkGeneration),
    NUMBER(GetCurrPcieLinkWidth),
    NUMBER(GetMaxPcieLinkGeneration),
    NUMBER(GetMaxPcieLinkWidth),
    NUMBER(GetPersistenceMode),
    NUMBER(GetComputeMode),
    NUMBER(GetDisplayActive),
    NUMBER(GetDisplayMode),
    DEVICE(GetEccMode, HOW_PAIR),
    DEVICE(GetTotalEccErrors, HOW_TWO_ARGUMENTS, .arguments = 4),
    DEVICE(GetRemappedRows, HOW_FOUR),
    NUMBER(GetVirtualizationMode),
    DEVICE(GetDriverModel, HOW_PAIR),
    DEVICE(GetFieldValues, HOW_FIELDS),

    DEVICE(GetMigMode, HOW_PAIR),
    NUMBER(GetMaxMigDeviceCount),
    POOL(IsMigDeviceHandle, HOW_STRUCTURE, .layout = "u"),
    POOL(GetGpuInstanceId, HOW_STRUCTURE, .layout = "u"),
    POOL(GetComputeInstanceId, HOW_STRUCTURE, .layout = "u"),
    POOL(GetDeviceHandleFromMigDeviceHandle, HOW_PARENT),
    POOL(GetAttributes, HOW_STRUCTURE, .layout = "uuuuuuuuU"),
    POOL(GetAttributes_v2, HOW_STRUCTURE, .layout = "uuuuuuuuU"),

    NUMBER(GetAccountingMode),
    NUMBER(GetAccountingBufferSize),
    DEVICE(GetAccountingPids, HOW_ACCOUNTED),
    DEVICE(GetSupportedEventTypes, HOW_STRUCTURE, .layout = "U"),
};
