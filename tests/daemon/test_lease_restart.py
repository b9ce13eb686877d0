# SPDX-License-Identifier: MIT
"""A daemon that ends, however it ends, takes nothing along: neither leases nor anybody's place in the queue."""
import signal
from datetime import datetime

import pytest

from conftest import DEADLINE, VRAM_SIM
from leasing import (GIB, Request, change, end, granted, ids, kill, lease_of, leases, waiting, when)

ENDS = pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
KEPT = ("id", "owner_pid", "user", "label", "gpus", "size_bytes", "held_bytes", "outstanding_bytes", "members",
        "attached", "since", "state")


def kept(listed):
    return [{key: lease[key] for key in KEPT} for lease in listed["leases"]]


def restart(daemon, number=signal.SIGKILL):
    daemon.stop(number)
    daemon.start()
    assert daemon.ready == "ready"


@ENDS
def test_restart__keeps_leases_and_the_order(daemon, crowd, tmp_path, number):
    holder = crowd.hold("14G", options=["--label", "first"])
    done = tmp_path / "done"
    runs = [crowd.queue("14G", "sh", "-c", f"echo {name} >> {done}", options=["--label", name]) for name in "abc"]
    before = leases(daemon)
    assert [waiter["label"] for waiter in before["waiters"]] == ["a", "b", "c"]
    restart(daemon, number)
    after = waiting(daemon, *ids(before["waiters"]))
    assert kept(after) == kept(before)
    assert [waiter["pid"] for waiter in after["waiters"]] == [run.pid for run in runs]
    assert [waiter["since"] for waiter in after["waiters"]] == [waiter["since"] for waiter in before["waiters"]]
    kill(holder)
    assert [run.wait(timeout=DEADLINE) for run in runs] == [0, 0, 0]
    assert done.read_text().split() == ["a", "b", "c"]


def test_restart__again_and_again(daemon, crowd):
    holder = crowd.hold("14G")
    run = crowd.queue("14G", "true")
    before = leases(daemon)
    for _ in range(5):
        restart(daemon)
        waiting(daemon, *ids(before["waiters"]))
    assert kept(leases(daemon)) == kept(before)
    kill(holder)
    assert run.wait(timeout=DEADLINE) == 0


@ENDS
def test_restart__promises_count_from_the_first_answer_on(daemon, crowd, number):
    owner = crowd.idler()
    granted(Request(daemon, 14 * GIB, owner={"pid": owner.pid}).answer())
    restart(daemon, number)
    assert Request(daemon, 14 * GIB, wait_ms=0).answer()["verdict"] == "not_now"
    assert daemon.snapshot()["gpus"][0]["outstanding_bytes"] == 14 * GIB


def test_restart__knows_what_a_lease_has_become(daemon, crowd, hold):
    owner, other = crowd.idler(), crowd.idler()
    id = granted(Request(daemon, 8 * GIB, owner={"pid": owner.pid}, label="changed", for_ms=3600000).answer())["id"]
    for what in ({"size_bytes": 12 * GIB}, {"size_bytes": 6 * GIB}, {"attach": [f"pid:{other.pid}"]},
                 {"for_ms": 1800000}, {"filled": True}):
        granted(change(daemon, id, **what).json)
    before, = leases(daemon)["leases"]
    restart(daemon)
    after = when(daemon, lambda listed: listed["leases"][0]["state"] == "filled", "it is filled")["leases"][0]
    assert (after["size_bytes"], after["attached"], after["outstanding_bytes"]) == \
        (6 * GIB, [f"pid:{other.pid}"], 0)
    assert abs(seconds(after["until"]) - seconds(before["until"])) < 1
    restart(daemon)
    granted(change(daemon, id, for_ms=100).json)
    restart(daemon)
    when(daemon, lambda listed: not listed["leases"], "its time is over")


def seconds(date):
    return datetime.fromisoformat(date.replace("Z", "+00:00")).timestamp()


def test_restart__what_was_used_before_the_lease_stays_its_base(daemon, crowd):
    owner = crowd.spawn(VRAM_SIM, "hold", "3G")
    crowd.holds(owner)
    granted(Request(daemon, 6 * GIB, owner={"pid": owner.pid}).answer())
    restart(daemon)
    listed = when(daemon, lambda listed: listed["leases"][0]["outstanding_bytes"] == 6 * GIB, "as it was")
    assert listed["leases"][0]["held_bytes"] == 0


