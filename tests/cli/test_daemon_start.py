# SPDX-License-Identifier: MIT
"""Who starts a daemon, when, and how; with one that only says how it was started."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fake_daemon import FakeDaemon

FAKE = str(Path(__file__).parent / "fake_vramd.py")


@pytest.fixture
def place(vram, tmp_path):
    """A directory for sockets, the record of the daemons started, and their end with the test."""
    record = tmp_path / "record"
    runtime = Path(tempfile.mkdtemp(prefix="vram-"))  # what pytest makes is too long for a socket's address
    vram.env.update(VRAM_DAEMON=FAKE, VRAM_TEST_RECORD=str(record), XDG_RUNTIME_DIR=str(runtime))
    vram.env["PATH"] = f"{Path(sys.executable).parent}:{vram.env['PATH']}"

    vram.env.pop("VRAM_SOCKET")

    class Place:
        directory = runtime / "vram"
        socket = runtime / "vram/sim-rtx4090@default.sock"
        journal = runtime / "vram/sim-rtx4090@default.journal"

        @staticmethod
        def started():
            return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []

        def write_journal(self, boot=None):
            self.directory.mkdir(mode=0o700, exist_ok=True)
            boot = boot or Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            self.journal.write_text(f"vram-journal 1 {boot}\n")

    yield Place()
    for daemon in Place.started():
        try:
            os.kill(daemon["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass
    shutil.rmtree(runtime)


def start(vram, *args, **kwargs):
    """A command that starts a daemon; the fake one knows no leases, so that it fails afterwards."""
    return vram("reserve", "4G", *args, **kwargs)


def test_it_is_detached(vram, place):
    read, write = os.pipe()
    start(vram, pass_fds=[write], env={"SECRET": "1", "VRAM_LEASE": "8f14e45fceea167a", "VRAM_CALL_TIMEOUT": "5",
                                       "LD_PRELOAD": ""})
    os.close(write)
    daemon, = place.started()
    assert os.read(read, 1) == b""  # nobody has kept the other end
    os.close(read)
    assert daemon["arguments"] == ["--on-demand", "--ready-fd", "3", "--driver", "sim:rtx4090", "--socket",
                                   str(place.socket)]
    assert set(daemon["descriptors"]) == {"0", "1", "2", "3"}
    assert daemon["descriptors"]["0"] == daemon["descriptors"]["1"] == "/dev/null"
    assert daemon["directory"] == "/"
    assert daemon["sid"] != daemon["pid"]  # it can never get a terminal
    assert os.getsid(daemon["pid"]) != os.getsid(0)
    assert {"PATH", "XDG_RUNTIME_DIR", "VRAM_CALL_TIMEOUT", "VRAM_SIM_DIR"} <= set(daemon["environment"])
    assert not {"SECRET", "LC_ALL", "TERM", "LD_PRELOAD", "VRAM_LEASE", "VRAM_DRIVER"} & set(daemon["environment"])
    assert int(daemon["masks"]["SigBlk:"], 16) == 0
    assert int(daemon["masks"]["SigIgn:"], 16) & ~(1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)) == 0
    assert place.directory.stat().st_mode & 0o777 == 0o700


def test_several_start_one(vram, place):
    clients = [vram.start("reserve", "4G", env={"VRAM_TEST_SLOW": "0.2"}) for _ in range(20)]
    errors = [client.communicate(timeout=60)[1] for client in clients]
    assert len(place.started()) == 1
    assert all(b"makes no sense" in error for error in errors)  # each has had an answer of it


def test_one_that_was_killed_is_replaced(vram, place):
    start(vram)
    first, = place.started()
    os.kill(first["pid"], signal.SIGKILL)
    while Path(f"/proc/{first['pid']}/fd").exists() and os.listdir(f"/proc/{first['pid']}/fd"):
        pass
    assert place.socket.exists()
    start(vram)
    assert len(place.started()) == 2


def test_one_that_fails_has_its_words_told(vram, place):
    run = start(vram, env={"VRAM_TEST_VRAMD": "fails"})
    assert run.status == 4
    assert "fake_vramd.py ended before it was ready: vramd: cannot lock the journal" in run.err
    assert "vram serve" in run.err
    as_json = start(vram, "--json", env={"VRAM_TEST_VRAMD": "fails"})
    assert (as_json.status, as_json.json["error"]["code"]) == (4, "daemon_failed")
    assert vram("run", "4G", "--", "true", env={"VRAM_TEST_VRAMD": "fails"}).status == 125


def test_none_installed(vram, place):
    run = start(vram, env={"VRAM_DAEMON": "/nowhere/vramd"})
    assert run.status == 4
    assert "vramd" in run.err and "/nowhere/vramd" in run.err


def test_a_directory_of_others(vram, place):
    place.directory.mkdir()
    place.directory.chmod(0o777)
    run = start(vram)
    assert run.status == 4
    assert "others may write in it" in run.err
    assert place.started() == []


def test_a_named_place_is_used(vram, place, tmp_path):
    start(vram, env={"VRAM_SOCKET": str(tmp_path / "here.sock")})
    daemon, = place.started()
    assert daemon["arguments"][-1] == str(tmp_path / "here.sock")


def test_none_is_asked(vram, place):
    run = start(vram, env={"VRAM_SOCKET": "none"})
    assert run.status == 4
    assert "VRAM_SOCKET is none" in run.err
    assert place.started() == []
    assert vram("status", env={"VRAM_SOCKET": "none"}).status == 0


def test_a_relative_socket_is_refused(vram, place):
    run = start(vram, env={"VRAM_SOCKET": "here.sock"})
    assert run.status == 2
    assert "no absolute path" in run.err


def test_a_relative_scenario_is_made_absolute(vram, place, tmp_path):
    (tmp_path / "a.scenario").write_text("driver 550.54.14\ngpu 0 total=24564M reserved=400M\n")
    start(vram, driver="sim:./a.scenario", cwd=tmp_path)
    daemon, = place.started()
    assert daemon["arguments"][4] == f"sim:{tmp_path}/./a.scenario"


def test_not_from_a_private_namespace(vram, place):
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("no PID namespace can be made here")
    env = vram.environment("auto")
    run = subprocess.run([*unshare, vram.path, "reserve", "4G"], env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode == 4
    assert "private PID namespace" in run.stderr
    assert place.started() == []
    subprocess.run([*unshare, vram.path, "reserve", "4G"], env=vram.environment(), capture_output=True, timeout=60)
    assert len(place.started()) == 1  # the simulated driver's processes are all of any namespace


# ---- Commands that only look -------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["status"], ["fit", "4G"], ["leases"], ["ps"]], ids=lambda args: args[0])
def test_looking_starts_none(vram, place, args):
    assert vram(*args).status == 0
    place.write_journal(boot="0c2e6ac2-0000-4000-8000-000000000000")
    assert vram(*args).status == 0  # another boot's promises are nobody's
    assert place.started() == []


@pytest.mark.parametrize("args", [["status"], ["fit", "4G"], ["leases"]], ids=lambda args: args[0])
def test_promises_of_this_boot_are_looked_after(vram, place, args):
    place.write_journal()
    vram(*args)
    assert len(place.started()) == 1


def test_promises_that_nobody_looks_after_are_told(vram, place):
    place.write_journal()
    run = vram("status", env={"VRAM_TEST_VRAMD": "fails"})
    assert run.status == 0
    assert "leases may stand whose daemon cannot be had" in run.err


def test_a_daemon_that_listens_is_taken(vram, place):
    place.directory.mkdir(mode=0o700)
    daemon = FakeDaemon(place.socket)
    client = vram.start("reserve", "4G")
    daemon.accept().error("not_promising", "no lease is granted: paused", 11)
    _, err = client.communicate(timeout=60)
    assert client.returncode == 4
    assert b"paused" in err
    assert place.started() == []


# ---- vram serve --------------------------------------------------------------------------------------


def test_serve_becomes_the_daemon(vram, place, tmp_path):
    process = vram.start("serve", "--forget", "--socket", str(tmp_path / "s"), "--driver", "sim:wsl",
                         env={"VRAM_TEST_VRAMD": "fails"})
    process.communicate(timeout=60)
    daemon, = place.started()
    assert daemon["pid"] == process.pid
    assert daemon["arguments"] == ["--driver", "sim:wsl", "--socket", str(tmp_path / "s"), "--forget"]
    assert process.returncode == 1  # its own


def test_serve_without_a_daemon(vram, place):
    run = vram("serve", env={"VRAM_DAEMON": "/nowhere"})
    assert run.status == 4
    assert "vramd" in run.err
