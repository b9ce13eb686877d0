# SPDX-License-Identifier: MIT
"""Containers that all are root's, each with a label that names its user: what a daemon for many counts for whom.

The cgroups and processes are real; what Docker would have written of them lies where Docker has it, in a mount namespace of the
daemon's own.
"""
import json
import os

import pytest
from conftest import VRAM, VRAM_SIM, eventually
from leasing import IS_ROOT, Crowd, when

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root can say what root's containers are")
ADA, BOB, EVIL = ("a" * 64, "b" * 64, "e" * 64)
LABELS = {ADA: "ada-lab", BOB: "bob-lab", EVIL: "x\x1b[31m\nroot"}


@pytest.fixture
def machine(make_daemon, cgroup, tmp_path):
    """Starts a daemon on a machine with Docker: ADA, BOB and EVIL are containers."""
    crowds, places = [], {}
    for id, label in LABELS.items():
        directory = tmp_path / "docker/containers" / id
        directory.mkdir(parents=True)
        (directory / "config.v2.json").write_text(json.dumps({"ID": id, "Config": {"Labels": {"vram.user": label}}}))
        (directory / "config.v2.json").chmod(0o600)

    class Machine:
        def __init__(self):
            self.daemon = make_daemon("sim:rtx4090")
            self.log = open(tmp_path / "log", "w+")
            self.crowd = Crowd(self.daemon)
            crowds.append(self.crowd)

        def start(self, config=""):
            (tmp_path / "vram.conf").write_text(config)
            mounts = f'mount -t tmpfs none /var/lib && cp -rp {tmp_path}/docker /var/lib/docker && exec "$@"'
            self.daemon.start("--config", str(tmp_path / "vram.conf"), "--history", str(tmp_path / "history.db"),
                              wrap=("unshare", "--mount", "sh", "-c", mounts, "sh"), stderr=self.log)
            if self.daemon.ready != "ready":
                pytest.skip("no namespaces may be made here")
            return self.daemon

        def said(self):
            self.log.seek(0)
            return self.log.read()

        def inside(self, id, *command):
            """A process that is in that container from its first step on."""
            if id not in places:
                places[id] = cgroup(f"docker-{id}.scope")[0]
            return self.crowd.spawn("sh", "-c", f'echo $$ > {places[id]}/cgroup.procs && exec "$@"', "sh", *command)

        def hold(self, id, size):
            return self.crowd.holds(self.inside(id, VRAM_SIM, "hold", size))

        def lease(self, id, size, *command):
            return self.inside(id, VRAM, "run", size, "--", *(command or ("cat",)))

    yield Machine()
    for crowd in crowds:
        crowd.end()


def users(daemon):
    processes = daemon.snapshot("?take=processes")["gpus"][0]["processes"]
    return {process["pid"]: process["user"] for process in processes if process["user"]}  # those that can be seen


def test_container__its_user_is_seen_everywhere(machine, tmp_path):
    daemon = machine.start()
    process, outside = machine.hold(ADA, "1G"), machine.crowd.spawn(VRAM_SIM, "hold", "1G")
    machine.crowd.holds(outside)
    assert users(daemon)[process.pid] == "ada-lab" and users(daemon)[outside.pid] == "root"
    machine.lease(ADA, "2G")
    listed = when(daemon, lambda listed: listed["leases"], "it holds")
    assert listed["leases"][0]["user"] == "ada-lab"
    metrics = daemon.get("/metrics").body.decode()
    assert 'user="ada-lab"' in metrics
    past = daemon.get("/v1/processes").json
    if "processes" in past:
        assert {one["pid"]: one["user"] for one in past["processes"]}[process.pid] == "ada-lab"
        granted, = daemon.get("/v1/events?kind=lease_granted").json["events"]
        assert granted["user"] == "ada-lab"


def test_container__a_label_is_counted_as_a_user_has_limits_and_comes_back(machine):
    """The machine's root has none; whom a label names has those of [users], and of its own section."""
    config = "[users]\nmemory = 4G\n[user bob-lab]\nmemory = 10G\n"
    daemon = machine.start(config)
    machine.lease(ADA, "3G")
    when(daemon, lambda listed: len(listed["leases"]) == 1, "the first holds")
    machine.lease(ADA, "3G")
    limit = "ada-lab may lease 4.0 GiB at once, and has 3.0 GiB on 1 GPU in 1 lease"
    listed = when(daemon, lambda listed: listed["waiters"] and limit in listed["waiters"][0]["waits_for"], "the second waits")
    assert listed["waiters"][0]["user"] == "ada-lab"
    machine.lease(BOB, "9G")
    when(daemon, lambda listed: len(listed["leases"]) == 2, "another's holds")
    daemon.process.kill()
    daemon.process.wait()
    daemon = machine.start(config)
    listed = when(daemon, lambda listed: len(listed["leases"]) == 2 and listed["waiters"], "all are there again")
    assert sorted(lease["user"] for lease in listed["leases"]) == ["ada-lab", "bob-lab"]
    assert listed["waiters"][0]["user"] == "ada-lab"
    when(daemon, lambda listed: limit in listed["waiters"][0]["waits_for"], "it waits for its own")


def test_container__what_may_be_ended_is_a_matter_of_the_uid(machine):
    daemon = machine.start()
    machine.lease(ADA, "2G")
    lease, = when(daemon, lambda listed: listed["leases"], "it holds")["leases"]
    release = machine.inside(BOB, VRAM, "release", lease["id"])
    assert release.wait() == 0, release.stderr.read()
    when(daemon, lambda listed: not listed["leases"], "root has ended it")


def test_container__a_label_that_names_nobody_is_said_once(machine):
    daemon = machine.start()
    process, other = machine.hold(EVIL, "1G"), machine.hold(EVIL, "1G")
    for _ in range(3):
        assert users(daemon) == {process.pid: "root", other.pid: "root"}
    eventually(lambda: "vram.user is not obeyed" in machine.said(), "it is said")
    assert machine.said().count(f"container {EVIL[:12]}: its label vram.user is not obeyed") == 1
    assert "\x1b" not in machine.said()


def test_container__another_label_or_none(machine, tmp_path):
    daemon = machine.start("[daemon]\ncontainer_user_label =\n")
    process = machine.hold(ADA, "1G")
    assert users(daemon) == {process.pid: "root"}
    (tmp_path / "vram.conf").write_text("[daemon]\ncontainer_user_label = vram.user\n")
    os.kill(daemon.pid, 1)
    eventually(lambda: users(daemon) == {process.pid: "ada-lab"}, "the configuration is read again")