def test_restart__what_has_ended_does_not_come_back(daemon, crowd):
    id = granted(Request(daemon, 14 * GIB, owner={"pid": crowd.idler().pid}).answer())["id"]
    waiter = Request(daemon, 14 * GIB, owner={"pid": crowd.idler().pid})
    waiter.wait()
    assert end(daemon, waiter.id).status == end(daemon, id).status == 200
    kill(crowd.hold("1G"))
    when(daemon, lambda listed: not listed["leases"], "nothing is left")
    restart(daemon)
    listed = leases(daemon)
    assert not listed["leases"] and not listed["waiters"]


def test_restart__an_owner_that_ended_meanwhile(daemon, crowd):
    holder = crowd.hold("14G")
    run = crowd.queue("14G", "true")
    daemon.stop(signal.SIGKILL)
    kill(holder)
    daemon.start()
    assert run.wait(timeout=DEADLINE) == 0
    when(daemon, lambda listed: not listed["leases"], "nothing is left")


def test_restart__a_waiter_that_ended_meanwhile(daemon, crowd):
    holder = crowd.hold("14G")
    gone, run = crowd.queue("14G", "true"), crowd.queue("14G", "true")
    daemon.stop(signal.SIGKILL)
    kill(gone)
    daemon.start()
    when(daemon, lambda listed: [waiter["pid"] for waiter in listed["waiters"]] == [run.pid], "the other waits")
    kill(holder)
    assert run.wait(timeout=DEADLINE) == 0


def test_restart__who_does_not_return_is_waited_for_3_seconds(daemon, crowd):
    holder, owner = crowd.hold("14G"), crowd.idler()
    request = Request(daemon, 14 * GIB, owner={"pid": owner.pid})
    request.wait()
    daemon.stop(signal.SIGKILL)
    kill(holder)
    daemon.start()
    late = Request(daemon, GIB, owner={"pid": crowd.idler().pid})
    told = late.wait()
    assert told["position"] == 2 and "before the daemon was restarted" in told["waits_for"], told
    listed = leases(daemon)
    assert ids(listed["waiters"]) == [request.id, late.id] and not listed["leases"]
    granted(late.answer())
    assert ids(leases(daemon)["leases"]) == [late.id]
    granted(Request(daemon, 14 * GIB, id=request.id, owner={"pid": owner.pid}).answer())  # as a new one


def test_restart__who_returns_has_its_place(daemon, crowd):
    holder, owner = crowd.hold("14G"), crowd.idler()
    request = Request(daemon, 14 * GIB, owner={"pid": owner.pid})
    request.wait()
    daemon.stop(signal.SIGKILL)
    late_owner = crowd.idler()
    daemon.start()
    late = Request(daemon, 14 * GIB, owner={"pid": late_owner.pid})
    assert late.wait()["position"] == 2
    again = Request(daemon, 14 * GIB, id=request.id, owner={"pid": owner.pid})
    assert again.wait()["position"] == 1
    kill(holder)
    granted(again.answer())
    waiting(daemon, late.id)
    assert lease_of(daemon, owner.pid)["id"] == request.id


def test_restart__a_grant_that_nobody_heard_of_is_told_again(daemon, crowd):
    """The daemon may end between the grant and its answer: the same request finds its lease."""
    owner = crowd.idler()
    request = Request(daemon, 14 * GIB, owner={"pid": owner.pid})
    when(daemon, lambda listed: ids(listed["leases"]) == [request.id], "it is granted")
    restart(daemon)
    assert granted(Request(daemon, 14 * GIB, id=request.id, owner={"pid": owner.pid}).answer())["id"] == request.id
    assert len(leases(daemon)["leases"]) == 1


def test_end__leaves_no_journal_where_nothing_is_promised(daemon, crowd):
    kill(crowd.hold("1G"))
    when(daemon, lambda listed: not listed["leases"], "nothing is left")
    daemon.stop()
    assert not [path.name for path in daemon.socket.parent.iterdir() if "journal" in path.name]
