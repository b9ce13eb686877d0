# SPDX-License-Identifier: MIT
"""Leases: asking for one, waiting for its turn, holding it.

The library's call waits without Python's knowledge, so it is made in a thread of its own: Ctrl-C and the cancelling of
a task are heard at once, take the request back, and end that thread before they go on.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, Generic, List, Optional, Sequence, Tuple, TypeVar, Union

from . import _convert, _lib, _quantities
from ._errors import BadRequest, DaemonError, DoesNotFit, Error, LeaseTimeout, NotFound
from ._handle import candidates, gpu_count, logger
from ._records import Fit, Lease, Wanted

if TYPE_CHECKING:
    from ._handle import Handle, Selectors

T = TypeVar("T")
Progress = Callable[[int, str], object]
GiveBack = Callable[[Wanted], Optional[bool]]

_CONTAINER_ID_MIN = 12
_INSPECT_TIMEOUT_S = 10


class _Work(threading.Thread, Generic[T]):
    """A function that runs in a thread of its own until it is done. A program that ends does not wait for it: the
    daemon takes back what an ended process has asked for."""

    def __init__(self, function: Callable[[], T], done: Callable[[], object] = lambda: None) -> None:
        super().__init__(name="vram-lease", daemon=True)
        self._function, self._done = function, done
        self._value: Optional[T] = None
        self._error: Optional[BaseException] = None
        self.finished = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # whatever it is, it is its caller's
            self._error = error
        self.finished.set()
        self._done()

    @property
    def value(self) -> Optional[T]:
        return self._value

    def outcome(self) -> T:
        self.finished.wait()
        self.join()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # there is one, where there is no error


def _start_in(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> Tuple[_Work[T], asyncio.Future[None]]:
    """Work, and a future of the loop's that is done when it is."""
    future: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not future.done():
            future.set_result(None)

    def done() -> None:
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop was closed under it: nobody waits any more
            pass

    return _Work(function, done), future


class _Offer(threading.Thread):
    """A lease on offer, until it has ended."""

    def __init__(self, handle: Handle, id: str, give_back: GiveBack, cost: int) -> None:
        super().__init__(name="vram-lease-offer", daemon=True)
        # Not _handle: that is Thread's own from Python 3.13 on.
        self._vram, self._id, self._give_back, self._cost = handle, id, give_back, cost
        self.start()

    def _answer(self, _data: object, wanted: Any) -> int:
        """The library calls it in this thread, and no exception can pass it."""
        try:
            one = wanted[0]
            gpus = tuple(_lib.words(one.gpus[i]) for i in range(one.gpu_count))
            done = self._give_back(Wanted(bytes=one.bytes, gpus=gpus, for_whom=_lib.words(one.for_whom)))
            return -errno.EBUSY if done is False else 0
        except BaseException:
            kind, error, trace = sys.exc_info()
            threading.excepthook(threading.ExceptHookArgs((kind, error, trace, self)))
            return -errno.EIO

    def run(self) -> None:
        lib, function = _lib.lib(), _lib.GiveBackFunction(self._answer)
        offer = _lib.Offer(size=ctypes.sizeof(_lib.Offer), give_back=function, cost=self._cost)
        try:
            self._vram._call(lib.vram_daemon_start, 0)  # one that vanishes is started again
            self._vram._call(lib.vram_lease_offer, self._id.encode(), ctypes.byref(offer))
        except NotFound:  # it has ended before it was offered
            pass
        finally:
            self._vram.close()


