# SPDX-License-Identifier: MIT
"""Snapshots, answers and the doctor, and that the package is held to what it promises: types, Python 3.8, no leak."""
import ast
import copy
import dataclasses
import importlib.util
import json
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUILD, GIB, MIB, ROOT

import vram

PROFILES = sorted(path.stem for path in (BUILD / "sim/profiles").glob("*.scenario"))
SOURCES = sorted((ROOT / "python/vram").glob("*.py"))


def plain(value):
    return None if value is vram.UNKNOWN else value


# ---- Snapshots -----------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_it_says_what_the_command_says(machine, profile):
    machine.set(VRAM_SYSROOT=machine.root)
    machine.use(f"sim:{profile}")
    told = machine.vram("status", "--json")
    snapshot = vram.snapshot()
    if profile == "empty":
        assert snapshot.gpus == ()
        return
    document = json.loads(told.stdout)
    assert len(snapshot.gpus) == len(document["gpus"])
    for gpu, other in zip(snapshot.gpus, document["gpus"]):
        for field in dataclasses.fields(gpu):
            if field.name in other and field.name not in ("processes", "age_ms"):
                assert plain(getattr(gpu, field.name)) == other[field.name], field.name
        assert len(gpu.processes) == len(other["processes"])
        for process, listed in zip(gpu.processes, other["processes"]):
            assert (process.pid, process.name, plain(process.used_bytes)) == (
                listed["pid"], listed["name"], listed["used_bytes"])
    assert snapshot.driver.version == document["driver"]["version"]


def test_gpus_by_name(machine):
    machine.use("sim:2x3090")
    whole = vram.snapshot()
    first, second = whole.gpus
    assert [gpu.label for gpu in whole.gpus] == ["0", "1"]
    for name in (1, "1", second.uuid, second.uuid[:16], second.pci):
        assert [gpu.uuid for gpu in vram.snapshot(name).gpus] == [second.uuid]
    assert len(vram.snapshot([1, 0, "1"]).gpus) == 2
    with pytest.raises(vram.NoGPUError) as caught:
        vram.snapshot(7)
    assert first.uuid[:17] in caught.value.hint
    with pytest.raises(vram.BadRequest, match="several"):
        vram.snapshot("GPU-5a1d")
    with pytest.raises(vram.BadRequest, match="not a GPU"):
        vram.snapshot("?")
    with pytest.raises(ValueError):
        vram.snapshot("0\0")


def test_mig_instances_have_names(machine):
    machine.use("sim:mig")
    gpus = vram.snapshot().gpus
    assert [gpu.label for gpu in gpus] == ["0:0", "0:2", "0:3"]
    assert {gpu.memory_kind for gpu in gpus} == {"mig"} and {gpu.parent_uuid[:4] for gpu in gpus} == {"GPU-"}
    assert vram.snapshot("0:2").gpus[0].uuid == gpus[1].uuid


def test_what_is_not_asked_for_is_not_known(machine):
    gpu, = vram.snapshot(processes=False, health=False).gpus
    assert gpu.processes is None and gpu.temperature_c is vram.UNKNOWN and gpu.free_bytes == 22844 * MIB
    holder = machine.hold("1G")
    process, = [each for each in vram.snapshot(commands=True).gpus[0].processes if each.pid == holder.pid]
    assert "hold 1G" in process.command and process.visible and process.kinds == ("compute",)
    assert [each.command for each in vram.snapshot().gpus[0].processes] == [None] * 3


def test_a_failing_gpu_leaves_the_others(machine, scenario):
    machine.use(scenario("driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB\ngpu 1 uuid=GPU-1 total=8GiB\n"
                         "fail nvmlDeviceGetMemoryInfo* gpu=0 ret=999\n"))
    snapshot = vram.snapshot()
    assert snapshot.gpus[0].free_bytes is vram.UNKNOWN and snapshot.gpus[1].total_bytes == 8 * GIB
    assert [(problem.gpu, problem.what) for problem in snapshot.problems] == [("GPU-0", "memory")]


def test_records_are_values(machine):
    snapshot = vram.snapshot()
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot == copy.deepcopy(snapshot)
    assert hash(snapshot)
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.gpus[0].free_bytes = 0
    assert dataclasses.asdict(snapshot)["gpus"][0]["outstanding_bytes"] is vram.UNKNOWN


def test_errors_travel_between_processes(machine):
    machine.use("sim:empty")
    for call in (lambda: vram.fit("1G"), vram.get_vram_tracker().get_status):
        with pytest.raises(vram.NoGPUError) as caught:
            call()
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again), again.code, again.errno) == (vram.NoGPUError, str(caught.value), "no_gpu", 19)
    late = pickle.loads(pickle.dumps(vram.LeaseTimeout("late", answer="timed_out")))
    assert (str(late), late.answer, late.fit) == ("late", "timed_out", None)


def test_a_handle_of_ones_own(machine):
    with vram.Handle("sim:2x3090", direct=True, call_timeout=5) as handle:
        assert len(handle.snapshot().gpus) == 2 and len(vram.snapshot().gpus) == 1
        assert handle.fit("4G")
    assert len(handle.snapshot().gpus) == 2  # it starts anew
    with pytest.raises(vram.BadRequest):
        vram.Handle("nonsense").snapshot()
    with pytest.raises(ValueError):
        vram.Handle("sim:\0")


# ---- Does it fit? --------------------------------------------------------------------------------


