# SPDX-License-Identifier: MIT
"""Where the daemon listens, who else does, and how it begins and ends."""
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest
from conftest import DEADLINE, VRAMD, eventually, read_all


def log(tmp_path):
    return open(tmp_path / "log", "ab")


def logged(tmp_path):
    return (tmp_path / "log").read_text()


# ---- The socket ------------------------------------------------------------------------------


def test_place__has_the_modes_that_it_should(daemon):
    expected = (0o666, 0o755) if os.geteuid() == 0 else (0o600, 0o700)
    assert (stat.S_IMODE(daemon.socket.stat().st_mode), stat.S_IMODE(daemon.socket.parent.stat().st_mode)) == expected
    assert stat.S_IMODE(daemon.socket.with_suffix(".lock").stat().st_mode) == 0o600


def test_place__a_second_daemon_is_kept_out(daemon, make_daemon, tmp_path):
    second = make_daemon(driver="sim:2x3090").start(stderr=log(tmp_path))
    assert second.process.wait(DEADLINE) == 4
    assert str(daemon.pid) in second.ready and "another vramd" in logged(tmp_path)
    assert daemon.get("/v1/daemon").json["pid"] == daemon.pid


def test_place__is_free_after_a_kill(daemon):
    first = daemon.pid
    daemon.stop(signal.SIGKILL)
    assert daemon.socket.exists()
    with pytest.raises(ConnectionRefusedError):
        daemon.get("/v1/daemon")
    assert daemon.start().ready == "ready"
    assert daemon.get("/v1/daemon").json["pid"] == daemon.pid != first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_place__is_left_clean(daemon, number):
    daemon.snapshot()
    assert daemon.stop(number) == 0
    assert os.listdir(daemon.socket.parent) == ["vram.lock"]


def test_place__another_file_in_it_is_replaced(make_daemon):
    daemon = make_daemon()
    daemon.socket.parent.mkdir()
    daemon.socket.write_text("")
    assert daemon.start().ready == "ready"
    assert daemon.get("/v1/daemon").status == 200


def test_place__a_directory_open_to_all_is_refused(make_daemon, tmp_path):
    daemon = make_daemon()
    daemon.socket.parent.mkdir()
    daemon.socket.parent.chmod(0o777)
    daemon.start(stderr=log(tmp_path))
    assert daemon.process.wait(DEADLINE) == 4
    assert "can be written to by other users" in logged(tmp_path)


@pytest.mark.parametrize("length, status", [(150, 2), (107, 4)])
def test_place__a_path_too_long_is_told(make_daemon, tmp_path, length, status):
    daemon = make_daemon()
    path = str(tmp_path) + "/" + "x" * (length - len(str(tmp_path)) - 6) + ".sock"
    daemon.start("--socket", path, stderr=log(tmp_path))
    assert daemon.process.wait(DEADLINE) == status
    assert "too long" in logged(tmp_path)


@pytest.mark.parametrize("what", ["socket", "directory", "lock"])
def test_place__removed_is_made_anew(daemon, what):
    epoch = daemon.snapshot()["epoch"]
    waiting = daemon.connect(b"GET /v1/snapshot?after=%d&timeout_ms=2000 HTTP/1.0\r\n\r\n" % epoch)
    assert daemon.get("/v1/daemon").status == 200  # and so the one before has been read
    if what == "directory":
        shutil.rmtree(daemon.socket.parent)
    else:
        (daemon.socket if what == "socket" else daemon.socket.with_suffix(".lock")).unlink()
    eventually(daemon.socket.exists, "a new socket")
    eventually(daemon.socket.with_suffix(".lock").exists, "a new lock")

    def answers():
        try:
            return daemon.get("/v1/daemon").json["pid"] == daemon.pid
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
            return False
    eventually(answers, "the daemon answers there")
    assert read_all(waiting).startswith(b"HTTP/1.0 200 ")  # connections live on
    waiting.close()


def test_place__its_parent_removed_is_waited_for(make_daemon, tmp_path):
    daemon = make_daemon(directory=tmp_path)
    above = tmp_path / "run"
    above.mkdir()
    daemon.socket = above / "vram" / "vram.sock"
    daemon.env["VRAM_SOCKET"] = str(daemon.socket)
    assert daemon.start(stderr=log(tmp_path)).ready == "ready"
    shutil.rmtree(above)
    eventually(lambda: "trying again" in logged(tmp_path), "it is told")
    above.mkdir()
    eventually(daemon.socket.exists, "a new socket")
    assert daemon.get("/v1/daemon").status == 200


# ---- The grantor -----------------------------------------------------------------------------


@pytest.mark.parametrize("env", [{}, {"VRAMD_WITHOUT": "peerpidfd"}])
def test_grantor__there_is_one_and_it_is_named(daemon, make_daemon, tmp_path, env):
    (tmp_path / "b").mkdir()
    second = make_daemon(directory=tmp_path / "b")
    second.env["VRAM_SIM_STATE_DIR"] = daemon.env["VRAM_SIM_STATE_DIR"]  # the same machine
    assert second.start(env=env).ready == "ready"
    told = second.get("/v1/daemon").json
    assert told["promising"] is False and told["reason"] == "other_daemon"
    assert str(daemon.pid) in told["message"]
    assert second.snapshot()["gpus"]  # figures all the same
    epoch = second.snapshot()["epoch"]
    daemon.stop(signal.SIGKILL)
    eventually(lambda: second.get("/v1/daemon").json["promising"], "the lock is taken over")
    assert second.snapshot()["epoch"] > epoch


