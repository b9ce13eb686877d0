# SPDX-License-Identifier: MIT
"""vram's figures against NVIDIA's own: the Python binding's, to the byte, and nvidia-smi's, which prints MiB."""

import shutil

from machine import MIB, Failed
from report import mib

TRIES = 12


def card_of(reference, pci):
    for device in reference["devices"]:
        if device.get("pci") == pci:
            return device
    raise Failed("NVIDIA's binding does not list the GPU under test")


def still(device, strict):
    """What must not move between two readings for the one between them to be comparable."""
    return device["memory"], device["processes"], strict and (device["temperature"], device["utilization"])


def steady(machine):
    """A reading of ours between two of theirs that agree: on a busy card the figures move."""
    for number in range(TRIES):
        before = machine.binding()
        if before is None:
            return None
        ours, after = machine.status(), machine.binding()
        cards = card_of(before, machine.pci), card_of(after, machine.pci)
        if still(cards[0], number < TRIES // 2) == still(cards[1], number < TRIES // 2):
            return ours, after, cards
    raise Failed("the card's figures never stood still; try on an idle machine")


def near(value, readings, tolerance):
    readings = [reading for reading in readings if isinstance(reading, int)]
    if not readings:
        return value is None
    return value is not None and min(readings) - tolerance <= value <= max(readings) + tolerance


def agree(machine, report, when):
    """Every figure of `vram status --json` that the binding has too."""
    found = steady(machine)
    if found is None:
        report.leave_out("NVIDIA's Python binding", "this Python has no pynvml")
        return
    ours, reference, (before, after) = found
    gpu, memory, older = machine.gpu(ours), after["memory"], after["memory_v1"]
    pairs = [
        ("uuid", after["uuid"], gpu["uuid"]),
        ("name", after["name"], gpu["name"]),
        ("pci", after["pci"], gpu["pci"]),
        ("total_bytes", memory["total"], gpu["total_bytes"]),
        ("used_bytes", memory["used"], gpu["used_bytes"]),
        ("free_bytes", memory["free"], gpu["free_bytes"]),
        ("driver_reserved_bytes", memory["reserved"], gpu["driver_reserved_bytes"]),
        (
            "processes",
            {int(pid): used for pid, used in after["processes"].items()},
            {process["pid"]: process["used_bytes"] for process in gpu["processes"] or []},
        ),
        ("driver version", reference["version"], ours["driver"]["version"]),
        ("driver errors", [], ours["errors"]),
    ]
    if isinstance(reference["cuda"], int):
        pairs.append(
            ("CUDA version", f"{reference['cuda'] // 1000}.{reference['cuda'] % 1000 // 10}", ours["driver"]["cuda"])
        )
    if "code" not in older and memory["reserved"] is not None:
        pairs.append(
            (
                "the old query's used, which includes the reserve",
                older["used"],
                gpu["used_bytes"] + gpu["driver_reserved_bytes"],
            )
        )
    if isinstance(after["mig_mode"], list):
        pairs.append(("divided into MIG instances", after["mig_mode"][0], int(gpu["memory_kind"] == "mig")))
    good = [report.expect(f"{what}, {when}", expected, seen) for what, expected, seen in pairs]
    sums = sum(gpu[name] for name in ("used_bytes", "free_bytes", "driver_reserved_bytes") if gpu[name] is not None)
    good.append(report.expect(f"used + free + reserved, {when}", gpu["total_bytes"], sums))
    for name, key, tolerance in (("temperature", "temperature_c", 2), ("utilization", "utilization_percent", 10)):
        readings = [before[name], after[name]]
        good.append(
            report.expect(f"{key}, {when}", f"{readings} ± {tolerance}", gpu[key], near(gpu[key], readings, tolerance))
        )
    report.text(
        f"- {when}: {sum(good)} of {len(good)} figures are the binding's (used {gpu['used_bytes']} B, free "
        f"{gpu['free_bytes']} B, {len(gpu['processes'] or [])} processes)"
    )


def smi(machine, what, fields):
    """Rows of nvidia-smi's answer, None where it has none."""
    code, out, _ = machine.run("nvidia-smi", f"--query-{what}={','.join(fields)}", "--format=csv,noheader,nounits")
    return [[cell.strip() for cell in row.split(",")] for row in out.splitlines()] if code == 0 else None


def agree_with_smi(machine, report, when):
    if machine.simulated or not shutil.which("nvidia-smi"):
        report.leave_out(
            f"nvidia-smi, {when}", "it reads no simulated driver" if machine.simulated else "it is not installed"
        )
        return
    fields = [
        "uuid",
        "name",
        "driver_version",
        "memory.total",
        "memory.used",
        "memory.free",
        "memory.reserved",
        "temperature.gpu",
        "utilization.gpu",
    ]
    rows = smi(machine, "gpu", fields)
    ours = machine.status()
    gpu = machine.gpu(ours)
    row = next((row for row in rows or [] if row[0] == gpu["uuid"]), None)
    if row is None:
        report.leave_out(f"nvidia-smi, {when}", "it does not answer for this GPU")
        return
    good = [
        report.expect(f"nvidia-smi's name, {when}", row[1], gpu["name"]),
        report.expect(f"nvidia-smi's driver version, {when}", row[2], ours["driver"]["version"]),
    ]
    for field, key, text in zip(
        fields[3:7], ("total_bytes", "used_bytes", "free_bytes", "driver_reserved_bytes"), row[3:7]
    ):
        if text.isdigit():  # it rounds some figures up and some down
            good.append(
                report.expect(
                    f"{key} within a MiB of nvidia-smi's {field}, {when}",
                    f"{text} MiB",
                    mib(gpu[key]),
                    gpu[key] is not None and abs(gpu[key] - int(text) * MIB) <= MIB,
                )
            )
    for field, key, text, tolerance in zip(fields[7:], ("temperature_c", "utilization_percent"), row[7:], (2, 10)):
        if text.isdigit():
            good.append(
                report.expect(
                    f"nvidia-smi's {field}, {when}",
                    f"{text} ± {tolerance}",
                    gpu[key],
                    near(gpu[key], [int(text)], tolerance),
                )
            )
    apps = smi(machine, "compute-apps", ["gpu_uuid", "pid", "used_memory"])
    listed = {int(app[1]): int(app[2]) for app in apps or [] if app[0] == gpu["uuid"] and app[2].isdigit()}
    known = {process["pid"]: process["used_bytes"] for process in gpu["processes"] or []}
    if apps is not None:
        ours_mib = {pid: known[pid] // MIB for pid in listed if known.get(pid) is not None}
        same = ours_mib.keys() == listed.keys() and all(abs(ours_mib[pid] - used) <= 1 for pid, used in listed.items())
        good.append(report.expect(f"nvidia-smi's compute processes in MiB, {when}", listed, ours_mib, same))
    report.text(f"- {when}: {sum(good)} of {len(good)} figures are nvidia-smi's")


def section(machine, report):
    """Idle, with a context, with memory, and after the end."""
    agree(machine, report, "before anything runs")
    agree_with_smi(machine, report, "before anything runs")
    with machine.cuda() as program:
        agree(machine, report, "with a CUDA context")
        program.must("plain " + str(machine.scale(1 << 30, 1 << 29)))
        agree(machine, report, "with memory allocated")
        agree_with_smi(machine, report, "with memory allocated")
    agree(machine, report, "after the program's end")
