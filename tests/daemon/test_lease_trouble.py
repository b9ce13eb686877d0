# SPDX-License-Identifier: MIT
"""Leases where something is broken: the journal, the disk below it, the driver, a GPU, somebody's word."""
import contextlib
import os
import signal
import subprocess
import zlib
from datetime import datetime, timedelta

import pytest

from conftest import VRAM, VRAMD
from leasing import GIB, IS_ROOT, MIB, Crowd, Request, change, granted, ids, kill, lease_of, leases, waiting, when

TWO_GPUS = """driver 550.54.14
gpu 0 name=One uuid=GPU-00000000-0000-0000-0000-000000000001 pci=0000:01:00.0 total=24564M reserved=400M
gpu 1 name=Two uuid=GPU-00000000-0000-0000-0000-000000000002 pci=0000:02:00.0 total=24564M reserved=400M
"""
UUIDS = [f"GPU-00000000-0000-0000-0000-00000000000{n}" for n in (1, 2)]


def ask(daemon, owner, size, **more):
    return Request(daemon, size, owner={"pid": owner.pid}, **more)


# ---- The journal ---------------------------------------------------------------------------------


def journal_of(daemon):
    path, = daemon.socket.parent.glob("*.journal")
    return path


def flip(path):
    """One bit, in the middle of the last whole record."""
    data = bytearray(path.read_bytes().rstrip(b"\0"))
    lines = bytes(data).rstrip(b"\n").split(b"\n")
    at = len(bytes(data).rstrip(b"\n")) - len(lines[-1]) // 2
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([data[at] ^ 1]))


def renumber(path):
    """As a vramd of the future would have begun it."""
    first, second, rest = path.read_bytes().split(b"\n", 2)
    name, version, boot = first.split(b" ")
    first = b" ".join([name, b"9" * len(version), boot]) + b"\n"
    path.write_bytes(first + b"header crc=%08x\n" % zlib.crc32(first) + rest)
    assert len(second) == len(b"header crc=01234567")


@pytest.mark.parametrize("break_it, reason", [(flip, "journal_damaged"), (renumber, "journal_newer")])
def test_journal__that_cannot_be_read_promises_nothing(daemon, crowd, break_it, reason):
    holder = crowd.hold("6G")
    granted(ask(daemon, crowd.idler(), GIB).answer())  # so that there is a record behind that of the holder
    daemon.stop(signal.SIGKILL)
    break_it(journal_of(daemon))
    daemon.start()
    assert daemon.ready == "ready"
    told = daemon.get("/v1/daemon").json
    assert (told["promising"], told["reason"]) == (False, reason)
    assert "vram serve --forget" in told["message"] and str(daemon.socket.parent) in told["message"]
    refused = ask(daemon, crowd.idler(), GIB)
    assert refused.status == 503
    error = refused.line()["error"]
    assert error["code"] == "not_promising" and "vram serve --forget" in error["message"]
    run = daemon.vram("run", "1G", "--", "true")
    assert run.returncode == 125 and "vram serve --forget" in run.stderr
    assert "vram serve --forget" in daemon.vram("leases").stderr
    snapshot = daemon.snapshot()  # figures are served, and nothing is known of promises
    assert snapshot["gpus"][0]["outstanding_bytes"] is None
    assert holder.pid in [process["pid"] for process in snapshot["gpus"][0]["processes"]]
    daemon.stop()
    daemon.start()
    assert daemon.get("/v1/daemon").json["reason"] == reason  # it is not mended by trying again
    daemon.stop()
    forget(daemon, crowd)


def forget(daemon, crowd):
    """`vram serve --forget` mends it, for those that come after it too."""
    serving = crowd.spawn(VRAM, "serve", "--forget", env={"VRAM_DAEMON": str(VRAMD)})
    line = ""
    while "serving" not in line:
        line = serving.stderr.readline()
        assert line, "it ended"
    assert daemon.get("/v1/daemon").json["promising"] is True
    assert not leases(daemon)["leases"]
    id = granted(ask(daemon, crowd.idler(), GIB).answer())["id"]
    kill(serving)
    daemon.start()
    assert daemon.get("/v1/daemon").json["promising"] is True
    assert ids(leases(daemon)["leases"]) == [id]


def test_journal__a_torn_end_is_what_a_crash_leaves(daemon, crowd):
    holder = crowd.hold("6G")
    daemon.stop(signal.SIGKILL)
    path = journal_of(daemon)
    content = path.read_bytes().rstrip(b"\0")
    with path.open("r+b") as file:
        file.seek(len(content))
        file.write(b'{"sequence":9')
    daemon.start()
    assert daemon.get("/v1/daemon").json["promising"] is True
    assert lease_of(daemon, holder.pid)["held_bytes"] == 6 * GIB


