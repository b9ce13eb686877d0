# SPDX-License-Identifier: MIT
"""The command that the daemon runs for each event: real shells, that read, hang, flood and fail."""
import json
import os
import signal
import subprocess
import time

import pytest
from conftest import alive, eventually
from leasing import MIB, Crowd, kill


class Told:
    """A daemon whose command's traces are in a directory."""

    def __init__(self, daemon, directory):
        self.daemon, self.directory = daemon, directory
        self.config = directory / "vram.conf"
        self.file = directory / "told"

    def configure(self, command, more=""):
        """Lines of the configuration are short: what the shell is to do is in a file that it reads."""
        script = self.directory / f"script.{len(command)}"
        script.write_text(command + "\n")
        self.config.write_text(f"[daemon]\non_event = {f'. {script}' if command else ''}\n{more}")

    def start(self, command=None, more="", **kwargs):
        self.configure(command or f"cat >> {self.file}", more)
        self.daemon.start("--config", self.config, stderr=subprocess.PIPE, text=True, **kwargs)
        assert self.daemon.ready == "ready"
        if "without SQLite" in self.daemon.get("/v1/history").body.decode():
            pytest.skip("this vramd was built without SQLite")
        return self

    def reload(self, command, more=""):
        self.configure(command, more)
        os.kill(self.daemon.pid, signal.SIGHUP)
        self.daemon.snapshot()

    def look(self):
        return self.daemon.snapshot("?take=processes")

    def events(self):
        """The whole lines so far."""
        text = self.file.read_text() if self.file.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def kinds(self):
        return [event["kind"] for event in self.events()]

    def wait(self, kind, number=1):
        eventually(lambda: self.kinds().count(kind) >= number, f"{kind} is told")
        return [event for event in self.events() if event["kind"] == kind]

    def log(self):
        """All that it said, once it has ended."""
        assert self.daemon.stop() == 0
        return self.daemon.process.stderr.read()


@pytest.fixture
def told(make_daemon, tmp_path):
    return Told(make_daemon(), tmp_path)


# ---- What is told ---------------------------------------------------------------------------------


def test_on_event__processes_begin_end_and_are_suspected(told, hold):
    told.start()
    free = told.look()["gpus"][0]["free_bytes"]
    uuid = told.look()["gpus"][0]["uuid"]
    holder = hold(told.daemon, f"{free // MIB - 100}M")
    told.look()
    kill(holder)
    told.look()
    ended = told.wait("process_ended")[0]
    assert told.kinds() == ["daemon_started", "nearly_full", "process_started", "oom_suspected", "process_ended"]
    assert all(event["schema"] == 1 and event["dropped"] == 0 and event["at"].endswith("Z") for event in told.events())
    assert (ended["gpu"], ended["gpu_index"], ended["pid"], ended["name"]) == (uuid, 0, holder.pid, "vram-sim")
    assert ended["bytes"] == free // MIB * MIB - 100 * MIB
    assert told.daemon.get("/v1/events").status == 503  # no history is kept, and events are told all the same


def test_on_event__a_gpu_is_lost_and_comes_back(told):
    told.start(more="on_event_kinds = gpu_lost,gpu_back\n")
    told.look()
    told.daemon.sim("inject", "gpu 0 lost")
    told.look()
    told.wait("gpu_lost")
    told.daemon.sim("inject", "gpu 0 back")
    eventually(lambda: told.look()["gpus"][0]["state"] == "ok" and "gpu_back" in told.kinds(), "it is back")
    assert told.kinds() == ["gpu_lost", "gpu_back"]


def test_on_event__leases_are_told_with_what_they_are_called_and_never_run(told):
    told.start()
    crowd = Crowd(told.daemon)
    label = "$(kill -9 $PPID)`kill -9 $PPID`'\";kill -9 $PPID #"
    try:
        first = crowd.hold("14G", options=("--label", label))
        queue = crowd.queue("10G", "true", options=("--label", "second"))
        kill(first)
        assert queue.wait() == 0
        told.wait("lease_ended", 2)
        story = [(event["kind"], event["name"]) for event in told.events() if event["kind"].startswith("lease_")]
        assert story[:2] == [("lease_granted", label), ("lease_queued", "second")]
        assert ("lease_ended", label) in story and ("lease_granted", "second") in story
        assert alive(told.daemon.pid)
    finally:
        crowd.end()