class HeldLease:
    """A lease that this process owns. It ends with release(), with the `with` block, or with the process."""

    def __init__(self, handle: Handle, lease: Lease) -> None:
        self._handle, self._pid = handle, os.getpid()
        self._offer: Optional[_Offer] = None
        self.id, self.label, self.gpus, self.size_bytes = lease.id, lease.label, lease.gpus, lease.size_bytes

    def __repr__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        return f"<vram lease {self.id}{label}, {_quantities.in_words(self.size_bytes)} on {self.visible_devices}>"

    @property
    def visible_devices(self) -> str:
        """Its GPUs for CUDA_VISIBLE_DEVICES, by UUID."""
        return ",".join(self.gpus)

    @property
    def environment(self) -> Dict[str, str]:
        """What a program needs to fill it. `os.environ.update(lease.environment)` before CUDA is first used, or
        `env={**os.environ, **lease.environment}` for a child."""
        return {"CUDA_VISIBLE_DEVICES": self.visible_devices, "VRAM_LEASE": self.id}

    def _call(self, function: Callable[..., int], *arguments: object) -> None:
        """A change, for which a daemon that has ended is started again: its journal has the lease."""
        try:
            self._handle._call(function, self.id.encode(), *arguments)
        except DaemonError as error:
            if error.code not in ("no_daemon", "daemon_refused", "daemon_gone"):
                raise
            self._handle._resume()
            self._handle._call(function, self.id.encode(), *arguments)

    def info(self) -> Lease:
        """As it stands now: its state, what its members hold, what is outstanding. Raises NotFound: it has ended."""
        for lease in self._handle.leases():
            if lease.id == self.id:
                return lease
        raise NotFound(f"the lease {self.id} has ended", code="not_found")

    def resize(self, size: _quantities.Size) -> None:
        """Changes its size. Less is always granted; more at once, or DoesNotFit is raised and it stays as it was."""
        number, verdict = _quantities.size_bytes(size), ctypes.POINTER(_lib.Verdict)()
        lib = _lib.lib()
        self._call(lib.vram_lease_resize, number, ctypes.byref(verdict))
        try:
            self.size_bytes = _granted(verdict[0]).size_bytes
        finally:
            lib.vram_verdict_free(verdict)

    def attach(self, *, container: Optional[str] = None, unit: Optional[str] = None, cgroup: Optional[str] = None,
               pid: Optional[int] = None) -> None:
        """Lets something else fill it too, there already or not yet: a container by its id (or its name, where
        docker or podman can be asked for the id), a systemd unit, a cgroup's path, a process."""
        given: Dict[str, Union[str, int, None]] = {"container": container, "unit": unit, "cgroup": cgroup, "pid": pid}
        named = [(kind, value) for kind, value in given.items() if value is not None]
        if len(named) != 1:
            raise TypeError("attach() takes one of container, unit, cgroup and pid")
        kind, value = named[0]
        member = f"{kind}:{_container_id(str(value)) if kind == 'container' else value}"
        self._call(_lib.lib().vram_lease_attach, _lib.raw(member, kind))

    def filled(self) -> None:
        """States that all is allocated that ever will be: nothing is held back for it any more. For drivers that do not
        tell what a process holds, such as Windows' under WSL."""
        self._call(_lib.lib().vram_lease_filled)

    def end_after(self, seconds: float) -> None:
        """Has it end by itself so long from now."""
        self._call(_lib.lib().vram_lease_until, _quantities.milliseconds(seconds, "seconds"))

    def offer(self, give_back: GiveBack, *, cost: Optional[int] = None) -> None:
        """From now on `give_back` is called, in a thread of its own, whenever somebody waits for memory that this lease
        holds: it frees what it can and calls resize() or release(). It returns False where the memory is in use, and is
        not asked again for 5 s then; an exception is reported by threading.excepthook. What came back is what the driver
        says. Ends with the lease.

        cost      who costs least is asked first; 1 to 1000; None: 10
        """
        if self._offer is not None and self._offer.is_alive():
            raise BadRequest(f"the lease {self.id} is on offer already", code="conflict")
        if cost is not None and not 1 <= cost <= 1000:
            raise ValueError("cost is a number from 1 to 1000")
        self._offer = _Offer(self._handle._another(), self.id, give_back, cost or 0)

    def release(self) -> None:
        """Ends it. Memory that is in use stays counted as used. No error where it has ended already."""
        try:
            self._call(_lib.lib().vram_lease_end)
        except NotFound:
            pass
        offer, self._offer = self._offer, None
        if offer is not None and offer is not threading.current_thread():
            offer.join()  # what it was asked meanwhile it answers yet

    def _leave(self) -> None:
        """release() at the end of a block, but for a forked child's, which would end its parent's lease."""
        if os.getpid() == self._pid:
            self.release()


