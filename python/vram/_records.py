# SPDX-License-Identifier: MIT
"""What the library tells, as frozen dataclasses. Amounts are bytes, and vram.UNKNOWN where the driver cannot tell;
texts that are unknown are None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Optional, Tuple

from ._quantities import in_words
from ._unknown import UNKNOWN, Amount

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Process:
    """One process on one GPU, whatever it uses it for."""

    pid: int
    name: str  # /proc's comm, else the driver's word for it, else "pid_N"
    used_bytes: Amount
    kinds: Tuple[str, ...]  # of "compute", "graphics", "mps"
    command: Optional[str]  # None unless asked for
    user: Optional[str]
    container: Optional[str]
    unit: Optional[str]
    lease: Optional[str]  # its lease's id
    start_time: Amount  # clock ticks after boot
    visible: bool  # found in /proc


@dataclass(frozen=True)
class GPU:
    """One GPU, or one MIG instance of one. total = used + free + driver_reserved, each the driver's own figure; where
    the driver has only the old query, used contains the reserve, which is then unknown."""

    index: int  # the driver's; of a MIG instance, its card's
    mig_index: Amount  # of a MIG instance: its number on its card
    uuid: Optional[str]
    name: Optional[str]
    pci: Optional[str]
    parent_uuid: Optional[str]  # of a MIG instance: its card
    state: str  # "ok", "asleep", "lost", "denied", "hung"
    memory_kind: str  # "dedicated", "unified", "mig"
    pool: int  # GPUs with the same number share one memory
    total_bytes: Amount
    used_bytes: Amount
    free_bytes: Amount
    driver_reserved_bytes: Amount
    used_includes_reserved: bool
    unattributed_bytes: Amount  # used less the known memory of its processes
    outstanding_bytes: Amount  # promised by leases, not yet allocated; unknown without a daemon
    own_outstanding_bytes: Amount  # of these, what is promised to this process
    ceiling_bytes: Amount  # of these, what is kept for programs that never ask
    drained: bool  # no new lease is granted there
    temperature_c: Amount
    utilization_percent: Amount
    age_ms: int  # how old these figures were
    processes: Optional[Tuple[Process, ...]]  # largest first; None: the list could not be read, or was not asked for

    @property
    def label(self) -> str:
        """ "0", or "0:1" of a MIG instance: what `gpu=` takes."""
        return str(self.index) if self.mig_index is UNKNOWN else f"{self.index}:{self.mig_index}"


@dataclass(frozen=True)
class Driver:
    """The driver that answered."""

    kind: Optional[str]  # "nvml", or "sim" for the simulated driver
    version: Optional[str]
    cuda: Optional[str]  # the newest CUDA it serves
    library: Optional[str]


@dataclass(frozen=True)
class Problem:
    """Something that a snapshot could not learn."""

    gpu: Optional[str]  # UUID or index; None: the whole driver
    what: Optional[str]
    code: Optional[str]
    message: Optional[str]


@dataclass(frozen=True)
class Snapshot:
    """What the machine's GPUs held at one moment."""

    taken_at: datetime
    driver: Driver
    gpus: Tuple[GPU, ...]
    problems: Tuple[Problem, ...]
    waiters: Amount  # requests that wait for room; unknown without a daemon
    epoch: int  # the daemon's number for this state; 0 without one


@dataclass(frozen=True)
class FitGPU:
    """One candidate's arithmetic: headroom = free - (outstanding - own_outstanding) - margin."""

    label: Optional[str]  # "0"; None where it is told by UUID alone
    uuid: Optional[str]
    answer: str  # as Fit.answer, for this GPU alone
    chosen: bool
    usable: bool  # False: lost or denied, and so no candidate
    free_bytes: Amount
    outstanding_bytes: Amount
    own_outstanding_bytes: Amount
    margin_bytes: Amount
    headroom_bytes: Amount  # may be negative
    shortfall_bytes: Amount  # what is missing
    capacity_bytes: Amount  # what an empty card has

    def __str__(self) -> str:
        where = f"GPU {self.label}" if self.label else self.uuid or "the GPU"
        if not self.usable:
            return f"{where} cannot be used"
        if self.free_bytes is UNKNOWN or self.headroom_bytes is UNKNOWN or self.margin_bytes is UNKNOWN:
            return f"{where} does not tell how much is free"
        own = 0 if self.own_outstanding_bytes is UNKNOWN else self.own_outstanding_bytes
        promised = 0 if self.outstanding_bytes is UNKNOWN else self.outstanding_bytes - own
        terms = f"{_mib(self.free_bytes)} MiB free"
        terms += f" - {_mib(promised)} promised" if promised > 0 else ""
        return f"{where}: {terms} - {_mib(self.margin_bytes)} margin = {_mib(self.headroom_bytes)} headroom"


