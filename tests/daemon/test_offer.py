# SPDX-License-Identifier: MIT
"""Leases on offer: their clients are asked to give memory back before somebody waits. The holders are real processes with
real leases; the requests that wait to be asked are the test's own, for it is the same user. How the library does it is for
tests/library."""
import json
import os
import re
import signal
import threading

import pytest
from conftest import DEADLINE, VRAM_SIM, UnixConnection, alive, eventually
from holders import ComfyUI, Ollama
from leasing import GIB, ask, change, children_of, end, granted, kill, lease_of, leases, verdict, when
from reading import scrape


class Offer:
    """A request that waits until the lease is wanted; then(): once more, with what came of it."""

    def __init__(self, daemon, id, answer=None, **more):
        self.daemon, self.id, self.more = daemon, id, more
        self.then(answer)

    def then(self, answer):
        self.connection = UnixConnection(self.daemon.socket)
        self.connection.request("POST", f"/v1/leases/{self.id}/offer", body=json.dumps({"answer": answer, **self.more}))

    def reply(self):
        """The status and the document."""
        response = self.connection.getresponse()
        document = json.loads(response.read())
        self.connection.close()
        return response.status, document

    def wanted(self):
        status, document = self.reply()
        assert status == 200 and "wanted" in document, document
        return document["wanted"]

    def hang_up(self):
        self.connection.close()


def hold(crowd, size, label="job", **kwargs):
    """A process that leases so much and holds it, and its lease."""
    process = crowd.hold(size, options=("--label", label), **kwargs)
    return process, lease_of(crowd.daemon, process.pid)["id"]


def offered(room, label="job"):
    return eventually(lambda: room.state().get(label), "it is on offer")


def on_offer(room, crowd_of):
    """The daemon, a process that holds 14 GiB, its lease, and the request that waits for it to be wanted."""
    daemon = room.start()
    process, id = hold(crowd_of(daemon), "14G")
    offer = Offer(daemon, id)
    offered(room)
    return daemon, process, id, offer


# ---- It gives back -------------------------------------------------------------------------------


def test_offer__ends_its_lease(room, crowd_of):
    daemon = room.start()
    process, id = hold(crowd_of(daemon), "14G")
    offer = Offer(daemon, id)
    assert offered(room) == {"name": "job", "ask": "lease", "match": None, "lease": id, "cost": 10, "state": "idle",
                             "held_bytes": 14 * GIB, "leased_bytes": 0, "last": None, "last_at": None, "again_at": None}
    request = ask(daemon, 12, label="render")
    wanted = offer.wanted()
    assert 4 * GIB < wanted["bytes"] < 6 * GIB, wanted
    assert wanted["gpus"] == [daemon.snapshot()["gpus"][0]["uuid"]]
    assert re.fullmatch(r"render \(.+\)", wanted["for"])
    while request.wait()["waits_for"] != "4.7 GiB more on GPU 0; job (14.0 GiB) is asked to give back":
        pass
    kill(process)
    answer, _ = verdict(request)
    granted(answer)
    assert re.fullmatch(r"asked job: 14\.0 GiB back in ([0-9.]+ s|\d+ ms)", answer["made_room"])
    assert f"{answer['made_room']}, for lease {request.id}" in room.said()
    events = daemon.get("/v1/events?kind=holder_asked").json["events"]
    assert [(event["name"], event["bytes"], event["gpu_index"]) for event in events] == [("job", 14 * GIB, 0)]
    assert room.state() == {}


