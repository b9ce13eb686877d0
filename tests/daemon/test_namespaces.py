# SPDX-License-Identifier: MIT
"""Clients and daemons in PID and mount namespaces of their own, as in containers; and pids that are used twice."""
import grp
import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import BUILD, DEADLINE, VRAM, VRAM_SIM, VRAMD, eventually

GIB = 1 << 30
WAYS = [{}, {"VRAMD_WITHOUT": "peerpidfd"}]  # to know who asks


class Space:
    """Namespaces with a first process that waits; what is run in them dies with it."""

    def __init__(self, *kinds, setup="true"):
        self.kinds = kinds
        options = ["--fork", "--kill-child"] if "--pid" in kinds else []
        mount = ["--mount-proc"] if "--pid" in kinds else []
        self.process = subprocess.Popen(["unshare", *kinds, *options, *mount, "sh", "-c", f"{setup} && echo in && exec cat"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "in\n":
            pytest.skip("no namespaces may be made here: " + self.process.stderr.read().strip())
        self.first = self.process.pid
        if "--pid" in kinds:
            self.first = int(Path(f"/proc/{self.first}/task/{self.first}/children").read_text().split()[0])
            if "--mount" not in kinds:
                self.kinds = (*kinds, "--mount")  # where its own /proc is

    @property
    def enter(self):
        return ("nsenter", "--target", str(self.first), *self.kinds)

    def run(self, *command, **kwargs):
        return subprocess.run([*self.enter, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=DEADLINE, **kwargs)

    def start(self, *command, **kwargs):
        return subprocess.Popen([*self.enter, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **kwargs)

    def kill(self, pid):
        """By its pid in here."""
        self.run("kill", "-9", str(pid), check=True)

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def space():
    made = []

    def make(*kinds, **kwargs):
        made.append(Space(*kinds, **kwargs))
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture(params=WAYS, ids=["peerpidfd", "by number"])
def way(request):
    return request.param


@pytest.fixture
def open_to_us(tmp_path):
    """The options of a system's daemon (root's is one) where this group may lease: root is nobody elsewhere."""
    group = grp.getgrgid(os.getgid()).gr_name
    (tmp_path / "vram.conf").write_text(f"[daemon]\nlease_group = {group}\n")
    return "--config", str(tmp_path / "vram.conf")


def leases(daemon):
    return daemon.get("/v1/leases").json["leases"]


def holding(process):
    line = process.stdout.readline()
    assert line.startswith("holding "), line + process.stderr.read()
    return process


# ---- Clients in containers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["holder", "container"])
def test_inside__a_client_gets_a_lease_that_ends_with_it(make_daemon, space, open_to_us, way, end):
    daemon = make_daemon().start(*open_to_us, env=way)
    container = space("--pid")
    process = holding(container.start(VRAM, "run", "14G", "--", VRAM_SIM, "hold", "14G", env=daemon.env))
    lease, = leases(daemon)
    status = Path(f"/proc/{lease['owner_pid']}/status").read_text()
    assert "Name:\tvram-sim" in status
    assert len(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()) == 3
    assert (lease["held_bytes"], lease["outstanding_bytes"]) == (14 * GIB, 0)
    waiting = subprocess.Popen([VRAM, "run", "14G", "--", "echo", "ran"], env=daemon.env, stdout=subprocess.PIPE)
    eventually(lambda: daemon.get("/v1/leases").json["waiters"], "another waits")
    os.kill(lease["owner_pid"] if end == "holder" else container.first, signal.SIGKILL)
    assert waiting.communicate(timeout=DEADLINE)[0] == b"ran\n"
    process.communicate()


def test_inside__a_pid_is_meant_there(make_daemon, space, open_to_us, way):
    daemon = make_daemon().start(*open_to_us, env=way)
    container = space("--pid")
    sleeper = container.start("sh", "-c", "echo $$; exec sleep 1000")
    inner = sleeper.stdout.readline().strip()
    run = container.run(VRAM, "reserve", "2G", "--pid", inner, env=daemon.env)
    assert run.returncode == 0, run.stderr
    lease, = leases(daemon)
    assert lease["owner_pid"] != int(inner)
    assert Path(f"/proc/{lease['owner_pid']}/comm").read_text() == "sleep\n"
    assert container.run(VRAM, "reserve", "2G", "--pid", "999999", env=daemon.env).returncode == 4
    assert container.run(VRAM, "release", lease["id"], env=daemon.env).returncode == 0
    assert leases(daemon) == []


def test_inside__no_daemon_is_started(make_daemon, space, tmp_path):
    daemon = make_daemon()
    env = {**daemon.env, "VRAM_DRIVER": f"nvml:{BUILD}/sim/r550/libnvidia-ml.so.1", "VRAM_DAEMON": str(VRAMD),
           "XDG_RUNTIME_DIR": str(tmp_path)}
    del env["VRAM_SOCKET"]
    run = space("--pid").run(VRAM, "run", "1G", "--", "true", env=env)
    assert run.returncode == 125
    assert "not started from a private PID namespace" in run.stderr
    assert not (tmp_path / "vram").exists()


# ---- A daemon in a container -----------------------------------------------------------------------------------------


def test_daemon_inside__cannot_see_who_asks_from_outside(make_daemon, space, open_to_us, way):
    container = space("--pid")
    daemon = make_daemon().start(*open_to_us, env=way, wrap=container.enter)
    assert daemon.ready == "ready"
    run = daemon.vram("run", "2G", "--", "true")
    assert run.returncode == 125
    assert "in a PID namespace that cannot see who asks" in run.stderr
    assert daemon.vram("fit", "2G").returncode == 0  # figures are for everyone
    within = container.run(VRAM, "run", "2G", "--", "echo", "ran", env=daemon.env)
    assert (within.returncode, within.stdout) == (0, "ran\n"), within.stderr


# ---- Its directory, mounted ------------------------------------------------------------------------------------------


def test_mounted__directory_outlives_daemons(make_daemon, space, open_to_us, tmp_path):
    daemon = make_daemon().start(*open_to_us)
    there = tmp_path / "there"
    there.mkdir()
    container = space("--pid", "--mount", setup=f"mount --bind {daemon.socket.parent} {there}")
    env = {**daemon.env, "VRAM_SOCKET": str(there / "vram.sock")}
    holder = holding(container.start(VRAM, "run", "14G", "--", VRAM_SIM, "hold", "14G", env=env))
    waiting = container.start(VRAM, "run", "14G", "--", "echo", "ran", env=env)
    assert "waiting" in waiting.stderr.readline()
    for number in (signal.SIGKILL, signal.SIGTERM):
        before = leases(daemon)
        daemon.stop(number)
        assert daemon.start(*open_to_us).ready == "ready"
        assert [lease["id"] for lease in leases(daemon)] == [lease["id"] for lease in before]
    os.kill(leases(daemon)[0]["owner_pid"], signal.SIGKILL)
    assert waiting.communicate(timeout=DEADLINE)[0] == "ran\n"
    holder.communicate()
    assert container.run(VRAM, "run", "2G", "--", "echo", "ran", env=env).stdout == "ran\n"


def test_mounted__socket_alone_does_not(make_daemon, space, open_to_us, tmp_path):
    daemon = make_daemon().start(*open_to_us)
    there = tmp_path / "vram.sock"
    there.touch()
    container = space("--mount", setup=f"mount --bind {daemon.socket} {there}")
    env = {**daemon.env, "VRAM_SOCKET": str(there)}
    assert container.run(VRAM, "run", "2G", "--", "true", env=env).returncode == 0
    daemon.stop(signal.SIGKILL)
    daemon.start(*open_to_us)
    run = container.run(VRAM, "leases", env=env)
    assert run.returncode == 4
    assert "the socket's directory must be mounted, not the socket" in run.stderr


# ---- Pids that are used twice ----------------------------------------------------------------------------------------


def take_pid(container, pid):
    """A process that has this pid in there."""
    script = f"echo {pid - 1} >/proc/sys/kernel/ns_last_pid || exit; sleep 1000 >/dev/null 2>&1 & echo $!"
    for _ in range(100):
        run = container.run("sh", "-c", script)
        if run.returncode != 0:
            pytest.skip("pids cannot be chosen here: " + run.stderr.strip())
        if int(run.stdout) == pid:
            return
        container.kill(run.stdout.strip())  # something else began just then
    pytest.skip(f"the pid {pid} cannot be had")


@pytest.mark.parametrize("restarted", [False, True], ids=["", "while the daemon is away"])
def test_reused__a_pid_inherits_nothing(make_daemon, space, way, restarted):
    container = space("--pid")
    daemon = make_daemon().start(env=way, wrap=container.enter)
    owner = container.start("sh", "-c", "echo $$; exec sleep 1000")
    pid = int(owner.stdout.readline())
    assert container.run(VRAM, "reserve", "14G", "--pid", str(pid), env=daemon.env).returncode == 0
    if restarted:
        container.kill(daemon.get("/v1/daemon").json["pid"])
        daemon.process.wait(DEADLINE)
    container.kill(pid)
    owner.communicate()
    take_pid(container, pid)
    if restarted:
        assert daemon.start(env=way, wrap=container.enter).ready == "ready"
    assert container.run("cat", f"/proc/{pid}/comm").stdout == "sleep\n"
    eventually(lambda: leases(daemon) == [], "the lease ends, though its owner's pid lives")
    within = container.run(VRAM, "run", "14G", "--", "echo", "ran", env=daemon.env)
    assert (within.returncode, within.stdout) == (0, "ran\n"), within.stderr
    assert container.run("cat", f"/proc/{pid}/comm").stdout == "sleep\n"