def _container_id(name: str) -> str:
    """The id of a container that is named by it, by its beginning, or by its name."""
    if len(name) >= _CONTAINER_ID_MIN and not set(name) - set("0123456789abcdef"):
        return name
    for tool in ("docker", "podman"):
        try:
            done = subprocess.run([tool, "inspect", "--type", "container", "--format", "{{.Id}}", "--", name],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  timeout=_INSPECT_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return done.stdout.decode().strip()
    raise BadRequest(f"the id of a container {name!r} cannot be found out", code="unknown_container",
                     hint="docker and podman know no such container, or cannot be asked from here; give its id:\n"
                     "docker inspect -f '{{.Id}}' NAME")


def _granted(verdict: _lib.Verdict) -> Lease:
    """The lease of a verdict; a refusal is raised."""
    if verdict.answer == _lib.FITS:
        return _convert.lease(verdict.lease[0])
    timed_out = verdict.answer == _lib.TIMED_OUT
    fit = _convert.fit(verdict.fit[0]) if verdict.fit else None
    kind = LeaseTimeout if timed_out else DoesNotFit
    known = verdict.answer < len(_lib.ANSWERS)
    raise kind(_lib.words(verdict.message), answer=_lib.ANSWERS[verdict.answer] if known else "not_now", fit=fit)


def _texts(texts: Sequence[bytes]) -> Any:
    return (ctypes.c_char_p * len(texts))(*texts) if texts else None


class LeaseRequest:
    """What vram.lease() returns: nothing is asked for before `with`, `async with` or acquire()."""

    def __init__(self, handle: Handle, size: _quantities.Size, *, label: Optional[str], gpus: int, gpu: Selectors,
                 margin: Optional[_quantities.Size], timeout: Optional[float], members: Sequence[str],
                 duration: Optional[float], progress: Optional[Progress]) -> None:
        if isinstance(members, str):
            raise TypeError("members is a list of texts")
        self._handle, self._gpu, self._progress = handle, gpu, progress
        self._size_bytes, self._gpus = _quantities.size_bytes(size), gpu_count(gpus)
        self._label = None if label is None else _lib.raw(label, "label")
        self._margin = _quantities.margin(margin, _lib.UNKNOWN)
        self._members = [_lib.raw(member, "member") for member in members]
        self._timeout_ms = _quantities.milliseconds(timeout, "timeout")
        self._for_ms = 0 if duration is None else _quantities.milliseconds(duration, "duration")
        if duration is not None and not self._for_ms:
            raise ValueError("duration 0 is no time to lease anything")
        self._held: List[HeldLease] = []

    # ---- Asking ----------------------------------------------------------------------------------

    def _candidates(self, pointer: ctypes.c_void_p) -> List[bytes]:
        """UUIDs of the GPUs that are named, by `gpu` or CUDA_VISIBLE_DEVICES; the daemon knows which they are."""
        lib, snapshot = _lib.lib(), ctypes.c_void_p()
        if self._gpu is None and "CUDA_VISIBLE_DEVICES" not in os.environ:
            return []
        result = lib.vram_snapshot_wait(pointer, 0, 0, 0, ctypes.byref(snapshot))
        if result < 0:
            self._handle._fail(pointer, result)
        try:
            found = [lib.vram_snapshot_gpu(snapshot, i)[0].uuid for i in candidates(snapshot, self._gpu)]
        finally:
            lib.vram_snapshot_unref(snapshot)
        uuids = [uuid for uuid in found if uuid]
        if not uuids:
            raise BadRequest("none of the GPUs asked about tells its UUID", code="no_usable_gpu")
        return uuids

    def _ask(self, name: bytes, progress: Optional[Progress]) -> HeldLease:
        """Asks and waits; for a thread of its own."""
        lib, verdict = _lib.lib(), ctypes.POINTER(_lib.Verdict)()

        def hear(_data: object, position: int, waits_for: bytes) -> None:
            logger.debug("waiting, number %d in line: %s", position, _lib.words(waits_for))
            try:
                if progress is not None:
                    progress(position, _lib.words(waits_for))
            except Exception:  # the caller's own, which the library cannot hand on
                logger.exception("progress=%r failed", progress)

        tell = _lib.ProgressFunction(hear)
        with self._handle._use() as pointer:
            result = lib.vram_daemon_start(pointer, 0)
            if result < 0:
                self._handle._fail(pointer, result)
            uuids = self._candidates(pointer)
            request = _lib.LeaseRequest(
                size=ctypes.sizeof(_lib.LeaseRequest), id=name, size_bytes=self._size_bytes,
                margin_bytes=self._margin[0], margin_millipercent=self._margin[1], gpu_count=self._gpus,
                candidates=_texts(uuids), candidate_count=len(uuids), label=self._label,
                members=_texts(self._members), member_count=len(self._members), timeout_ms=self._timeout_ms,
                for_ms=self._for_ms, progress=tell)
            result = lib.vram_lease_acquire(pointer, ctypes.byref(request), ctypes.byref(verdict))
            if result < 0:
                self._handle._fail(pointer, result)
        try:
            held = HeldLease(self._handle, _granted(verdict[0]))
        except DoesNotFit as error:
            if error.fit is None:
                error.fit = self._arithmetic()
            if error.fit is not None:
                error.hint = str(error.fit)
            raise
        finally:
            lib.vram_verdict_free(verdict)
        logger.debug("leased %s", held)
        return held

    def _arithmetic(self) -> Optional[Fit]:
        """Why there is no room, where the daemon has not told."""
        thousandths = self._margin[1]
        margin = f"{thousandths / 1000}%" if thousandths else self._margin[0]
        try:
            return self._handle.fit(self._size_bytes, gpus=self._gpus, gpu=self._gpu,
                                    margin=None if margin == _lib.UNKNOWN else margin)
        except Error:
            return None

    def _retract(self, name: bytes, work: _Work[HeldLease]) -> None:
        """Takes a request back that may be on its way to the daemon still, waiting there, or granted by now."""
        while True:
            finished = work.finished.is_set()  # before the end, which then is the last word
            try:
                self._handle._call(_lib.lib().vram_lease_end, name)
            except Error:  # not there yet, not there any more, or no daemon: the request itself will hear that
                pass
            if finished or (work.finished.wait(0.01) and work.value is None):
                return

    def acquire(self) -> HeldLease:
        """Waits for its turn. The lease is the caller's to release."""
        name = os.urandom(8).hex().encode()
        work = _Work(lambda: self._ask(name, self._progress))
        try:
            work.finished.wait()
        except BaseException:  # Ctrl-C; a second one leaves without waiting for the daemon
            _Work(lambda: self._retract(name, work)).finished.wait()
            raise
        return work.outcome()

    async def _acquire_async(self) -> HeldLease:
        loop, progress = asyncio.get_running_loop(), self._progress
        name = os.urandom(8).hex().encode()

        def tell(position: int, waits_for: str) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, position, waits_for)

        work, done = _start_in(loop, lambda: self._ask(name, tell))
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:
            retraction, retracted = _start_in(loop, lambda: self._retract(name, work))
            await asyncio.wait([retracted])
            retraction.outcome()
            work.join()
            raise
        return work.outcome()

    # ---- with, async with ------------------------------------------------------------------------

    def __enter__(self) -> HeldLease:
        self._held.append(self.acquire())
        return self._held[-1]

    def __exit__(self, *_exception: object) -> None:
        self._held.pop()._leave()

    async def __aenter__(self) -> HeldLease:
        self._held.append(await self._acquire_async())
        return self._held[-1]

    async def __aexit__(self, *_exception: object) -> None:
        work, done = _start_in(asyncio.get_running_loop(), self._held.pop()._leave)
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:  # it is released all the same
            await asyncio.wait([done])
            raise
        finally:
            if done.done():
                work.join()
        work.outcome()
