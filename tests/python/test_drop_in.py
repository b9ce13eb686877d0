# SPDX-License-Identifier: MIT
"""The tracker as the first user's services use it: names, fields, defaults, behaviour, and what was loose in theirs."""
import copy
import dataclasses
import inspect
import logging
import multiprocessing
import os
import pickle
import sys
import threading
from pathlib import Path

import pytest
from conftest import BUILD, MIB

import vram
from vram import GPUProcess, VRAMStatus, VRAMTracker, get_vram_tracker

PROFILES = sorted(path.stem for path in (BUILD / "sim/profiles").glob("*.scenario"))
LOST = "driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB reserved=0MiB\nfail nvmlDeviceGetMemoryInfo_v2 ret=15\n" \
    "fail nvmlDeviceGetMemoryInfo ret=15\n"


# ---- The report ----------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_report(machine, golden, profile):
    machine.set(VRAM_DRIVER=f"sim:{profile}", VRAM_SYSROOT=machine.root, PYTHONIOENCODING="utf-8")
    done = machine.python(Path(__file__).parent / "report.py")
    ended = done.stderr.splitlines()[-3:] if done.returncode else []
    golden(f"{profile}.txt", done.stdout + "".join(f"stderr: {line}\n" for line in ended))
    assert done.returncode == (1 if profile == "empty" else 0), done.stderr


# ---- Names, fields and defaults ------------------------------------------------------------------


def test_signatures():
    def shape(function):
        return [(name, parameter.default) for name, parameter in inspect.signature(function).parameters.items()]

    none = inspect.Parameter.empty
    assert shape(get_vram_tracker) == [("device_index", 0)]
    assert shape(VRAMTracker) == [("device_index", 0)]
    assert shape(VRAMTracker.get_status)[1:] == []
    assert shape(VRAMTracker.can_fit)[1:] == [("required_mb", none), ("safety_margin_mb", 1024)]
    assert shape(VRAMTracker.get_process_by_name)[1:] == [("name_pattern", none)]
    assert shape(VRAMTracker.shutdown)[1:] == []


def test_fields():
    assert [field.name for field in dataclasses.fields(GPUProcess)] == ["pid", "name", "memory_mb"]
    assert [field.name for field in dataclasses.fields(VRAMStatus)][:6] == [
        "total_mb", "used_mb", "free_mb", "processes", "temperature_c", "utilization_percent"]
    status = VRAMStatus(24564, 1320, 22844, [GPUProcess(1, "a", 2)])
    assert (status.temperature_c, status.utilization_percent, status.reserved_mb) == (None, None, vram.UNKNOWN)
    assert status.processes[0] == GPUProcess(pid=1, name="a", memory_mb=2)


def test_figures(machine):
    status = get_vram_tracker().get_status()
    assert (status.total_mb, status.used_mb, status.free_mb, status.reserved_mb) == (24564, 1320, 22844, 400)
    assert status.total_mb == status.used_mb + status.free_mb + status.reserved_mb
    assert [(process.name, process.memory_mb) for process in status.processes] == [("python3", 1010), ("Xorg", 310)]
    assert (status.temperature_c, status.utilization_percent) == (41, 3)


def test_mb_are_rounded_down(machine, scenario):
    machine.use(scenario(f"driver 550.54.14\ngpu 0 uuid=GPU-0 total={8 << 30}B reserved={MIB - 1}B\n"))
    status = get_vram_tracker().get_status()
    assert (status.total_mb, status.free_mb, status.reserved_mb) == (8192, 8191, 0)


def test_can_fit_at_the_boundary(machine):
    tracker = get_vram_tracker()
    free = tracker.get_status().free_mb
    assert tracker.can_fit(free - 1024) is True
    assert tracker.can_fit(free - 1024 + 1) is False
    assert tracker.can_fit(free, safety_margin_mb=0) is True
    assert tracker.can_fit(free, 0) is True
    assert tracker.can_fit(0, free) is True
    assert tracker.can_fit(0, free + 1) is False
    assert tracker.can_fit(free - 1024 + 0.5) is False
    assert tracker.can_fit(10 ** 30) is False


def test_process_by_name(machine):
    tracker = get_vram_tracker()
    assert tracker.get_process_by_name("PYTHON").pid == 4194402
    assert tracker.get_process_by_name("xor").name == "Xorg"
    assert tracker.get_process_by_name("nobody") is None


def test_names_in_any_script(machine, tmp_path):
    program = tmp_path / "模型-é"
    program.symlink_to(BUILD / "sim/vram-sim")
    holder = machine.start(program, "hold", "2G")
    assert holder.stdout.readline().startswith("holding ")
    found = get_vram_tracker().get_process_by_name("É")
    assert (found.pid, found.name, found.memory_mb) == (holder.pid, "模型-é", 2048)


