# SPDX-License-Identifier: MIT
"""Many users at a daemon for the whole machine: turns, limits, drained GPUs, ends that are told before."""
import json
import re
import tempfile
from pathlib import Path

import pytest

from conftest import VRAM_SIM, Daemon, eventually
from leasing import GIB, IS_ROOT, Crowd, Request, change, end, granted, ids, leases, when
from test_lease_rights import ADA, ADMINS, BOB, EVE, as_user, ask_as, code

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="only root can be several users")
GROUPS = "[daemon]\nlease_group = nogroup\nadmin_group = man\n"


@pytest.fixture
def system():
    """Starts a daemon that all users can reach, with this configuration."""
    with tempfile.TemporaryDirectory(prefix="vram-") as directory:
        Path(directory).chmod(0o755)
        started = []

        def start(more="", driver="sim:rtx4090"):
            config = Path(directory, "vram.conf")
            config.write_text(GROUPS + more)
            daemon = started[0] if started else Daemon(directory, driver)
            daemon.log = open(Path(directory, "log"), "w+")
            daemon.start("--config", str(config), stderr=daemon.log)
            assert daemon.ready == "ready"
            started.append(daemon)
            return daemon
        yield start
        for daemon in started:
            daemon.process.kill()
            daemon.process.wait()


@pytest.fixture
def users(system):
    made = []

    def start(daemon):
        made.append(Crowd(daemon))
        return made[-1]
    yield start
    for crowd in made:
        crowd.end()


def said(daemon):
    daemon.log.seek(0)
    return daemon.log.read()


def queue_as(crowd, uid, size, **kwargs):
    """A process of that user's that waits for a lease."""
    process = crowd.run(size, "cat", user=uid, group=uid, extra_groups=[65534], **kwargs)
    assert process.stderr.readline().startswith("vram: waiting, number ")
    return process


def holder(daemon):
    return when(daemon, lambda listed: len(listed["leases"]) == 1, "one holds")["leases"][0]


def test_turns__a_single_job_waits_for_one_of_many(system, users):
    """Forty of one user's that came before do not keep another's waiting for more than the one that runs."""
    daemon = system()
    crowd = users(daemon)
    running = crowd.run("20G", "cat", user=ADA, group=ADA, extra_groups=[65534])
    holder(daemon)
    queue_as(crowd, ADA, "20G")
    for _ in range(39):
        crowd.run("20G", "cat", user=ADA, group=ADA, extra_groups=[65534])
    when(daemon, lambda listed: len(listed["waiters"]) == 40, "forty wait")
    single = queue_as(crowd, BOB, "20G")
    mine = [one for one in leases(daemon)["waiters"] if one["user"] == str(BOB)]
    assert [one["position"] for one in mine] == [1]
    running.kill()
    when(daemon, lambda listed: [one["owner_pid"] for one in listed["leases"]] == [single.pid], "the single one holds")
    assert len(leases(daemon)["waiters"]) == 40
    single.kill()
    assert when(daemon, lambda listed: listed["leases"] and listed["leases"][0]["owner_pid"] != single.pid,
                "the next holds")["leases"][0]["user"] == str(ADA)


def test_limits__are_refused_or_waited_for(system, users):
    daemon = system(f"[users]\nmemory = 10G\nwaiters = 1\n[user {BOB}]\nmemory = 20G\n")
    crowd = users(daemon)
    status, answer = ask_as(daemon, ADA, 11 * GIB)
    assert (status, answer["verdict"]) == (200, "never")
    assert f"{ADA} may lease 10.0 GiB at once, and has none" in answer["message"]
    own = [crowd.spawn("cat", user=ADA, group=ADA, extra_groups=[]) for _ in range(3)]
    first = granted(ask_as(daemon, ADA, 6 * GIB, owner={"pid": own[0].pid})[1])
    status, answer = ask_as(daemon, ADA, 6 * GIB, owner={"pid": own[1].pid})
    assert answer["verdict"] == "not_now" and "the end of other leases" in answer["message"]
    process = queue_as(crowd, ADA, "6G")
    assert "may lease 10.0 GiB at once, and has 6.0 GiB on 1 GPU in 1 lease" in leases(daemon)["waiters"][0]["waits_for"]
    assert code(ask_as(daemon, ADA, 6 * GIB, owner={"pid": own[2].pid}, wait_ms=None)) == (429, "too_many")
    granted(ask_as(daemon, BOB, 12 * GIB)[1])  # whom it does not hold back
    assert as_user(daemon, ADA, "DELETE", f"/v1/leases/{first['id']}")[0] == 200
    when(daemon, lambda listed: process.pid in [one["owner_pid"] for one in listed["leases"]], "its turn comes")