# ---- A full disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path, make_daemon):
    """A daemon whose place is a disk of 256 KiB."""
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    if not IS_ROOT or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", place],
                                     capture_output=True).returncode != 0:
        pytest.skip("no disk can be mounted here")
    daemon = make_daemon(directory=tmp_path).start()
    yield daemon
    daemon.process.kill()
    daemon.process.wait()
    subprocess.run(["umount", "-l", place], check=True)


def fill(place):
    """Takes all the room that there is."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return filler


def untils(daemon):
    return {lease["id"]: datetime.fromisoformat(lease["until"].replace("Z", "+00:00"))
            for lease in leases(daemon)["leases"] if lease["until"]}


def test_disk__that_is_full_refuses_until_there_is_room(small_disk):
    daemon, crowd = small_disk, Crowd(small_disk)
    try:
        first = granted(ask(daemon, crowd.idler(), GIB).answer())
        filler = fill(daemon.socket.parent)
        refused, others = None, []
        while refused is None:  # what the journal has kept for itself is used up first
            request = ask(daemon, crowd.idler(), MIB, wait_ms=0, label="x" * 64, for_ms=3600000)
            line = request.answer()
            if "error" in line:
                refused = request, line["error"]
            else:
                others.append(granted(line)["id"])
            assert len(others) < 2000
        assert refused[0].status == 503 and refused[1]["code"] == "journal"
        assert "No space left" in refused[1]["message"] and refused[1]["hint"]
        assert refused[0].id not in ids(leases(daemon)["leases"])
        before = untils(daemon)
        later = change(daemon, others[0], for_ms=7200000)  # nor is a promise for longer
        assert later.status == 503 and later.error["code"] == "journal"
        assert untils(daemon)[others[0]] - before[others[0]] < timedelta(minutes=1)
        waiter = ask(daemon, crowd.idler(), GIB)  # one that may wait is refused like one that may not
        assert waiter.answer()["error"]["code"] == "journal"
        run = daemon.vram("run", "1G", "--", "true")
        assert run.returncode == 125 and "No space left" in run.stderr
        filler.unlink()
        last = granted(ask(daemon, crowd.idler(), GIB).answer())
        assert daemon.vram("run", "1G", "--", "true").returncode == 0
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert {first["id"], last["id"], *others} <= set(ids(leases(daemon)["leases"]))
    finally:
        crowd.end()


# ---- The driver ----------------------------------------------------------------------------------


@pytest.fixture
def two_gpus(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS)).start(env={"VRAM_CALL_TIMEOUT": "300ms"})
    assert daemon.ready == "ready"
    return daemon


@pytest.fixture
def pair(two_gpus):
    made = Crowd(two_gpus)
    yield made
    made.end()


def test_driver__that_hangs_is_waited_for(two_gpus, pair):
    daemon = two_gpus
    holder = pair.hold("6G")
    daemon.sim("inject", "hang nvmlDevice* until=release")
    waiter = ask(daemon, pair.idler(), 20 * GIB)
    hasty = ask(daemon, pair.idler(), GIB, wait_ms=0)
    answer = hasty.answer()
    assert "error" in answer or answer["verdict"] == "unknown", answer
    listed = waiting(daemon, waiter.id)  # others are served meanwhile
    assert [lease["owner_pid"] for lease in listed["leases"]] == [holder.pid]
    assert daemon.get("/v1/daemon").status == 200
    daemon.sim("release")
    granted(waiter.answer())


def test_driver__that_does_not_start_is_told(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS + "fail nvmlInit* ret=9\n")).start()
    request = Request(daemon, GIB)
    assert request.status == 503
    error = request.line()["error"]
    assert error["code"] and error["message"] and not leases(daemon)["waiters"]


def test_driver__whose_collector_dies_is_asked_again(daemon, crowd):
    crowd.hold("14G")
    waiter = ask(daemon, crowd.idler(), 14 * GIB)
    waiter.wait()
    holder_id = leases(daemon)["leases"][0]["id"]
    os.kill(daemon.collector(), signal.SIGKILL)
    assert change(daemon, holder_id, size_bytes=MIB).status == 200
    kill(crowd.processes[0])
    granted(waiter.answer())


def test_gpu__that_is_lost_keeps_its_lease(two_gpus, pair):
    daemon = two_gpus
    owner = pair.idler()
    lease = granted(ask(daemon, owner, 20 * GIB, candidates=[UUIDS[0]]).answer())
    daemon.sim("inject", "gpu 0 lost")
    other = granted(ask(daemon, pair.idler(), GIB).answer())  # it is nobody's candidate
    assert other["gpus"] == [UUIDS[1]]
    kept = next(one for one in leases(daemon)["leases"] if one["id"] == lease["id"])
    assert (kept["size_bytes"], kept["gpus"]) == (20 * GIB, [UUIDS[0]])
    refused = ask(daemon, pair.idler(), GIB, candidates=[UUIDS[0]])
    assert refused.answer()["error"]["code"] == "no_usable_gpu"
    kill(owner)
    when(daemon, lambda listed: ids(listed["leases"]) == [other["id"]], "the lost one's owner is gone")


def test_gpu__that_comes_back_has_its_promise_still(two_gpus, pair):
    daemon = two_gpus
    granted(ask(daemon, pair.idler(), 20 * GIB, candidates=[UUIDS[0]]).answer())
    daemon.sim("inject", "gpu 0 lost")
    when(daemon, lambda _: daemon.snapshot()["gpus"][0]["state"] == "lost", "it is lost")
    daemon.sim("inject", "gpu 0 back")
    when(daemon, lambda _: daemon.snapshot()["gpus"][0]["state"] == "ok", "it is back")
    assert daemon.snapshot()["gpus"][0]["outstanding_bytes"] == 20 * GIB
    assert ask(daemon, pair.idler(), 20 * GIB, candidates=[UUIDS[0]], wait_ms=0).answer()["verdict"] == "not_now"


def test_gpus__several_or_none(two_gpus, pair):
    daemon = two_gpus
    holder = pair.hold("20G")
    both = pair.queue("10G", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; cat", options=["--gpus", "2"])
    assert [gpu["outstanding_bytes"] for gpu in daemon.snapshot()["gpus"]] == [0, 0]
    never = daemon.vram("run", "1G", "--gpus", "3", "--", "true")
    assert never.returncode == 125 and "never" in never.stderr
    kill(holder)
    assert sorted(both.stdout.readline().strip().split(",")) == UUIDS
    assert [gpu["outstanding_bytes"] for gpu in daemon.snapshot()["gpus"]] == [10 * GIB, 10 * GIB]


# ---- A broken promise ----------------------------------------------------------------------------


def logged_daemon(make_daemon, tmp_path):
    log = (tmp_path / "log").open("w+")
    daemon = make_daemon()
    daemon.start(stderr=log)
    return daemon, lambda: (tmp_path / "log").read_text()


def test_promise__that_others_grow_into_is_told(make_daemon, tmp_path, hold):
    daemon, log = logged_daemon(make_daemon, tmp_path)
    crowd = Crowd(daemon)
    try:
        lease = granted(ask(daemon, crowd.idler(), 14 * GIB, label="squeezed-one").answer())
        culprit = hold(daemon, "10G")
        when(daemon, lambda listed: listed["leases"][0]["state"] == "squeezed", "it is squeezed")
        assert f"lease {lease['id']} (squeezed-one): process {culprit.pid} (vram-sim) has grown into" in log()
        refused = ask(daemon, crowd.idler(), MIB, wait_ms=0).answer()
        assert refused["verdict"] == "not_now"
        assert culprit.poll() is None  # nobody is killed
        kill(culprit)
        when(daemon, lambda listed: listed["leases"][0]["state"] == "ok", "it is not any more")
    finally:
        crowd.end()


def test_promise__that_its_own_members_break_is_told(daemon, crowd):
    holder = crowd.hold("2G", allocate="3G")
    listed = when(daemon, lambda listed: listed["leases"][0]["state"] == "over", "it is over")
    lease, = listed["leases"]
    assert (lease["owner_pid"], lease["held_bytes"], lease["outstanding_bytes"]) == (holder.pid, 2 * GIB, 0)


def test_promise__waits_while_a_stranger_grows(daemon, crowd, hold):
    """Growth without a lease is doubt: nothing is promised before it has stopped, and it is said who grows."""
    granted(ask(daemon, crowd.idler(), GIB).answer())
    stranger = hold(daemon, "2G", "--ramp", "1s")
    waiter = ask(daemon, crowd.idler(), GIB)
    told = waiter.wait()
    assert told["waits_for"] == f"vram-sim (process {stranger.pid}), which has no lease and is growing"
    granted(waiter.answer())
    used = [process["used_bytes"] for process in daemon.snapshot()["gpus"][0]["processes"]]
    assert sum(used) == 2 * GIB + 1320 * MIB  # it has all that it wanted
