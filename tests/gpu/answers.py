# SPDX-License-Identifier: MIT
"""What the driver answers where its documents are silent: structure versions, entry sizes, which lists there are; its
modes, which are only read; forked children; signals."""

SUCCESS, INSUFFICIENT_SIZE, FUNCTION_NOT_FOUND = 0, 7, 13
NAMES = {
    0: "SUCCESS",
    1: "UNINITIALIZED",
    2: "INVALID_ARGUMENT",
    3: "NOT_SUPPORTED",
    4: "NO_PERMISSION",
    6: "NOT_FOUND",
    7: "INSUFFICIENT_SIZE",
    10: "TIMEOUT",
    13: "FUNCTION_NOT_FOUND",
    25: "ARGUMENT_VERSION_MISMATCH",
    999: "UNKNOWN",
}
ON_OFF = {0: "off", 1: "on"}
MEANINGS = {
    "nvmlDeviceGetPersistenceMode": ON_OFF,
    "nvmlDeviceGetAccountingMode": ON_OFF,
    "nvmlDeviceGetMigMode": ON_OFF,
    "nvmlDeviceGetComputeMode": {0: "default", 2: "prohibited", 3: "exclusive process"},
    "nvmlDeviceGetVirtualizationMode": {0: "none", 1: "passthrough", 2: "vGPU guest", 3: "vGPU host", 4: "vSGA host"},
    "nvmlDeviceGetAddressingMode": {0: "none", 1: "HMM", 2: "ATS"},
    "nvmlSystemGetConfComputeState": ON_OFF,
}


def code(number):
    return f"{number} {NAMES.get(number, '')}".strip()


def section_modes(machine, report):
    rows = []
    for row in machine.probe("modes"):
        value = MEANINGS.get(row["call"], {}).get(row["value"], row["value"])
        rows.append([f"`{row['call']}`", code(row["code"]), value if row["code"] == 0 else ""])
    report.table(["call", "code", "answer"], rows)


def section_layouts(machine, report):
    """With one CUDA program on the GPU, so that lists have something to show."""
    with machine.cuda() as program:
        rows = machine.probe("layouts")
        pid = program.pid
    memory = next(row for row in rows if row["what"] == "memory")
    check_memory(report, memory)
    check_lists(report, [row for row in rows if row["what"] == "list"], pid)
    details = [row for row in rows if row["what"] == "details"]
    report.table(
        ["`nvmlDeviceGetRunningProcessDetailList`, mode", "code", "entries", "sum of used", "protected of the first"],
        [[row["mode"], code(row["code"]), row["count"], row["used"], row["protected"]] for row in details],
    )
    for row in details[:2]:
        if row["code"] != FUNCTION_NOT_FOUND:
            report.expect(f"detail list, mode {row['mode']}", code(SUCCESS), code(row["code"]))


def check_memory(report, row):
    (total_1, free_1, used_1), (total_2, reserved, free_2, used_2) = row["v1"], row["v2"]
    report.table(
        ["", "total", "reserved", "free", "used"],
        [
            ["`nvmlDeviceGetMemoryInfo`", total_1, "", free_1, used_1],
            ["`nvmlDeviceGetMemoryInfo_v2`", total_2, reserved, free_2, used_2],
        ],
    )
    report.expect("both memory queries answer", [0, 0], [row["v1_code"], row["v2_code"]])
    report.expect("nvmlDeviceGetMemoryInfo_v2 with the raw version 2", code(13), code(row["raw_2_code"]))
    if row["steady"] and row["v1_code"] == 0 == row["v2_code"]:
        report.expect("v1 used − v2 used is what v2 calls reserved", reserved, used_1 - used_2)
        report.expect("v1 total = free + used", total_1, free_1 + used_1)
        report.expect("v2 total = reserved + free + used", total_2, reserved + free_2 + used_2)


def check_lists(report, rows, pid):
    shown = []
    for row in rows:
        size = row["bytes"] / row["count"] if row["code"] == 0 and row["count"] else None
        shown.append(
            [
                f"`{row['call']}`",
                code(row["code"]),
                row["count"],
                f"{size:g}" if size else "",
                code(row["empty_code"]),
                row["empty_count"],
            ]
        )
        if row["code"] != SUCCESS or not row["steady"]:
            continue
        if size:
            wanted = 24 if row["call"].endswith(("_v2", "_v3")) else 16
            report.expect(f"bytes an entry, {row['call']}", wanted, f"{size:g}", size == wanted)
        report.expect(
            f"count 0 and no buffer, {row['call']}",
            code(INSUFFICIENT_SIZE if row["count"] else SUCCESS),
            code(row["empty_code"]),
        )
        if row["count"] == 1 and "Compute" in row["call"] and "MPS" not in row["call"]:
            report.text(f"- `{row['call']}` lists {'our program' if row['first_pid'] == pid else 'another process'}")
    report.text("")
    report.table(["list", "code", "entries", "bytes an entry, seen", "asked with count 0", "count then"], shown)


# ---- Forked children, signals ---------------------------------------------------------------------


def section_fork(machine, report):
    rows = machine.probe("fork", timeout=30)
    whats = list(dict.fromkeys(row["what"] for row in rows))
    cells = {(row["who"], row["what"]): row.get("bytes", None) or code(row["code"]) for row in rows}
    report.text("NVML itself, initialised before the fork:", "")
    report.table(
        ["call", "in the child", "in the parent, afterwards"],
        [[what, cells.get(("child", what), ""), cells.get(("parent", what), "")] for what in whats],
    )
    parent = [row["code"] for row in rows if row["who"] == "parent"]
    report.expect("the parent's calls after its child has ended", [0] * len(parent), parent)
    rows = machine.probe("fork-vram", machine.driver, timeout=30)
    report.text("libvram, whose handle was used before the fork:", "")
    report.table(
        ["", "result", "total", "µs"],
        [[row["who"], row["code"], row.get("bytes", ""), row.get("us", "")] for row in rows],
    )
    total = rows[0].get("bytes")
    report.expect(
        "vram_snapshot_take in parent, child, its exit, parent",
        [(0, total), (0, total), (0, None), (0, total)],
        [(row["code"], row.get("bytes")) for row in rows],
    )


def section_signal(machine, report):
    rows = machine.probe("signal")
    registered = rows[0]["code"]
    if registered:
        report.leave_out("EventSetWait", f"no events can be registered: {code(registered)}")
        return
    waits = [row for row in rows if "waited_ms" in row]
    report.table(
        ["`nvmlEventSetWait_v2`", "code", "timeout ms", "waited ms"],
        [[row["what"], code(row["code"]), row["timeout_ms"], row["waited_ms"]] for row in waits],
    )
    report.expect("a wait without an event or a signal", code(10), code(waits[0]["code"]))
