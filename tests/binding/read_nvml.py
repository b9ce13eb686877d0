# SPDX-License-Identifier: MIT
"""Prints as JSON what NVIDIA's own Python binding reads from the driver library that the environment names.

Run in a process of its own: the binding keeps one library for the life of a process. It is deaf to the names
of vram; that the two agree is the proof that the layouts are NVIDIA's.
"""

import json

import pynvml as nvml


def ask(function, *arguments, **options):
    """The answer, or NVML's code where there is none."""
    try:
        return function(*arguments, **options)
    except nvml.NVMLLibraryMismatchError:  # the binding's word for "this driver has only an older function"
        return {"code": nvml.NVML_ERROR_FUNCTION_NOT_FOUND}
    except nvml.NVMLError as error:
        return {"code": error.value}


def start():
    try:
        nvml.nvmlInit()
    except nvml.NVMLError_FunctionNotFound:  # drivers before 410 have only the older function
        nvml._nvmlCheckReturn(nvml._nvmlGetFunctionPointer("nvmlInit_v2")())


def memory(handle):
    newer = ask(nvml.nvmlDeviceGetMemoryInfo, handle, version=nvml.nvmlMemory_v2)
    if not isinstance(newer, dict):
        return {"total": newer.total, "used": newer.used, "free": newer.free, "reserved": newer.reserved}
    older = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    if not isinstance(older, dict):
        return {"total": older.total, "used": older.used, "free": older.free, "reserved": None}
    return older


def memory_v1(handle):
    older = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    return older if isinstance(older, dict) else {"total": older.total, "used": older.used, "free": older.free}


def utilization(handle):
    rates = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
    return rates if isinstance(rates, dict) else rates.gpu


def processes(handle):
    """pid -> bytes or None, the larger of the lists; an error code where the compute list cannot be read."""
    found = {}
    for name in ("Compute", "Graphics", "MPSCompute"):
        for suffix in ("_v3", "_v2", ""):
            function = getattr(nvml, f"nvmlDeviceGet{name}RunningProcesses{suffix}", None)
            listed = ask(function, handle) if function else {"code": nvml.NVML_ERROR_FUNCTION_NOT_FOUND}
            if not (isinstance(listed, dict) and listed["code"] == nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
                break
        if isinstance(listed, dict):
            if name == "Compute":
                return listed
            continue
        for process in listed:
            old = found.get(process.pid)
            new = process.usedGpuMemory
            found[process.pid] = new if old is None else max(old, new or 0)
    return {str(pid): used for pid, used in found.items()}


def instances(handle):
    mode = ask(nvml.nvmlDeviceGetMigMode, handle)
    if isinstance(mode, dict) or not mode[0]:
        return []
    found = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        instance = ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
        if not isinstance(instance, dict):
            found.append(instance)
    return found


def describe(handle, index, card):
    pci = ask(nvml.nvmlDeviceGetPciInfo, card)  # a dict from drivers before 410, which have an older function
    return {
        "index": index,
        "uuid": nvml.nvmlDeviceGetUUID(handle),
        "name": nvml.nvmlDeviceGetName(handle),
        "pci": None if isinstance(pci, dict) else f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0",
        "memory": memory(handle),
        "memory_v1": memory_v1(handle),
        "processes": processes(handle),
        "temperature": ask(nvml.nvmlDeviceGetTemperature, card, nvml.NVML_TEMPERATURE_GPU),
        "utilization": utilization(card),
        "mig_mode": ask(nvml.nvmlDeviceGetMigMode, card),
    }


def main():
    start()
    devices = []
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = ask(nvml.nvmlDeviceGetHandleByIndex, index)
        if isinstance(handle, dict):
            devices.append({"index": index, **handle})
            continue
        parts = instances(handle)
        devices += [describe(part, index, handle) for part in parts or [handle]]
    cuda = ask(nvml.nvmlSystemGetCudaDriverVersion_v2)
    print(json.dumps({"version": nvml.nvmlSystemGetDriverVersion(), "cuda": cuda, "devices": devices}))


main()