def test_on_event__a_lease_that_stands_is_no_news_to_the_next_daemon(told):
    told.start()
    crowd = Crowd(told.daemon)
    try:
        holder = crowd.hold("4G")
        told.wait("lease_granted")
        told.daemon.stop(signal.SIGKILL)
        told.start()
        kill(holder)
        told.wait("lease_ended")
        assert told.kinds().count("lease_granted") == 1
    finally:
        crowd.end()


def test_on_event__with_a_history_both_have_the_same(told, hold):
    told.start(more="history = on\n", env={"XDG_STATE_HOME": str(told.directory / "xdg")})
    told.look()
    kill(hold(told.daemon, "2G"))
    told.look()
    kept = [event["kind"] for event in reversed(told.daemon.get("/v1/events").json["events"])]
    eventually(lambda: told.kinds() == kept, "all that is kept is told")


def test_on_event__only_the_kinds_that_are_named(told, hold):
    told.start(more="on_event_kinds = gpu_lost, process_ended\n")
    told.look()
    kill(hold(told.daemon, "2G"))
    told.look()
    holder = hold(told.daemon, "2G")
    told.look()
    kill(holder)
    told.look()
    told.wait("process_ended")
    assert set(told.kinds()) == {"process_ended"}


def test_on_event__settings_that_cannot_be_are_told(make_daemon, tmp_path):
    config = tmp_path / "vram.conf"
    for line in ("on_event = first ; second", "on_event_kinds = nearly_full,x", "on_event_kinds = a b", "on_event_timeout = 1ms",
                 "on_event_timeout = 2h",
                 "on_event = " + "x" * 300):
        config.write_text(f"[daemon]\n{line}\n")
        assert f"{config}:2: " in make_daemon().start("--config", config, stderr=subprocess.DEVNULL).ready, line


# ---- How it is run --------------------------------------------------------------------------------


def test_on_event__it_has_nothing_of_the_daemons(told):
    seen = told.directory / "seen"
    told.start(f"(ls -l /proc/self/fd/ | tail -n +2; pwd; ps -o sid= -p $$; env) > {seen}.part; echo $$ >> {seen}.part; "
               f"mv {seen}.part {seen}", more="on_event_kinds = daemon_started\n",
               env={"SECRET_TOKEN": "x", "NOTIFY_SOCKET": "/x", "VRAM_LEASE": "0123456789abcdef", "HOME": "/somewhere"})
    eventually(seen.exists, "it was run")
    lines = seen.read_text().splitlines()
    descriptors = [line.split(" -> ")[1] for line in lines if " -> " in line]
    assert [one.split(":")[0] for one in descriptors[:1]] == ["pipe"]
    assert all(one.startswith(("pipe:", "/proc/", str(seen))) for one in descriptors), descriptors
    rest = [line for line in lines if " -> " not in line]
    assert rest[0] == "/"
    assert rest[1].strip() == rest[-1]  # it leads a session
    names = {line.split("=")[0] for line in rest[2:-1]}
    assert "HOME" in names and "VRAM_SOCKET" in names and "PATH" in names
    assert not names & {"SECRET_TOKEN", "NOTIFY_SOCKET", "VRAM_LEASE"}


def test_on_event__one_at_a_time_and_what_is_too_much_is_counted(told):
    gate, number = told.directory / "gate", 90
    os.mkfifo(gate)
    told.start(f"test -e {told.directory}/open || read line < {gate}; cat >> {told.file}", more="on_event_timeout = 1m\n")
    told.look()
    for i in range(number):
        told.daemon.sim("inject", f"proc 0 pid={4190000 + i} name=one mem=64M")
    told.look()
    before = time.monotonic()
    assert told.look()["gpus"]  # and it answers
    assert time.monotonic() - before < 5
    assert told.events() == []
    (told.directory / "open").touch()
    gate.write_text("go\n")
    started = told.wait("process_started", 58)  # of 60 that may be run at once; one was the daemon's start
    counted = [event["dropped"] for event in told.events()]
    assert counted[0] == 0 and sum(counted) == number - 64
    assert len({event["pid"] for event in started}) == len(started)
    assert told.log().count("more happens than the command is run for") == 1


