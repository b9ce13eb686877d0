# SPDX-License-Identifier: MIT
"""The handle: the way from a question in Python to the library and back. vram.snapshot(), vram.fit() and the others are
methods of one handle that all of a process shares.

Records, and the module that makes them, are imported by the first call that needs them: `import vram` stays cheap.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, NoReturn, Optional, Sequence, Tuple, Union

from . import _lib, _quantities
from ._errors import BadRequest, DaemonError, Error, NoGPUError, error_of

if TYPE_CHECKING:
    from ._lease import LeaseRequest
    from ._records import Fit, Leases, Report, Snapshot

logger = logging.getLogger("vram")

Selector = Union[int, str]
"""One GPU as people name it: an index, "0:1" (a MIG instance), a UUID or a prefix of one, a PCI address."""
Selectors = Union[None, Selector, Sequence[Selector]]

_LEVELS = {_lib.LOG_DEBUG: logging.DEBUG, _lib.LOG_WARNING: logging.WARNING, _lib.LOG_ERROR: logging.ERROR}
# While fit() waits: how long one look at the daemon lasts (signals are served in between), how often the driver is
# asked without one, and that at most a fifth of the time is spent on asking.
_LOOK_S, _PAUSE_S, _PAUSE_PER_SAMPLE = 0.5, 0.25, 4


def _hear(_data: object, level: int, message: bytes) -> None:
    """The library calls it in the thread that called the library."""
    logger.log(_LEVELS.get(level, logging.ERROR), "%s", _lib.words(message))


_log = _lib.LogFunction(_hear)  # for as long as the library may call it


# ---- Open handles --------------------------------------------------------------------------------

# One lock for the few instructions that open, count and close. Reentrant, for a collected handle's end may come in
# any of them; held across fork(), so that a child finds it free.
_lock = threading.RLock()


class _Opened:
    """An open handle of the library's, with the calls that are inside it. The last to leave a closed one frees it."""

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        self.pointer, self.calls, self.closed = pointer, 0, False


_all_opened: "weakref.WeakSet[_Opened]" = weakref.WeakSet()


def _in_child() -> None:
    for opened in list(_all_opened):
        opened.calls = 0  # those of the parent's other threads, which never leave
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_in_child)


