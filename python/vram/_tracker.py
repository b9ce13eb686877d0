# SPDX-License-Identifier: MIT
"""Four answers and no objects to look after: one tracker per GPU and process, started by its first use. MB are MiB,
rounded down, as nvidia-smi counts."""

from __future__ import annotations

import ctypes
import errno
import logging
import weakref
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple, Union

from . import _lib
from ._errors import Error, NoGPUError, error_of
from ._handle import Selector, default, logger, select
from ._unknown import UNKNOWN, Amount, Unknown, amount

if TYPE_CHECKING:
    from ._status import GPUProcess, VRAMStatus

_MIB = 1 << 20


# Whose shutdown the shared handle waits for.
_in_use: "weakref.WeakSet[VRAMTracker]" = weakref.WeakSet()


class VRAMTracker:
    """Tracks one GPU, by the driver's index (or by UUID, PCI address or "0:1", a MIG instance). Of a card that is
    divided, its index means its first instance."""

    def __init__(self, device_index: Selector = 0) -> None:
        self.device_index = device_index

    def get_status(self) -> VRAMStatus:
        """Everything about this GPU now. A process list that cannot be read is empty; a driver that does not start, or
        has no such GPU, is logged and raised, and tried again by the next call."""
        with self._snapshot(_lib.TAKE_PROCESSES | _lib.TAKE_HEALTH) as snapshot:
            gpu = _lib.lib().vram_snapshot_gpu(snapshot, self._position(snapshot))[0]
            label, listed, status = _lib.label(gpu), gpu.processes_known, _status(gpu)
        if not listed:
            logger.warning("GPU %s: the list of processes cannot be read", label)
        logger.debug("GPU %s: %s MB total, %s MB used, %s MB free, %d processes", label, status.total_mb,
                     status.used_mb, status.free_mb, len(status.processes))
        return status

    def can_fit(self, required_mb: float, safety_margin_mb: float = 1024) -> Union[bool, Unknown]:
        """Whether so much fits and leaves the margin free. What leases have promised to others does not count as free.
        vram.UNKNOWN, which is false, where the driver does not tell. Holds nothing: vram.lease() does."""
        with self._snapshot(0) as snapshot:
            free_bytes, headroom_bytes = _headroom(snapshot, self._position(snapshot))
        if free_bytes is UNKNOWN or headroom_bytes is UNKNOWN:
            logger.warning("need %g MB, have unknown: the driver does not tell how much is free", required_mb)
            return UNKNOWN
        have_mb = headroom_bytes / _MIB - safety_margin_mb
        fits = have_mb >= required_mb
        promised_mb = -((headroom_bytes - free_bytes) // _MIB)
        logger.log(
            logging.DEBUG if fits else logging.WARNING, "need %g MB, have %d MB (%d free%s - %g margin): %s",
            required_mb, have_mb // 1, free_bytes // _MIB, f" - {promised_mb} promised" if promised_mb else "",
            safety_margin_mb, "fits" if fits else "does not fit")
        return fits

    def get_process_by_name(self, name_pattern: str) -> Optional[GPUProcess]:
        """The first process, largest first, whose name contains the pattern in any case; None: there is none."""
        wanted = name_pattern.lower()
        for process in self.get_status().processes:
            if wanted in process.name.lower():
                return process
        return None

    def shutdown(self) -> None:
        """Ends its use of the driver; the last one's lets go of it. The next use starts anew."""
        _in_use.discard(self)
        if not _in_use:
            default.close()

    def _snapshot(self, take: int) -> Any:
        _in_use.add(self)
        return default._taken(take)  # whose failure the library has logged

    def _position(self, snapshot: Any) -> int:
        """Where this GPU is in a snapshot."""
        lib = _lib.lib()
        try:
            if isinstance(self.device_index, str):
                return select(snapshot, self.device_index)[0]
            count = lib.vram_snapshot_gpu_count(snapshot)
            for i in range(count):
                if lib.vram_snapshot_gpu(snapshot, i)[0].index == self.device_index:
                    return i
            if not count:
                raise NoGPUError("no GPU found: the driver works and knows none", code="no_gpu", errno=errno.ENODEV,
                                 hint="a container must be started with its GPUs (--gpus all), CUDA_VISIBLE_DEVICES "
                                 "hides none from here\n`vram doctor` tells more")
            raise NoGPUError(f"there is no GPU {self.device_index}; this machine has {count}", code="no_such_gpu",
                             errno=errno.ENODEV)
        except Error as error:
            logger.error("%s", error.message)
            raise


def _mb(number: int) -> Amount:
    known = amount(number)
    return UNKNOWN if known is UNKNOWN else known // _MIB


def _known(number: int) -> Optional[int]:
    known = amount(number)
    return None if known is UNKNOWN else known


def _status(gpu: _lib.Gpu) -> VRAMStatus:
    from ._status import GPUProcess, VRAMStatus

    processes = [gpu.processes[i] for i in range(gpu.process_count)]
    return VRAMStatus(
        total_mb=_mb(gpu.total_bytes),
        used_mb=_mb(gpu.used_bytes),
        free_mb=_mb(gpu.free_bytes),
        processes=[GPUProcess(each.pid, _lib.words(each.name), _mb(each.used_bytes)) for each in processes],
        temperature_c=_known(gpu.temperature_c),
        utilization_percent=_known(gpu.utilization_percent),
        reserved_mb=_mb(gpu.driver_reserved_bytes),
    )


def _headroom(snapshot: Any, position: int) -> Tuple[Amount, Amount]:
    """What is free on a GPU, and what of it is promised to nobody else."""
    lib, answer = _lib.lib(), ctypes.POINTER(_lib.Fit)()
    request = _lib.FitRequest(
        size=ctypes.sizeof(_lib.FitRequest), size_bytes=1, gpu_count=1,
        candidates=(ctypes.c_size_t * 1)(position), candidate_count=1)
    result = lib.vram_fit(snapshot, ctypes.byref(request), ctypes.byref(answer))
    if result < 0:
        state = _lib.GPU_STATES[lib.vram_snapshot_gpu(snapshot, position)[0].state]
        logger.error("the GPU is %s", state)
        raise error_of(result, "gpu_unusable" if result == -errno.ENODEV else "out_of_memory",
                       f"the GPU is {state}", "`vram doctor` tells what to do")
    try:
        gpu = answer[0].gpus[0]
        return amount(gpu.free_bytes), gpu.headroom_bytes if gpu.headroom_known else UNKNOWN
    finally:
        lib.vram_fit_free(answer)


_trackers: Dict[Selector, VRAMTracker] = {}


def get_vram_tracker(device_index: Selector = 0) -> VRAMTracker:
    """This process's tracker of a GPU: the same one each time. The driver is not touched before its first use."""
    return _trackers.setdefault(device_index, VRAMTracker(device_index))


def reset() -> None:
    """Lets go of the driver, for all trackers and everything else that shares the handle. The next question starts
    anew, with the environment as it then is."""
    _in_use.clear()
    default.close()