def test_offer__shrinks(room, crowd_of):
    daemon = room.start()
    crowd = crowd_of(daemon)
    script = f"{VRAM_SIM} hold 7G & {VRAM_SIM} hold 7G & wait"
    process = crowd.run("14G", "sh", "-c", script, options=("--label", "job"))
    assert process.stdout.readline() and process.stdout.readline()
    id = lease_of(daemon, process.pid)["id"]
    offer = Offer(daemon, id)
    offered(room)
    request = ask(daemon, 12)
    offer.wanted()
    victim = int(children_of(process.pid)[0])
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not alive(victim), "one of the two has ended")
    assert change(daemon, id, size_bytes=7 * GIB).status == 200
    offer.then("done")
    answer, _ = verdict(request)
    granted(answer)
    assert "asked job: 7.0 GiB back" in answer["made_room"]
    assert offered(room)["held_bytes"] == 7 * GIB
    offer.hang_up()


def test_offer__gives_a_promise_back_that_it_never_used(room, crowd_of):
    """Nothing is freed, and there is more room all the same."""
    daemon = room.start()
    process = crowd_of(daemon).hold("14G", "2G", options=("--label", "job"))
    id = lease_of(daemon, process.pid)["id"]
    offer = Offer(daemon, id)
    assert offered(room)["held_bytes"] == 14 * GIB
    request = ask(daemon, 12)
    offer.wanted()
    assert change(daemon, id, size_bytes=4 * GIB).status == 200
    offer.then("done")
    answer, _ = verdict(request)
    granted(answer)
    assert "asked job: 10.0 GiB back" in answer["made_room"]
    offer.hang_up()


def test_offer__several_are_asked_together_with_a_configured_holder(room, crowd_of):
    ollama = room.holder(Ollama, "ollama", {"a": "7G"})
    daemon = room.start(f"[holder ollama]\nmatch = name:ollama\nask = ollama {ollama.url}\nbusy = never\n")
    process, id = hold(crowd_of(daemon), "7G")
    offer = Offer(daemon, id)
    offered(room)
    request = ask(daemon, 20)
    wanted = offer.wanted()
    assert wanted["bytes"] == 7 * GIB  # all, as others are asked too
    kill(process)
    answer, _ = verdict(request)
    granted(answer)
    assert "asked ollama: 7.0 GiB back" in answer["made_room"] and "asked job: 7.0 GiB back" in answer["made_room"]


def test_offer__is_not_counted_twice_where_a_configured_holder_is_the_same_program(room, crowd_of):
    comfy = room.holder(ComfyUI, "comfyui", {})
    other = room.holder(ComfyUI, "other", {"a": "4G"})
    daemon = room.start(f"[holder comfyui]\nmatch = name:job\nask = comfyui {comfy.url}\n")
    crowd = crowd_of(daemon)
    process = crowd.holds(crowd.run("10G", VRAM_SIM, "hold", "10G", "--name", "job", options=("--label", "lease of it")))
    offer = Offer(daemon, lease_of(daemon, process.pid)["id"])
    offered(room, "lease of it")
    state = room.state()
    assert (state["lease of it"]["held_bytes"], state["comfyui"]["held_bytes"]) == (10 * GIB, 0)
    assert state["comfyui"]["state"] == "leased"
    request = ask(daemon, 21)  # more than it has, and less than twice as much
    assert "GiB more on GPU 0" in request.wait()["waits_for"]
    for _ in range(5):
        daemon.snapshot()
    assert not comfy.asked and not other.asked
    request.hang_up()
    offer.hang_up()


def test_offer__cost_decides(room, crowd_of):
    daemon = room.start()
    crowd = crowd_of(daemon)
    (_, dear), (cheap_process, cheap) = hold(crowd, "8G", "dear"), hold(crowd, "8G", "cheap")
    offers = Offer(daemon, dear, cost=500), Offer(daemon, cheap, cost=5)
    offered(room, "dear"), offered(room, "cheap")
    request = ask(daemon, 12)
    offers[1].wanted()
    kill(cheap_process)
    granted(verdict(request)[0])
    assert room.state()["dear"]["last"] is None
    offers[0].hang_up()


# ---- It does not ---------------------------------------------------------------------------------