class Handle:
    """A handle on the machine's GPUs. The driver is opened by the first question and again after close(), so that a
    handle is never stale; a failed start is not remembered. Safe for threads, and after fork() in both processes.

    driver        "auto", "nvml", "nvml:/path/to/lib", "sim:NAME"; None: $VRAM_DRIVER, else auto
    wake          wake sleeping GPUs to ask them
    direct        read the driver itself, also where a daemon could be asked
    call_timeout  seconds that one driver call may take; None: $VRAM_CALL_TIMEOUT, else 10
    max_age       how old, in seconds, a daemon's figures may be
    """

    def __init__(self, driver: Optional[str] = None, *, wake: bool = False, direct: bool = False,
                 call_timeout: Optional[float] = None, max_age: float = 0.0) -> None:
        self._driver = None if driver is None else _lib.raw(driver, "driver")
        self._flags = _lib.OPEN_WAKE * wake | _lib.OPEN_DIRECT * direct
        self._call_timeout_ms = 0 if call_timeout is None else _quantities.milliseconds(call_timeout, "call_timeout")
        self._max_age_ms = _quantities.milliseconds(max_age, "max_age")
        self._opened: Optional[_Opened] = None

    def _another(self) -> "Handle":
        """A handle of the same kind, for a thread of its own."""
        handle = Handle()
        handle._driver, handle._flags = self._driver, self._flags
        handle._call_timeout_ms, handle._max_age_ms = self._call_timeout_ms, self._max_age_ms
        return handle

    def close(self) -> None:
        """Lets go of the driver, once calls that are under way have ended. The next question starts anew."""
        with _lock:
            opened, self._opened = self._opened, None
            if opened is None:
                return
            opened.closed = True
            unused = opened.calls == 0
        if unused:
            _lib.lib().vram_close(opened.pointer)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_opened", None) is not None:
            self.close()

    def _open(self) -> _Opened:
        pointer = ctypes.c_void_p()
        options = _lib.Options(
            size=ctypes.sizeof(_lib.Options), driver=self._driver, call_timeout_ms=self._call_timeout_ms,
            flags=self._flags, log=_log, max_age_ms=self._max_age_ms)
        result = _lib.lib().vram_open(ctypes.byref(pointer), ctypes.byref(options))
        if result < 0:
            self._fail(None, result)
        opened = _Opened(pointer)
        _all_opened.add(opened)
        return opened

    @contextmanager
    def _use(self) -> Iterator[ctypes.c_void_p]:
        """The library's handle, kept open meanwhile."""
        with _lock:
            if self._opened is None:
                self._opened = self._open()
            opened = self._opened
            opened.calls += 1
        try:
            yield opened.pointer
        finally:
            with _lock:
                opened.calls -= 1
                unused = opened.closed and opened.calls == 0
            if unused:
                _lib.lib().vram_close(opened.pointer)

    @staticmethod
    def _fail(pointer: Optional[ctypes.c_void_p], result: int) -> NoReturn:
        """Raises what the calling thread's last call failed with."""
        lib = _lib.lib()
        raise error_of(result, _lib.words(lib.vram_error_code(pointer)), _lib.words(lib.vram_error(pointer)),
                       _lib.words(lib.vram_error_hint(pointer)))

    def _call(self, function: Callable[..., int], *arguments: object) -> int:
        """One call of a function that takes the handle first: its result, which is no failure."""
        with self._use() as pointer:
            result = function(pointer, *arguments)
            if result < 0:
                self._fail(pointer, result)
            return result

    # ---- Snapshots -------------------------------------------------------------------------------

    @contextmanager
    def _taken(self, take: int, epoch: int = 0, wait_ms: int = 0) -> Iterator[ctypes.c_void_p]:
        """A snapshot of the library's: the present one, or with an epoch the daemon's next."""
        lib, snapshot = _lib.lib(), ctypes.c_void_p()
        with self._use() as pointer:
            result = -errno.ENOTCONN
            if epoch:
                result = lib.vram_snapshot_wait(pointer, take, epoch, wait_ms, ctypes.byref(snapshot))
            if result < 0:
                result = lib.vram_snapshot_take(pointer, take, ctypes.byref(snapshot))
            if result < 0:
                self._fail(pointer, result)
        try:
            yield snapshot
        finally:
            lib.vram_snapshot_unref(snapshot)

    def snapshot(self, gpu: Selectors = None, *, processes: bool = True, commands: bool = False,
                 health: bool = True) -> Snapshot:
        """What the GPUs hold now, asked of the driver, or of a daemon where one runs.

        gpu        one GPU or several, by index, UUID, "0:1" or PCI address; None: all
        processes  the process lists too, which cost a driver most
        commands   with the processes' full command lines
        health     temperature and utilization too

        A GPU that fails has its `state` or a problem; the others are unaffected. A driver that does not start raises.
        """
        from . import _convert

        take = (_lib.TAKE_PROCESSES * (processes or commands) | _lib.TAKE_COMMANDS * commands
                | _lib.TAKE_HEALTH * health)
        with self._taken(take) as snapshot:
            return _convert.snapshot(snapshot, select(snapshot, gpu))

    # ---- Does it fit? ----------------------------------------------------------------------------

    def fit(self, size: _quantities.Size, *, margin: Optional[_quantities.Size] = None, gpus: int = 1,
            gpu: Selectors = None, timeout: Optional[float] = None) -> Fit:
        """Whether a program that will allocate `size` fits: where it is no more than what is free, less what leases
        have promised to others, less the margin. The answer is true where it fits, and holds nothing: see lease().

        size     what is still to be allocated, on each GPU: "12GiB", "12G", "512M"; an int is bytes
        margin   what must stay free after it: a size, or "5%" of the total; None: 1 GiB
        gpus     on how many GPUs
        gpu      which GPUs to consider; None: those that CUDA_VISIBLE_DEVICES shows, else all
        timeout  seconds to wait for room; None: answer at once
        """
        from dataclasses import replace

        margin_bytes, millipercent = _quantities.margin(margin, _lib.DEFAULT_MARGIN_BYTES)
        request = _lib.FitRequest(
            size=ctypes.sizeof(_lib.FitRequest), size_bytes=_quantities.size_bytes(size), margin_bytes=margin_bytes,
            margin_millipercent=millipercent, gpu_count=gpu_count(gpus))
        self._resume()
        if timeout is None:
            return self._fit_once(request, gpu, 0, 0.0)[0]
        _quantities.milliseconds(timeout, "timeout")
        deadline = time.monotonic() + timeout
        epoch, left = 0, float(timeout)
        while True:
            begun = time.monotonic()
            answer, epoch = self._fit_once(request, gpu, epoch, min(left, _LOOK_S))
            left = deadline - time.monotonic()
            if answer.answer in ("fits", "never"):
                return answer
            if left <= 0:
                return replace(answer, answer="timed_out")
            if not epoch:
                time.sleep(min(left, max(_PAUSE_S, (time.monotonic() - begun) * _PAUSE_PER_SAMPLE)))

    def _fit_once(self, request: _lib.FitRequest, gpu: Selectors, epoch: int, wait_s: float) -> Tuple[Fit, int]:
        """An answer, and the daemon's epoch; 0: there is none."""
        from . import _convert

        lib, answer = _lib.lib(), ctypes.POINTER(_lib.Fit)()
        with self._taken(0, epoch, int(wait_s * 1000) + 1) as snapshot:
            positions = candidates(snapshot, gpu)
            request.candidates = (ctypes.c_size_t * len(positions))(*positions)
            request.candidate_count = len(positions)
            result = lib.vram_fit(snapshot, ctypes.byref(request), ctypes.byref(answer))
            if result == -errno.ENODEV:
                raise NoGPUError("none of the GPUs asked about can be used", code="no_usable_gpu",
                                 hint="`vram doctor` tells what to do", errno=errno.ENODEV)
            if result < 0:
                raise error_of(result, "bad_request" if result == -errno.EINVAL else "out_of_memory",
                               os.strerror(-result), "")
            try:
                return _convert.fit(answer[0], snapshot), lib.vram_snapshot_epoch(snapshot)
            finally:
                lib.vram_fit_free(answer)

    # ---- Leases ----------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Has a daemon started again where this boot's promises are without one: their room must not look free."""
        try:
            self._call(_lib.lib().vram_daemon_start, _lib.START_IF_PROMISED)
        except Error as error:
            logger.warning("leases may stand whose daemon cannot be had: %s", error.message)

    def leases(self) -> Leases:
        """Who holds leases and who waits. Without a daemon nothing is leased."""
        from . import _convert

        lib, found = _lib.lib(), ctypes.c_void_p()
        self._resume()
        try:
            self._call(lib.vram_leases, 0, 0, ctypes.byref(found))
        except DaemonError as error:
            if error.code != "no_daemon":
                raise
            return _convert.no_leases()
        try:
            return _convert.leases(found)
        finally:
            lib.vram_lease_list_free(found)

    def lease(self, size: _quantities.Size, *, label: Optional[str] = None, gpus: int = 1, gpu: Selectors = None,
              margin: Optional[_quantities.Size] = None, timeout: Optional[float] = None,
              members: Sequence[str] = (), duration: Optional[float] = None,
              progress: Optional[Callable[[int, str], object]] = None) -> LeaseRequest:
        """A request for a promise of memory, for `with` or `async with`, which wait for its turn and hold it inside.
        Nothing is asked before.

        size      what is still to be allocated, on each GPU: "12GiB", "12G"; an int is bytes
        label     what others see it called
        gpus      on how many GPUs, all or none
        gpu       which GPUs to consider; None: those that CUDA_VISIBLE_DEVICES shows, else all
        margin    what must stay free after it; None: as the daemon has it
        timeout   seconds to wait; 0: not at all; None: for ever
        members   who may fill it besides this process and its descendants: "container:ID", "unit:NAME.service",
                  "cgroup:/PATH", "pid:N"
        duration  seconds after which it ends by itself; None: with this process
        progress  called with the place in the queue and what it waits for, whenever they change; in another thread
                  by `with`, in the event loop by `async with`

        Entering raises LeaseTimeout or DoesNotFit, which have the arithmetic, and DaemonError.
        """
        from ._lease import LeaseRequest

        return LeaseRequest(self, size, label=label, gpus=gpus, gpu=gpu, margin=margin, timeout=timeout,
                            members=members, duration=duration, progress=progress)

    # ---- The doctor ------------------------------------------------------------------------------

    def doctor(self) -> Report:
        """Examines the machine from the bus to the driver's answers. A driver that does not work is a finding."""
        from . import _convert

        lib, found = _lib.lib(), ctypes.c_void_p()
        self._call(lib.vram_diagnose, ctypes.byref(found))
        try:
            return _convert.report(found)
        finally:
            lib.vram_report_free(found)


