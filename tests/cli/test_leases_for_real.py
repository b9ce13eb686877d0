# SPDX-License-Identifier: MIT
"""Leases as a new user meets them: the commands, a daemon that they start themselves, holders that are real."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

GIB = 1 << 30
DEADLINE = 60
BUILD = Path(os.environ.get("VRAM_BUILD", Path(__file__).resolve().parents[2] / "build"))
VRAMD = BUILD / "daemon/vramd"


@pytest.fixture
def machine(vram):
    """A machine whose daemon is started on demand, and ends with the test."""
    runtime = Path(tempfile.mkdtemp(prefix="vram-"))
    vram.env.update(VRAM_DAEMON=str(VRAMD), XDG_RUNTIME_DIR=str(runtime))
    vram.env.pop("VRAM_SOCKET")
    started = []

    class Machine:
        socket = runtime / "vram"

        @staticmethod
        def run(size, *command, options=(), **kwargs):
            process = vram.start("run", size, *options, "--", *command, **kwargs)
            started.append(process)
            return process

        @staticmethod
        def hold(size, *more, options=()):
            """A holder with a lease, once it holds."""
            process = Machine.run(size, vram.sim_path, "hold", size, *more, options=options)
            assert process.stdout.readline().startswith(b"holding "), process.stderr.read()
            return process

        @staticmethod
        def leases():
            return vram("leases", "--json").json

        @staticmethod
        def daemon_pid():
            return Machine.leases()["daemon"]["pid"]

    yield Machine
    daemon = Machine.leases()["daemon"]
    for process in started:
        process.kill()
        process.communicate()
    if daemon:
        os.kill(daemon["pid"], signal.SIGKILL)
    shutil.rmtree(runtime)


def until(condition):
    """Looks until it holds: a daemon is another process, which does things in its own time."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end
    return value


def wait_in_queue(process):
    """Until it says on stderr that it waits."""
    while True:
        line = process.stderr.readline().decode()
        assert line.startswith("vram: waiting, number "), line
        if "second look" not in line:  # the growth that makes a young daemon doubt
            return line


def test_one_after_the_other(vram, machine):
    first = machine.hold("14G")
    second = machine.run("14G", vram.sim_path, "hold", "14G", "--for", "0s")
    wait_in_queue(second)
    leases = machine.leases()
    assert [lease["owner_pid"] for lease in leases["leases"]] == [first.pid]
    assert leases["leases"][0]["held_bytes"] == 14 * GIB
    assert leases["leases"][0]["outstanding_bytes"] == 0
    assert [(waiter["position"], waiter["pid"]) for waiter in leases["waiters"]] == [(1, second.pid)]
    first.kill()
    out, _ = second.communicate(timeout=DEADLINE)
    assert second.returncode == 0
    assert out.startswith(b"holding 14336 MiB")


def test_three_together(vram, machine):
    holders = [machine.hold("6.5G") for _ in range(3)]
    assert {lease["owner_pid"] for lease in machine.leases()["leases"]} == {holder.pid for holder in holders}


def test_figures_before_during_and_after(vram, machine):
    process = machine.run("14G", "sh", "-c", f"read go; exec {vram.sim_path} hold 14G", stdin=subprocess.PIPE)
    until(lambda: machine.leases()["leases"])
    assert vram("fit", "10G").status == 1
    assert vram("fit", "7G").status == 0
    assert machine.leases()["leases"][0]["outstanding_bytes"] == 14 * GIB
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"holding ")
    assert machine.leases()["leases"][0]["outstanding_bytes"] == 0
    assert vram("fit", "10G").status == 1
    assert vram("fit", "7G").status == 0
    process.kill()
    process.wait()
    assert vram("fit", "10G", "--timeout", "60s").status == 0
    until(lambda: not machine.leases()["leases"])


def test_its_own_lease_is_not_held_against_it(vram, machine):
    process = machine.run("14G", vram.path, "fit", "14G", "--json")
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    assert vram("fit", "22000").status == 1