def test_fit(machine):
    answer = vram.fit("12GiB")
    assert answer and answer.answer == "fits" and answer.size_bytes == 12 * GIB and not answer.promises_counted
    assert answer.visible_devices == "GPU-5a1d4090-7b3c-4e52-9f08-2c64d1a9e7b0"
    assert str(answer) == "12 GiB fits: GPU 0: 22,844 MiB free - 1,024 margin = 21,820 headroom"
    assert vram.fit("22G").answer == "not_now" and vram.fit("30G").answer == "never"
    assert str(vram.fit("22G")) == "22 GiB does not fit now: GPU 0: 22,844 MiB free - 1,024 margin = 21,820 headroom"
    assert vram.fit("22G").gpus[0].shortfall_bytes == 22 * GIB - 21820 * MIB


@pytest.mark.parametrize("margin, fits", [(None, False), (0, True), ("0", True), ("1MiB", False), ("1G", False), ("50%", False),
                                          ("0%", True), (1, False)])
def test_margins(machine, margin, fits):
    assert bool(vram.fit(22844 * MIB, margin=margin)) is fits


@pytest.mark.parametrize("size, size_bytes", [("12GiB", 12 * GIB), ("12G", 12 * GIB), ("12g", 12 * GIB), ("12gb", 12 * GIB),
                                              ("1.5G", 3 * GIB // 2), ("512M", 512 * MIB), ("1b", 1), (1, 1), (GIB, GIB)])
def test_sizes(machine, size, size_bytes):
    assert vram.fit(size).size_bytes == size_bytes


@pytest.mark.parametrize("size", ["", "12", "G", "-1G", "0G", "1e3M", "12 GiB", "12X", "1G\0", 0, -1, 1 << 63, "99999999999T"])
def test_what_is_no_size(machine, size):
    with pytest.raises(ValueError):
        vram.fit(size)


@pytest.mark.parametrize("size", [None, True, 1.5, b"1G"])
def test_what_is_no_size_at_all(machine, size):
    with pytest.raises(TypeError):
        vram.fit(size)


def test_cuda_visible_devices(machine):
    machine.use("sim:2x3090")
    second = vram.snapshot(1).gpus[0].uuid
    machine.set(CUDA_VISIBLE_DEVICES="1")
    assert [gpu.uuid for gpu in vram.fit("4G").gpus] == [second]
    assert len(vram.fit("4G", gpu=[0, 1]).gpus) == 2
    machine.set(CUDA_VISIBLE_DEVICES="-1")
    with pytest.raises(vram.NoGPUError, match="hides every GPU"):
        vram.fit("4G")


def test_several_gpus(machine):
    machine.use("sim:2x3090")
    assert len(vram.fit("4G", gpus=2).chosen) == 2
    assert not vram.fit("9G", gpus=2) and not vram.fit("4G", gpus=3)


def test_unknown(machine, scenario):
    machine.use(scenario("driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB\nfail nvmlDeviceGetMemoryInfo* ret=999\n"))
    answer = vram.fit("1G")
    assert not answer and answer.answer == "unknown" and answer.gpus[0].headroom_bytes is vram.UNKNOWN
    assert str(answer) == "1 GiB may fit or not: GPU 0 does not tell how much is free"


def test_fit_waits_without_a_daemon(machine):
    holder = machine.hold("14G")
    assert vram.fit("14G", timeout=0).answer == "timed_out"
    process = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill {holder.pid}"])
    assert vram.fit("14G", timeout=60)
    process.wait()


# ---- The doctor ----------------------------------------------------------------------------------


def test_doctor(machine):
    report = vram.doctor()
    assert report.findings and {finding.severity for finding in report.findings} <= {"fact", "good", "note", "problem"}
    machine.use("nvml:/nowhere/libnvidia-ml.so.1")
    report = vram.doctor()
    assert not report.healthy and report.problems[0].remedy and report.problems[0].id.startswith("D")


# ---- The package ---------------------------------------------------------------------------------


def test_everything_that_is_offered_is_there():
    for name in vram.__all__:
        assert getattr(vram, name) is not None
    with pytest.raises(AttributeError):
        vram.nothing
    assert vram.__version__ == vram.library_version()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_python_3_8_can_read_it(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    for node in ast.walk(tree):  # what is only known at run time: built-in types with brackets outside annotations
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in ("list", "dict", "tuple", "set", "type"), f"{path.name}:{node.lineno}"


def test_mypy(tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    script = tmp_path / "user.py"
    script.write_text(
        "import vram\n"
        "from vram import get_vram_tracker\n"
        "free = vram.snapshot().gpus[0].free_bytes\n"
        "half: int = 0 if free is vram.UNKNOWN else free // 2\n"
        "with vram.lease('1G', label='x') as lease:\n"
        "    name: str = lease.id\n"
        "fits: bool = bool(get_vram_tracker().can_fit(1))\n"
        "wrong: int = free - 1  # E\n")
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "--no-error-summary",
                           ROOT / "python/vram", script], capture_output=True, text=True, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines and all("user.py:8:" in line for line in lines if ": error:" in line), done.stdout + done.stderr


def test_nothing_leaks(machine):
    def ask():
        for _ in range(300):
            vram.snapshot()
            vram.fit("1G")
            vram.get_vram_tracker().get_status()
            try:
                vram.snapshot(9)
            except vram.NoGPUError:
                pass

    ask()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10):
        ask()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2048  # KiB, in 12 000 questions
    fds = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        vram.reset()
        vram.snapshot()
    assert len(list(Path("/proc/self/fd").iterdir())) == fds