default = Handle()
"""The handle that everything in this process shares, with the default options."""


# ---- Choosing GPUs -------------------------------------------------------------------------------


def gpu_count(gpus: int) -> int:
    """A number of GPUs for the library."""
    if not 1 <= gpus < 1 << 16:
        raise ValueError(f"gpus {gpus!r} is no number of GPUs")
    return gpus


def select(snapshot: Any, gpu: Selectors) -> List[int]:
    """The positions of the GPUs that are named, in the snapshot's order."""
    count = _lib.lib().vram_snapshot_gpu_count(snapshot)
    if gpu is None:
        return list(range(count))
    chosen = set()
    for selector in [gpu] if isinstance(gpu, (int, str)) else gpu:
        room = (ctypes.c_size_t * count)()
        found = _lib.lib().vram_select(snapshot, _lib.raw(str(selector), "gpu"), room, count)
        if found < 0:
            _fail_selector(snapshot, count, selector, found)
        chosen.update(room[: min(found, count)])
    return sorted(chosen)


def _fail_selector(snapshot: Any, count: int, selector: Selector, result: int) -> NoReturn:
    lib = _lib.lib()
    gpus = [lib.vram_snapshot_gpu(snapshot, i)[0] for i in range(min(count, 16))]
    hint = "there are: " + ", ".join(f"{_lib.label(gpu)} {_lib.words(gpu.uuid)[:17]}" for gpu in gpus)
    if result == -errno.ENOENT:
        raise NoGPUError(f"there is no GPU {str(selector)!r}", code="unknown_gpu", hint=hint if gpus else "",
                         errno=-result)
    if result == -errno.ENOTUNIQ:
        raise BadRequest(f"{selector!r} begins the UUIDs of several GPUs", code="ambiguous_gpu", hint=hint,
                         errno=-result)
    raise BadRequest(f"{selector!r} is not a GPU; write an index, a UUID or a PCI address", code="bad_gpu", hint=hint,
                     errno=-result)


