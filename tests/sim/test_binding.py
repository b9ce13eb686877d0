# SPDX-License-Identifier: MIT
"""NVIDIA's own Python binding reads the simulated driver, and every figure is what the scenario adds up to.

That the binding can read it is the proof that the layouts in common/nvml_abi.h are NVIDIA's.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys

import pytest

pytest.importorskip("pynvml", reason="NVIDIA's binding (nvidia-ml-py) is not installed")

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("VRAM_BUILD", HERE.parents[1] / "build"))
SIM = BUILD / "sim"
PROFILES = sorted(path.stem for path in (SIM / "profiles").glob("*.scenario"))
# By the number of the branch, and of the release within 535.
GENERATIONS = sorted((path.parent.name for path in SIM.glob("r*/libnvidia-ml.so.1")),
                     key=lambda name: [int(part) for part in name[1:].split("_")])
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "0": 0}
KINDS = {"Compute": "C", "Graphics": "G", "MPSCompute": "M"}
UNKNOWN = (None, 2**64 - 1)  # as the binding says it, and as the old lists do

# A plain Python cannot load a library that was built with a sanitizer.
pytestmark = pytest.mark.skipif("SANITIZED" in os.environ, reason="the library is built with a sanitizer")


def size(text):
    return int(float(text[:-1]) * UNITS[text[-1]]) if text != "0" else 0


class Pool:
    """A GPU or an instance as its scenario lines describe it."""

    def __init__(self):
        self.words, self.flags, self.processes = {}, set(), []

    def read(self, words):
        for word in words:
            key, equals, value = word.partition("=")
            if equals:
                self.words[key] = value
            else:
                self.flags.add(word)

    def bytes(self, key):
        return size(self.words.get(key, "0"))

    def used(self):
        own = self.bytes("overhead") + self.bytes("managed")
        return own + sum(size(process["mem"]) for process in self.processes if process["mem"] != "unknown")


class Machine:
    """A scenario, read here in other words than the simulated driver's."""

    def __init__(self, path):
        self.cuda, self.gpus, self.instances, self.names = None, {}, {}, {}
        for line in path.read_text().splitlines():
            words = shlex.split(line, comments=True)
            if words:
                self.read(words[0], words[1:])

    def read(self, verb, words):
        fields = dict(word.split("=", 1) for word in words if "=" in word)
        if verb == "driver":
            self.driver = words[0]
        elif verb == "cuda":
            major, minor = words[0].split(".")
            self.cuda = int(major) * 1000 + int(minor) * 10
        elif verb == "gpu":
            self.gpus.setdefault(int(words[0]), Pool()).read(words[1:])
        elif verb == "mig" and "gone" in words:
            del self.instances[int(words[0]), int(fields["gi"])]
        elif verb == "mig":
            self.instances.setdefault((int(words[0]), int(fields["gi"])), Pool()).read(words[1:])
        elif verb == "proc":
            key = int(words[0]), int(fields["gi"]) if "gi" in fields else None
            (self.gpus[key[0]] if key[1] is None else self.instances[key]).processes.append(fields)
            self.names[fields["pid"]] = fields["name"]
        else:
            raise AssertionError(f"profiles use no {verb}")


