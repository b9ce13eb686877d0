# SPDX-License-Identifier: MIT
"""Runs the built `vram` as people and scripts do: in pipes, in terminals, on the simulated driver.

VRAM names the program (default: build/cli/vram), VRAM_SIM_DIR the simulated driver's directory.
"""
import csv
import fcntl
import io
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
from pathlib import Path

import pytest

from fake_daemon import FakeDaemon, daemon_object

ROOT = Path(__file__).resolve().parents[2]
VRAM = os.environ.get("VRAM", str(ROOT / "build/cli/vram"))
SIM_DIR = os.environ.get("VRAM_SIM_DIR", str(ROOT / "build/sim"))
VRAM_SIM = str(Path(SIM_DIR) / "vram-sim")
DEADLINE = 60  # for what should end by itself; never waited for where all is well

# What a test did not ask for must not reach the program.
DROPPED = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NO_COLOR", "COLUMNS", "LANG", "LC_CTYPE")


class Run:
    """How a run ended and what it printed."""

    def __init__(self, status, out, err=""):
        self.status, self.out, self.err = status, out, err
        assert status >= 0, f"ended by signal {signal.Signals(-status).name}: {err}"

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def rows(self):
        return list(csv.DictReader(io.StringIO(self.out), strict=True))


class Program:
    """The program with an environment and a simulated machine of its own."""

    path, sim_path = VRAM, VRAM_SIM

    def __init__(self, state_dir):
        self.env = {key: value for key, value in os.environ.items()
                    if key not in DROPPED and not key.startswith("VRAM")}
        self.env.update(VRAM_SIM_DIR=SIM_DIR, VRAM_SIM_STATE_DIR=str(state_dir), VRAM_DRIVER="sim:rtx4090",
                        VRAM_SOCKET="none", LC_ALL="C.UTF-8", TERM="xterm-256color", TZ="UTC")

    def environment(self, driver=None, env=None):
        merged = dict(self.env)
        if driver:
            merged["VRAM_DRIVER"] = driver
        for key, value in (env or {}).items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        return merged

    def start(self, *args, driver=None, env=None, **kwargs):
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([VRAM, *args], env=self.environment(driver, env), **kwargs)

    def __call__(self, *args, driver=None, env=None, **kwargs):
        process = self.start(*args, driver=driver, env=env, **kwargs)
        out, err = process.communicate(timeout=DEADLINE)
        return Run(process.returncode, (out or b"").decode(), (err or b"").decode())

    def screen(self, *args, columns=80, rows=40, driver=None, env=None):
        """Runs in a terminal; both streams arrive on its screen."""
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = self.start(*args, driver=driver, env=env, stdout=follower, stderr=follower)
        os.close(follower)
        chunks = []
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                break
            if not chunk:
                break
            chunks.append(chunk)
        os.close(leader)
        return Run(process.wait(timeout=DEADLINE), b"".join(chunks).decode().replace("\r\n", "\n"))


@pytest.fixture
def vram(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    return Program(state)


@pytest.fixture
def scenario(tmp_path):
    """Writes a scenario and returns the driver that plays it."""
    def write(text, name="test.scenario"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return f"sim:{path}"
    return write


@pytest.fixture
def machine(tmp_path):
    """A root with what the screens show of the machine itself: its memory, a GPU that sleeps."""
    def write(path, text):
        file = tmp_path / "root" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    def make(profile):
        write("proc/meminfo", "MemTotal:  125000000 kB\nMemFree:  90000000 kB\nMemAvailable:  100000000 kB\n"
                              "HugePages_Total: 0\nHugePages_Free: 0\nHugepagesize: 2048 kB\n")
        if profile == "laptop":
            write("proc/driver/nvidia/gpus/0000:01:00.0/information",
                  "Model: \t NVIDIA GeForce RTX 4060 Laptop GPU\nIRQ:   \t 140\n"
                  "GPU UUID: \t GPU-5a1d4060-8f15-4be0-a29d-07c3e6b841f2\n")
            write("sys/bus/pci/devices/0000:01:00.0/power/control", "auto\n")
            write("sys/bus/pci/devices/0000:01:00.0/power/runtime_status", "suspended\n")
        return str(tmp_path / "root")
    return make


@pytest.fixture
def hold(vram):
    """Starts real processes that hold simulated memory; they end with the test."""
    holders = []

    def start(*args, driver="sim:rtx4090", executable=VRAM_SIM, name="vram-sim"):
        holder = subprocess.Popen([name, "hold", *args], executable=executable, env=vram.environment(driver),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        holders.append(holder)
        line = holder.stdout.readline().decode()
        assert line.startswith("holding "), line
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@pytest.fixture
def golden(request):
    """Compares with golden/NAME; VRAM_UPDATE_GOLDEN=1 writes it anew."""
    def compare(name, text):
        path = Path(__file__).parent / "golden" / name
        if os.environ.get("VRAM_UPDATE_GOLDEN") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing; VRAM_UPDATE_GOLDEN=1 writes it"
        assert text == path.read_text()
    return compare


# ---- A daemon in the test's hand -----------------------------------------------------------------------


@pytest.fixture
def daemon(vram):
    directory = tempfile.mkdtemp(prefix="vram-")  # what pytest makes is too long for a socket's address
    daemon = FakeDaemon(f"{directory}/vram.sock")
    vram.env["VRAM_SOCKET"] = daemon.path
    vram.env["VRAM_DAEMON"] = "/nowhere/vramd"  # should anything start one, it shall fail
    yield daemon
    daemon.listener.close()
    shutil.rmtree(directory)


@pytest.fixture
def gpus(vram, daemon):
    """The daemon's snapshot: the simulated driver's own, and what a daemon adds to it."""
    def serve(driver="sim:rtx4090", epoch=5, waiters=0, outstanding=0, leases=None):
        document = vram("--json", driver=driver, env={"VRAM_SOCKET": "none"}).json
        document.update(epoch=epoch, waiters=waiters, daemon=daemon_object(driver=f"{driver}@default"))
        for gpu in document["gpus"]:
            gpu.update(outstanding_bytes=outstanding, own_outstanding_bytes=0)
            for process in gpu["processes"] or []:
                process["lease"] = (leases or {}).get(process["name"])
        daemon.serve("GET", "/v1/snapshot", lambda conversation: conversation.reply(document))
        return document
    return serve
