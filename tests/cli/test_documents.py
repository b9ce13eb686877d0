# SPDX-License-Identifier: MIT
"""JSON and CSV: the contract's keys, on every profile."""
import pytest

PROFILES = ["rtx4090", "2x3090", "8xh100", "gb10", "wsl", "mig"]
GPU_KEYS = {"index", "uuid", "name", "pci", "state", "memory_kind", "used_includes_reserved", "total_bytes",
            "used_bytes", "free_bytes", "driver_reserved_bytes", "unattributed_bytes", "outstanding_bytes",
            "temperature_c", "utilization_percent", "age_ms", "processes"}
PROCESS_KEYS = {"pid", "start_time", "name", "user", "kind", "used_bytes", "container", "lease"}


def amounts(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith("_bytes"):
                yield key, inner
            yield from amounts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from amounts(inner)


@pytest.mark.parametrize("profile", PROFILES)
def test_status(vram, profile):
    run = vram("--json", driver=f"sim:{profile}")
    assert (run.status, run.err) == (0, "")
    assert run.out.count("\n") == 1
    document = run.json
    assert set(document) == {"schema", "taken_at", "driver", "errors", "gpus"}
    assert document["schema"] == 1
    assert {"kind", "version", "cuda"} <= set(document["driver"])
    assert document["gpus"]
    for gpu in document["gpus"]:
        assert GPU_KEYS <= set(gpu)
        for process in gpu["processes"] or []:
            assert PROCESS_KEYS <= set(process)
    for key, amount in amounts(document):
        assert amount is None or type(amount) is int, key


@pytest.mark.parametrize("profile", PROFILES)
def test_status_csv(vram, machine, profile):
    env = {"VRAM_SYSROOT": machine(profile)}
    run = vram("--csv", driver=f"sim:{profile}", env=env)
    gpus = vram("--json", driver=f"sim:{profile}", env=env).json["gpus"]
    assert len(run.rows) == len(gpus)
    for row, gpu in zip(run.rows, gpus):
        assert set(row) == set(gpu) - {"processes"}
        for key, cell in row.items():
            value = gpu[key]
            expected = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            assert cell == expected or key == "age_ms", key


@pytest.mark.parametrize("profile", PROFILES)
def test_ps(vram, profile):
    document = vram("ps", "--json", driver=f"sim:{profile}").json
    assert set(document) == {"schema", "taken_at", "processes"}
    for process in document["processes"]:
        assert PROCESS_KEYS | {"gpu", "gpu_index"} <= set(process)
    known = [process["used_bytes"] for process in document["processes"] if process["used_bytes"] is not None]
    assert known == sorted(known, reverse=True)
    rows = vram("ps", "--csv", driver=f"sim:{profile}").rows
    assert [row["pid"] for row in rows] == [str(process["pid"]) for process in document["processes"]]
    assert all(row["gpu"].startswith(("GPU-", "MIG-")) for row in rows)


def test_ps_without_a_match(vram):
    run = vram("ps", "nothing-is-called-so", "--json")
    assert (run.status, run.err) == (1, "")
    assert run.json["processes"] == []
    run = vram("ps", "nothing-is-called-so")
    assert (run.status, run.out) == (1, "")
    assert "'nothing-is-called-so'" in run.err
    run = vram("ps", "nothing-is-called-so", "--csv")
    assert run.status == 1
    assert len(run.lines) == 1


def test_unknown_figures(vram):
    gpu = vram("--json", driver="sim:wsl").json["gpus"][0]
    assert all(process["used_bytes"] is None for process in gpu["processes"])
    assert gpu["outstanding_bytes"] is None
    assert all(row["used_bytes"] == "" for row in vram("ps", "--csv", driver="sim:wsl").rows)
    assert "–" in vram("ps", driver="sim:wsl").out


def test_doctor(vram):
    document = vram("doctor", "--json").json
    assert set(document) == {"schema", "facts", "findings"}
    assert document["facts"]["vram"]
    for finding in document["findings"]:
        assert set(finding) == {"id", "severity", "title", "cause", "evidence", "remedy"}
        assert finding["severity"] in ("good", "note", "problem")
    rows = vram("doctor", "--csv").rows
    assert [row["id"] for row in rows if row["severity"] != "fact"] == [
        finding["id"] for finding in document["findings"]]


def test_doctor_shows_what_is_in_order_when_asked(vram):
    brief, whole = vram("doctor"), vram("doctor", "--all")
    good = [finding for finding in vram("doctor", "--json").json["findings"] if finding["severity"] == "good"]
    assert f"{len(good)} in order" in brief.out
    assert all(f"{finding['id']} {finding['title']}" in whole.out for finding in good)
    assert len(whole.out) >= len(brief.out)
    assert brief.status == whole.status


def test_live_holder_is_named(vram, hold):
    holder = hold("2048")
    processes = vram("ps", "vram-sim", "--json").json["processes"]
    assert [(process["pid"], process["used_bytes"]) for process in processes] == [(holder.pid, 2048 << 20)]
    assert processes[0]["user"] is not None
    assert processes[0]["start_time"] is not None
    assert "vram-sim" in vram().out


def test_ps_matches_the_command_line(vram, hold):
    holder = hold("2048", "--name", "needle-in-the-arguments")
    for pattern in ("NEEDLE-in-the", "needle-in-the-arguments"):
        processes = vram("ps", pattern, "--json").json["processes"]
        assert [process["pid"] for process in processes] == [holder.pid]