def read(generation, profile, state):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VRAM", "CUDA"))}
    environment = dict(kept, LD_LIBRARY_PATH=str(SIM / generation), VRAM_SIM=profile,
                       VRAM_SIM_STATE_DIR=str(state))
    done = subprocess.run([sys.executable, HERE / "read_with_binding.py"], env=environment, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_memory(pool, read_pool, parts=()):
    """`parts`: the instances of a divided card, which are within its figures."""
    if pool.words.get("memory") == "unsupported":
        assert read_pool["memory_v1"] == {"code": 3}
        assert read_pool["memory_v2"]["code"] in (3, 13)
        return
    total, used = pool.bytes("total"), pool.used() + sum(part.used() for part in parts)
    reserved = pool.bytes("reserved") + sum(part.bytes("reserved") for part in parts)
    assert read_pool["memory_v1"] == {"total": total, "free": total - used - reserved, "used": used + reserved}
    if read_pool["memory_v2"] != {"code": 13}:  # a driver that has no such query
        assert read_pool["memory_v2"] == {"total": total, "free": total - used - reserved, "used": used,
                                          "reserved": reserved}


def check_lists(pool, read_pool, hidden, parts=()):
    listed = pool.processes + [process for part in parts for process in part.processes]
    for kind, letter in KINDS.items():
        found = read_pool["processes"][kind]
        if found is None:
            assert kind == "MPSCompute"
            continue
        expected = {process["pid"]: size(process["mem"]) for process in listed if letter in process["type"]}
        assert set(found) == set(expected)
        for pid, used in found.items():
            assert used in UNKNOWN if hidden else used == expected[pid]
    if "details" in read_pool:
        assert read_pool["details"] == read_pool["processes"]["Compute"]


def number(pool, key, factor=1):
    return int(pool.words[key]) * factor if key in pool.words else {"code": 3}


def check_readings(pool, gpu, index):
    divided = pool.words.get("mig") == "on"
    utilization = [number(pool, "util"), number(pool, "memory-util")]
    assert gpu["utilization"] == ({"code": 3} if divided else utilization)
    assert gpu["temperature"] == gpu.get("temperature_v", gpu["temperature"]) == number(pool, "temp")
    assert gpu["power"] == number(pool, "power", 1000)
    assert gpu["power_limit"] == number(pool, "power-limit", 1000)
    assert gpu["fan"] == number(pool, "fan")
    assert gpu["clock"] == number(pool, "sm-clock")
    assert gpu["memory_clock"] == number(pool, "max-memory-clock")
    assert gpu["capability"] == [int(pool.words["cc"]) // 10, int(pool.words["cc"]) % 10]
    assert gpu["bar1"] == ({"total": pool.bytes("bar1"), "used": pool.bytes("bar1-used")} if "bar1" in pool.words
                           else {"code": 3})
    if gpu["pci"] != {"code": 13}:  # the binding knows the newest query alone
        domain, bus, device = pool.words["pci"].split(".")[0].split(":")
        text = f"{int(domain, 16):08X}:{int(bus, 16):02X}:{int(device, 16):02X}.0"
        assert gpu["pci"] == [int(domain, 16), int(bus, 16), int(device, 16), text]
    assert gpu["name"] == pool.words["name"]
    assert gpu["uuid"] == pool.words["uuid"]
    assert gpu["index"] == gpu["minor"] == gpu["by_uuid"] == index


def check(machine, found):
    assert len(found["gpus"]) == len(machine.gpus)
    if machine.cuda:
        assert found["cuda"] == machine.cuda
        assert found["nvml"] == f"{machine.cuda // 1000}.{found['driver']}"
    for index, gpu in enumerate(found["gpus"]):
        pool = machine.gpus[index]
        divided = bool(gpu["instances"])
        parts = [part for (owner, _), part in machine.instances.items() if owner == index]
        hidden = pool.words.get("process-memory") == "unknown"
        if os.geteuid() == 0 or not divided:
            check_memory(pool, gpu, parts)
            check_lists(pool, gpu, hidden, parts)
        check_readings(pool, gpu, index)
        for instance in gpu["instances"]:
            part = machine.instances[index, instance["gi"]]
            assert instance["ci"] == 0
            assert instance["uuid"] == part.words["uuid"]
            assert instance["attributes_mib"] == part.bytes("total") >> 20
            check_memory(part, instance)
            check_lists(part, instance, hidden)
    for pid, name in found["names"].items():
        assert name == machine.names[pid]


def generation_of(driver):
    """The newest generation that is not newer than the driver."""
    version = [int(part) for part in driver.split(".")[:2]]
    fitting = [name for name in GENERATIONS if [int(part) for part in name[1:].split("_")] <= version]
    return fitting[-1] if fitting else GENERATIONS[0]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_on_its_own_generation(profile, tmp_path):
    if profile == "mig" and os.geteuid() != 0:
        pytest.skip("a divided card shows its processes to root alone")
    machine = Machine(SIM / "profiles" / f"{profile}.scenario")
    found = read(generation_of(machine.driver), profile, tmp_path)
    assert found["driver"] == machine.driver
    check(machine, found)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("profile", ["rtx4090", "2x3090"])
def test_every_generation(generation, profile, tmp_path):
    found = read(generation, profile, tmp_path)
    assert found["driver"].split(".")[0] == generation[1:].split("_")[0]
    check(Machine(SIM / "profiles" / f"{profile}.scenario"), found)


def test_nothing_is_left_out():
    assert len(PROFILES) == 9
    assert len(GENERATIONS) == 13