def test_offer__is_busy(room, crowd_of):
    daemon, process, id, offer = on_offer(room, crowd_of)
    request = ask(daemon, 12)
    offer.wanted()
    offer.then("busy")
    while "; job (14.0 GiB) is busy" not in request.wait()["waits_for"]:
        pass
    assert room.state()["job"]["state"] == "busy"
    assert room.state()["job"]["last"] == "asked job: nothing came back (it is busy)"
    offer.wanted()  # once more, after a while
    kill(process)
    answer, _ = verdict(request)
    granted(answer)
    assert "asked job: 14.0 GiB back" in answer["made_room"]
    told = scrape(daemon)
    assert told.value("vram_holder_asks_total", holder="(leases)", result="busy") == 1
    assert told.value("vram_holder_asks_total", holder="(leases)", result="gave_back") == 1
    assert told.value("vram_holder_returned_bytes_total", holder="(leases)") == 14 * GIB


def test_offer__another_is_asked_where_it_is_busy(room, crowd_of):
    daemon = room.start()
    crowd = crowd_of(daemon)
    (_, first), (process, second) = hold(crowd, "8G", "first"), hold(crowd, "8G", "second")
    offers = Offer(daemon, first, cost=1), Offer(daemon, second, cost=2)
    offered(room, "first"), offered(room, "second")
    request = ask(daemon, 12)
    offers[0].wanted()
    offers[0].then("busy")
    offers[1].wanted()
    kill(process)
    answer, _ = verdict(request)
    granted(answer)
    assert answer["made_room"].startswith("asked first: nothing came back (it is busy); asked second: 8.0 GiB back")
    offers[0].hang_up()


def test_offer__says_done_and_keeps_it(room, crowd_of):
    """The lease has ended and its memory has not: the driver is believed."""
    daemon, process, id, offer = on_offer(room, crowd_of)
    request = ask(daemon, 12)
    offer.wanted()
    assert end(daemon, id).status == 200
    offer.then("done")
    assert offer.reply() == (200, {"schema": 1, "ended": "lease"})
    eventually(lambda: "asked job: nothing came back" in room.said(), "it is told")
    assert "GiB back" not in room.said()
    assert leases(daemon)["waiters"][0]["waits_for"] == "4.7 GiB more on GPU 0"
    kill(process)
    granted(verdict(request)[0])


@pytest.mark.parametrize("answer,why", [("done", ""), ("failed", r" \(it could not\)"), (None, r" \(it does not know .*\)")])
def test_offer__nothing_came_back(room, crowd_of, answer, why):
    daemon, process, id, offer = on_offer(room, crowd_of)
    request = ask(daemon, 12)
    offer.wanted()
    offer.then(answer)
    while "job (14.0 GiB) gave nothing back when it was asked" not in request.wait()["waits_for"]:
        pass
    state = room.state()["job"]
    assert re.fullmatch(f"asked job: nothing came back{why}", state["last"])
    assert state["state"] == "resting" and state["again_at"] > state["last_at"]
    kill(process)
    granted(verdict(request)[0])


def test_offer__does_not_answer(room, crowd_of):
    daemon = room.start()
    crowd = crowd_of(daemon)
    process, id = hold(crowd, "14G")
    offer = Offer(daemon, id)
    offered(room)
    request = ask(daemon, 12)
    offer.wanted()
    while "gave nothing back" not in request.wait()["waits_for"]:
        pass
    assert room.state()["job"]["last"] == "asked job: nothing came back (no answer in time)"
    offer.then("done")  # late
    eventually(lambda: room.state()["job"]["state"] == "resting", "it is left alone all the same")
    kill(process)
    assert offer.reply()[1] == {"schema": 1, "ended": "lease"}
    granted(verdict(request)[0])


def test_offer__is_killed_while_it_is_asked(room, crowd_of):
    daemon, process, id, offer = on_offer(room, crowd_of)
    request = ask(daemon, 12)
    offer.wanted()
    kill(process)
    answer, _ = verdict(request)
    granted(answer)
    assert "asked job: 14.0 GiB back" in answer["made_room"]  # and nobody has said anything
    offer.then("done")
    assert offer.reply()[0] == 404


