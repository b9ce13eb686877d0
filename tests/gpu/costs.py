# SPDX-License-Identifier: MIT
"""What vram costs on this driver: whole programs side by side, one snapshot, vramd's grants and its rest."""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time

from machine import ROOT, SPARE, Daemon, Failed

sys.path.insert(0, str(ROOT / "tests/bench"))
from promises import cpu_s, memory_mib  # noqa: E402 - found by the line above


def section_programs(machine, report):
    """Whole programs that take turns: the question of the first budget."""
    if not (machine.build / "tests/bench/race").exists():
        report.leave_out("whole programs", "tests/bench is not built")
        return
    vram = [f"{machine.build}/cli/vram", "--driver", machine.driver]
    commands = {
        "bare C program": [f"{machine.build}/tests/bench/bare", machine.library],
        "vram status --json": [*vram, "status", "--json"],
        "vram status": [*vram, "status"],
        "vram fit": [*vram, "fit", "1M"],
    }
    if not machine.simulated and shutil.which("nvidia-smi"):
        commands["nvidia-smi"] = ["nvidia-smi"]
        commands["nvidia-smi --query-gpu"] = ["nvidia-smi", "--query-gpu=memory.used,memory.free", "--format=csv"]
    with machine.cuda():
        words = [word for command in commands.values() for word in ("--", *command)]
        code, out, err = machine.run(f"{machine.build}/tests/bench/race", machine.scale(25, 3), 1, *words, timeout=60)
    if code != 0:
        raise Failed(err.strip())
    found = {name: [float(cell) for cell in line.split()] for name, line in zip(commands, out.splitlines())}
    bare = found["bare C program"]
    report.text(
        "One GPU, one CUDA program on it; medians of runs that take turns. Budget of `vram status --json`: "
        "1.2 × the bare one's time, 1.5 × its memory.",
        "",
    )
    report.table(
        ["program", "ms", "× bare", "MiB peak", "× bare", "runs"],
        [
            [
                f"`{name}`",
                f"{us / 1e3:.2f}",
                f"{us / bare[0]:.2f}",
                f"{kib / 1024:.1f}",
                f"{kib / bare[1]:.2f}",
                f"{runs:.0f}",
            ]
            for name, (us, kib, runs) in found.items()
        ],
    )
    snapshots(machine, report)


def snapshots(machine, report):
    """In a program that runs on."""
    program = [f"{machine.build}/tests/bench/snapshot", machine.library, machine.scale(60, 5)]
    with machine.cuda():
        code, out, err = machine.run(*program, timeout=40)
    if code != 0:
        raise Failed(f"snapshot ends with {code}: {err.strip()}")
    bare, known, first, processes = (float(word) for word in out.split())
    report.text("One snapshot in a program that runs on, µs in the median:", "")
    report.table(
        ["processes", "bare calls", "snapshot", "over", "a new handle's first"],
        [[f"{processes:.0f}", f"{bare:.1f}", f"{known:.1f}", f"{known - bare:.1f}", f"{first:.1f}"]],
    )


# ---- vramd ---------------------------------------------------------------------------------------


def round_trip_us(rounds):
    """A byte to another process and back, in the median: what this machine takes for two wake-ups and no work."""
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        here.close()
        while there.recv(1):
            there.send(b".")
        os._exit(0)
    there.close()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        here.send(b".")
        here.recv(1)
        times.append((time.perf_counter() - begun) * 1e6)
    here.close()
    os.waitpid(child, 0)
    return statistics.median(times)


def section_grants(machine, report):
    """From the request, the release or the SIGKILL to the answer."""
    grant = f"{machine.build}/tests/bench/grant"
    with Daemon(machine) as daemon:
        code, out, err = machine.run(
            grant, "ask", daemon.socket, machine.scale(60, 5), machine.library, env=daemon.env, timeout=30
        )
        if code != 0:
            raise Failed(f"grant ask ends with {code}: {err.strip()}")
        library, library_99, connected, connected_99, driver = (float(word) for word in out.split())
        report.text(
            "Request to answer, µs; then the driver's calls of one settled sample alone, and a byte to another process "
            "and back: a grant has two such ways, to vramd and from there to its collector.",
            "",
        )
        report.table(
            ["library", "99 %", "connected", "99 %", "driver", "a byte and back"],
            [[library, library_99, connected, connected_99, driver, f"{round_trip_us(500):.1f}"]],
        )
        size = (machine.gpu()["free_bytes"] - SPARE) * 6 // 10
        rows = []
        for how in ("release", "kill"):
            code, out, err = machine.run(
                grant, "wake", daemon.socket, machine.scale(25, 5), 8, how, size, env=daemon.env, timeout=30
            )
            if code != 0:
                raise Failed(f"grant wake {how} ends with {code}: {err.strip()}")
            rows.append([how if how == "release" else "SIGKILL of the holder", *out.split()])
        report.text("To the next of 8 waiters' answer, µs:", "")
        report.table(["by", "median", "99 %"], rows)


def consumption(daemon, seconds):
    """Percent of a core, of the daemon and of its collector, and their memory."""
    pids = daemon.pids()
    before, begun = [cpu_s(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)  # the measured time itself
    took = time.monotonic() - begun
    used = [100 * (cpu_s(pid) - was) / took for pid, was in zip(pids, before)]
    memory = [memory_mib(pid)[0] for pid in pids]
    used, memory = used + [0.0] * (2 - len(used)), memory + [0.0] * (2 - len(memory))
    return [f"{took:.0f}", f"{used[0]:.3f}", f"{sum(used[1:]):.3f}", f"{memory[0]:.1f}", f"{sum(memory[1:]):.1f}"]


def section_rest(machine, report):
    """A lease stands, so that vramd looks every second; then somebody waits too."""
    rows = []
    with Daemon(machine) as daemon, subprocess.Popen(["sleep", "1000"]) as owner:
        try:
            free = machine.gpu()["free_bytes"]
            rows.append(["no lease", *consumption(daemon, machine.scale(5, 0.2))])
            code, _, err = daemon.vram("reserve", f"{free // 2}B", "--pid", owner.pid)
            if code != 0:
                raise Failed(f"vram reserve ends with {code}: {err.strip()}")
            rows.append(["one lease", *consumption(daemon, machine.scale(20, 0.5))])
            words = [f"{machine.build}/cli/vram", "run", f"{free * 3 // 4}B", "--timeout", "300s", "--", "true"]
            with subprocess.Popen(words, env=daemon.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as waiter:
                try:
                    rows.append(["one lease, one waiter", *consumption(daemon, machine.scale(8, 0.5))])
                    report.expect("the waiter still waits", None, waiter.poll())
                finally:
                    with contextlib.suppress(ProcessLookupError):
                        waiter.kill()
        finally:
            owner.kill()
    report.table(["", "s", "% of a core, vramd", "collector", "MiB resident, vramd", "collector"], rows)
