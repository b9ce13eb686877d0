# SPDX-License-Identifier: MIT
"""Runs the built `vramd` on the simulated driver and talks to it as clients do, and as clients should not.

VRAM_BUILD names the build's directory (default: build/).
"""
import http.client
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VRAM_BUILD", ROOT / "build"))
VRAMD, VRAM, VRAM_SIM = BUILD / "daemon/vramd", BUILD / "cli/vram", BUILD / "sim/vram-sim"
DEADLINE = 60  # for what should happen at once; only reached where it does not


def eventually(condition, what):
    """Looks until it holds. For what has no event to wait for: another process's state in /proc."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)
    return value


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("vram", timeout=DEADLINE)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Reply:
    def __init__(self, status, body):
        self.status, self.body = status, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


class Daemon:
    """A daemon with a machine, a socket and an environment of its own."""

    def __init__(self, directory, driver="sim:rtx4090"):
        self.directory = Path(directory)
        self.socket = self.directory / "place" / "vram.sock"
        self.driver = driver
        state = self.directory / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("VRAM", "LISTEN", "NOTIFY"))
                    and key not in ("CUDA_VISIBLE_DEVICES", "XDG_RUNTIME_DIR", "JOURNAL_STREAM")}
        self.env.update(VRAM_SIM_DIR=str(BUILD / "sim"), VRAM_SIM_STATE_DIR=str(state), VRAM_DRIVER=driver,
                        VRAM_SOCKET=str(self.socket), LC_ALL="C.UTF-8")
        self.process = None
        self.ready = None

    def start(self, *args, env=None, wrap=(), **kwargs):
        """Starts it and waits until it serves, or has said why not: what it said."""
        ready, ready_child = os.pipe()
        self.process = subprocess.Popen(
            [*wrap, VRAMD, "--ready-fd", str(ready_child), *args], env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL, pass_fds=(ready_child, *kwargs.pop("pass_fds", ())), **kwargs)
        os.close(ready_child)
        with os.fdopen(ready) as pipe:
            self.ready = pipe.readline().strip()
        return self

    @property
    def pid(self):
        return self.process.pid

    def stop(self, number=signal.SIGTERM):
        """Ends it. Returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=DEADLINE)

    def call(self, method, target, body=None, headers=None):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            response = connection.getresponse()
            return Reply(response.status, response.read())
        finally:
            connection.close()

    def get(self, target):
        return self.call("GET", target)

    def snapshot(self, parameters=""):
        return self.get("/v1/snapshot" + parameters).json

    def connect(self, data=b""):
        """A bare connection that has sent `data`."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(DEADLINE)
        client.connect(str(self.socket))
        client.sendall(data)
        return client

    def vram(self, *args, **kwargs):
        return subprocess.run([VRAM, *args], env=self.env, capture_output=True, text=True, timeout=DEADLINE, **kwargs)

    def sim(self, *args):
        return subprocess.run([VRAM_SIM, *args], env=self.env, check=True, capture_output=True, text=True,
                              timeout=DEADLINE).stdout

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def collector(self):
        """The collector's pid: there is one once a snapshot was asked for."""
        return self.get("/v1/daemon").json["collector_pid"]


def read_all(client):
    """What comes until the end; a reset ends it too."""
    chunks = []
    try:
        while chunk := client.recv(65536):
            chunks.append(chunk)
    except ConnectionResetError:
        pass
    return b"".join(chunks)


def is_closed(client):
    """Waits until the other side has closed."""
    try:
        while client.recv(65536):
            pass
    except (ConnectionResetError, BrokenPipeError):
        pass
    return True


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def readable(client, seconds):
    return bool(select.select([client], [], [], seconds)[0])


@pytest.fixture
def make_daemon(tmp_path):
    """Daemons that are not started yet; all end with the test."""
    made = []

    def make(driver="sim:rtx4090", directory=None):
        daemon = Daemon(directory or tmp_path, driver)
        made.append(daemon)
        return daemon
    yield make
    for daemon in made:
        if daemon.process and daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


@pytest.fixture
def daemon(make_daemon):
    started = make_daemon().start()
    assert started.ready == "ready"
    return started


@pytest.fixture
def scenario(tmp_path):
    """Writes a scenario and returns the driver that plays it."""
    def write(text):
        path = tmp_path / "test.scenario"
        path.write_text(text)
        return f"sim:{path}@test"  # named, so that it lives on while nobody uses it
    return write


@pytest.fixture
def hold():
    """Starts real processes that hold simulated memory; they end with the test."""
    holders = []

    def start(daemon, *args):
        holder = subprocess.Popen([VRAM_SIM, "hold", *args], env=daemon.env, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        line = holder.stdout.readline()
        assert line.startswith("holding "), line
        return holder
    yield start
    for holder in holders:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@pytest.fixture
def crowd(daemon):
    """Processes that lease from the daemon; they end with the test."""
    from leasing import Crowd
    made = Crowd(daemon)
    yield made
    made.end()


@pytest.fixture
def cgroup():
    """Cgroups of the test's own, as service managers and container engines make them."""
    root = next((Path(path) for path in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
                 if Path(path, "cgroup.procs").exists()), None)
    made = []

    def make(name):
        path = root / f"vram-test-{secrets.token_hex(4)}" if root else None
        try:
            path.mkdir()
            made.append(path)
            (path / name).mkdir()
            made.append(path / name)
        except (AttributeError, OSError) as error:
            pytest.skip(f"cgroups cannot be made here: {error}")
        return path / name, f"/{path.name}/{name}"
    yield make
    for path in reversed(made):
        def empty():
            try:
                path.rmdir()
            except OSError:
                return False  # a process that was killed is on its way out
            return True
        eventually(empty, f"{path} is empty")


@pytest.fixture
def crowd_of():
    from leasing import Crowd
    made = []

    def make(daemon):
        made.append(Crowd(daemon))
        return made[-1]
    yield make
    for crowd in made:
        crowd.end()


@pytest.fixture
def room(make_daemon, tmp_path):
    """A daemon whose configuration names holders, which end with the test."""
    class Room:
        def __init__(self):
            self.holders = []
            self.driver = "sim:rtx4090"
            self.daemon = None

        def prepare(self, driver="sim:rtx4090"):
            self.daemon = make_daemon(driver)
            return self.daemon

        def holder(self, kind, name, models, manner="at once", **more):
            made = kind(self.daemon, name, models, manner, **more)
            self.holders.append(made)
            return made

        def start(self, *sections):
            self.conf = tmp_path / "vram.conf"
            self.conf.write_text("".join(sections))
            self.log = open(tmp_path / "log", "wb")
            self.daemon.start("--config", str(self.conf), "--history", str(tmp_path / "history.db"), stderr=self.log)
            assert self.daemon.ready == "ready", self.daemon.ready
            return self.daemon

        def said(self):
            return (tmp_path / "log").read_text()

        def state(self):
            return {one["name"]: one for one in self.daemon.get("/v1/holders").json["holders"]}
    made = Room()
    made.prepare()
    yield made
    for holder in made.holders:
        holder.end()