def test_offer__is_taken_back_with_its_connection(room, crowd_of):
    daemon, _, id, offer = on_offer(room, crowd_of)
    offer.hang_up()
    eventually(lambda: room.state() == {}, "it is not on offer any more")
    request = ask(daemon, 12)
    assert request.wait()["waits_for"] == "4.7 GiB more on GPU 0"
    request.hang_up()


def test_offer__gives_less_than_it_is_asked_for(room, crowd_of):
    """It is asked for the rest, and where it does not have that to spare another is."""
    daemon = room.start()
    crowd = crowd_of(daemon)
    process = crowd.hold("8G", "2G", options=("--label", "first"))
    first = lease_of(daemon, process.pid)["id"]
    other_process, second = hold(crowd, "8G", "second")
    offers = Offer(daemon, first, cost=1), Offer(daemon, second, cost=2)
    offered(room, "first"), offered(room, "second")
    request = ask(daemon, 12)
    assert 5 * GIB < offers[0].wanted()["bytes"] < 8 * GIB
    change(daemon, first, size_bytes=6 * GIB)
    offers[0].then("done")
    offers[0].wanted()
    offers[0].then("busy")
    offers[1].wanted()
    kill(other_process)
    answer, _ = verdict(request)
    granted(answer)
    assert "asked first: 2.0 GiB back" in answer["made_room"] and "asked second: 8.0 GiB back" in answer["made_room"]
    offers[0].hang_up()


# ---- Who is not asked ----------------------------------------------------------------------------


def test_offer__who_has_a_lease_does_not_wait_for_himself(room, crowd_of):
    """Nor does whom he started: it would be for what he could give back himself."""
    daemon = room.start()
    lease = granted(ask(daemon, 14, label="outer").answer())
    offer = Offer(daemon, lease["id"])
    offered(room, "outer")
    assert ask(daemon, 12).answer()["verdict"] == "not_now"
    child = crowd_of(daemon).run("12G", "true")
    assert child.wait(timeout=DEADLINE) == 125 and "it would have to wait" in child.stderr.read()
    assert "asked outer" not in room.said() and room.state()["outer"]["last"] is None
    end(daemon, lease["id"])
    assert offer.reply() == (200, {"schema": 1, "ended": "lease"})


def test_offer__who_waits_himself_is_not_asked(room, crowd_of):
    room.prepare("sim:2x3090")
    daemon = room.start()
    crowd = crowd_of(daemon)
    gpus = [gpu["uuid"] for gpu in daemon.snapshot()["gpus"]]
    process = crowd.hold("6G", options=("--label", "job", "--gpu", "0"))
    offer = Offer(daemon, lease_of(daemon, process.pid)["id"])
    offered(room)
    waits = ask(daemon, 20, owner={"pid": process.pid}, candidates=[gpus[1]])
    waits.wait()
    eventually(lambda: room.state() == {}, "it is no holder for others")
    request = ask(daemon, 6, candidates=[gpus[0]])
    assert "more on GPU 0" in request.wait()["waits_for"]
    for _ in range(5):
        daemon.snapshot()
    assert "asked job" not in room.said()
    waits.hang_up()
    offer.wanted()
    kill(process)
    granted(verdict(request)[0])


def test_offer__what_a_ceiling_would_keep_is_not_asked_for(room, crowd_of):
    container = f"container:{'ab' * 32}"
    daemon = room.start()
    crowd = crowd_of(daemon)
    process = crowd.hold("10G", options=("--label", "job", "--member", container))
    offer = Offer(daemon, lease_of(daemon, process.pid)["id"])
    assert offered(room)["held_bytes"] == 10 * GIB
    room.conf.write_text(f"[ceiling job]\nmatch = {container}\nsize = 14G\n")
    os.kill(daemon.pid, signal.SIGHUP)
    eventually(lambda: room.state() == {}, "it has nothing to offer")
    request = ask(daemon, 12, owner={"pid": crowd.idler().pid})
    assert "GiB more on GPU 0" in request.wait()["waits_for"]
    for _ in range(5):
        daemon.snapshot()
    assert "asked job" not in room.said()
    request.hang_up()
    offer.hang_up()


