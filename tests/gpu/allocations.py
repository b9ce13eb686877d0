# SPDX-License-Identifier: MIT
"""A CUDA program allocates and frees, from 1 MiB to almost all, and `status`, `fit` and `ps` follow."""

import json

import figures
from machine import GIB, MIB, SPARE, Failed
from report import mib

GRAIN = 2 * MIB  # the driver gives memory out in pieces of this size
POOL_GRAIN = 64 * MIB  # and a pool takes more at once


def holding(gpu, pid):
    return sum(process["used_bytes"] or 0 for process in gpu["processes"] or [] if process["pid"] == pid)


def plan(machine, free):
    """What is allocated, each by itself: (how, bytes)."""
    sizes = [MIB, 100 * MIB, GIB, 10 * GIB, (free - SPARE) // GRAIN * GRAIN]
    steps = [("plain", size) for size in sizes if 0 < size <= free - SPARE]
    if free - SPARE > GIB:
        steps += [("managed", min(GIB, free // 4)), ("pooled", GIB // 4), ("pooled", min(8 * GIB, (free - SPARE) // 2))]
    return steps


def follow(machine, report, program, way, size):
    """One allocation: before, during, after. Returns its row."""
    before = machine.gpu()
    program.must(f"{way} {size}")
    during = machine.gpu()
    used, own = (
        during["used_bytes"] - before["used_bytes"],
        holding(during, program.pid) - holding(before, program.pid),
    )
    apart = during["unattributed_bytes"] - before["unattributed_bytes"]
    what, slack = f"{way} {mib(size)}", GRAIN + size // 1000 if way == "plain" else POOL_GRAIN
    low, high = size - GRAIN, size + slack
    report.expect(f"growth of used, {what}", f"{mib(size)} or a little more", mib(used), low <= used <= high)
    if way == "managed":
        report.expect(
            f"growth of the process, {what}", "about nothing: managed memory is nobody's", mib(own), own <= POOL_GRAIN
        )
        report.expect(
            f"growth of unattributed, {what}",
            f"about {mib(size)}",
            mib(apart),
            size - POOL_GRAIN <= apart <= size + POOL_GRAIN,
        )
    else:
        report.expect(f"growth of the process, {what}", f"{mib(size)} or a little more", mib(own), low <= own <= high)
    asked = listed_by_ps(machine, program.pid)
    report.expect(f"vram ps, {what}", holding(during, program.pid), asked)
    fit_is_right(machine, report, what, during)
    cuda_free = int(program.must("info").split()[1])
    program.must("free")
    after = wait_for(machine, lambda gpu: abs(gpu["used_bytes"] - before["used_bytes"]) <= slack, 30)
    left = after["used_bytes"] - before["used_bytes"]
    report.expect(f"used after it was freed, {what}", "as before, or a little more", mib(left), abs(left) <= slack)
    return [way, mib(size), mib(used), mib(own), mib(apart), mib(left), mib(cuda_free - during["free_bytes"])]


def listed_by_ps(machine, pid):
    code, out, err = machine.vram("ps", "--json")
    if code not in (0, 1):
        raise Failed(f"vram ps ends with {code}: {err.strip()}")
    return sum(process["used_bytes"] or 0 for process in json.loads(out)["processes"] if process["pid"] == pid)


def fit_is_right(machine, report, what, gpu):
    """What is free less the margin fits, and a byte more does not."""
    margin = GIB if gpu["free_bytes"] > 2 * GIB else 0
    room = gpu["free_bytes"] - margin
    answers = []
    for size in (room, room + 1):
        code, _, _ = machine.vram("fit", f"{size}B", "--margin", f"{margin}B", "--gpu", machine.uuid)
        answers.append(code)
    report.expect(
        f"vram fit of the headroom and of a byte more, {what}",
        "exit statuses 0 and 1",
        answers,
        answers in ([0, 1], [0, 5]),
    )


def section(machine, report):
    report.text("Differences to the moment before; CUDA − vram is cuMemGetInfo's free memory less vram's.", "")
    rows = []
    with machine.cuda() as program:
        for way, size in plan(machine, machine.gpu()["free_bytes"]):
            rows.append(follow(machine, report, program, way, size))
    report.table(["", "allocated", "used", "process", "unattributed", "left after free", "CUDA − vram"], rows)
    what_fits_is_had(machine, report)
    figures.agree(machine, report, "after all allocations")


def what_fits_is_had(machine, report):
    """The largest size that `vram fit` calls fitting, with a margin for the context's growth, can be allocated."""
    with machine.cuda() as program:
        room = machine.gpu()["free_bytes"] - SPARE
        code, _, _ = machine.vram("fit", f"{room}B", "--margin", f"{SPARE}B", "--gpu", machine.uuid)
        answer = program.say(f"plain {room}")
        report.expect(
            f"what fits ({mib(room)}) can be allocated",
            "0, ok plain",
            f"{code}, {answer}",
            (code, answer) == (0, "ok plain"),
        )
        figures.agree(machine, report, "with almost all allocated")


# ---- Two processes, many allocations -------------------------------------------------------------


def section_processes(machine, report):
    """Two processes at once, each with its own; one is killed."""
    quiet, size = machine.gpu()["used_bytes"], machine.scale(4 * GIB, GIB)
    first, second = machine.cuda(), machine.cuda()
    first.must(f"plain {size}")
    second.must(f"plain {2 * size}")
    figures.agree(machine, report, "with two programs")
    code, out, _ = machine.vram("ps", "--json")
    order = [process["pid"] for process in json.loads(out)["processes"] if process["pid"] in (first.pid, second.pid)]
    report.expect(
        "vram ps lists the larger first",
        "second, first",
        ", ".join("first" if pid == first.pid else "second" for pid in order),
        order == [second.pid, first.pid],
    )
    second.kill()
    gpu = wait_for(machine, lambda gpu: holding(gpu, second.pid) == 0)
    report.expect(
        "the killed program is not listed, the other is",
        f"0, {mib(size)} and its context",
        f"{mib(holding(gpu, second.pid))}, {mib(holding(gpu, first.pid))}",
        holding(gpu, second.pid) == 0 and holding(gpu, first.pid) >= size,
    )
    first.end()
    gpu = wait_for(machine, lambda gpu: gpu["used_bytes"] <= quiet)
    report.expect("used after both have ended", mib(quiet), mib(gpu["used_bytes"]), gpu["used_bytes"] <= quiet)
    sums(machine, report)


def wait_for(machine, condition, tries=100):
    for _ in range(tries):
        gpu = machine.gpu()
        if condition(gpu):
            return gpu
    return gpu


def sums(machine, report):
    """How the processes' figures add up to what is used, for a growing number of allocations."""
    rows, made = [], 0
    with machine.cuda() as program:
        for count in (0, 1, 10, 100):
            while made < count:
                program.must(f"plain {16 * MIB}")
                made += 1
            gpu = machine.gpu()
            known = sum(process["used_bytes"] or 0 for process in gpu["processes"])
            rows.append([count, mib(gpu["used_bytes"]), mib(known), mib(gpu["used_bytes"] - known)])
            report.expect(
                f"unattributed, {count} allocations",
                mib(max(gpu["used_bytes"] - known, 0)),
                mib(gpu["unattributed_bytes"]),
            )
    report.text("Allocations of 16 MiB in one process:", "")
    report.table(["allocations", "used", "sum of processes", "used − sum"], rows)