@dataclass(frozen=True)
class Fit:
    """Whether a size fits, with the arithmetic. True where it does; str() says it in a sentence."""

    answer: str  # "fits", "not_now", "never", "unknown", "timed_out"
    size_bytes: int  # as asked, on each GPU
    gpu_count: int  # as asked
    margin_bytes: Amount
    waiters: Amount
    promises_counted: bool  # False: no daemon, so nobody's promises were subtracted
    gpus: Tuple[FitGPU, ...]  # every candidate

    def __bool__(self) -> bool:
        return self.answer == "fits"

    @property
    def chosen(self) -> Tuple[str, ...]:
        """UUIDs of the GPUs to use: of those on which it fits, the fullest."""
        return tuple(gpu.uuid for gpu in self.gpus if gpu.chosen and gpu.uuid)

    @property
    def visible_devices(self) -> str:
        """The same for CUDA_VISIBLE_DEVICES."""
        return ",".join(self.chosen)

    def __str__(self) -> str:
        size = in_words(self.size_bytes) + (f" on each of {self.gpu_count} GPUs" if self.gpu_count > 1 else "")
        verdict = {"fits": "fits", "never": "will never fit", "unknown": "may fit or not"}.get(
            self.answer, "does not fit now")
        shown = [gpu for gpu in self.gpus if gpu.chosen] if self else list(self.gpus)
        return f"{size} {verdict}: " + "; ".join(str(gpu) for gpu in shown[:8])


@dataclass(frozen=True)
class Lease:
    """A promise of memory, as it was when it was asked about."""

    id: str
    owner_pid: Amount  # in the daemon's PID namespace; unknown: it has ended
    user: Optional[str]
    label: Optional[str]
    size_bytes: int  # on each GPU
    held_bytes: Amount  # what its members use on its GPUs together
    outstanding_bytes: Amount  # promised and not yet allocated, on its GPUs together
    state: str  # "ok", "filled", "inherited", "over", "squeezed"
    since: datetime
    until: Optional[datetime]  # None: with its holders
    gpus: Tuple[str, ...]  # UUIDs, in the order for CUDA_VISIBLE_DEVICES
    members: Tuple[int, ...]  # processes that count for it and hold memory on its GPUs
    attached: Tuple[str, ...]  # "unit:x.service" ...
    ends: Optional[str] = None  # why at `until`: "time", as it was asked for, or "idle": it holds nothing


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a lease that is offered."""

    bytes: int  # on its GPUs together; all that it has, where others are asked too
    gpus: Tuple[str, ...]  # UUIDs of those that it has memory on
    for_whom: str  # "label (user)"


@dataclass(frozen=True)
class Waiter:
    """A request that waits for its turn."""

    position: int  # from 1 on
    id: str
    pid: Amount
    user: Optional[str]
    label: Optional[str]
    gpu_count: int
    size_bytes: int  # on each GPU
    since: datetime
    waits_for: Optional[str]  # in a sentence


@dataclass(frozen=True)
class Daemon:
    """A daemon, as it was when it answered."""

    pid: int
    version: Optional[str]
    driver: Optional[str]
    promising: bool
    paused: bool
    reason: Optional[str]  # why it does not promise, as a word
    message: Optional[str]  # the same in a sentence, with the remedy
    margin_bytes: Amount  # that applies where a request names none; unknown: a part of each total


@dataclass(frozen=True)
class Ceiling:
    """Room kept on a GPU for programs that never ask for leases."""

    name: str
    match: str  # which programs: "unit:ollama.service"
    gpu: str  # UUID
    size_bytes: Amount
    held_bytes: Amount  # what they use, with a lease or without
    outstanding_bytes: Amount  # what is kept for them besides


@dataclass(frozen=True)
class Leases:
    """Who holds leases and who waits, at one moment. Iterating gives the leases."""

    leases: Tuple[Lease, ...]  # oldest first
    waiters: Tuple[Waiter, ...]  # in their order
    daemon: Optional[Daemon]  # None: none runs, so nothing is leased
    epoch: int
    ceilings: Tuple[Ceiling, ...] = ()  # in the order of the configuration

    def __iter__(self) -> Iterator[Lease]:
        return iter(self.leases)

    def __len__(self) -> int:
        return len(self.leases)


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor looked at."""

    id: Optional[str]  # "D02", stable; facts have none
    severity: str  # "fact", "good", "note", "problem"
    title: str
    cause: str
    evidence: Optional[str]
    remedy: Optional[str]  # the command or step that mends it


@dataclass(frozen=True)
class Report:
    """What the doctor found: facts first, then the most telling problem first."""

    findings: Tuple[Finding, ...]

    @property
    def problems(self) -> Tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "problem")

    @property
    def healthy(self) -> bool:
        return not self.problems


def _mib(number: int) -> str:
    """Whole MiB, rounded down, with thousands separators."""
    return f"{number >> 20:,}"
