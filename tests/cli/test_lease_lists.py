# SPDX-License-Identifier: MIT
"""What is shown of leases, by `vram leases` and by others; `vram pause` and `resume`."""
import json
import os
import re
import signal
import time

import pytest

import fake_daemon
from fake_daemon import DEADLINE, end, lease_object, list_object, waiter_object

GIB = 1 << 30


@pytest.fixture
def leases(daemon):
    """Two leases and two waiters, since 105 seconds: three digits, whatever is left of this second."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S.123456Z", time.gmtime(time.time() - 105))
    document = list_object(
        [lease_object(since=since, members=[4242, 5151], attached=["unit:comfyui.service"]),
         lease_object(id="c81e728d9d4c2f63", owner_pid=None, user="root", label=None, size_bytes=6 * GIB,
                      held_bytes=7 * GIB, outstanding_bytes=0, state="over", since=since, until="2026-01-31T13:00:00Z")],
        [waiter_object(since=since),
         waiter_object(since=since, position=2, id="eccbc87e4b5ce2fe", gpu_count=2, label="a job with a long name",
                       waits_for="bob's request in front of it, and comfyui (4242), which holds 14.0 GiB")])
    daemon.serve("GET", "/v1/leases", lambda conversation: conversation.reply(document))
    return document


@pytest.mark.parametrize("columns", [80, 160])
def test_leases_on_a_screen(vram, daemon, leases, gpus, golden, columns):
    document = gpus()
    document["gpus"][0].update(uuid=fake_daemon.GPU)
    document["gpus"][0]["processes"][0].update(pid=5151)
    run = vram.screen("leases", columns=columns)
    assert run.status == 0
    for line in run.out.splitlines():
        assert len(re.sub("\033[^m]*m", "", line)) <= columns
    golden(f"leases-{columns}.txt", hide_ages(run.out))


def hide_ages(text):
    """Ages go on: their digits become '#'."""
    return re.sub(r"\d\d\d s(?= )", "### s", text)


def test_leases_as_json_are_the_daemons(vram, daemon, leases):
    run = vram("leases", "--json")
    assert (run.status, run.err) == (0, "")
    assert run.json == leases


def test_leases_as_csv(vram, daemon, leases):
    rows = vram("leases", "--csv").rows
    assert [row["id"] for row in rows] == ["8f14e45fceea167a", "c81e728d9d4c2f63"]
    assert rows[0]["gpus"] == fake_daemon.GPU
    assert rows[0]["members"] == "4242 5151"
    assert rows[0]["attached"] == "unit:comfyui.service"
    assert rows[1]["owner_pid"] == "" and rows[1]["outstanding_bytes"] == "0"


def test_no_leases(vram, daemon):
    daemon.serve("GET", "/v1/leases", lambda conversation: conversation.reply(list_object()))
    run = vram("leases")
    assert (run.status, run.out, run.err) == (0, "", "vram: nothing is leased and nobody waits\n")


def test_a_daemon_that_does_not_promise_is_noted(vram, daemon):
    object_ = list_object()
    object_["daemon"] = fake_daemon.daemon_object(promising=False, reason="paused", paused=True,
                                                  message="paused; `vram resume` ends it")
    daemon.serve("GET", "/v1/leases", lambda conversation: conversation.reply(object_))
    assert "no lease is granted at present: paused; `vram resume` ends it" in vram("leases").err


def test_leases_without_a_daemon(vram, daemon):
    daemon.stop()
    run = vram("leases")
    assert (run.status, run.out, run.err) == (0, "", "vram: nothing is leased: no daemon runs\n")
    assert vram("leases", "--json").json == {"schema": 1, "epoch": 0, "daemon": None, "leases": [], "waiters": [],
                                             "ceilings": []}
    assert vram("leases", "--csv").rows == []


def test_leases_of_a_socket_that_refuses(vram, daemon):
    daemon.stop(leave_socket=True)
    run = vram("leases")
    assert run.status == 4
    assert "no daemon listens on it" in run.err


def test_watch_follows_the_epoch(vram, daemon):
    process = vram.start("leases", "--watch", "--json")
    first = daemon.accept()
    assert first.query == {}
    first.reply(list_object(epoch=5))
    assert json.loads(process.stdout.readline())["epoch"] == 5
    second = daemon.accept()
    assert second.query["after"] == "5" and int(second.query["timeout_ms"]) > 0
    second.reply(list_object(epoch=6))  # figures have changed, leases have not
    third = daemon.accept()
    assert third.query["after"] == "6"
    third.reply(list_object([lease_object()], epoch=7))
    assert json.loads(process.stdout.readline())["epoch"] == 7
    process.send_signal(signal.SIGINT)
    assert end(process)[0] == 0


def test_watch_survives_its_daemon(vram, daemon):
    process = vram.start("leases", "--watch", "--csv")
    daemon.accept().reply(list_object([lease_object()], epoch=5))
    assert process.stdout.readline().startswith(b"id,")
    assert process.stdout.readline().startswith(b"8f14")
    waiting = daemon.accept()
    daemon.stop()
    waiting.reset()
    assert process.stdout.readline().startswith(b"id,")  # no daemon, no leases
    daemon.start()
    fresh = daemon.accept()
    assert fresh.query == {}
    fresh.reply(list_object([lease_object(id="c81e728d9d4c2f63")], epoch=1))
    assert process.stdout.readline().startswith(b"id,")
    assert process.stdout.readline().startswith(b"c81e")
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 0


def test_watch_draws_a_terminal_anew(vram, daemon, gpus):
    gpus()
    requests = []

    def answer(conversation):
        requests.append(conversation)
        if len(requests) == 3:
            os.kill(conversation.pid, signal.SIGINT)
        else:
            conversation.reply(list_object([lease_object(label=f"job-{len(requests)}")], epoch=len(requests)))
    daemon.serve("GET", "/v1/leases", answer)
    screen = vram.screen("leases", "--watch")
    assert screen.status == 0
    before, first, second = screen.out.split("\033[H\033[J")
    assert before == ""
    assert "job-1" in first and "job-2" in second


def test_watch_ends_when_nobody_reads(vram, daemon):
    process = vram.start("leases", "--watch", "--json")
    daemon.accept().reply(list_object(epoch=5))
    assert process.stdout.readline()
    change = daemon.accept()
    process.stdout.close()
    change.reply(list_object(epoch=6))
    assert process.wait(timeout=DEADLINE) == 0


# ---- vram pause, vram resume -------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["pause", "resume"])
def test_pause_and_resume(vram, daemon, word):
    process = vram.start(word, "--json")
    request = daemon.accept()
    assert (request.method, request.path) == ("POST", f"/v1/{word}")
    request.reply(fake_daemon.daemon_object(paused=word == "pause"))
    status, out, _ = end(process)
    assert (status, json.loads(out)) == (0, {"schema": 1, "paused": word == "pause"})
    process = vram.start(word)
    daemon.accept().error("forbidden", f"only administrators may {word}", 1, f"sudo vram {word}", 403)
    status, out, err = end(process)
    assert (status, out) == (4, "")
    assert f"sudo vram {word}" in err


# ---- What others show of leases ----------------------------------------------------------------------


def test_status_counts_promises(vram, daemon, gpus):
    gpus(outstanding=4 * GIB, waiters=2, leases={"python3": "8f14e45fceea167a"})
    run = vram()
    assert run.status == 0
    assert "outstanding  4.0 GiB" in " ".join(run.out.split(" ")) or "4.0 GiB" in run.out
    assert "8f14e45f" in run.out and "8f14e45fceea167a" not in run.out
    assert "2 requests wait for room" in run.err


def test_fit_counts_promises(vram, daemon, gpus):
    gpus(outstanding=10 * GIB, waiters=1)
    run = vram("fit", "14G")
    assert run.status == 1
    assert "10,240 outstanding" in run.out
    assert "1 request waits for room already" in run.out
    assert run.err == ""
    assert vram("fit", "4G").status == 0
    assert "1 request waits for room already" in vram("fit", "4G").out
    assert vram("fit", "4G", "--json").json["answers"][0]["promises_counted"] is True


def test_fit_waits_for_the_daemons_next_snapshot(vram, daemon, gpus):
    full = gpus(outstanding=20 * GIB)
    daemon.answers.clear()
    process = vram.start("fit", "14G", "--timeout", "1h")
    first = daemon.accept()
    assert "after" not in first.query
    first.reply(full)
    second = daemon.accept()
    assert second.query["after"] == "5" and 0 < int(second.query["timeout_ms"]) <= 1001
    for gpu in full["gpus"]:
        gpu["outstanding_bytes"] = 0
    second.reply({**full, "epoch": 6})
    status, out, err = end(process)
    assert status == 0
    assert "nothing is held" in err


def test_fit_goes_on_without_its_daemon(vram, daemon, gpus):
    full = gpus(outstanding=20 * GIB)
    daemon.answers.clear()
    process = vram.start("fit", "14G", "--timeout", "1h")
    daemon.accept().reply(full)
    waiting = daemon.accept()
    daemon.stop()
    waiting.reset()
    status, out, err = end(process)
    assert status == 0  # nobody promises anything any more
    assert "promises are not counted: no daemon runs" in err


def test_ps_finds_labels(vram, daemon, gpus):
    gpus(leases={"python3": "8f14e45fceea167a"})
    daemon.serve("GET", "/v1/leases", lambda conversation: conversation.reply(list_object([lease_object()])))
    assert [process["name"] for process in vram("ps", "ComfyUI", "--json").json["processes"]] == ["python3"]
    assert [process["name"] for process in vram("ps", "8f14e45f", "--json").json["processes"]] == ["python3"]
    assert vram("ps", "nobody's label").status == 1


@pytest.mark.parametrize("command", ["run", "reserve", "release", "leases", "pause", "resume", "serve"])
def test_help(vram, command):
    for args in (["help", command], [command, "--help"]):
        run = vram(*args)
        assert (run.status, run.err) == (0, "")
        assert run.out.startswith(f"Usage: vram [OPTION...] {command}")
