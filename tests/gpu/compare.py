# SPDX-License-Identifier: MIT
"""vram's figures against NVIDIA's own, on the machine's real GPUs. Prints a report; exit 1 on a difference."""

import json
import shutil
import subprocess
import sys

import pynvml

GIB = 1 << 30
failures = 0


def check(what, ours, theirs):
    global failures
    good = ours == theirs
    failures += not good
    print(f"  {'same' if good else 'DIFFERS'}  {what}: {ours}" + ("" if good else f" and {theirs}"))


def ours():
    done = subprocess.run(["vram", "--driver", "nvml", "status", "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def processes(handle):
    found = {}
    for call in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses):
        try:
            for process in call(handle):
                found[process.pid] = max(found.get(process.pid, 0), process.usedGpuMemory or 0)
        except pynvml.NVMLError_NotSupported:
            pass
    return found


def theirs(gpu):
    handle = pynvml.nvmlDeviceGetHandleByPciBusId(gpu["pci"])
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        reserved = memory.reserved
    except pynvml.NVMLError:
        memory, reserved = pynvml.nvmlDeviceGetMemoryInfo(handle), None
    return {
        "uuid": pynvml.nvmlDeviceGetUUID(handle),
        "name": pynvml.nvmlDeviceGetName(handle),
        "total_bytes": memory.total,
        "used_bytes": memory.used,
        "free_bytes": memory.free,
        "driver_reserved_bytes": reserved,
        "processes": processes(handle),
    }


def steady():
    """A reading of ours between two of theirs that agree: on a busy card the figures move."""
    for _ in range(20):
        snapshot = ours()
        cards = [gpu for gpu in snapshot["gpus"] if gpu["memory_kind"] == "dedicated" and gpu["state"] == "ok"]
        before = [theirs(gpu) for gpu in cards]
        snapshot = ours()
        cards = [gpu for gpu in snapshot["gpus"] if gpu["memory_kind"] == "dedicated" and gpu["state"] == "ok"]
        if before == [theirs(gpu) for gpu in cards]:
            return cards, before
    sys.exit("gpu: the card's figures never stood still; try on an idle machine")


def compare_smi(cards):
    if not shutil.which("nvidia-smi"):
        return
    query = "uuid,memory.total,memory.used,memory.free,memory.reserved"
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"], capture_output=True, text=True
    )
    rows = {row.split(", ")[0]: row.split(", ")[1:] for row in done.stdout.splitlines()}
    for gpu in cards:
        row = rows.get(gpu["uuid"])
        for key, text in zip(("total_bytes", "used_bytes", "free_bytes", "driver_reserved_bytes"), row or []):
            if text.strip().isdigit() and gpu[key] is not None:
                # nvidia-smi prints MiB, and rounds some figures up: within one MiB is the same figure.
                check(f"GPU {gpu['index']} {key} within a MiB of nvidia-smi's {text}",
                      abs(gpu[key] - int(text) * (1 << 20)) <= 1 << 20, True)


def compare(title):
    print(f"{title}:")
    cards, references = steady()
    for gpu, reference in zip(cards, references):
        for key in ("uuid", "name", "total_bytes", "used_bytes", "free_bytes", "driver_reserved_bytes"):
            check(f"GPU {gpu['index']} {key}", gpu[key], reference[key])
        listed = {process["pid"]: process["used_bytes"] or 0 for process in gpu["processes"]}
        check(f"GPU {gpu['index']} processes", listed, reference["processes"])
    compare_smi(cards)
    return cards


def main():
    pynvml.nvmlInit()
    print(f"driver {pynvml.nvmlSystemGetDriverVersion()}, {pynvml.nvmlDeviceGetCount()} GPU(s)")
    idle = compare("idle")
    with subprocess.Popen(
        [sys.executable, sys.argv[1], str(GIB)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        if holder.stdout.readline().strip() != "context":
            print("  no CUDA context could be made; the allocation is left out")
            sys.exit(failures > 0)
        before = compare("with a CUDA context")
        holder.stdin.write("go\n")
        holder.stdin.flush()
        if holder.stdout.readline().strip() == "allocated":
            after = compare("with 1 GiB allocated")
            grown = [
                sum(p["used_bytes"] or 0 for gpu in cards for p in gpu["processes"] if p["pid"] == holder.pid)
                for cards in (before, after)
            ]
            check("growth of the process", grown[1] - grown[0], GIB)
        holder.stdin.close()
    compare("after it ended")
    print(f"{len(idle)} GPU(s), {failures} difference(s)")
    sys.exit(failures > 0)


main()