def test_drain__is_for_administrators_and_is_kept(system, users):
    daemon = system(driver="sim:2x3090")
    crowd = users(daemon)
    uuids = [gpu["uuid"] for gpu in daemon.snapshot()["gpus"]]
    body = {"gpu": uuids[0]}
    assert code(as_user(daemon, EVE, "POST", "/v1/drain", body)) == (403, "forbidden")
    assert code(as_user(daemon, EVE, "POST", "/v1/drain", {"gpu": "GPU-none"}, groups=[ADMINS])) == (404, "not_found")
    for bad in ({}, {"gpu": 1}, {"gpu": ""}, {"gpu": "x" * 200}):
        assert daemon.call("POST", "/v1/drain", body=json.dumps(bad)).status == 400
    stays = granted(Request(daemon, GIB, owner={"pid": crowd.idler().pid}, candidates=[uuids[0]]).answer())
    assert as_user(daemon, EVE, "POST", "/v1/drain", body, groups=[ADMINS])[1]["drained"] is True
    assert re.search(rf"GPU 0 \({uuids[0]}\) was drained by {EVE}, process \d+", said(daemon))
    assert ids(leases(daemon)["leases"]) == [stays["id"]]
    request = Request(daemon, GIB, owner={"pid": crowd.idler().pid}, candidates=[uuids[0]])
    assert "vram undrain" in request.wait()["waits_for"]
    assert granted(Request(daemon, GIB, owner={"pid": crowd.idler().pid}).answer())["gpus"] == [uuids[1]]
    assert daemon.vram("fit", "20G", "--gpu", "0").returncode == 1
    assert "drained: no new lease is granted here" in daemon.vram("status").stdout
    assert "GPU 0 is drained" in daemon.vram("leases").stderr
    told, = (one for one in json.loads(daemon.vram("doctor", "--json").stdout)["findings"] if one["id"] == "D38")
    assert told["evidence"] == "GPU 0" and "sudo vram undrain 0" in told["remedy"]
    request.hang_up()
    crowd.end()
    when(daemon, lambda listed: not listed["leases"], "all end")
    daemon.process.kill()  # it is written down
    daemon.process.wait()
    system()
    assert [gpu["drained"] for gpu in daemon.snapshot()["gpus"]] == [True, False]
    assert daemon.stop() == 0  # also where nothing else was to be kept
    system()
    assert [gpu["drained"] for gpu in daemon.snapshot()["gpus"]] == [True, False]
    undrained = daemon.vram("undrain", "0", "--json")
    assert (undrained.returncode, json.loads(undrained.stdout)["drained"]) == (0, False)
    assert [gpu["drained"] for gpu in daemon.snapshot()["gpus"]] == [False, False]
    assert daemon.vram("drain", "7").returncode == 2
    assert "`vram undrain 1`" in daemon.vram("drain", "1").stderr


def test_audit__what_an_administrator_ends_is_logged(system, users):
    daemon = system()
    crowd = users(daemon)
    process = crowd.spawn("cat", user=ADA, group=ADA, extra_groups=[])
    lease = granted(ask_as(daemon, ADA, owner={"pid": process.pid}, label="train")[1])
    assert as_user(daemon, BOB, "DELETE", f"/v1/leases/{lease['id']}", groups=[ADMINS])[0] == 200
    assert re.search(rf"lease {lease['id']} of {ADA} \(train\) was ended by {BOB}, process \d+", said(daemon))
    own = granted(ask_as(daemon, ADA, owner={"pid": process.pid})[1])
    assert as_user(daemon, ADA, "DELETE", f"/v1/leases/{own['id']}")[0] == 200
    assert f"lease {own['id']} of {ADA} was ended by" not in said(daemon)


def test_ends__are_told_before(system, users):
    daemon = system()
    crowd = users(daemon)
    lease = granted(Request(daemon, GIB, owner={"pid": crowd.idler().pid}, for_ms=60400).answer())
    assert (lease["ends"], lease["until"] is not None) == ("time", True)
    eventually(lambda: f"lease {lease['id']} of root (without a label) ends at " in said(daemon), "it is told")
    assert "ENDS IN" in daemon.vram("leases").stdout
    assert change(daemon, lease["id"], for_ms=1).status == 200
    when(daemon, lambda listed: not listed["leases"], "it ends")


def test_idle__leases_that_hold_nothing_end_after_notice(system, users):
    daemon = system("idle_after = 300ms\nidle_notice = 200ms\n")
    crowd = users(daemon)
    used = crowd.hold("2G")
    idle = granted(Request(daemon, GIB, owner={"pid": crowd.idler().pid}, label="forgotten").answer())
    assert idle["ends"] is None
    when(daemon, lambda listed: len(listed["leases"]) == 1, "the idle one ends")
    assert leases(daemon)["leases"][0]["owner_pid"] == used.pid
    log = said(daemon)
    assert f"lease {idle['id']} of root (forgotten) ends at " in log and "it holds nothing" in log
    assert f"lease {idle['id']} of forgotten has ended: it held nothing for too long" in log
    assert end(daemon, leases(daemon)["leases"][0]["id"]).status == 200


def test_idle__what_is_used_in_time_stays(system, users):
    daemon = system("idle_after = 200ms\nidle_notice = 60s\n")
    crowd = users(daemon)
    process = crowd.run("2G", "sh", "-c", f"read go; exec {VRAM_SIM} hold 2G")
    told = when(daemon, lambda listed: listed["leases"] and listed["leases"][0]["ends"] == "idle", "it is told")
    assert "idle" in daemon.vram("leases").stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    crowd.holds(process)
    when(daemon, lambda listed: listed["leases"][0]["ends"] is None, "it is taken back")
    assert f"lease {told['leases'][0]['id']} of root (sh) is used again" in said(daemon)
