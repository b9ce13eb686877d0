# SPDX-License-Identifier: MIT
"""How long the driver takes: each call that vram makes, idle and loaded, with few and many processes on the GPU."""

import pathlib

from machine import GIB, MIB, Failed

LOAD = 256 * MIB


def section_start(machine, report):
    """Init, handle, shutdown: in new processes, and over and over in one."""
    fresh = [machine.probe("start", 1) for _ in range(machine.scale(8, 2))]
    again = machine.probe("start", machine.scale(20, 5))
    rows = []
    for number, row in enumerate(again):
        firsts = sorted(life[number]["first_us"] for life in fresh)
        rows.append(
            [
                row["what"],
                f"{firsts[len(firsts) // 2]:.0f}",
                f"{firsts[-1]:.0f}",
                f"{row['p50_us']:.0f}",
                f"{row['p99_us']:.0f}",
            ]
        )
    report.text("µs. Cold would be without persistence mode, a setting that is only read here.", "")
    report.table(["", "new process, median", "largest", "again in one process, median", "99 %"], rows)


def measure(machine):
    return {
        row["call"]: row for row in machine.probe("latency", machine.scale(300, 5), machine.scale(250, 20), timeout=20)
    }


def room_for(machine, count):
    """So many contexts as the GPU and the machine have memory for, each taken for as large as the largest seen."""
    context = machine.scale(600 * MIB, 300 * MIB)
    text = pathlib.Path("/proc/meminfo").read_text()
    host = next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("MemAvailable"))
    return max(
        0, min(count, (machine.gpu()["free_bytes"] - 2 * GIB) // context, machine.scale(host // (400 * MIB), count))
    )


def loaded(machine, programs):
    """Keeps the GPU busy with the first of them, and measures."""
    programs[0].must(f"plain {LOAD}")
    programs[0].send("work 60000")
    try:
        return measure(machine)
    finally:
        answer = programs[0].say("info", 20)
        if not answer.startswith("ok"):
            raise Failed(f"the work on the GPU failed: {answer}")
        programs[0].answer(20)


def section_latency(machine, report):
    conditions, programs = [("none", measure(machine))], []
    for count in machine.scale((1, 8, 64), (1, 4)):
        programs += machine.cuda_many(room_for(machine, count - len(programs)))
        if not programs:
            report.leave_out("calls with processes", "no CUDA program has started")
            break
        if len(programs) < count:
            report.leave_out(f"{count} processes", f"{len(programs)} have come up, or have room")
        conditions.append((f"{len(programs)}", measure(machine)))
        if count != 8:
            conditions.append((f"{len(programs)}, busy", loaded(machine, programs)))
    listed = len(machine.gpu()["processes"] or [])
    report.expect("processes that vram lists", f"at least {len(programs)}", listed, listed >= len(programs))
    machine.end_programs()
    rows = []
    for call in conditions[0][1]:
        cells = [found[call] for _, found in conditions]
        rows.append(
            [
                f"`{call}`",
                *(
                    f"{cell['p50_us']:.1f} / {cell['p99_us']:.1f}" if cell["code"] == 0 else f"code {cell['code']}"
                    for cell in cells
                ),
            ]
        )
    report.text(
        "Median / 99th percentile in µs of up to 300 calls, by the number of CUDA programs that have a context; busy: "
        "one of them fills memory all the time.",
        "",
    )
    report.table(["call", *(name for name, _ in conditions)], rows)


def section_threads(machine, report):
    rows = []
    for threads in (1, 8):
        (row,) = machine.probe("threads", threads, machine.scale(1000, 100))
        rows.append(
            [
                threads,
                row["failures"],
                row["torn"],
                f"{row['pairs_per_s']:.0f}",
                f"{row['p50_us']:.1f}",
                f"{row['p99_us']:.1f}",
                f"{row['max_us']:.1f}",
            ]
        )
        report.expect(f"failed calls, {threads} threads", 0, row["failures"])
        report.expect(f"answers in which used + free + reserved is not the total, {threads} threads", 0, row["torn"])
    report.text("A memory query and a process list, over and over:", "")
    report.table(["threads", "failed", "torn", "pairs a second", "median µs", "99 % µs", "longest µs"], rows)
