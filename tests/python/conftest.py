# SPDX-License-Identifier: MIT
"""The Python package on the simulated driver, with the real daemon.

VRAM_BUILD names the build's directory (default: build/). The package under test is the one that Python finds first.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VRAM_BUILD", ROOT / "build"))
VRAM, VRAM_SIM, VRAMD = BUILD / "cli/vram", BUILD / "sim/vram-sim", BUILD / "daemon/vramd"
DEADLINE = 60  # for what should end by itself; never waited for where all is well
MIB, GIB = 1 << 20, 1 << 30
MEMINFO = "MemTotal:       125829120 kB\nMemFree:        96468992 kB\nMemAvailable:   104857600 kB\n"

KEPT = ("VRAM_LIBRARY", "VRAM_BUILD")
UPDATE = os.environ.get("VRAM_UPDATE_GOLDEN") == "1"

# Where the package does not bring its library along.
os.environ.setdefault("VRAM_LIBRARY", str(BUILD / "lib/libvram.so.0"))
try:
    import vram  # noqa: F401
except ImportError:
    sys.path.insert(0, str(ROOT / "python"))


def until(condition):
    """Looks until it holds: another process does things in its own time. What is no answer yet is asked again."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)
    return value


class Machine:
    """A simulated machine with an environment of its own, which is this process's too."""

    def __init__(self, monkeypatch, state):
        self.monkeypatch = monkeypatch
        for name in [name for name in os.environ if name.startswith("VRAM") and name not in KEPT]:
            monkeypatch.delenv(name)
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            monkeypatch.delenv(name, raising=False)
        root = state.parent / "root"
        (root / "proc").mkdir(parents=True)
        (root / "proc/meminfo").write_text(MEMINFO)  # the memory of a machine whose GPU has none of its own
        self.root, self.processes = root, []
        self.set(VRAM_SIM_DIR=BUILD / "sim", VRAM_SIM_STATE_DIR=state, VRAM_DRIVER="sim:rtx4090", VRAM_SOCKET="none")

    def set(self, **variables):
        for name, value in variables.items():
            self.monkeypatch.setenv(name, str(value))

    def use(self, driver):
        """Another machine from now on."""
        import vram
        self.set(VRAM_DRIVER=driver)
        vram.reset()

    def python(self, script, *args, **kwargs):
        """Runs a Python program's text, or a file."""
        command = [str(script)] if isinstance(script, Path) else ["-c", script]
        return subprocess.run([sys.executable, *command, *args], capture_output=True, text=True, timeout=DEADLINE, **kwargs)

    def start(self, *command, **kwargs):
        """A program that ends with the test."""
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   **kwargs)
        self.processes.append(process)
        return process

    def hold(self, *args):
        """A process that holds simulated memory, once it does."""
        holder = self.start(VRAM_SIM, "hold", *args)
        line = holder.stdout.readline()
        assert line.startswith("holding "), line
        return holder

    def vram(self, *args):
        return subprocess.run([VRAM, *args], capture_output=True, text=True, timeout=DEADLINE)

    def end(self):
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without a daemon."""
    import vram
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    vram.reset()
    machine = Machine(monkeypatch, state)
    yield machine
    machine.end()
    vram.reset()


@pytest.fixture
def leasing(machine):
    """A machine whose daemon is started on demand, and ends with the test."""
    import vram
    runtime = Path(tempfile.mkdtemp(prefix="vram-"))  # what pytest makes is too long for a socket's address
    machine.set(VRAM_DAEMON=VRAMD, XDG_RUNTIME_DIR=runtime)
    machine.monkeypatch.delenv("VRAM_SOCKET")
    machine.runtime = runtime
    yield machine
    machine.set(VRAM_DRIVER="sim:rtx4090")
    machine.end()
    daemon = vram.leases().daemon
    if daemon:
        os.kill(daemon.pid, signal.SIGKILL)
    shutil.rmtree(runtime)


@pytest.fixture
def scenario(tmp_path):
    """Writes a scenario and returns the driver that plays it."""
    def write(text):
        path = tmp_path / "test.scenario"
        path.write_text(text)
        return f"sim:{path}@test"  # named, so that it lives on while nobody uses it
    return write


@pytest.fixture
def golden():
    """Compares with golden/NAME; VRAM_UPDATE_GOLDEN=1 writes it anew."""
    def compare(name, text):
        path = Path(__file__).parent / "golden" / name
        if UPDATE:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()
    return compare


def pytest_collection_modifyitems(items):
    if "SANITIZED" in os.environ:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="a plain Python cannot load an instrumented library"))
