# SPDX-License-Identifier: MIT
"""libvram as ctypes sees it: where it is, its structures, its functions. Nothing here knows what they are for;
include/vram.h does. The library is loaded by the first call, so that `import vram` works everywhere.

`tests/python/test_abi.py` holds every structure, field and constant against what a C compiler makes of the header.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, Dict, List, Optional, Tuple

from ._errors import LibraryError

# ---- Constants -----------------------------------------------------------------------------------

UNKNOWN = (1 << 64) - 1
DEFAULT_MARGIN_BYTES = 1024 << 20

LOG_DEBUG, LOG_WARNING, LOG_ERROR = 0, 1, 2
OPEN_WAKE, OPEN_DIRECT = 0x1, 0x2
TAKE_PROCESSES, TAKE_COMMANDS, TAKE_HEALTH = 0x1, 0x2, 0x4
PROCESS_COMPUTE, PROCESS_GRAPHICS, PROCESS_MPS = 0x1, 0x2, 0x4
START_IF_PROMISED = 0x1
OWNER_PARENT = -1

# Each list in the order of the C enumeration that is named.
GPU_STATES = ("ok", "asleep", "lost", "denied", "hung")  # vram_gpu_state
MEMORY_KINDS = ("dedicated", "unified", "mig")  # vram_memory_kind
ANSWERS = ("fits", "not_now", "never", "unknown", "timed_out")  # vram_answer
LEASE_STATES = ("ok", "filled", "inherited", "over", "squeezed")  # vram_lease_state
SEVERITIES = ("fact", "good", "note", "problem")  # vram_severity

FITS, NOT_NOW, NEVER, CANNOT_TELL, TIMED_OUT = range(5)

# ---- Structures ----------------------------------------------------------------------------------

LogFunction = CFUNCTYPE(None, c_void_p, c_int, c_char_p)
ProgressFunction = CFUNCTYPE(None, c_void_p, c_uint64, c_char_p)


class Options(Structure):
    """struct vram_options"""

    _fields_ = [
        ("size", c_size_t),
        ("driver", c_char_p),
        ("root", c_char_p),
        ("call_timeout_ms", c_uint64),
        ("flags", c_uint32),
        ("log", LogFunction),
        ("log_data", c_void_p),
        ("max_age_ms", c_uint64),
    ]


class Process(Structure):
    """struct vram_process"""

    _fields_ = [
        ("pid", c_uint32),
        ("kind", c_uint32),
        ("start_time", c_uint64),
        ("name", c_char_p),
        ("command", c_char_p),
        ("user", c_char_p),
        ("container", c_char_p),
        ("unit", c_char_p),
        ("lease", c_char_p),
        ("used_bytes", c_uint64),
        ("visible", c_bool),
    ]


class Gpu(Structure):
    """struct vram_gpu"""

    _fields_ = [
        ("index", c_uint32),
        ("state", c_uint32),
        ("memory_kind", c_uint32),
        ("pool", c_uint32),
        ("uuid", c_char_p),
        ("name", c_char_p),
        ("pci", c_char_p),
        ("parent_uuid", c_char_p),
        ("mig_index", c_uint64),
        ("gpu_instance_id", c_uint64),
        ("compute_instance_id", c_uint64),
        ("total_bytes", c_uint64),
        ("used_bytes", c_uint64),
        ("free_bytes", c_uint64),
        ("driver_reserved_bytes", c_uint64),
        ("unattributed_bytes", c_uint64),
        ("outstanding_bytes", c_uint64),
        ("temperature_c", c_uint64),
        ("utilization_percent", c_uint64),
        ("age_ms", c_uint64),
        ("used_includes_reserved", c_bool),
        ("processes_known", c_bool),
        ("process_count", c_size_t),
        ("processes", POINTER(Process)),
        ("own_outstanding_bytes", c_uint64),
        ("ceiling_bytes", c_uint64),
        ("drained", c_bool),
    ]


class Driver(Structure):
    """struct vram_driver"""

    _fields_ = [("kind", c_char_p), ("version", c_char_p), ("cuda", c_char_p), ("library", c_char_p)]


class Problem(Structure):
    """struct vram_problem"""

    _fields_ = [("gpu", c_char_p), ("what", c_char_p), ("code", c_char_p), ("message", c_char_p)]


class FitRequest(Structure):
    """struct vram_fit_request"""

    _fields_ = [
        ("size", c_size_t),
        ("size_bytes", c_uint64),
        ("margin_bytes", c_uint64),
        ("margin_millipercent", c_uint32),
        ("gpu_count", c_uint32),
        ("candidates", POINTER(c_size_t)),
        ("candidate_count", c_size_t),
    ]


class FitGpu(Structure):
    """struct vram_fit_gpu"""

    _fields_ = [
        ("position", c_size_t),
        ("answer", c_uint32),
        ("chosen", c_bool),
        ("usable", c_bool),
        ("uuid", c_char_p),
        ("free_bytes", c_uint64),
        ("outstanding_bytes", c_uint64),
        ("margin_bytes", c_uint64),
        ("headroom_bytes", c_int64),
        ("headroom_known", c_bool),
        ("shortfall_bytes", c_uint64),
        ("capacity_bytes", c_uint64),
        ("own_outstanding_bytes", c_uint64),
    ]


class Fit(Structure):
    """struct vram_fit"""

    _fields_ = [
        ("answer", c_uint32),
        ("gpu_count", c_uint32),
        ("size_bytes", c_uint64),
        ("margin_bytes", c_uint64),
        ("waiters", c_uint64),
        ("promises_counted", c_bool),
        ("count", c_size_t),
        ("gpus", POINTER(FitGpu)),
    ]


class Daemon(Structure):
    """struct vram_daemon"""

    _fields_ = [
        ("pid", c_uint64),
        ("version", c_char_p),
        ("driver", c_char_p),
        ("promising", c_bool),
        ("paused", c_bool),
        ("reason", c_char_p),
        ("message", c_char_p),
        ("since", c_char_p),
        ("margin_bytes", c_uint64),
    ]


class LeaseRequest(Structure):
    """struct vram_lease_request"""

    _fields_ = [
        ("size", c_size_t),
        ("id", c_char_p),
        ("size_bytes", c_uint64),
        ("margin_bytes", c_uint64),
        ("margin_millipercent", c_uint32),
        ("gpu_count", c_uint32),
        ("candidates", POINTER(c_char_p)),
        ("candidate_count", c_size_t),
        ("label", c_char_p),
        ("owner_pid", c_int64),
        ("members", POINTER(c_char_p)),
        ("member_count", c_size_t),
        ("timeout_ms", c_uint64),
        ("for_ms", c_uint64),
        ("progress", ProgressFunction),
        ("data", c_void_p),
    ]


class Wanted(Structure):
    """struct vram_wanted"""

    _fields_ = [("size", c_size_t), ("bytes", c_uint64), ("gpu_count", c_size_t), ("gpus", POINTER(c_char_p)),
                ("for_whom", c_char_p)]


GiveBackFunction = CFUNCTYPE(c_int, c_void_p, POINTER(Wanted))


class Offer(Structure):
    """struct vram_offer"""

    _fields_ = [("size", c_size_t), ("give_back", GiveBackFunction), ("data", c_void_p), ("cost", c_uint32)]


class Lease(Structure):
    """struct vram_lease"""

    _fields_ = [
        ("id", c_char_p),
        ("owner_pid", c_uint64),
        ("user", c_char_p),
        ("label", c_char_p),
        ("size_bytes", c_uint64),
        ("held_bytes", c_uint64),
        ("outstanding_bytes", c_uint64),
        ("since", c_char_p),
        ("until", c_char_p),
        ("state", c_uint32),
        ("since_ns", c_uint64),
        ("until_ns", c_uint64),
        ("gpu_count", c_size_t),
        ("gpus", POINTER(c_char_p)),
        ("member_count", c_size_t),
        ("members", POINTER(c_uint64)),
        ("attached_count", c_size_t),
        ("attached", POINTER(c_char_p)),
        ("ends", c_char_p),
    ]


class Waiter(Structure):
    """struct vram_waiter"""

    _fields_ = [
        ("position", c_uint64),
        ("id", c_char_p),
        ("pid", c_uint64),
        ("user", c_char_p),
        ("label", c_char_p),
        ("gpu_count", c_uint64),
        ("size_bytes", c_uint64),
        ("since", c_char_p),
        ("waits_for", c_char_p),
        ("since_ns", c_uint64),
    ]


class Ceiling(Structure):
    """struct vram_ceiling"""

    _fields_ = [
        ("name", c_char_p),
        ("match", c_char_p),
        ("gpu", c_char_p),
        ("size_bytes", c_uint64),
        ("held_bytes", c_uint64),
        ("outstanding_bytes", c_uint64),
    ]


class Verdict(Structure):
    """struct vram_verdict"""

    _fields_ = [("answer", c_uint32), ("message", c_char_p), ("lease", POINTER(Lease)), ("fit", POINTER(Fit)),
                ("made_room", c_char_p)]


class Finding(Structure):
    """struct vram_finding"""

    _fields_ = [
        ("id", c_char_p),
        ("severity", c_uint32),
        ("title", c_char_p),
        ("cause", c_char_p),
        ("evidence", c_char_p),
        ("remedy", c_char_p),
    ]


# ---- Functions -----------------------------------------------------------------------------------

# Name: what it returns, what it takes. Handles, snapshots, lists and reports are opaque.
_FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "vram_version": (c_char_p, []),
    "vram_open": (c_int, [POINTER(c_void_p), POINTER(Options)]),
    "vram_close": (c_void_p, [c_void_p]),
    "vram_error": (c_char_p, [c_void_p]),
    "vram_error_hint": (c_char_p, [c_void_p]),
    "vram_error_code": (c_char_p, [c_void_p]),
    "vram_snapshot_take": (c_int, [c_void_p, c_uint32, POINTER(c_void_p)]),
    "vram_snapshot_wait": (c_int, [c_void_p, c_uint32, c_uint64, c_uint64, POINTER(c_void_p)]),
    "vram_snapshot_unref": (c_void_p, [c_void_p]),
    "vram_snapshot_taken_at_ns": (c_uint64, [c_void_p]),
    "vram_snapshot_waiters": (c_uint64, [c_void_p]),
    "vram_snapshot_epoch": (c_uint64, [c_void_p]),
    "vram_snapshot_driver": (POINTER(Driver), [c_void_p]),
    "vram_snapshot_gpu_count": (c_size_t, [c_void_p]),
    "vram_snapshot_gpu": (POINTER(Gpu), [c_void_p, c_size_t]),
    "vram_snapshot_problem_count": (c_size_t, [c_void_p]),
    "vram_snapshot_problem": (POINTER(Problem), [c_void_p, c_size_t]),
    "vram_select": (c_int, [c_void_p, c_char_p, POINTER(c_size_t), c_size_t]),
    "vram_select_visible": (c_int, [c_void_p, c_char_p, c_char_p, POINTER(c_size_t), c_size_t]),
    "vram_fit": (c_int, [c_void_p, POINTER(FitRequest), POINTER(POINTER(Fit))]),
    "vram_fit_free": (c_void_p, [POINTER(Fit)]),
    "vram_daemon_start": (c_int, [c_void_p, c_uint32]),
    "vram_lease_acquire": (c_int, [c_void_p, POINTER(LeaseRequest), POINTER(POINTER(Verdict))]),
    "vram_lease_end": (c_int, [c_void_p, c_char_p]),
    "vram_lease_offer": (c_int, [c_void_p, c_char_p, POINTER(Offer)]),
    "vram_lease_resize": (c_int, [c_void_p, c_char_p, c_uint64, POINTER(POINTER(Verdict))]),
    "vram_lease_attach": (c_int, [c_void_p, c_char_p, c_char_p]),
    "vram_lease_filled": (c_int, [c_void_p, c_char_p]),
    "vram_lease_until": (c_int, [c_void_p, c_char_p, c_uint64]),
    "vram_verdict_free": (c_void_p, [POINTER(Verdict)]),
    "vram_leases": (c_int, [c_void_p, c_uint64, c_uint64, POINTER(c_void_p)]),
    "vram_lease_list_free": (c_void_p, [c_void_p]),
    "vram_lease_list_epoch": (c_uint64, [c_void_p]),
    "vram_lease_list_daemon": (POINTER(Daemon), [c_void_p]),
    "vram_lease_list_count": (c_size_t, [c_void_p]),
    "vram_lease_list_lease": (POINTER(Lease), [c_void_p, c_size_t]),
    "vram_lease_list_waiter_count": (c_size_t, [c_void_p]),
    "vram_lease_list_waiter": (POINTER(Waiter), [c_void_p, c_size_t]),
    "vram_lease_list_ceiling_count": (c_size_t, [c_void_p]),
    "vram_lease_list_ceiling": (POINTER(Ceiling), [c_void_p, c_size_t]),
    "vram_size_parse": (c_int, [c_char_p, POINTER(c_uint64)]),
    "vram_diagnose": (c_int, [c_void_p, POINTER(c_void_p)]),
    "vram_report_count": (c_size_t, [c_void_p]),
    "vram_report_finding": (POINTER(Finding), [c_void_p, c_size_t]),
    "vram_report_free": (c_void_p, [c_void_p]),
}


def _place() -> str:
    """The library's file: the wheel's, beside this package, else where $VRAM_LIBRARY says, else the system's."""
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".vram.mesonpy.libs", "libvram.so")
    if os.path.exists(beside):
        return beside
    return os.environ.get("VRAM_LIBRARY") or "libvram.so.0"