def test_the_queue_is_left_without_a_trace(vram, machine):
    machine.hold("14G")
    waiting = machine.run("14G", "true")
    wait_in_queue(waiting)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(timeout=DEADLINE) == 130
    until(lambda: not machine.leases()["waiters"])
    killed = machine.run("14G", "true")
    wait_in_queue(killed)
    killed.kill()
    killed.wait()
    assert vram("fit", "4G").status == 0
    until(lambda: not machine.leases()["waiters"])


def test_a_killed_daemon_loses_nothing(vram, machine):
    holder = machine.hold("14G", options=["--label", "job"])
    waiting = machine.run("14G", "echo", "ran")
    wait_in_queue(waiting)
    before = machine.leases()
    os.kill(before["daemon"]["pid"], signal.SIGKILL)
    until(lambda: machine.leases()["waiters"])
    after = machine.leases()
    assert after["daemon"]["pid"] != before["daemon"]["pid"]
    for key in ("id", "owner_pid", "label", "size_bytes", "since"):
        assert after["leases"][0][key] == before["leases"][0][key]
    assert [waiter["id"] for waiter in after["waiters"]] == [waiter["id"] for waiter in before["waiters"]]
    holder.kill()
    out, _ = waiting.communicate(timeout=DEADLINE)
    assert (waiting.returncode, out) == (0, b"ran\n")


def test_a_lease_whose_daemon_was_killed_is_released(vram, machine, hold):
    holder = hold("2G")
    lease = vram("reserve", "6G", "--pid", str(holder.pid)).out.strip()
    os.kill(machine.daemon_pid(), signal.SIGKILL)
    run = vram("release", lease)
    assert (run.status, run.err) == (0, "")
    assert machine.leases()["leases"] == []


def test_a_script_reserves(vram, machine):
    script = ('id=$("$VRAM" reserve 6G --label script) || exit; echo $id; "$VRAM" leases --csv; '
              '"$VRAM" release $(echo $id | cut -c 1-6); echo $?; "$VRAM" reserve 30G; echo $?')
    process = subprocess.run(["sh", "-c", script], env={**vram.environment(), "VRAM": vram.path}, capture_output=True,
                             text=True, timeout=DEADLINE)
    lines = process.stdout.splitlines()
    assert lines[2].startswith(lines[0]) and ",script," in lines[2]
    assert lines[3:] == ["0", "5"]
    assert "never fit" in process.stderr
    assert machine.leases()["leases"] == []


def test_reserve_for_a_process_that_runs(vram, machine, hold):
    holder = hold("2G")
    lease = vram("reserve", "6G", "--pid", str(holder.pid)).out.strip()
    assert machine.leases()["leases"][0]["owner_pid"] == holder.pid
    assert vram("ps", lease[:8], "--json").json["processes"][0]["pid"] == holder.pid
    assert vram("reserve", "1G", "--pid", "4194399").status == 4


def test_pause(vram, machine):
    vram("reserve", "2G")  # starts a daemon; the lease ends with this process at the latest
    assert vram("pause").status == 0
    run = vram("run", "1G", "--timeout", "5s", "--", "true")
    assert run.status == 125
    assert "vram resume" in run.err
    assert "vram resume" in vram("leases").err
    assert vram("resume").status == 0
    assert vram("run", "1G", "--timeout", "60s", "--", "true").status in (0, 125)


def test_another_driver(vram, machine):
    vram("reserve", "2G")
    socket, = machine.socket.glob("*.sock")
    run = vram("run", "1G", "--driver", "sim:2x3090", "--", "true", env={"VRAM_SOCKET": str(socket)})
    assert run.status == 125
    assert "sim:rtx4090@default" in run.err


def test_a_timeout_that_passes(vram, machine):
    machine.hold("14G")
    run = vram("run", "14G", "--timeout", "300ms", "--", "true")
    assert run.status == 124


def test_watch_sees_a_lease_come_and_go(vram, machine):
    vram("reserve", "1G")
    watching = vram.start("leases", "--watch", "--csv")
    assert watching.stdout.readline().startswith(b"id,")
    holder = machine.hold("6G", options=["--label", "seen"])
    assert any(b",seen," in line for line in watching.stdout)
    holder.kill()
    holder.wait()
    assert any(line.startswith(b"id,owner_pid,user,label,") for line in watching.stdout)
    watching.terminate()
    watching.communicate()