def candidates(snapshot: Any, gpu: Selectors) -> List[int]:
    """The GPUs that are named, else those that CUDA_VISIBLE_DEVICES shows, else all; at least one."""
    count = _lib.lib().vram_snapshot_gpu_count(snapshot)
    if count == 0:
        raise NoGPUError("no GPU found: the driver works and knows none", code="no_gpu", errno=errno.ENODEV,
                         hint="a container must be started with its GPUs (--gpus all); `vram doctor` tells more")
    if gpu is not None:
        found = select(snapshot, gpu)
        if not found:
            raise BadRequest("no GPU is named", code="bad_gpu", errno=errno.EINVAL)
        return found
    visible, order = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CUDA_DEVICE_ORDER")
    room = (ctypes.c_size_t * count)()
    number = _lib.lib().vram_select_visible(
        snapshot, None if visible is None else os.fsencode(visible), None if order is None else os.fsencode(order),
        room, count)
    if number == -errno.EXDEV:
        raise BadRequest(
            f"CUDA_VISIBLE_DEVICES={visible} counts GPUs of different models: which is meant is not certain",
            code="ambiguous_order", errno=errno.EXDEV,
            hint="set CUDA_DEVICE_ORDER=PCI_BUS_ID, or write UUIDs, or use gpu=")
    if number <= 0:
        raise NoGPUError(f"CUDA_VISIBLE_DEVICES={visible} hides every GPU", code="no_visible_gpu",
                         errno=errno.ENODEV)
    return sorted(set(room[: min(number, count)]))
