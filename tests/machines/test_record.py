# SPDX-License-Identifier: MIT
"""`vram record`: what it writes of a driver answers as that driver did. The driver recorded here is the simulated one, of
several generations, well and ill."""
import json
import os
import re
import resource
import signal
import subprocess
import time

import pytest

from conftest import BUILD, DEADLINE, VRAM, figures, without_time

PROFILES = sorted(path.stem for path in (BUILD / "sim/profiles").glob("*.scenario"))
OTHERS = ["r390/2x3090", "r418/rtx4090", "r440/wsl", "r450/mig", "r470/8xh100", "r510/mig", "r535_54/mig", "r535_98/2x3090",
          "r535_104/8xh100", "r570/laptop", "r580/8xh100", "r610/mig"]
STATUS = {"empty": 3}  # of commands that need a GPU
HEADING = "driver 550.54.14\ncuda 12.4\n"


def played(machine, driver, *options):
    """A recording of a driver, as a driver of the same generation."""
    generation = driver.removeprefix("sim:").rpartition("/")[0] if driver.startswith("sim:r") and "/" in driver else ""
    replay = machine.write("recorded.scenario", machine.record(driver, "--readings", "1", *options))
    return f"sim:{generation}/{replay[4:]}" if generation else replay


@pytest.mark.parametrize("name", PROFILES + OTHERS)
def test_every_function_answers_alike(machine, name):
    replay = played(machine, f"sim:{name}", "--names", "--ids")
    assert "differs" not in (machine.directory / "recorded.scenario").read_text()
    assert machine.answers(replay) == machine.answers(f"sim:{name}")


@pytest.mark.parametrize("name", PROFILES)
def test_vram_says_alike(machine, name):
    replay = played(machine, f"sim:{name}", "--names", "--ids")
    for command in ("status", "ps"):
        said = [figures(machine.json(driver, command, status=STATUS.get(name, 0))) for driver in (replay, f"sim:{name}")]
        assert said[0] == said[1], command
    if name == "wsl":
        return  # that it is below Windows is not the driver's to tell
    doctors = [[line for line in machine.run("doctor", status=STATUS.get(name, 0), env={"VRAM_DRIVER": driver}).splitlines()
                if not re.match("  (library|simulation) ", line)] for driver in (replay, f"sim:{name}")]
    assert doctors[0] == doctors[1]


@pytest.mark.parametrize("name", PROFILES)
def test_a_recording_of_a_recording_is_the_same(machine, name):
    first = machine.record(f"sim:{name}", "--readings", "1")
    again = machine.record(machine.write("first.scenario", first), "--readings", "1")
    assert without_time(again) == without_time(first)


def test_what_is_nobodys_business_is_made_up(machine):
    text = machine.record("sim:8xh100")
    assert "GPU-" not in text and "1653023007" not in text and "python" not in text
    assert 'name="process-1"' in text and "serial=0000000000007" in text
    named = machine.record("sim:8xh100", "--names", "--ids")
    assert "GPU-5a1d8100" in named and "serial=\"1653023007107\"" in named and "python" in named


def test_pids_that_could_be_a_process_here_are_replaced(machine):
    driver = machine.write("pids.scenario", HEADING + "gpu 0 total=8G\ngpu 1 total=8G\nproc 0 pid=1 mem=1G name=a\n"
                           "proc 1 pid=1 mem=2G\nproc 0 pid=4194401 mem=1G\nproc 0 pid=77 mem=1G\n")
    replay = machine.json(played(machine, driver, "--names"), "status")
    found = sorted((gpu["index"], row["pid"], row["used_bytes"] >> 30) for gpu in replay["gpus"] for row in gpu["processes"])
    assert {pid > 4194304 for _gpu, pid, _size in found} == {True}
    assert [(gpu, size) for gpu, _pid, size in found] == [(0, 1), (0, 1), (0, 1), (1, 2)]
    assert found[3][1] in {pid for _gpu, pid, _size in found[:3]}  # one process on two GPUs is still one
    assert len({pid for _gpu, pid, _size in found}) == 3


@pytest.mark.parametrize("name", [r"a\x0ab", r"\x01\x1b[31mred\x7f", r"quote \" and \\", "# no comment", r"\xff\xfe not UTF-8 \xc3",
                                  "ünïcödé 模型", " blanks  ", "name=x gpu=1", "at +1s exit 4194401", "x" * 255, r"\x0d\x09"])
def test_names_are_any_bytes(machine, name):
    driver = machine.write("names.scenario", HEADING + f'gpu 0 total=8G\nproc 0 pid=4194401 mem=1G name="{name}"\n')
    replay = played(machine, driver, "--names")
    text = (machine.directory / "recorded.scenario").read_text()
    assert text.isprintable() or text.replace("\n", "").isprintable()
    assert machine.answers(replay) == machine.answers(driver)
    assert machine.json(replay, "ps")["processes"][0]["name"] == machine.json(driver, "ps")["processes"][0]["name"]