# ---- The protocol --------------------------------------------------------------------------------


@pytest.mark.parametrize("body,key", [
    ('{"answer": "yes"}', "answer"), ('{"answer": 1}', "answer"), ('{"cost": -1}', "cost"), ('{"cost": 1001}', "cost"),
    ('{"cost": "x"}', "cost"), ("[]", "body"), ("", "body"),
])
def test_protocol__bodies_that_are_none(room, crowd_of, body, key):
    daemon = room.start()
    _, id = hold(crowd_of(daemon), "1G")
    reply = daemon.call("POST", f"/v1/leases/{id}/offer", body=body)
    assert reply.status == 400 and key in reply.error["message"]
    assert room.state() == {}


def test_protocol__leases_that_are_none(room, crowd_of):
    daemon = room.start()
    for path in ("0123456789abcdef/offer", "0123/offer", "0/offer", "/offer", "offer", "a/b/offer", "0123456789abcdef/offers",
                 "0123456789abcdef0/offer"):
        assert daemon.call("POST", f"/v1/leases/{path}", body="{}").status == 404, path
    _, id = hold(crowd_of(daemon), "20G")
    waits = ask(daemon, 12)
    waits.wait()
    assert daemon.call("POST", f"/v1/leases/{waits.id}/offer", body="{}").status == 409
    assert daemon.call("GET", f"/v1/leases/{id}/offer").status == 405
    waits.hang_up()


def test_protocol__offered_anew(room, crowd_of):
    daemon = room.start()
    process, id = hold(crowd_of(daemon), "14G")
    first = Offer(daemon, id)
    offered(room)
    second = Offer(daemon, id)
    status, document = first.reply()
    assert (status, document["error"]["code"]) == (409, "conflict")
    request = ask(daemon, 12)
    second.wanted()
    kill(process)
    granted(verdict(request)[0])


def test_protocol__an_offer_outlives_the_daemon(room, crowd_of):
    """Who offers comes back, as its connection breaks; what it says of before is not believed."""
    daemon, process, id, offer = on_offer(room, crowd_of)
    request = ask(daemon, 12)
    offer.wanted()
    daemon.process.kill()
    daemon.process.wait()
    room.start()
    offer.then("done")
    offered(room)
    again = ask(daemon, 12, id=request.id)
    offer.wanted()
    kill(process)
    answer, _ = verdict(again)
    granted(answer)
    assert "asked job: 14.0 GiB back" in answer["made_room"]


def test_protocol__many_come_and_go(room, crowd_of):
    """With every way to leave, while somebody waits."""
    daemon = room.start()
    crowd = crowd_of(daemon)
    held = [hold(crowd, "1G", f"job {i}") for i in range(6)]
    _, last = hold(crowd, "14G", "last")
    request = ask(daemon, 20)
    request.wait()
    before = daemon.fds()

    def come_and_go(id):
        for answer in (None, "busy", "done", "failed", None):
            offer = Offer(daemon, id, answer)
            offer.hang_up()
    threads = [threading.Thread(target=come_and_go, args=(id,)) for _, id in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert daemon.vram("fit", "1G").returncode in (0, 1)
    eventually(lambda: daemon.fds() <= before, "every connection is closed")
    eventually(lambda: room.state() == {}, "none is on offer")
    for process, _ in held:
        kill(process)
    when(daemon, lambda listed: len(listed["leases"]) == 1, "they have ended")
    request.hang_up()
    end(daemon, last)
