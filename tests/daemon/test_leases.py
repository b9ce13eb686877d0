# SPDX-License-Identifier: MIT
"""Leases with real processes on the simulated driver: who owns them, who waits for whom, how they end."""
import json
import os
import signal
from pathlib import Path

from conftest import DEADLINE, VRAM, VRAM_SIM, eventually
from leasing import (GIB, MIB, Request, change, children_of, comm_of, end, environment_of, granted, ids, kill, lease_of,
                     leases, new_id, waiting, when)

HEADROOM = (24564 - 400 - 310 - 1010 - 1024) * MIB  # of the RTX 4090 that is simulated
UUID = "GPU-5a1d4090-7b3c-4e52-9f08-2c64d1a9e7b0"


# ---- vram run --------------------------------------------------------------------------------


def test_run__becomes_the_command(daemon, crowd):
    process = crowd.run("6G", "cat")
    process.stdin.write("here\n")
    process.stdin.flush()
    assert process.stdout.readline() == "here\n"
    lease = lease_of(daemon, process.pid)
    assert (lease["size_bytes"], lease["label"], lease["gpus"]) == (6 * GIB, "cat", [UUID])
    assert comm_of(process.pid) == "cat" and not children_of(process.pid)  # nobody stands in between
    assert environment_of(process.pid)["VRAM_LEASE"] == lease["id"]
    assert environment_of(process.pid)["CUDA_VISIBLE_DEVICES"] == UUID
    fds = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
    assert not [fd for fd in fds if fd.startswith(("socket:", "anon_inode:"))], fds
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=DEADLINE) == -signal.SIGTERM
    when(daemon, lambda listed: not listed["leases"], "the lease ends")


def test_run__has_the_commands_own_exit_status(daemon, crowd):
    assert crowd.run("1G", "sh", "-c", "exit 7").wait(timeout=DEADLINE) == 7
    assert crowd.run("1G", "/nonexistent").wait(timeout=DEADLINE) == 127
    assert crowd.run("1G", "/etc/passwd").wait(timeout=DEADLINE) == 126
    when(daemon, lambda listed: not listed["leases"], "no lease is left of a command that cannot run")


def test_run__loads_no_driver(daemon, crowd):
    crowd.hold("14G")
    process = crowd.queue("14G", "true")
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "libnvidia-ml" not in maps and "libc.so" in maps


def test_run__two_of_14_gib_run_one_after_the_other(daemon, crowd):
    first = crowd.hold("14G")
    second = crowd.queue("14G", VRAM_SIM, "hold", "14G")
    listed = leases(daemon)
    assert [lease["owner_pid"] for lease in listed["leases"]] == [first.pid]
    assert [waiter["pid"] for waiter in listed["waiters"]] == [second.pid]
    assert listed["waiters"][0]["waits_for"].startswith("6.7 GiB more on GPU 0"), listed["waiters"]
    kill(first)  # as an out-of-memory killer does
    crowd.holds(second)
    assert [lease["owner_pid"] for lease in leases(daemon)["leases"]] == [second.pid]
    assert "out of memory  0\n" in daemon.sim("stats")


def test_run__three_of_6_5_gib_run_together(daemon, crowd):
    holders = [crowd.hold("6.5G") for _ in range(3)]
    listed = leases(daemon)["leases"]
    assert {lease["owner_pid"] for lease in listed} == {holder.pid for holder in holders}
    assert [lease["held_bytes"] for lease in listed] == [6.5 * GIB] * 3
    fourth = crowd.queue("6.5G", "true")
    holders[0].terminate()
    assert fourth.wait(timeout=DEADLINE) == 0


def test_run__what_can_never_fit_is_refused_at_once(daemon, crowd):
    crowd.hold("14G")
    process = crowd.run("24G", "true")
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (125, "") and "never fit" in err


def test_run__knows_its_own_promise(daemon, crowd):
    """Who asks as a member does not count its own lease against itself."""
    inside = crowd.run("14G", VRAM, "fit", "14G", "--json")
    assert inside.wait(timeout=DEADLINE) == 0, inside.stderr.read()
    holder = crowd.run("14G", "cat")
    lease_id = when(daemon, lambda listed: listed["leases"], "it holds")["leases"][0]["id"]
    assert daemon.vram("fit", "14G").returncode == 1
    as_member = crowd.spawn(VRAM, "fit", "14G", env={"VRAM_LEASE": lease_id})
    assert as_member.wait(timeout=DEADLINE) == 0, as_member.stderr.read()
    kill(holder)