# ---- Logging and errors --------------------------------------------------------------------------


def test_each_check_is_logged_with_its_arithmetic(machine, caplog):
    caplog.set_level(logging.DEBUG, "vram")
    tracker = get_vram_tracker()
    tracker.can_fit(20000)
    tracker.can_fit(22000)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "need 20000 MB, have 21820 MB (22844 free - 1024 margin): fits"),
        ("WARNING", "need 22000 MB, have 21820 MB (22844 free - 1024 margin): does not fit")]
    assert {record.name for record in caplog.records} == {"vram"}


def test_a_failed_start_is_logged_raised_and_tried_again(machine, scenario, caplog):
    machine.use(scenario("driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB\nfail nvmlInit_v2 ret=18 times=1\n"))
    tracker = get_vram_tracker()
    with pytest.raises(vram.DriverError) as caught:
        tracker.get_status()
    assert caught.value.code == "version_mismatch"
    assert "upgraded" in caught.value.hint and caught.value.hint in str(caught.value)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert tracker.get_status().total_mb == 8192


def test_no_gpu(machine, caplog):
    machine.use("sim:empty")
    for call in (get_vram_tracker().get_status, lambda: get_vram_tracker().can_fit(1)):
        with pytest.raises(vram.NoGPUError, match="no GPU found") as caught:
            call()
        assert caught.value.code == "no_gpu" and "vram doctor" in str(caught.value)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_no_driver(machine):
    machine.use("nvml:/nowhere/libnvidia-ml.so.1")
    with pytest.raises(vram.DriverError) as caught:
        get_vram_tracker().get_status()
    assert caught.value.code == "library_not_found" and isinstance(caught.value, RuntimeError)


def test_import_needs_no_gpu_no_driver_and_no_library(machine):
    machine.set(VRAM_LIBRARY="/nowhere/libvram.so", VRAM_DRIVER="nvml:/nowhere/libnvidia-ml.so.1")
    script = "import vram; t = vram.get_vram_tracker(); print(t.device_index, bool(vram.UNKNOWN))\n" \
        "try: t.get_status()\nexcept vram.LibraryError as error: print(error.code)"
    if (Path(vram.__file__).parents[1] / ".vram.mesonpy.libs").exists():
        pytest.skip("this package has its library inside")
    assert machine.python(script).stdout == "0 False\nlibvram_not_found\n"


def test_permission(machine, scenario):
    machine.use(scenario("driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB\nfail nvmlInit_v2 ret=4\n"))
    with pytest.raises(vram.PermissionDenied) as caught:
        get_vram_tracker().get_status()
    assert caught.value.code == "no_permission" and caught.value.errno == 13


def test_a_failing_process_list_does_not_fail_the_status(machine, scenario, caplog):
    machine.use(scenario("driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB reserved=0MiB\nproc 0 pid=4194401 mem=1G type=C\n"
                         "fail nvmlDeviceGetComputeRunningProcesses* ret=999\n"))
    status = get_vram_tracker().get_status()
    assert (status.free_mb, status.processes) == (7168, [])
    assert "processes" in caplog.records[-1].getMessage()


# ---- Unknown -------------------------------------------------------------------------------------


def test_unknown():
    unknown = vram.UNKNOWN
    assert not unknown and unknown != 0 and unknown == unknown
    assert f"{unknown}" == f"{unknown:,}" == f"{unknown:.1f}" == f"{unknown:d}" == f"{unknown:x}" == "unknown"
    assert f"{unknown:>9,}" == f"{unknown:9.1f}" == f"{unknown:09d}" == f"{unknown:+9}" == "  unknown"
    assert f"{unknown:*<9,}" == "unknown**"
    assert str(unknown) == "unknown" and "%s" % unknown == "unknown"
    assert copy.deepcopy(unknown) is unknown and pickle.loads(pickle.dumps(unknown)) is unknown
    assert hash(unknown) == hash(vram.UNKNOWN)


@pytest.mark.parametrize("use", [
    lambda x: x + 1, lambda x: 1 + x, lambda x: x - 1024, lambda x: 1024 - x, lambda x: x / 2, lambda x: x // 1024, lambda x: x * 2,
    lambda x: x >= 20000, lambda x: 20000 <= x, lambda x: x < 1.5, lambda x: int(x), float, round, lambda x: sum([1, x]),
    lambda x: max(x, 1), lambda x: min(1, x), lambda x: [0][x], abs, lambda x: -x, lambda x: range(x), lambda x: divmod(x, 2),
    lambda x: sorted([x, 1])])
def test_unknown_refuses_arithmetic(use):
    with pytest.raises(TypeError):
        use(vram.UNKNOWN)


def test_unknown_memory_of_processes(machine):
    machine.use("sim:wsl")
    tracker = get_vram_tracker()
    assert [process.memory_mb for process in tracker.get_status().processes] == [vram.UNKNOWN] * 2
    assert tracker.can_fit(4000) is True