def _load() -> ctypes.CDLL:
    place = _place()
    try:
        library = ctypes.CDLL(place)
    except OSError as error:
        raise LibraryError(
            f"libvram cannot be loaded: {error}",
            code="libvram_not_found",
            hint="install the package libvram0, or `pip install` the wheel, which has it inside\n"
            "VRAM_LIBRARY=/path/to/libvram.so.0 names another",
        ) from None
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise LibraryError(
                f"{place} has no {name}: it is of another version than this package",
                code="libvram_version",
                hint="install both from the same release",
            ) from None
        function.restype, function.argtypes = result, arguments
    return library


_library: Optional[ctypes.CDLL] = None


def lib() -> ctypes.CDLL:
    """The library, loaded by the first call. Two threads may both load it: the loader counts, and hands out one."""
    global _library
    if _library is None:
        _library = _load()
    return _library


# ---- Texts ---------------------------------------------------------------------------------------


def text(raw: Optional[bytes]) -> Optional[str]:
    """A text of the library's, which holds whatever processes call themselves: every byte can be printed."""
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def words(raw: Optional[bytes]) -> str:
    """The same for a text that is never NULL."""
    return (raw or b"").decode("utf-8", "backslashreplace")


def raw(value: str, what: str) -> bytes:
    """A text for the library. C would not see what comes after a NUL."""
    if "\0" in value:
        raise ValueError(f"{what} has a NUL character in it")
    return value.encode("utf-8", "surrogateescape")


def label(gpu: Gpu) -> str:
    """ "0", or "0:1" of a MIG instance."""
    return str(gpu.index) if gpu.mig_index == UNKNOWN else f"{gpu.index}:{gpu.mig_index}"