def test_run__nested_in_another(daemon, crowd):
    """The inner command's memory fills its own promise, not the outer one's."""
    outer = crowd.run("10G", "sh", "-c", f"{VRAM_SIM} hold 2G & {VRAM} run 4G -- {VRAM_SIM} hold 4G & cat")
    crowd.holds(outer)
    crowd.holds(outer)
    listed = {lease["size_bytes"]: lease for lease in leases(daemon)["leases"]}
    assert (listed[10 * GIB]["held_bytes"], listed[4 * GIB]["held_bytes"]) == (2 * GIB, 4 * GIB)
    assert leases(daemon)["leases"][0]["owner_pid"] == outer.pid
    snapshot = daemon.snapshot()
    assert snapshot["gpus"][0]["outstanding_bytes"] == 8 * GIB
    outer.stdin.close()
    for pid in [lease["owner_pid"] for lease in listed.values() if lease["owner_pid"] != outer.pid]:
        os.kill(pid, signal.SIGKILL)


# ---- fit and leases, before, during and after ---------------------------------------------------


def test_figures__before_during_and_after(daemon, crowd):
    assert daemon.vram("fit", str(HEADROOM // MIB)).returncode == 0
    process = crowd.run("14G", "sh", "-c", f"read go; exec {VRAM_SIM} hold 14G")
    lease = when(daemon, lambda listed: listed["leases"], "a lease")["leases"][0]
    assert (lease["held_bytes"], lease["outstanding_bytes"], lease["state"]) == (0, 14 * GIB, "ok")
    left = (HEADROOM - 14 * GIB) // MIB
    assert daemon.vram("fit", str(left)).returncode == 0
    assert daemon.vram("fit", str(left + 1)).returncode == 1
    process.stdin.write("go\n")
    process.stdin.flush()
    crowd.holds(process)
    lease = leases(daemon)["leases"][0]
    assert (lease["held_bytes"], lease["outstanding_bytes"], lease["members"]) == (14 * GIB, 0, [])
    assert daemon.vram("fit", str(left)).returncode == 0
    assert daemon.vram("fit", str(left + 1)).returncode == 1
    processes = daemon.snapshot()["gpus"][0]["processes"]
    assert [p["lease"] for p in processes if p["pid"] == process.pid] == [lease["id"]]
    kill(process)
    when(daemon, lambda listed: not listed["leases"], "the lease ends")
    assert daemon.vram("fit", str(HEADROOM // MIB), "--timeout", "60s").returncode == 0


# ---- Asking --------------------------------------------------------------------------------------


def owner_of(process):
    return {"pid": process.pid}


def test_ask__the_same_request_again_is_the_same_lease(daemon, crowd):
    owner = crowd.idler()
    first = Request(daemon, 4 * GIB, owner=owner_of(owner))
    lease = granted(first.answer())
    again = Request(daemon, 4 * GIB, id=first.id, owner=owner_of(owner))
    assert granted(again.answer())["id"] == lease["id"] == first.id
    assert len(leases(daemon)["leases"]) == 1
    other_size = Request(daemon, 5 * GIB, id=new_id(), wait_ms=0)
    assert granted(other_size.answer())["size_bytes"] == 5 * GIB


def test_ask__again_while_it_waits_keeps_its_place(daemon, crowd):
    crowd.hold("14G")
    owners = [crowd.idler() for _ in range(2)]
    first = Request(daemon, 14 * GIB, owner=owner_of(owners[0]))
    assert first.wait()["position"] == 1
    second = Request(daemon, 14 * GIB, owner=owner_of(owners[1]))
    assert second.wait()["position"] == 2
    again = Request(daemon, 14 * GIB, id=first.id, owner=owner_of(owners[0]))
    assert again.wait()["position"] == 1
    assert first.answer()["error"]["code"] == "conflict"  # whoever waited for it before does no longer
    other = Request(daemon, 13 * GIB, id=first.id)
    assert other.status == 409
    waiting(daemon, first.id, second.id)


def test_ask__not_now_is_an_answer(daemon, crowd):
    crowd.hold("14G")
    answer = Request(daemon, 14 * GIB, wait_ms=0).answer()
    assert (answer["verdict"], answer["lease"]) == ("not_now", None)
    gpu, = answer["answer"]["gpus"]
    assert gpu["shortfall_bytes"] == 28 * GIB - HEADROOM and gpu["headroom_bytes"] == HEADROOM - 14 * GIB
    assert not leases(daemon)["waiters"]


def test_ask__a_holder_is_answered_at_once(daemon, crowd):
    owner = crowd.idler()
    granted(Request(daemon, 14 * GIB, owner=owner_of(owner)).answer())
    assert Request(daemon, 14 * GIB, owner=owner_of(owner)).answer()["verdict"] == "not_now"
    granted(Request(daemon, 4 * GIB, owner=owner_of(owner)).answer())
    assert daemon.snapshot()["gpus"][0]["outstanding_bytes"] == 18 * GIB


def test_ask__a_time_that_passes(daemon, crowd):
    crowd.hold("14G")
    request = Request(daemon, 14 * GIB, wait_ms=300)
    assert request.answer()["verdict"] == "timed_out"
    assert not leases(daemon)["waiters"]


def test_ask__another_driver_is_not_ours(daemon):
    request = Request(daemon, GIB, driver="sim:2x3090")
    assert request.status == 409
    error = request.line()["error"]
    assert error["code"] == "other_driver" and "sim:rtx4090" in error["message"] and error["hint"]
    granted(Request(daemon, GIB, driver=daemon.get("/v1/daemon").json["driver"]).answer())


def test_ask__what_is_no_request(daemon):
    for body in ({}, {"size_bytes": 0}, {"size_bytes": -1}, {"size_bytes": 1.5}, {"size_bytes": "1G"},
                 {"gpu_count": 0}, {"gpu_count": 257}, {"candidates": []}, {"candidates": [1]}, {"label": "x" * 65},
                 {"owner": "child"}, {"owner": {"pid": 0}}, {"owner": {"pid": -1}}, {"members": ["what"]},
                 {"members": "pid:1"}, {"wait_ms": -1}, {"margin_millipercent": 100001}, {"id": "ABCDEF0123456789"},
                 {"id": "0123"}, {"id": 5}):
        whole = {"size_bytes": GIB, "wait_ms": 0, "id": new_id(), **body} if body else {}
        reply = daemon.call("POST", "/v1/leases", body=json.dumps(whole))
        assert reply.status == 400 and reply.error["code"] == "bad_request", (body, reply.body)
    request = Request(daemon, GIB, owner={"pid": 4194399})
    assert request.status == 404 and request.line()["error"]["code"] == "no_such_process"
    listed = leases(daemon)
    assert not listed["leases"] and not listed["waiters"]


# ---- Taking back ----------------------------------------------------------------------------------


def test_end__of_a_waiter_and_of_a_lease(daemon, crowd):
    holder = crowd.hold("14G")
    request = Request(daemon, 14 * GIB, owner=owner_of(crowd.idler()))
    request.wait()
    assert end(daemon, request.id[:8]).json == {"schema": 1, "ended": "request"}
    assert request.answer()["error"]["code"] == "cancelled"
    assert end(daemon, request.id).status == 404
    lease = lease_of(daemon, holder.pid)
    assert end(daemon, lease["id"]).json == {"schema": 1, "ended": "lease"}
    assert end(daemon, lease["id"]).status == 404
    assert not leases(daemon)["leases"]
    assert daemon.vram("fit", "8G").returncode == 1  # its memory stays counted, whatever became of the lease


def test_end__of_a_command_that_waits(daemon, crowd):
    crowd.hold("14G")
    process = crowd.queue("14G", "true")
    waiter, = leases(daemon)["waiters"]
    assert daemon.vram("release", waiter["id"]).returncode == 0
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (125, "") and "taken back" in err, err


def test_end__the_beginning_of_an_id_must_be_one(daemon, crowd):
    for digit in "ab":
        granted(Request(daemon, GIB, id="0123456789abcde" + digit, owner=owner_of(crowd.idler())).answer())
    assert end(daemon, "0123").status == 409
    assert end(daemon, "012").status == 404
    assert end(daemon, "0123456789abcdea").status == 200
    assert end(daemon, "0123").status == 200


def test_hang_up__is_gone_at_once(daemon, crowd):
    crowd.hold("14G")
    first = Request(daemon, 14 * GIB, owner=owner_of(crowd.idler()))
    first.wait()
    second = Request(daemon, 14 * GIB, owner=owner_of(crowd.idler()))
    assert second.wait()["position"] == 2
    first.hang_up()
    assert second.wait()["position"] == 1  # it is told
    assert ids(leases(daemon)["waiters"]) == [second.id]


def test_hang_up__a_waiting_command_that_is_killed(daemon, crowd):
    holder = crowd.hold("14G")
    first = crowd.queue("14G", "true")
    second = crowd.queue("14G", "true")
    kill(first)
    when(daemon, lambda listed: [waiter["pid"] for waiter in listed["waiters"]] == [second.pid], "the first is gone")
    kill(holder)
    assert second.wait(timeout=DEADLINE) == 0


def test_hang_up__a_thousand_at_once(daemon, crowd):
    crowd.hold("14G")
    last = Request(daemon, 14 * GIB, owner=owner_of(crowd.idler()))
    last.wait()
    owner, before = crowd.idler(), daemon.fds()
    requests = [Request(daemon, 14 * GIB, owner=owner_of(owner)) for _ in range(1000)]
    listed = when(daemon, lambda listed: len(listed["waiters"]) == 1001, "a thousand wait")
    assert ids(listed["waiters"]) == [last.id] + [request.id for request in requests]
    for request in requests:
        request.hang_up()
    waiting(daemon, last.id)
    eventually(lambda: daemon.fds() <= before, "their descriptors are closed")


def test_owner__a_waiter_whose_owner_ends(daemon, crowd):
    crowd.hold("14G")
    owner = crowd.idler()
    request = Request(daemon, 14 * GIB, owner=owner_of(owner))
    request.wait()
    kill(owner)
    assert request.answer()["error"]["code"] == "owner_ended"
    assert not leases(daemon)["waiters"]


# ---- Changing --------------------------------------------------------------------------------------


def test_change__sizes(daemon, crowd):
    id = granted(Request(daemon, 8 * GIB, owner=owner_of(crowd.idler())).answer())["id"]
    assert granted(change(daemon, id, size_bytes=12 * GIB).json)["size_bytes"] == 12 * GIB
    answer = change(daemon, id, size_bytes=22 * GIB).json  # at once, though it would fit on an emptier card
    assert answer["verdict"] == "not_now" and answer["lease"] is None
    assert leases(daemon)["leases"][0]["size_bytes"] == 12 * GIB
    assert granted(change(daemon, id[:6], size_bytes=3 * GIB).json)["outstanding_bytes"] == 3 * GIB
    assert daemon.snapshot()["gpus"][0]["outstanding_bytes"] == 3 * GIB
    for wrong in ({"size_bytes": 0}, {"size_bytes": -1}, {"filled": False}, {"for_ms": "1"}, {"attach": ["what"]}):
        assert change(daemon, id, **wrong).status == 400, wrong
    assert change(daemon, "f" * 16, size_bytes=1).status == 404


def test_change__less_wakes_who_waits(daemon, crowd):
    id = granted(Request(daemon, 14 * GIB, owner=owner_of(crowd.idler())).answer())["id"]
    request = Request(daemon, 14 * GIB, owner=owner_of(crowd.idler()))
    request.wait()
    assert change(daemon, id, size_bytes=GIB).status == 200
    granted(request.answer())


def test_change__filled(daemon, crowd):
    holder = crowd.hold("14G", allocate="4G")
    id = lease_of(daemon, holder.pid)["id"]
    request = Request(daemon, 14 * GIB, owner=owner_of(crowd.idler()))
    request.wait()
    assert granted(change(daemon, id, filled=True).json)["outstanding_bytes"] == 0
    granted(request.answer())
    when(daemon, lambda listed: listed["leases"][0]["state"] == "filled", "it says so")


def test_change__an_end(daemon, crowd):
    request = Request(daemon, 4 * GIB, owner=owner_of(crowd.idler()), for_ms=3600000)
    lease = granted(request.answer())
    assert lease["until"] > lease["since"]
    assert granted(change(daemon, lease["id"], for_ms=None).json)["until"] is None
    assert granted(change(daemon, lease["id"], for_ms=100).json)["until"]
    when(daemon, lambda listed: not listed["leases"], "its time is over")


def test_change__a_waiter_cannot_be(daemon, crowd):
    crowd.hold("14G")
    request = Request(daemon, 14 * GIB, owner=owner_of(crowd.idler()))
    request.wait()
    reply = change(daemon, request.id, size_bytes=GIB)
    assert reply.status == 409 and reply.error["hint"]


# ---- The pause -------------------------------------------------------------------------------------


def test_pause__keeps_leases_and_grants_nothing(daemon, crowd):
    holder = crowd.hold("14G")
    waiter = Request(daemon, 14 * GIB, owner=owner_of(crowd.idler()))
    waiter.wait()
    assert daemon.vram("pause").returncode == 0
    state = daemon.get("/v1/daemon").json
    assert (state["promising"], state["reason"], state["paused"]) == (False, "paused", True)
    assert "vram resume" in state["message"]
    assert waiter.wait()["waits_for"] == "the end of the pause (`vram resume`)"
    assert lease_of(daemon, holder.pid)["size_bytes"] == 14 * GIB
    refused = Request(daemon, GIB, wait_ms=0)
    assert refused.status == 503 and refused.line()["error"]["code"] == "not_promising"
    run = daemon.vram("run", "1G", "--", "true")
    assert run.returncode == 125 and "vram resume" in run.stderr
    kill(holder)
    assert daemon.vram("resume").returncode == 0
    granted(waiter.answer())