def test_unknown_free_memory_fits_nothing(machine, scenario, caplog):
    machine.use(scenario("driver 550.54.14\ngpu 0 uuid=GPU-0 total=8GiB\nfail nvmlDeviceGetMemoryInfo* ret=999\n"))
    tracker = get_vram_tracker()
    status = tracker.get_status()
    assert (status.total_mb, status.used_mb, status.free_mb) == (vram.UNKNOWN,) * 3
    assert tracker.can_fit(1) is vram.UNKNOWN
    assert "have unknown" in caplog.records[-1].getMessage()


# ---- Several GPUs, threads, processes ------------------------------------------------------------


def test_a_second_index_is_a_second_gpu(machine):
    machine.use("sim:2x3090")
    first, second = get_vram_tracker(0), get_vram_tracker(1)
    assert first is get_vram_tracker() and second is get_vram_tracker(1) and first is not second
    assert first.get_process_by_name("Xorg") and not second.get_process_by_name("Xorg")
    assert second.get_process_by_name("whisper")
    with pytest.raises(vram.NoGPUError, match="there is no GPU 2; this machine has 2"):
        get_vram_tracker(2).get_status()


def test_mig(machine):
    machine.use("sim:mig")
    assert get_vram_tracker().get_status().total_mb == 40192
    assert get_vram_tracker("0:3").get_status().total_mb == get_vram_tracker("MIG-5a1da100-1b").get_status().total_mb == 9728
    assert get_vram_tracker("0:2").get_process_by_name("triton")


def test_the_next_use_after_shutdown_starts_anew(machine):
    tracker, other = get_vram_tracker(0), get_vram_tracker(1)
    assert tracker.get_status().total_mb == 24564
    machine.set(VRAM_DRIVER="sim:2x3090")
    assert tracker.get_status().total_mb == 24564  # the driver stays as it was opened
    tracker.shutdown()
    tracker.shutdown()
    assert tracker.get_status().total_mb == other.get_status().total_mb == 24576
    machine.set(VRAM_DRIVER="sim:rtx4090")
    tracker.shutdown()
    assert other.get_status().total_mb == 24576  # another's shutdown is not this one's
    other.shutdown()
    assert tracker.get_status().total_mb == 24564
    vram.reset()
    assert tracker.get_status().total_mb == 24564


def test_threads_at_first_use(machine):
    for _ in range(10):
        barrier, results = threading.Barrier(8), []

        def use():
            barrier.wait()
            results.append((get_vram_tracker(), get_vram_tracker().can_fit(20000), get_vram_tracker().get_status().free_mb))

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8 and len(set(results)) == 1 and results[0][1:] == (True, 22844)
        get_vram_tracker().shutdown()


def test_threads_use_while_others_shut_down(machine):
    stop, wrong = threading.Event(), []

    def use():
        while not stop.is_set():
            if get_vram_tracker().get_status().free_mb != 22844:
                wrong.append(1)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        get_vram_tracker().shutdown()
        vram.reset()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_errors_are_each_threads_own(machine):
    seen = {}

    def ask(index):
        for _ in range(50):
            with pytest.raises(vram.NoGPUError) as caught:
                get_vram_tracker(index).get_status()
            seen.setdefault(index, set()).add(str(caught.value))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(5, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {index: {f"there is no GPU {index}; this machine has 1"} for index in range(5, 9)}


def in_child(work):
    """Runs in a forked child: its exit status is 0 where `work` returned a true value."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if hasattr(os, "waitstatus_to_exitcode") else 0


def test_fork_before_and_after_use(machine):
    assert in_child(lambda: get_vram_tracker().can_fit(20000)) == 0
    assert get_vram_tracker().can_fit(20000)
    for _ in range(5):
        assert in_child(lambda: get_vram_tracker().can_fit(20000) and not get_vram_tracker().can_fit(22000)) == 0
    assert in_child(lambda: (get_vram_tracker().shutdown(), get_vram_tracker().can_fit(20000))[1]) == 0
    assert get_vram_tracker().can_fit(20000)


def test_fork_while_other_threads_ask(machine):
    stop = threading.Event()

    def use():
        while not stop.is_set():
            get_vram_tracker().get_status()

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert in_child(lambda: get_vram_tracker().can_fit(20000) and (vram.reset(), get_vram_tracker().can_fit(1))[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def work_in_pool(required_mb):
    return os.getpid(), get_vram_tracker().can_fit(required_mb)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(machine, method):
    machine.set(PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    assert get_vram_tracker().can_fit(20000)
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = pool.map(work_in_pool, [20000, 22000] * 4)
    assert [fits for _, fits in answers] == [True, False] * 4
    assert os.getpid() not in {pid for pid, _ in answers}