def test_what_calls_meet(machine):
    driver = machine.write("ill.scenario", HEADING + """
gpu 0 total=24G reserved=400M temp=61 overhead=12345B power=71.342 power-limit=350
gpu 1 total=24G reserved=400M shared=1G util=7 event-types=12 ecc=on ecc-pending=off remapped-pending=1 recovery=2
gpu 2 total=1G lost
gpu 3 total=2G denied
gpu 4 total=3G
proc 0 pid=4194401 mem=6G
proc 1 pid=4194401 mem=2G type=CG
proc 1 pid=4194402 mem=unknown type=M
fail nvmlDeviceGetFanSpeed ret=UNKNOWN
fail nvmlDeviceGetMemoryInfo_v2 gpu=1 ret=FUNCTION_NOT_FOUND
fail nvmlDeviceGetMemoryInfo gpu=4 ret=IN_USE
fail nvmlSystemGetCudaDriverVersion ret=77
entry 32
""")
    replay = played(machine, driver, "--names", "--ids")
    text = (machine.directory / "recorded.scenario").read_text()
    assert "fail nvmlDeviceGetMemoryInfo_v2 gpu=1 ret=FUNCTION_NOT_FOUND" in text and "ret=77" in text and "entry 32" in text
    assert machine.answers(replay) == machine.answers(driver)


def test_latencies_are_played(machine):
    driver = machine.write("slow.scenario", HEADING + "gpu 0 total=8G temp=50\ndelay nvmlDeviceGetTemperature 30ms\n")
    line = next(line for line in machine.record(driver).splitlines() if line.startswith("delay nvmlDeviceGetTemperature "))
    assert 30_000 <= int(line.split()[2].removesuffix("us")) < 60_000 and "calls" in line


def test_a_call_that_hangs_is_recorded_as_one(machine):
    driver = machine.write("hung.scenario", HEADING + "gpu 0 total=8G\ngpu 1 total=9G temp=50\n"
                           "hang nvmlDeviceGetTemperature gpu=1\n")
    began = time.monotonic()
    text = machine.record(driver, "--timeout", "500ms", status=3)
    assert time.monotonic() - began < DEADLINE / 2
    assert "hang nvmlDeviceGetTemperature gpu=1" in text and "total=9216M" in text and "does not return" in machine.error
    assert "hang" not in machine.record("sim:rtx4090")
    # No GPU hangs with the simulated driver's reader, which would hang for ever.
    while subprocess.run(["pgrep", "-f", f"vram-sim record .*{machine.directory}/"], capture_output=True).returncode == 0:
        assert time.monotonic() - began < DEADLINE
        time.sleep(0.02)


def test_a_driver_that_crashes_or_does_not_start(machine):
    crash = machine.write("crash.scenario", HEADING + "gpu 0 total=8G\ncrash nvmlDeviceGetPowerUsage\n")
    assert "crash nvmlDeviceGetPowerUsage gpu=0" in machine.record(crash, status=3)
    for code, word in (("DRIVER_NOT_LOADED", "DRIVER_NOT_LOADED"), ("999", "UNKNOWN")):
        down = machine.write("down.scenario", HEADING + f"gpu 0 total=8G\nfail nvmlInit* ret={code}\n")
        text = machine.record(down, status=3)
        assert f"fail nvmlInit_v2 ret={word}" in text
        codes = [machine.start("--driver", one, "status", "--json").communicate(timeout=DEADLINE)[0]
                 for one in (down, machine.write("again.scenario", text))]
        assert '"code":"' in codes[0] and codes[0].split('"code":"')[1].split('"')[0] == codes[1].split('"code":"')[1].split('"')[0]


def test_changes_are_followed(machine):
    driver = machine.write("alive.scenario", HEADING + """
gpu 0 total=24G temp=50
gpu 1 total=24G
proc 0 pid=4194401 mem=6G
proc 1 pid=4194401 mem=1G
at +400ms proc 0 pid=4194401 mem=7G
at +600ms exit 4194401 gpu=1
at +800ms proc 0 pid=4194402 mem=100M name=new
at +1s exit 4194402
at +1200ms gpu 1 lost
at +1400ms gpu 1 back temp=60
at +1600ms gpu 0 overhead=3G
""")
    text = machine.record(driver, "--names", "--for", "2s", "--every", "50ms", "--readings", "1")
    changes = [line.split(" ", 2)[2] for line in text.splitlines() if line.startswith("at ")]
    assert changes == ["proc 0 pid=4194401 mem=7168M type=C", "exit 4194401 gpu=1",
                       'proc 0 pid=4194402 name="new" mem=100M type=C', "exit 4194402 gpu=0", "gpu 1 lost", "gpu 1 back",
                       "gpu 1 temp=60", "gpu 0 overhead=3072M"]
    virtual = machine.write("played.scenario", text.replace("cuda 12.4", "cuda 12.4\nclock virtual")) + "@end"
    sim = [str(BUILD / "sim/vram-sim"), "advance", "10s", "--driver", virtual]
    assert machine.json(virtual, "status")["gpus"][0]["used_bytes"] == 6 << 30
    assert os.spawnvpe(os.P_WAIT, sim[0], sim, machine.env) == 0
    assert [gpu["used_bytes"] >> 30 for gpu in machine.json(virtual, "status")["gpus"]] == [10, 0]


