# SPDX-License-Identifier: MIT
"""Programs race for the card's last room: without leases the loser dies, with leases each has its turn."""

import time

from allocations import holding
from machine import GIB, MIB, SPARE, Daemon, Failed
from report import mib

OUT_OF_MEMORY = "error 2 CUDA_ERROR_OUT_OF_MEMORY"


def section(machine, report):
    with machine.cuda() as base:
        context = holding(machine.gpu(), base.pid)
        room = machine.gpu()["free_bytes"]
        base.must(f"plain {room * 2 // 5 // MIB * MIB}")
        without(machine, report)
        with_leases(machine, report, context)


def without(machine, report):
    """Two programs look, both are told that it fits, both start."""
    rounds, deaths, both_told = machine.scale(3, 1), 0, 0
    for _ in range(rounds):
        with machine.cuda() as first, machine.cuda() as second:
            size = (machine.gpu()["free_bytes"] - GIB) * 7 // 10 // MIB * MIB
            told = [machine.vram("fit", f"{size}B", "--gpu", machine.uuid)[0] for _ in range(2)]
            both_told += told == [0, 0]
            for program in (first, second):
                program.send(f"plain {size}")
            answers = [program.answer() for program in (first, second)]
            deaths += sorted(answers) == sorted(["ok plain", OUT_OF_MEMORY])
    report.expect("both programs are told that it fits, without leases", rounds, both_told)
    report.expect("one of the two runs out of memory, without leases", rounds, deaths)
    report.text(
        f"- without leases: {rounds} rounds, two programs that both had asked `vram fit`: {deaths} times one of them "
        "ran out of memory"
    )


def with_leases(machine, report, context):
    """The same sizes, three programs at once, each started by `vram run`."""
    rounds, programs_each = machine.scale(2, 1), 3
    free = machine.gpu()["free_bytes"]
    size = (free - SPARE - context) * 7 // 10 // MIB * MIB
    lease = size + context + 64 * MIB
    statuses, peak, began = [], 0, time.monotonic()
    with Daemon(machine) as daemon:
        for _ in range(rounds):
            before = [f"{machine.build}/cli/vram", "run", f"{lease}B", "--timeout", "60s", "--label", "race", "--"]
            runs = [
                machine.start_cuda(
                    "context", "plain", size, "wait", machine.scale(600, 50), "end", env=daemon.env, before=before
                )
                for _ in range(programs_each)
            ]
            while any(run.child.poll() is None for run in runs):
                peak = max(peak, machine.gpu()["used_bytes"])
                if machine.left() < 5 or time.monotonic() - began > 90:
                    raise Failed("programs with leases do not come to an end")
            statuses += [run.child.returncode for run in runs]
        code, out, _ = daemon.vram("leases", "--json")
    report.expect(
        "exit statuses of the programs with leases (2: out of memory)", [0] * rounds * programs_each, statuses
    )
    report.expect("leases after all have ended", True, code == 0 and '"leases":[]' in out.replace(" ", ""))
    report.text(
        f"- with leases of {mib(lease)}: {len(statuses)} programs in {rounds} rounds, {statuses.count(2)} out of "
        f"memory; at most {mib(peak)} used at once; {time.monotonic() - began:.1f} s"
    )
