# SPDX-License-Identifier: MIT
"""What can go wrong. `except vram.Error` catches all of it; a size that makes no sense is a ValueError."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Dict, Optional, Type

if TYPE_CHECKING:
    from ._records import Fit


class Error(RuntimeError):
    """Something failed. str() has the sentence, and on the lines after it what it most likely means and what to do.

    message   the sentence alone
    code      a stable word for programs, such as "driver_not_loaded"
    hint      what it most likely means and what to do about it; "" where there is nothing to add
    errno     the number that the C call failed with, positive; 0: none
    """

    errno: Optional[int]

    def __init__(self, message: str, *, code: str = "failed", hint: str = "", errno: int = 0) -> None:
        super().__init__(message)
        self.message, self.code, self.hint, self.errno = message, code, hint, errno

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class LibraryError(Error):
    """libvram is not installed, or of another version than this package."""


class DriverError(Error):
    """The NVIDIA driver does not start, does not answer, or failed."""


class NoGPUError(DriverError):
    """There is no such GPU, or none that can be used."""


class PermissionDenied(Error):
    """This user may not: the device, the daemon's socket, or another user's lease."""


class DaemonError(Error):
    """No daemon can be had, or it makes no promises at present. vram.lease() needs one."""


class NotFound(Error):
    """There is no such lease (any more), or no such process."""


class BadRequest(Error, ValueError):
    """What was asked makes no sense."""


class Cancelled(Error):
    """The request was taken back, by another thread or by another client."""


class DoesNotFit(Error):
    """A lease was refused. `answer` is "not_now", "never", "unknown" or "timed_out"; `fit` is the arithmetic, which the
    hint has in words, or None where nobody could tell it."""

    def __init__(self, message: str, *, answer: str = "not_now", fit: "Optional[Fit]" = None, code: str = "",
                 hint: str = "", errno: int = 0) -> None:
        super().__init__(message, code=code or answer, hint=hint, errno=errno)
        self.answer, self.fit = answer, fit


class LeaseTimeout(DoesNotFit, TimeoutError):
    """Its turn did not come in time."""


# The library's words. What is not here is the driver's own.
_KINDS: Dict[str, Type[Error]] = {
    "no_gpu": NoGPUError, "no_such_gpu": NoGPUError, "gpu_unusable": NoGPUError,
    "no_permission": PermissionDenied, "daemon_denied": PermissionDenied, "forbidden": PermissionDenied,
    "foreign_directory": PermissionDenied,
    "not_found": NotFound, "no_such_process": NotFound, "conflict": BadRequest,
    "bad_request": BadRequest, "bad_id": BadRequest, "bad_driver": BadRequest, "bad_simulation": BadRequest,
    "no_such_simulation": BadRequest,
    "cancelled": Cancelled,
    "no_daemon": DaemonError, "daemon_refused": DaemonError, "daemon_silent": DaemonError, "daemon_gone": DaemonError,
    "daemon_failed": DaemonError, "daemon_unreachable": DaemonError, "bad_daemon": DaemonError,
    "bad_socket": DaemonError, "no_vramd": DaemonError, "private_namespace": DaemonError, "no_directory": DaemonError,
    "long_path": DaemonError, "not_promising": DaemonError, "other_driver": DaemonError, "too_many": DaemonError,
    "ending": DaemonError, "paused": DaemonError,
    "out_of_memory": Error, "no_random": Error, "refused": Error,
}  # fmt: skip


def error_of(result: int, code: str, message: str, hint: str) -> Error:
    """The exception for a call's negative result and the library's words about it."""
    kind = _KINDS.get(code, DriverError)
    if kind is DriverError and -result in (errno.EACCES, errno.EPERM):
        kind = PermissionDenied
    return kind(message, code=code, hint=hint, errno=-result)
