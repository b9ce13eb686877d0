# SPDX-License-Identifier: MIT
"""Ends of processes: when their memory is free. Other PID namespaces: who sees whom."""

import json
import os
import shutil

from machine import GIB, MIB, SPARE, Failed
from report import mib


def spread(values):
    values = sorted(values)
    return f"{values[0] / 1e3:.1f} / {values[len(values) // 2] / 1e3:.1f} / {values[-1] / 1e3:.1f}"


def section_lag(machine, report):
    """Between the beginning of the end (end of input, SIGKILL) and the moments at which it is over."""
    large = (machine.gpu()["free_bytes"] - SPARE) // 2 // MIB * MIB
    rows, readings = [], []
    for how, size, rounds in (("exit", GIB, 12), ("kill", GIB, 12), ("exit", large, 4), ("kill", large, 4)):
        if machine.left() < 30:
            report.leave_out(f"{how} with {mib(size)}", "the time is over")
            continue
        ends = machine.probe(
            "lag", how, machine.scale(rounds, 2), 2, *machine.cuda_words("context", "plain", size), timeout=40
        )
        good = [end for end in ends if end["good"]]
        report.expect(f"ends that were seen, {how} with {mib(size)}", len(ends), len(good))
        if not good:
            continue
        after = [end["memory_us"] - end["gone_us"] for end in good]
        listed = [end["list_us"] - end["gone_us"] for end in good]
        rows.append(
            [
                f"{'SIGKILL' if how == 'kill' else 'exit'}, {mib(size)}",
                len(good),
                *(spread([end[key] for end in good]) for key in ("gone_us", "list_us", "memory_us")),
                spread(listed),
                spread(after),
                f"{sum(value > 0 for value in after)}",
            ]
        )
        readings.append(
            f"- free − reapable, {how} with {mib(size)}, all readings: "
            + ", ".join(f"{value / 1e3:.2f}" for value in sorted(after))
        )
    report.text(
        "Smallest / median / largest, in ms since the end began; then since the process could be reaped, negative "
        "where it was over before that.",
        "",
    )
    report.table(
        [
            "",
            "readings",
            "reapable",
            "unlisted",
            "memory free",
            "unlisted − reapable",
            "free − reapable",
            "free only afterwards",
        ],
        rows,
    )
    report.text(*readings, "")


def section_namespace(machine, report):
    """What a program in a PID namespace of its own sees of one outside."""
    if not shutil.which("unshare"):
        report.leave_out("another PID namespace", "unshare is not installed")
        return
    words = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-p", "-f", "--mount-proc"]
    if machine.run(*words, "true")[0] != 0:
        report.leave_out("another PID namespace", "none may be made here")
        return
    with machine.cuda() as program:
        program.must(f"plain {256 * MIB}")
        outside = machine.gpu()
        vram = [*words, f"{machine.build}/cli/vram", "--driver", machine.driver]
        code, out, err = machine.run(*vram, "status", "--json")
        if code != 0:
            raise Failed(f"vram status in a PID namespace of its own ends with {code}: {err.strip() or out.strip()}")
        inside = machine.gpu(json.loads(out))
        _, listing, remarks = machine.run(*vram, "ps")
        hidden = [process["pid"] for process in outside["processes"] if process["pid"] == program.pid]
        seen = [process["pid"] for process in inside["processes"] or []]
        raw = [row for row in machine_list(machine, words) if row["code"] == 0]
    report.expect("used, seen from inside", outside["used_bytes"], inside["used_bytes"])
    report.expect("our program, outside", [program.pid], hidden)
    report.expect("pids that are seen from inside", "none of a process outside", seen, program.pid not in seen)
    known = sum(process["used_bytes"] or 0 for process in inside["processes"] or [])
    report.expect(
        "unattributed, seen from inside", mib(inside["used_bytes"] - known), mib(inside["unattributed_bytes"])
    )
    report.text(
        f"- outside {len(outside['processes'])} processes, inside {len(seen)}; unattributed outside "
        f"{mib(outside['unattributed_bytes'])}, inside {mib(inside['unattributed_bytes'])}",
        "- the driver's own lists, inside: "
        + ", ".join(f"{row['call'].removeprefix('nvmlDeviceGet')} {row['count']}" for row in raw),
        "- `vram ps` inside says:",
        "",
        "```",
        (listing + remarks).strip(),
        "```",
        "",
    )


def machine_list(machine, words):
    code, out, _ = machine.run(*words, f"{machine.build}/tests/gpu/probe", machine.library, machine.pci, "layouts")
    rows = [json.loads(line) for line in out.splitlines()] if code == 0 else []
    return [row for row in rows if row["what"] == "list" and row["call"].endswith("_v3")]
