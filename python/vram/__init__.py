# SPDX-License-Identifier: MIT
"""vram: how much GPU memory is free, who holds the rest, and does N fit?

    import vram

    for gpu in vram.snapshot().gpus:
        print(gpu.name, gpu.free_bytes)

    if vram.fit("12GiB"):
        ...

    with vram.lease("12GiB", label="comfyui") as lease:  # waits its turn; nobody else gets this memory
        os.environ.update(lease.environment)

    from vram import get_vram_tracker                    # four answers and no objects
    get_vram_tracker().can_fit(20000)

Amounts are bytes but for the tracker's, which are MiB. What the driver cannot tell is vram.UNKNOWN: false, printed as
"unknown", and nothing can be computed with it. Everything may be called from any thread, and after fork(). What goes
wrong is a vram.Error. Messages go to the logger "vram".
"""

from typing import TYPE_CHECKING, Any

from ._errors import (
    BadRequest,
    Cancelled,
    DaemonError,
    DoesNotFit,
    DriverError,
    Error,
    LeaseTimeout,
    LibraryError,
    NoGPUError,
    NotFound,
    PermissionDenied,
)
from ._handle import Handle, default
from ._lib import lib as _load
from ._lib import words as _words
from ._tracker import VRAMTracker, get_vram_tracker, reset
from ._unknown import UNKNOWN, Amount, Unknown

if TYPE_CHECKING:
    from ._lease import HeldLease, LeaseRequest
    from ._records import (
        GPU,
        Ceiling,
        Daemon,
        Driver,
        Finding,
        Fit,
        FitGPU,
        Lease,
        Leases,
        Problem,
        Process,
        Report,
        Snapshot,
        Waiter,
        Wanted,
    )
    from ._status import GPUProcess, VRAMStatus

__version__ = "0.1.0"

snapshot = default.snapshot
fit = default.fit
lease = default.lease
leases = default.leases
doctor = default.doctor


def __getattr__(name: str) -> Any:
    """The names above, imported when somebody wants them: dataclasses are slow to make, and leases bring asyncio."""
    if name in __all__:
        from . import _records, _status

        for module in (_status, _records):
            if hasattr(module, name):
                return getattr(module, name)
        from . import _lease

        return getattr(_lease, name)
    raise AttributeError(f"module 'vram' has no attribute {name!r}")


def library_version() -> str:
    """The version of the libvram in use."""
    return _words(_load().vram_version())


__all__ = [
    "GPU", "UNKNOWN", "Amount", "BadRequest", "Cancelled", "Ceiling", "Daemon", "DaemonError", "DoesNotFit", "Driver",
    "DriverError", "Error", "Finding", "Fit", "FitGPU", "GPUProcess", "Handle", "HeldLease", "Lease", "LeaseRequest",
    "LeaseTimeout", "Leases",
    "LibraryError", "NoGPUError", "NotFound", "PermissionDenied", "Problem", "Process", "Report", "Snapshot", "Unknown",
    "VRAMStatus", "VRAMTracker", "Waiter", "Wanted", "doctor", "fit", "get_vram_tracker", "lease", "leases", "library_version",
    "reset", "snapshot",
]  # fmt: skip
