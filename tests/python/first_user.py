# SPDX-License-Identifier: MIT
"""The first user's module, made again from its description, on NVIDIA's Python binding: what the drop-in is held against.
Run as a program it prints as JSON what it says of GPU 0 of the driver library that the environment names."""
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

import pynvml

logger = logging.getLogger(__name__)


@dataclass
class GPUProcess:
    pid: int
    name: str
    memory_mb: int


@dataclass
class VRAMStatus:
    total_mb: int
    used_mb: int
    free_mb: int
    processes: List[GPUProcess]
    temperature_c: Optional[int] = None
    utilization_percent: Optional[int] = None


class VRAMTracker:
    def __init__(self, device_index=0):
        self.device_index = device_index
        self._handle = None

    def _start(self):
        if self._handle is None:
            try:
                pynvml.nvmlInit()
                self._handle = pynvml.nvmlDeviceGetHandleByIndex(self.device_index)
            except pynvml.NVMLError as error:
                logger.error("NVML: %s", error)
                raise

    def get_status(self):
        self._start()
        memory = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        return VRAMStatus(memory.total >> 20, memory.used >> 20, memory.free >> 20, self._processes(),
                          self._optional(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
                          getattr(self._optional(pynvml.nvmlDeviceGetUtilizationRates), "gpu", None))

    def _optional(self, function, *arguments):
        try:
            return function(self._handle, *arguments)
        except pynvml.NVMLError:
            return None

    def _processes(self):
        found = []
        for function in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses):
            try:
                listed = function(self._handle)
            except pynvml.NVMLError as error:
                logger.warning("processes: %s", error)
                continue
            found += [GPUProcess(each.pid, self._name(each.pid), (each.usedGpuMemory or 0) >> 20) for each in listed]
        return found

    @staticmethod
    def _name(pid):
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return f"pid_{pid}"

    def can_fit(self, required_mb, safety_margin_mb=1024):
        return self.get_status().free_mb - safety_margin_mb >= required_mb

    def get_process_by_name(self, name_pattern):
        for process in self.get_status().processes:
            if name_pattern.lower() in process.name.lower():
                return process
        return None

    def shutdown(self):
        pynvml.nvmlShutdown()
        self._handle = None


_tracker = None


def get_vram_tracker(device_index=0):
    global _tracker
    if _tracker is None:
        _tracker = VRAMTracker(device_index)
    return _tracker


def main():
    tracker = get_vram_tracker()
    try:
        status = tracker.get_status()
    except pynvml.NVMLError as error:
        print(json.dumps({"error": str(error)}))
        return
    fits = {required: tracker.can_fit(required) for required in (4000, 10000, 18000, 20000, 22000)}
    print(json.dumps({"total_mb": status.total_mb, "used_mb": status.used_mb, "free_mb": status.free_mb,
                      "temperature_c": status.temperature_c, "utilization_percent": status.utilization_percent,
                      "processes": sorted((each.pid, each.memory_mb) for each in status.processes), "fits": fits}))


if __name__ == "__main__":
    main()
