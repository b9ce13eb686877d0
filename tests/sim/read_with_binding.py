# SPDX-License-Identifier: MIT
"""Prints as JSON what NVIDIA's own Python binding reads from the driver library that the environment names.

Run in a process of its own: the binding keeps one library for the life of a process.
"""

import ctypes
import json

import pynvml as nvml


class OldEntry(ctypes.Structure):
    """An entry of the lists without suffix, which the binding itself no longer reads."""

    _fields_ = [("pid", ctypes.c_uint), ("usedGpuMemory", ctypes.c_ulonglong)]


class LargeEntry(ctypes.Structure):
    """An entry of the _v3 lists of drivers 535.43 to 535.86, as the binding of that time had it."""

    _fields_ = [("pid", ctypes.c_uint), ("usedGpuMemory", ctypes.c_ulonglong), ("gpuInstanceId", ctypes.c_uint),
                ("computeInstanceId", ctypes.c_uint), ("usedGpuCcProtectedMemory", ctypes.c_ulonglong)]


def ask(function, *arguments, **options):
    """The answer, or NVML's code where there is none."""
    try:
        return function(*arguments, **options)
    except nvml.NVMLError as error:
        return {"code": error.value}


def start():
    """As the binding does, and as it did with drivers that have no flags."""
    if isinstance(ask(nvml.nvmlInit), dict):
        nvml._LoadNvmlLibrary()
        nvml._nvmlCheckReturn(nvml._nvmlGetFunctionPointer("nvmlInit_v2")())


def has(name):
    return not isinstance(ask(nvml._nvmlGetFunctionPointer, name), dict)


def read_list(handle, name, entry):
    function = nvml._nvmlGetFunctionPointer(name)
    count = ctypes.c_uint(0)
    code = function(handle, ctypes.byref(count), None)
    entries = (entry * max(count.value, 1))()
    if code != nvml.NVML_SUCCESS:
        nvml._nvmlCheckReturn(function(handle, ctypes.byref(count), entries))
    return {entries[i].pid: entries[i].usedGpuMemory for i in range(count.value)}


def processes(handle, kind):
    """pid -> bytes of one list, by the newest function that the library has; None: it has none."""
    name = f"nvmlDeviceGet{kind}RunningProcesses"
    if has(name + "_v3") and has("nvmlDeviceGetConfComputeMemSizeInfo") and not has("nvmlDeviceGetRunningProcessDetailList"):
        return read_list(handle, name + "_v3", LargeEntry)
    for suffix in ("_v3", "_v2"):
        if has(name + suffix):
            return {process.pid: process.usedGpuMemory for process in getattr(nvml, name + suffix)(handle)}
    return read_list(handle, name, OldEntry) if has(name) else None


def read_details(handle):
    """With the binding's structures but not by its function, which fails where memory is unknown."""
    function = nvml._nvmlGetFunctionPointer("nvmlDeviceGetRunningProcessDetailList")
    wanted = nvml.c_nvmlProcessDetailList_v1_t()
    wanted.version = ctypes.sizeof(wanted) | 1 << 24
    if function(handle, ctypes.byref(wanted)) == nvml.NVML_ERROR_INSUFFICIENT_SIZE:
        entries = (nvml.c_nvmlProcessDetail_v1_t * wanted.numProcArrayEntries)()
        wanted.procArray = ctypes.cast(entries, ctypes.POINTER(nvml.c_nvmlProcessDetail_v1_t))
        nvml._nvmlCheckReturn(function(handle, ctypes.byref(wanted)))
    unknown = nvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
    listed = [wanted.procArray[i] for i in range(wanted.numProcArrayEntries)]
    return {entry.pid: None if entry.usedGpuMemory == unknown else entry.usedGpuMemory for entry in listed}


def memory(handle):
    old = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    new = ask(nvml.nvmlDeviceGetMemoryInfo, handle, version=nvml.nvmlMemory_v2)
    fields = ("total", "free", "used", "reserved")
    return [part if isinstance(part, dict) else {field: getattr(part, field) for field in fields if hasattr(part, field)}
            for part in (old, new)]


def instances(handle):
    found = []
    mode = ask(nvml.nvmlDeviceGetMigMode, handle)
    if not isinstance(mode, dict) and mode[0]:
        for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            part = ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            if not isinstance(part, dict):
                found.append(dict(describe_pool(part), gi=nvml.nvmlDeviceGetGpuInstanceId(part),
                                  ci=nvml.nvmlDeviceGetComputeInstanceId(part),
                                  attributes_mib=nvml.nvmlDeviceGetAttributes_v2(part).memorySizeMB))
    return found


def describe_pool(handle):
    old, new = memory(handle)
    return {
        "name": nvml.nvmlDeviceGetName(handle),
        "uuid": nvml.nvmlDeviceGetUUID(handle),
        "memory_v1": old,
        "memory_v2": new,
        "processes": {kind: processes(handle, kind) for kind in ("Compute", "Graphics", "MPSCompute")},
    }


def describe(index):
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    gpu = describe_pool(handle)
    bar1 = ask(nvml.nvmlDeviceGetBAR1MemoryInfo, handle)
    rates = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
    pci = ask(nvml.nvmlDeviceGetPciInfo, handle)
    gpu.update(
        instances=instances(handle),
        bar1=bar1 if isinstance(bar1, dict) else {"total": bar1.bar1Total, "used": bar1.bar1Used},
        utilization=rates if isinstance(rates, dict) else [rates.gpu, rates.memory],
        pci=pci if isinstance(pci, dict) else [pci.domain, pci.bus, pci.device, pci.busId],
        temperature=ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        power=ask(nvml.nvmlDeviceGetPowerUsage, handle),
        power_limit=ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle),
        fan=ask(nvml.nvmlDeviceGetFanSpeed, handle),
        clock=ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        memory_clock=ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM),
        capability=ask(nvml.nvmlDeviceGetCudaComputeCapability, handle),
        index=nvml.nvmlDeviceGetIndex(handle),
        minor=nvml.nvmlDeviceGetMinorNumber(handle),
        by_uuid=nvml.nvmlDeviceGetIndex(nvml.nvmlDeviceGetHandleByUUID(gpu["uuid"])),
    )
    if has("nvmlDeviceGetTemperatureV"):
        gpu["temperature_v"] = ask(nvml.nvmlDeviceGetTemperatureV, handle, nvml.NVML_TEMPERATURE_GPU)
    if has("nvmlDeviceGetRunningProcessDetailList"):
        gpu["details"] = read_details(handle)
    return gpu


def main():
    start()
    gpus = [describe(index) for index in range(nvml.nvmlDeviceGetCount())]
    pids = {pid for gpu in gpus for listed in gpu["processes"].values() for pid in listed or {}}
    print(json.dumps({
        "driver": nvml.nvmlSystemGetDriverVersion(),
        "nvml": nvml.nvmlSystemGetNVMLVersion(),
        "cuda": nvml.nvmlSystemGetCudaDriverVersion(),
        "names": {pid: nvml.nvmlSystemGetProcessName(pid) for pid in pids},
        "gpus": gpus,
    }))
    nvml.nvmlShutdown()


main()
