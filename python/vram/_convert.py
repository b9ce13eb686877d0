# SPDX-License-Identifier: MIT
"""From the library's structures to records. Everything is copied: a record outlives what it came from."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Optional, Tuple

from . import _lib
from ._lib import text, words
from ._records import (
    Ceiling,
    GPU,
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
)
from ._unknown import UNKNOWN, amount

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_KINDS = ((_lib.PROCESS_COMPUTE, "compute"), (_lib.PROCESS_GRAPHICS, "graphics"), (_lib.PROCESS_MPS, "mps"))
_KIND_SETS: Dict[int, Tuple[str, ...]] = {
    bits: tuple(name for bit, name in _KINDS if bits & bit) for bits in range(2 * _lib.PROCESS_MPS)
}


def _moment(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)


def _word(names: Tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else f"state_{number}"


# ---- Snapshots -----------------------------------------------------------------------------------


def _process(raw: _lib.Process) -> Process:
    return Process(
        pid=raw.pid,
        name=words(raw.name),
        used_bytes=amount(raw.used_bytes),
        kinds=_KIND_SETS[raw.kind & 7],
        command=text(raw.command),
        user=text(raw.user),
        container=text(raw.container),
        unit=text(raw.unit),
        lease=text(raw.lease),
        start_time=amount(raw.start_time),
        visible=raw.visible,
    )


def gpu(raw: _lib.Gpu) -> GPU:
    processes = raw.processes
    return GPU(
        index=raw.index,
        mig_index=amount(raw.mig_index),
        uuid=text(raw.uuid),
        name=text(raw.name),
        pci=text(raw.pci),
        parent_uuid=text(raw.parent_uuid),
        state=_word(_lib.GPU_STATES, raw.state),
        memory_kind=_word(_lib.MEMORY_KINDS, raw.memory_kind),
        pool=raw.pool,
        total_bytes=amount(raw.total_bytes),
        used_bytes=amount(raw.used_bytes),
        free_bytes=amount(raw.free_bytes),
        driver_reserved_bytes=amount(raw.driver_reserved_bytes),
        used_includes_reserved=raw.used_includes_reserved,
        unattributed_bytes=amount(raw.unattributed_bytes),
        outstanding_bytes=amount(raw.outstanding_bytes),
        own_outstanding_bytes=amount(raw.own_outstanding_bytes),
        ceiling_bytes=amount(raw.ceiling_bytes),
        drained=raw.drained,
        temperature_c=amount(raw.temperature_c),
        utilization_percent=amount(raw.utilization_percent),
        age_ms=raw.age_ms,
        processes=(
            tuple(_process(processes[i]) for i in range(raw.process_count)) if raw.processes_known else None
        ),
    )


def _problem(raw: _lib.Problem) -> Problem:
    return Problem(gpu=text(raw.gpu), what=text(raw.what), code=text(raw.code), message=text(raw.message))


def _driver(raw: _lib.Driver) -> Driver:
    return Driver(kind=text(raw.kind), version=text(raw.version), cuda=text(raw.cuda), library=text(raw.library))


def snapshot(of: Any, positions: Any) -> Snapshot:
    """A snapshot, or some of its GPUs."""
    lib = _lib.lib()
    return Snapshot(
        taken_at=_moment(lib.vram_snapshot_taken_at_ns(of)),
        driver=_driver(lib.vram_snapshot_driver(of)[0]),
        gpus=tuple(gpu(lib.vram_snapshot_gpu(of, i)[0]) for i in positions),
        problems=tuple(
            _problem(lib.vram_snapshot_problem(of, i)[0]) for i in range(lib.vram_snapshot_problem_count(of))
        ),
        waiters=amount(lib.vram_snapshot_waiters(of)),
        epoch=lib.vram_snapshot_epoch(of),
    )


# ---- Answers -------------------------------------------------------------------------------------


def _fit_gpu(raw: _lib.FitGpu, name: Optional[str]) -> FitGPU:
    return FitGPU(
        label=name,
        uuid=text(raw.uuid),
        answer=_word(_lib.ANSWERS, raw.answer),
        chosen=raw.chosen,
        usable=raw.usable,
        free_bytes=amount(raw.free_bytes),
        outstanding_bytes=amount(raw.outstanding_bytes),
        own_outstanding_bytes=amount(raw.own_outstanding_bytes),
        margin_bytes=amount(raw.margin_bytes),
        headroom_bytes=raw.headroom_bytes if raw.headroom_known else UNKNOWN,
        shortfall_bytes=amount(raw.shortfall_bytes),
        capacity_bytes=amount(raw.capacity_bytes),
    )


def fit(raw: _lib.Fit, of: Any = None) -> Fit:
    """An answer from the snapshot `of`; None: from the daemon, which names GPUs by UUID alone."""
    lib = _lib.lib()
    gpus = [raw.gpus[i] for i in range(raw.count)]
    labels = [_lib.label(lib.vram_snapshot_gpu(of, gpu.position)[0]) if of else None for gpu in gpus]
    return Fit(
        answer=_word(_lib.ANSWERS, raw.answer),
        size_bytes=raw.size_bytes,
        gpu_count=raw.gpu_count,
        margin_bytes=amount(raw.margin_bytes),
        waiters=amount(raw.waiters),
        promises_counted=raw.promises_counted,
        gpus=tuple(_fit_gpu(gpu, name) for gpu, name in zip(gpus, labels)),
    )


# ---- Leases --------------------------------------------------------------------------------------


def lease(raw: _lib.Lease) -> Lease:
    return Lease(
        id=words(raw.id),
        owner_pid=amount(raw.owner_pid),
        user=text(raw.user),
        label=text(raw.label),
        size_bytes=raw.size_bytes,
        held_bytes=amount(raw.held_bytes),
        outstanding_bytes=amount(raw.outstanding_bytes),
        state=_word(_lib.LEASE_STATES, raw.state),
        since=_moment(raw.since_ns),
        until=None if raw.until_ns == _lib.UNKNOWN else _moment(raw.until_ns),
        gpus=tuple(words(raw.gpus[i]) for i in range(raw.gpu_count)),
        members=tuple(raw.members[i] for i in range(raw.member_count)),
        attached=tuple(words(raw.attached[i]) for i in range(raw.attached_count)),
        ends=text(raw.ends),
    )


def _waiter(raw: _lib.Waiter) -> Waiter:
    return Waiter(
        position=raw.position,
        id=words(raw.id),
        pid=amount(raw.pid),
        user=text(raw.user),
        label=text(raw.label),
        gpu_count=raw.gpu_count,
        size_bytes=raw.size_bytes,
        since=_moment(raw.since_ns),
        waits_for=text(raw.waits_for),
    )


def _daemon(raw: _lib.Daemon) -> Daemon:
    return Daemon(
        pid=raw.pid,
        version=text(raw.version),
        driver=text(raw.driver),
        promising=raw.promising,
        paused=raw.paused,
        reason=text(raw.reason),
        message=text(raw.message),
        margin_bytes=amount(raw.margin_bytes),
    )


def _ceiling(raw: _lib.Ceiling) -> Ceiling:
    return Ceiling(
        name=words(raw.name),
        match=words(raw.match),
        gpu=words(raw.gpu),
        size_bytes=amount(raw.size_bytes),
        held_bytes=amount(raw.held_bytes),
        outstanding_bytes=amount(raw.outstanding_bytes),
    )


def leases(of: Any) -> Leases:
    lib = _lib.lib()
    return Leases(
        leases=tuple(lease(lib.vram_lease_list_lease(of, i)[0]) for i in range(lib.vram_lease_list_count(of))),
        waiters=tuple(
            _waiter(lib.vram_lease_list_waiter(of, i)[0]) for i in range(lib.vram_lease_list_waiter_count(of))
        ),
        daemon=_daemon(lib.vram_lease_list_daemon(of)[0]),
        epoch=lib.vram_lease_list_epoch(of),
        ceilings=tuple(
            _ceiling(lib.vram_lease_list_ceiling(of, i)[0]) for i in range(lib.vram_lease_list_ceiling_count(of))
        ),
    )


def no_leases() -> Leases:
    """What there is without a daemon."""
    return Leases((), (), None, 0)


# ---- The doctor ----------------------------------------------------------------------------------


def _finding(raw: _lib.Finding) -> Finding:
    return Finding(
        id=text(raw.id),
        severity=_word(_lib.SEVERITIES, raw.severity),
        title=words(raw.title),
        cause=words(raw.cause),
        evidence=text(raw.evidence),
        remedy=text(raw.remedy),
    )


def report(of: Any) -> Report:
    lib = _lib.lib()
    return Report(tuple(_finding(lib.vram_report_finding(of, i)[0]) for i in range(lib.vram_report_count(of))))