def test_an_interrupt_ends_it_with_what_there_is(machine):
    path = machine.directory / "early.scenario"
    recorder = machine.start("record", "--driver", "sim:rtx4090", "--for", "1h", path)
    end = time.monotonic() + DEADLINE
    while not list(machine.directory.glob("early.scenario.*")):
        assert time.monotonic() < end and recorder.poll() is None
        time.sleep(0.01)
    recorder.send_signal(signal.SIGINT)
    out, err = recorder.communicate(timeout=DEADLINE)
    assert (recorder.returncode == 0 and "RTX 4090" in path.read_text()) or "interrupted" in err
    assert not list(machine.directory.glob("early.scenario.*"))


def test_no_file_is_lost(machine):
    path = machine.directory / "mine"
    path.write_text("mine")
    machine.run("record", "--driver", "sim:rtx4090", path, status=4)
    assert path.read_text() == "mine" and "--force" in machine.error
    machine.run("record", "--driver", "sim:rtx4090", "--force", path)
    assert path.read_text().startswith("# A recording: 1 GPU, NVIDIA GeForce RTX 4090")
    (machine.directory / "made").touch()
    assert path.stat().st_mode == (machine.directory / "made").stat().st_mode
    machine.run("record", "--driver", "sim:rtx4090", machine.directory, status=4)
    machine.run("record", "--driver", "sim:rtx4090", machine.directory / "none/x", status=4)
    machine.run("record", "--driver", "sim:rtx4090", "--force", "/dev/full", status=4)
    assert "No space left" in machine.error


def test_a_full_disk_leaves_nothing_behind(machine):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))

    path = machine.directory / "large"
    path.write_text("mine")
    machine.run("record", "--driver", "sim:empty", "--force", path, status=4, preexec_fn=limit)
    assert path.read_text() == "mine" and [entry.name for entry in machine.directory.glob("large*")] == ["large"]


def test_a_sleeping_gpu_is_left_asleep(machine):
    device = machine.directory / "root/sys/bus/pci/devices/0000:01:00.0"
    (device / "power").mkdir(parents=True)
    for name, text in (("vendor", "0x10de"), ("class", "0x030000"), ("power/runtime_status", "suspended")):
        (device / name).write_text(text + "\n")
    root = {"VRAM_SYSROOT": str(machine.directory / "root")}
    strict = machine.write("strict.scenario", HEADING + "gpu 0 total=8G suspended\nstrict on\n")
    machine.run("record", "--driver", strict, "-", status=3, env=root)
    assert "0000:01:00.0 sleeps" in machine.error and "--wake" in machine.error
    assert "total=8188M" in machine.run("record", "--driver", "sim:laptop", "--wake", "-", env=root)


def test_nothing_is_set(machine):
    instance = "sim:8xh100@counted"
    machine.record(instance)
    sim = machine.env | {"VRAM_DRIVER": instance}
    calls = json.loads(subprocess.run([BUILD / "sim/vram-sim", "stats", "--json"], env=sim, check=True, capture_output=True,
                                      timeout=DEADLINE).stdout)["calls"]
    assert len(calls) > 60 and not [name for name in calls if "Set" in name.replace("EventSet", "") or "Clear" in name]


def test_wrong_usage(machine):
    for words in (["record"], ["record", "a", "b"], ["record", "--for", "x", "-"], ["record", "--every", "1us", "-"],
                  ["record", "--readings", "0", "-"], ["record", "--json", "-"], ["record", "--gpu", "0", "-"]):
        machine.run(*words, status=2)
        assert machine.error
    machine.run("record", "--driver", "sim:nonesuch", "-", status=3)
    machine.run("record", "--driver", "nvml:/nonexistent.so", "-", status=3)


def test_without_vram_sim(machine):
    machine.run("record", "-", status=4, env={"PATH": "/nonexistent"})
    assert "vram-sim" in machine.error and "install" in machine.error
    assert VRAM.exists()