def test_grantor__machines_have_one_each(daemon, make_daemon, tmp_path):
    (tmp_path / "b").mkdir()
    other = make_daemon(driver="sim:rtx4090@other", directory=tmp_path / "b")
    other.env["VRAM_SIM_STATE_DIR"] = daemon.env["VRAM_SIM_STATE_DIR"]
    other.start()
    assert other.get("/v1/daemon").json["promising"] is True


# ---- Service managers ------------------------------------------------------------------------


def activate(daemon, listener, *args, **kwargs):
    """Starts it as systemd does: the socket is descriptor 3, and the environment says so."""
    script = ('import os, sys; os.dup2(int(sys.argv[1]), 3); '
              'os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1"); os.execv(sys.argv[2], sys.argv[2:])')
    return daemon.start(*args, wrap=(sys.executable, "-c", script, str(listener.fileno())),
                        pass_fds=(listener.fileno(),), **kwargs)


def test_activation__serves_the_given_socket(make_daemon, tmp_path):
    daemon = make_daemon()
    daemon.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(daemon.socket))
        listener.listen()
        inode = daemon.socket.stat().st_ino
        early = daemon.connect(b"GET /v1/daemon HTTP/1.0\r\n\r\n")  # before there is a daemon
        assert activate(daemon, listener).ready == "ready"
        assert json.loads(early.makefile("rb").read().split(b"\r\n\r\n")[1])["pid"] == daemon.pid
        early.close()
        assert daemon.socket.stat().st_ino == inode
        environment = open(f"/proc/{daemon.pid}/environ", "rb").read()
        assert b"LISTEN_FDS" in environment  # the kernel's copy; the collector's has none
        daemon.snapshot()
        assert b"LISTEN_" not in open(f"/proc/{daemon.collector()}/environ", "rb").read()
        assert daemon.stop() == 0
        assert daemon.socket.exists()  # it is the service manager's


def test_activation__what_is_no_listening_socket_is_refused(make_daemon, tmp_path):
    daemon = make_daemon()
    with socket.socket(socket.AF_UNIX) as listener:
        activate(daemon, listener, stderr=log(tmp_path))
    assert daemon.process.wait(DEADLINE) == 4


def test_notify__says_when_it_is_ready_and_ends(make_daemon, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE)
        manager.bind(str(tmp_path / "notify"))
        daemon = make_daemon().start(env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(100) == b"READY=1"
        daemon.stop()
        assert manager.recv(100) == b"STOPPING=1"


def test_log__has_priorities_for_the_journal_alone(make_daemon, tmp_path):
    daemon = make_daemon().start(stderr=log(tmp_path), env={"JOURNAL_STREAM": "8:1"})
    daemon.stop()
    assert logged(tmp_path).startswith("<6>serving")
    daemon.start(stderr=open(tmp_path / "log", "wb"))
    daemon.stop()
    assert logged(tmp_path).startswith("vramd: serving")


# ---- On demand -------------------------------------------------------------------------------


def test_linger__ends_when_nobody_needs_it(make_daemon):
    daemon = make_daemon().start("--linger", "1s")
    epoch = daemon.snapshot()["epoch"]
    waiting = daemon.connect(b"GET /v1/snapshot?after=%d HTTP/1.0\r\n\r\n" % epoch)
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(3)  # somebody waits
    waiting.close()
    assert daemon.process.wait(DEADLINE) == 0
    assert not daemon.socket.exists()


def test_linger__not_while_it_is_paused(make_daemon):
    daemon = make_daemon().start("--linger", "500ms")
    daemon.call("POST", "/v1/pause")
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(3)
    daemon.call("POST", "/v1/resume")
    assert daemon.process.wait(DEADLINE) == 0


def test_start__of_many_at_once_one_serves(make_daemon, tmp_path):
    daemons = [make_daemon() for _ in range(20)]
    threads = [threading.Thread(target=daemon.start) for daemon in daemons]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    serving = [daemon for daemon in daemons if daemon.ready == "ready"]
    assert len(serving) == 1
    assert serving[0].get("/v1/daemon").json["pid"] == serving[0].pid
    for daemon in daemons:
        if daemon is not serving[0]:
            assert daemon.process.wait(DEADLINE) == 4 and "another vramd" in daemon.ready


# ---- The command line ------------------------------------------------------------------------


@pytest.mark.parametrize("args, status", [
    (["--help"], 0), (["--version"], 0), (["--socket", "relative.sock"], 2), (["--linger", "soon"], 2),
    (["--linger", "0"], 2), (["--ready-fd", "99"], 2), (["--ready-fd", "1"], 2), (["--what"], 2), (["word"], 2),
    (["--driver", "cuda"], 2)])
def test_options__are_checked(make_daemon, args, status):
    daemon = make_daemon()
    run = subprocess.run([VRAMD, *args], env=daemon.env, capture_output=True, text=True, timeout=DEADLINE)
    assert run.returncode == status
    assert run.stdout if status == 0 else run.stderr.startswith("vramd: ") or "vramd: " in run.stderr


def test_options__help_names_them_all(make_daemon):
    run = subprocess.run([VRAMD, "--help"], capture_output=True, text=True, check=True)
    for option in ("--driver", "--socket", "--config", "--on-demand", "--linger", "--ready-fd", "--forget"):
        assert option in run.stdout


def test_descriptors__closed_ones_are_no_trouble(make_daemon):
    daemon = make_daemon()
    daemon.start(wrap=("sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh"))
    assert daemon.ready == "ready"
    assert daemon.snapshot()["gpus"]