def test_on_event__the_configuration_is_read_again(told, hold):
    told.start(f"echo first >> {told.directory}/first")
    eventually((told.directory / "first").exists, "the first is run")
    told.reload(f"cat >> {told.file}")
    holder = hold(told.daemon, "1G")
    told.look()
    kill(holder)
    told.look()
    told.wait("process_ended")
    told.reload("")
    told.look()
    before = told.file.read_text()
    holder = hold(told.daemon, "1G")
    told.look()
    assert told.log().count("said") == 0 and told.file.read_text() == before


# ---- Trouble --------------------------------------------------------------------------------------


def some_events(told, hold):
    """Three processes come and go."""
    told.look()
    for _ in range(3):
        holder = hold(told.daemon, "1G")
        told.look()
        kill(holder)
        told.look()


@pytest.mark.parametrize("command, said", [
    ("/nonexistent/command", "(status 127)"),
    ("/etc/passwd", "(status 126)"),
    ("cat > /dev/null; exit 7", "ended with status 7"),
    ("kill -9 $$", "ended by signal 9"),
], ids=["missing", "no_program", "fails", "killed"])
def test_trouble__it_is_told_once_and_all_else_goes_on(told, hold, command, said):
    runs = told.directory / "runs"
    told.start(f"echo run >> {runs}; {command}")
    some_events(told, hold)
    eventually(lambda: runs.exists() and runs.read_text().count("run") == 7, "all were run")
    assert told.look()["gpus"]
    log = told.log()
    assert log.count(said) == 1, log


def test_trouble__one_that_hangs_is_killed_with_all_its_children(told, hold):
    pids = told.directory / "pids"
    told.start(f"sleep 1000 & sleep 1001 | sleep 1002 & ps -o pid= --sid $$ >> {pids}; trap '' TERM; sleep 1003",
               more="on_event_timeout = 300ms\n")
    before = time.monotonic()
    told.look()
    assert time.monotonic() - before < 5
    some_events(told, hold)
    started = eventually(lambda: pids.exists() and pids.read_text().split(), "it was run")
    eventually(lambda: not any(alive(int(pid)) for pid in started), "all of them are gone")
    eventually(lambda: len(pids.read_text().split()) > len(started), "the next is run")
    log = told.log()
    assert log.count("did not end within 300 ms and was killed") == 1, log
    eventually(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()), "nothing outlives the daemon")


def test_trouble__what_it_leaves_behind_is_killed(told):
    left = told.directory / "left"
    told.start(f"sleep 1000 & echo $! > {left}.part; mv {left}.part {left}")
    pid = int(eventually(lambda: left.exists() and left.read_text(), "it was run"))
    eventually(lambda: not alive(pid), "its child is gone")


def test_trouble__one_that_floods_is_cut_short(told, hold):
    told.start("echo begin; yes 0123456789012345678901234567890123456789", more="on_event_timeout = 1m\n")
    some_events(told, hold)
    eventually(lambda: told.look() and True, "it answers")
    log = told.log()
    assert "the command says: begin" in log
    assert log.count("writes more than 65536 bytes") == 1, log[:2000]
    assert len(log) < 8 * 2048


def test_trouble__what_it_writes_is_logged_as_text(told):
    told.start("printf 'a\\033[31mb\\n\\377\\n'; exit 0", more="on_event_kinds = daemon_started\n")
    told.look()
    done = told.directory / "done"
    told.reload(f"touch {done}", "on_event_kinds = process_started\n")
    told.daemon.sim("inject", "proc 0 pid=4190001 name=one mem=64M")
    told.look()
    eventually(done.exists, "the next is run")
    log = told.log()
    assert "the command says: a?[31mb\n" in log and "\033" not in log


def test_trouble__the_end_does_not_wait_for_it(told):
    pid_file = told.directory / "pid"
    told.start(f"echo $$ > {pid_file}.part; mv {pid_file}.part {pid_file}; sleep 1000", more="on_event_timeout = 1h\n")
    pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text(), "it was run"))
    before = time.monotonic()
    assert told.daemon.stop() == 0
    assert time.monotonic() - before < 10
    eventually(lambda: not alive(pid), "it is gone")
