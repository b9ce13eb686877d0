# SPDX-License-Identifier: MIT
"""The commands that ask for leases and end them, against a daemon in the test's hand."""
import json
import os
import signal
import time

import pytest

import fake_daemon
from fake_daemon import DEADLINE, end, granted, lease_object, refused

GIB = 1 << 30


def grant(conversation):
    conversation.begin()
    conversation.line(granted(conversation))
    conversation.close()


# ---- vram run ----------------------------------------------------------------------------------------


def test_run_becomes_the_command(vram, daemon):
    process = vram.start("run", "14G", "--label", "job", "--for", "2h", "--margin", "5%", "--gpus", "1", "--", "sh", "-c",
                         'echo "$$ $VRAM_LEASE $CUDA_VISIBLE_DEVICES"; exit 7')
    request = daemon.accept()
    assert (request.method, request.path, request.pid) == ("POST", "/v1/leases", process.pid)
    body = request.body
    assert len(body["id"]) == 16 and int(body["id"], 16) >= 0
    assert {key: body[key] for key in body if key != "id"} == {
        "size_bytes": 14 * GIB, "gpu_count": 1, "margin_millipercent": 5000, "label": "job", "wait_ms": None,
        "for_ms": 7200000, "driver": "sim:rtx4090@default"}
    grant(request)
    assert end(process) == (7, f"{process.pid} {body['id']} {fake_daemon.GPU}\n", "")


def test_run_hands_over_a_clean_process(vram, daemon):
    process = vram.start("run", "4G", "--", "sh", "-c", "grep Sig /proc/self/status; ls -l /proc/self/fd")
    grant(daemon.accept())
    status, out, _ = end(process)
    words = dict(line.split() for line in out.splitlines() if line.startswith("Sig"))
    assert status == 0
    assert int(words["SigBlk:"], 16) == 0
    assert not int(words["SigIgn:"], 16) & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGINT - 1))
    assert "socket" not in out and "vram.sock" not in out and "anon_inode" not in out


def test_run_keeps_ignored_signals_ignored(vram, daemon):
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    process = vram.start("run", "4G", "--", "sh", "-c", "grep SigIgn /proc/self/status", preexec_fn=ignore)
    request = daemon.accept()
    process.send_signal(signal.SIGHUP)
    grant(request)
    status, out, _ = end(process)
    assert status == 0
    assert int(out.split()[1], 16) & 1 << (signal.SIGHUP - 1)


def test_run_tells_its_position(vram, daemon):
    process = vram.start("run", "4G", "--", "echo", "ran")
    request = daemon.accept()
    request.begin()
    for position, name in ((2, "comfyui"), (2, "comfyui"), (1, "comfyui"), (1, "\033[2Jllm")):
        request.line({"waiting": {"position": position, "waits_for": name}})
    request.line(granted(request))
    request.close()
    assert end(process) == (0, "ran\n", "vram: waiting, number 2 in line: comfyui\n"
                                        "vram: waiting, number 1 in line: comfyui\n"
                                        "vram: waiting, number 1 in line: \\x1b[2Jllm\n")


def test_run_is_silent_with_json(vram, daemon):
    process = vram.start("run", "4G", "--json", "--", "echo", "ran")
    request = daemon.accept()
    request.begin()
    request.line({"waiting": {"position": 1, "waits_for": "comfyui"}})
    request.line(granted(request))
    request.close()
    assert end(process) == (0, "ran\n", "")


def test_run_rewrites_its_line_on_a_terminal(vram, daemon):
    def answer(request):
        request.begin()
        request.line({"waiting": {"position": 2, "waits_for": "x" * 200}})
        request.line({"waiting": {"position": 1, "waits_for": "comfyui"}})
        request.line(granted(request))
        request.close()
    daemon.serve("POST", "/v1/leases", answer)
    screen = vram.screen("run", "4G", "--", "echo", "ran", columns=60)
    start = "\r\033[K"
    pieces = screen.out.split(start)
    assert pieces[0] == "" and pieces[2:] == ["vram: waiting, number 1 in line: comfyui", "ran\n"]
    assert len(pieces[1]) == 59 and pieces[1].endswith("x…")


@pytest.mark.parametrize("verdict, status", [("timed_out", 124), ("not_now", 125), ("never", 125), ("unknown", 125)])
def test_run_refused(vram, daemon, verdict, status):
    process = vram.start("run", "4G", "--timeout", "5s", "--", "echo", "ran")
    request = daemon.accept()
    assert 4000 < request.body["wait_ms"] <= 5000
    request.begin()
    request.line(refused(verdict, "no room: comfyui (4242) holds 14.0 GiB"))
    request.close()
    assert end(process) == (status, "", "vram: no room: comfyui (4242) holds 14.0 GiB\n")


def test_run_without_waiting(vram, daemon):
    process = vram.start("run", "4G", "--timeout", "0", "--", "echo", "ran")
    request = daemon.accept()
    assert request.body["wait_ms"] == 0
    request.reply(granted(request))
    assert end(process)[:2] == (0, "ran\n")


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_run_takes_its_request_back(vram, daemon, number, status):
    process = vram.start("run", "4G", "--", "echo", "ran")
    request = daemon.accept()
    request.begin()
    request.line({"waiting": {"position": 1, "waits_for": "comfyui"}})
    assert process.stderr.readline() == b"vram: waiting, number 1 in line: comfyui\n"
    process.send_signal(number)
    cancel = daemon.accept()
    assert (cancel.method, cancel.path) == ("DELETE", f"/v1/leases/{request.body['id']}")
    cancel.reply({"schema": 1, "ended": "request"})
    assert end(process) == (status, "", "")
    request.wait_until_gone()


def test_run_ends_at_a_second_signal(vram, daemon):
    process = vram.start("run", "4G", "--", "echo", "ran")
    daemon.accept()
    process.send_signal(signal.SIGINT)
    daemon.accept()  # of which nothing comes
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=DEADLINE) == -signal.SIGINT


def test_run_of_no_command(vram, daemon, tmp_path):
    script = tmp_path / "script"
    script.write_text("no program")
    for command, status in (("no-such-command", 127), (str(tmp_path / "none"), 127), (str(script), 126),
                            (str(tmp_path), 126)):
        process = vram.start("run", "4G", "--", command)
        request = daemon.accept()
        grant(request)
        cancel = daemon.accept()
        assert (cancel.method, cancel.path) == ("DELETE", f"/v1/leases/{request.body['id']}")
        cancel.reply({"schema": 1, "ended": "lease"})
        ended, out, err = end(process)
        assert (ended, out) == (status, ""), command
        assert command in err


@pytest.mark.parametrize("args", [[], ["4G"], ["4G", "true"], ["4G", "--"], ["--", "true"], ["4G", "5G", "--", "true"],
                                  ["12Q", "--", "true"], ["4G", "--timeout", "soon", "--", "true"], ["4G", "--nope"],
                                  ["4G", "--for", "0", "--", "true"]], ids=lambda args: " ".join(args) or "-")
def test_run_used_wrongly(vram, daemon, args):
    run = vram("run", *args)
    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("vram: ")
    assert daemon.conversations.empty()


@pytest.mark.parametrize("command", ["docker run image", "/usr/bin/podman run image", "sudo nerdctl run image",
                                     "sudo -u ada FOO=1 docker run image", "env -u X docker run image",
                                     "nice -n 5 sudo -E docker compose up"])
def test_run_of_a_container_needs_a_member(vram, daemon, command):
    run = vram("run", "4G", "--", *command.split())
    assert run.status == 125
    assert "--member cgroup:/" in run.err and "--cgroup-parent" in run.err
    assert daemon.conversations.empty()


def test_run_of_a_container_with_a_member(vram, daemon, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho container\n")
    docker.chmod(0o755)
    process = vram.start("run", "4G", "--member", "cgroup:/job", "--member", "unit:x.service", "--", str(docker))
    request = daemon.accept()
    assert request.body["members"] == ["cgroup:/job", "unit:x.service"]
    grant(request)
    assert end(process)[:2] == (0, "container\n")


@pytest.mark.parametrize("command, label", [
    (["python3", "-u", "/srv/train.py", "--big"], "srv/train.py"), (["/usr/bin/env"], "env"),
    (["python3", "/srv/" + "ü" * 60 + ".py"], "ü" * 32)])
def test_run_is_called_what_tells_most(vram, daemon, command, label):
    process = vram.start("run", "4G", "--", *command)
    request = daemon.accept()
    assert request.body["label"] == label
    request.reply(refused(), 200)
    end(process)


# ---- Candidates --------------------------------------------------------------------------------------


def test_candidates(vram, daemon, gpus):
    uuids = [gpu["uuid"] for gpu in gpus("sim:2x3090")["gpus"]]
    cases = [(["--gpu", "1"], {}, uuids[1:]), ([], {"CUDA_VISIBLE_DEVICES": "0"}, uuids[:1]),
             (["--gpu", uuids[0][:18]], {"CUDA_VISIBLE_DEVICES": "1"}, uuids[:1]), ([], {}, None)]
    for args, env, expected in cases:
        process = vram.start("reserve", "4G", *args, env=env, driver="sim:2x3090")
        request = daemon.accept()
        assert request.body.get("candidates") == expected
        request.reply(granted(request))
        assert end(process)[0] == 0
    run = vram("run", "4G", "--gpu", "7", "--", "true", driver="sim:2x3090")
    assert run.status == 125
    assert "there is no GPU '7'" in run.err
    assert vram("reserve", "4G", driver="sim:2x3090", env={"CUDA_VISIBLE_DEVICES": ""}).status == 3


# ---- A daemon that goes and comes --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "close", "ending"])
def test_a_waiter_returns_to_a_restarted_daemon(vram, daemon, how):
    process = vram.start("run", "4G", "--timeout", "1h", "--", "echo", "ran")
    request = daemon.accept()
    request.begin()
    request.line({"waiting": {"position": 1, "waits_for": "comfyui"}})
    assert process.stderr.readline()
    daemon.stop(leave_socket=how == "reset")
    if how == "reset":
        request.reset()
    else:
        if how == "ending":
            request.line({"error": {"code": "ending", "message": "the daemon ends", "hint": None, "errno": 11}})
        request.close()
    daemon.start()
    again = daemon.accept()
    assert again.body["id"] == request.body["id"]
    assert 3000000 < again.body["wait_ms"] < request.body["wait_ms"] <= 3600000
    grant(again)
    assert end(process)[:2] == (0, "ran\n")


def test_a_waiter_gives_up_in_the_end(vram, daemon):
    process = vram.start("run", "4G", "--", "echo", "ran")
    request = daemon.accept()
    request.begin()
    request.line({"waiting": {"position": 1, "waits_for": "comfyui"}})
    assert process.stderr.readline()
    daemon.stop()
    request.close()
    status, out, err = end(process)
    assert (status, out) == (125, "")
    assert "vramd" in err  # it would have been started again, and cannot


def test_a_request_that_met_an_ending_daemon_is_made_again(vram, daemon):
    process = vram.start("reserve", "4G")
    first = daemon.accept()
    first.reset()
    second = daemon.accept()
    assert second.body["id"] == first.body["id"]
    second.reply(granted(second))
    assert end(process)[:2] == (0, second.body["id"] + "\n")


@pytest.mark.parametrize("how", ["ending", "reset"])
def test_a_request_outlasts_daemons_that_end_one_after_another(vram, daemon, how):
    """From each on there is as much time for the next, however long the one before had the request."""
    process = vram.start("reserve", "4G")
    for seconds in (0, 3.2, 0):
        request = daemon.accept()
        time.sleep(seconds)  # longer than a daemon that has vanished is waited for
        if how == "reset":
            request.reset()
        else:
            request.error("ending", "vramd is ending", 11, status=503)
    last = daemon.accept()
    last.reply(granted(last))
    assert end(process)[:2] == (0, last.body["id"] + "\n")


def test_a_request_that_another_takes_back(vram, daemon):
    process = vram.start("run", "4G", "--", "echo", "ran")
    request = daemon.accept()
    request.begin()
    request.line({"error": {"code": "cancelled", "message": "the request was taken back", "hint": None, "errno": 125}})
    request.close()
    assert end(process) == (125, "", "vram: the request was taken back\n")


ODD = {
    "nothing": b"", "no json": b"<html>", "a list": b"[1]", "an empty object": b"{}",
    "an unknown verdict": json.dumps(refused("perhaps")).encode(),
    "a grant of nothing": json.dumps(refused("granted")).encode(),
    "a lease without a name": json.dumps({**refused("granted"), "lease": {}}).encode(),
    "a number for a text": json.dumps({**refused(), "message": 5}).encode(),
    "a negative amount": json.dumps({**refused("granted"), "lease": lease_object(size_bytes=-1)}).encode(),
    "half": json.dumps(refused()).encode()[:50], "deep": b"[" * 100000,
    "a text for a list": json.dumps({**refused("granted"), "lease": lease_object(gpus="GPU-1")}).encode(),
    "a list of numbers": json.dumps({**refused("granted"), "lease": lease_object(gpus=[1])}).encode(),
    "a time that is none": json.dumps({**refused("granted"), "lease": lease_object(since="now")}).encode(),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_odd_answers_are_no_grants(vram, daemon, odd):
    process = vram.start("reserve", "4G")
    daemon.accept().reply(odd)
    status, out, err = end(process)
    assert (status, out) == (4, "")
    assert "makes no sense" in err


def test_what_a_newer_daemon_adds_is_ignored(vram, daemon):
    process = vram.start("reserve", "4G", "--json")
    request = daemon.accept()
    answer = granted(request, state="blessed", new={"a": 1})
    request.reply({**answer, "more": [1, 2]})
    status, out, _ = end(process)
    assert status == 0
    assert json.loads(out)["lease"]["state"] == "unknown"


@pytest.mark.parametrize("status, errno", [(400, 22), (403, 1), (429, 16), (500, 5), (200, 5)])
def test_the_daemons_errors_are_told(vram, daemon, status, errno):
    process = vram.start("reserve", "4G", "--json")
    daemon.accept().error("some_word", "a sentence about it", errno, "a line\nanother", status)
    ended, out, err = end(process)
    assert ended == 4
    assert json.loads(out) == {"error": {"code": "some_word", "message": "a sentence about it",
                                         "hint": "a line\nanother"}}
    assert err == "vram: a sentence about it\n  a line\n  another\n"


def test_another_driver_is_told(vram, daemon):
    process = vram.start("run", "4G", "--driver", "sim:2x3090", "--", "true")
    request = daemon.accept()
    assert request.body["driver"] == "sim:2x3090@default"
    request.error("other_driver", "the daemon serves sim:rtx4090@default, not sim:2x3090@default", 18, status=409)
    status, _, err = end(process)
    assert status == 125
    assert "the daemon serves sim:rtx4090@default" in err


# ---- vram reserve ------------------------------------------------------------------------------------


def test_reserve_prints_the_id_alone(vram, daemon):
    process = vram.start("reserve", "4G")
    request = daemon.accept()
    assert (request.body["owner"], request.body["wait_ms"]) == ("parent", 0)
    request.reply(granted(request))
    assert end(process) == (0, request.body["id"] + "\n", "")


def test_reserve_for_a_process(vram, daemon):
    process = vram.start("reserve", "4G", "--pid", "4242", "--timeout", "500ms", "--gpus", "2")
    request = daemon.accept()
    assert request.body["owner"] == {"pid": 4242}
    assert 1 <= request.body["wait_ms"] <= 500
    assert request.body["gpu_count"] == 2
    request.begin()
    request.line(refused("timed_out", "no room within 500 ms"))
    request.close()
    assert end(process) == (124, "", "vram: no room within 500 ms\n")


@pytest.mark.parametrize("pid", ["0", "-1", "x", "", "1x", "99999999999"])
def test_reserve_for_no_process(vram, daemon, pid):
    run = vram("reserve", "4G", "--pid", pid)
    assert (run.status, run.out) == (2, "")
    assert f"'{pid}'" in run.err


@pytest.mark.parametrize("verdict, status", [("not_now", 1), ("never", 5), ("unknown", 6), ("timed_out", 124)])
def test_reserve_refused(vram, daemon, verdict, status):
    process = vram.start("reserve", "14G", "--json")
    sent = refused(verdict)
    daemon.accept().reply(sent)
    ended, out, err = end(process)
    assert (ended, err) == (status, "")
    printed = json.loads(out)
    assert {key: printed[key] for key in ("schema", "verdict", "message", "lease")} == {
        key: sent[key] for key in ("schema", "verdict", "message", "lease")}
    assert printed["answer"] == sent["answer"]


def test_reserve_that_nobody_reads_holds_nothing(vram, daemon):
    read, write = os.pipe()
    os.close(read)
    process = vram.start("reserve", "4G", stdout=write)
    os.close(write)
    request = daemon.accept()
    request.reply(granted(request))
    cancel = daemon.accept()
    assert (cancel.method, cancel.path) == ("DELETE", f"/v1/leases/{request.body['id']}")
    cancel.reply({"schema": 1, "ended": "lease"})
    assert process.wait(timeout=DEADLINE) == 4


# ---- vram release ------------------------------------------------------------------------------------


def test_release(vram, daemon):
    process = vram.start("release", "8F14", "00d4e45fceea167a")
    first = daemon.accept()
    assert (first.method, first.path) == ("DELETE", "/v1/leases/8f14")
    first.reply({"schema": 1, "ended": "lease"})
    second = daemon.accept()
    second.reply({"schema": 1, "ended": "request"})
    assert end(process) == (0, "", "")
    process = vram.start("release", "8f14", "--json")
    daemon.accept().reply({"schema": 1, "ended": "request"})
    status, out, _ = end(process)
    assert json.loads(out) == {"schema": 1, "released": [{"id": "8f14", "ended": "request"}]}


@pytest.mark.parametrize("code, errno, status", [("not_found", 2, 1), ("conflict", 76, 2), ("forbidden", 1, 4)])
def test_release_refused(vram, daemon, code, errno, status):
    process = vram.start("release", "8f14", "00d4")
    daemon.accept().error(code, "it cannot be ended", errno, status=404)
    daemon.accept().reply({"schema": 1, "ended": "lease"})  # the others are ended all the same
    assert end(process) == (status, "", "vram: it cannot be ended\n")


def test_release_whose_answer_was_lost(vram, daemon):
    process = vram.start("release", "8f14e45fceea167a")
    daemon.accept().reset()
    daemon.accept().error("not_found", "there is no such lease", 2, status=404)
    assert end(process) == (0, "", "")


def test_release_that_met_an_ending_daemon(vram, daemon):
    process = vram.start("release", "8f14e45fceea167a")
    daemon.accept().error("ending", "vramd is ending", 11, status=503)
    daemon.accept().error("not_found", "there is no such lease", 2, status=404)
    assert end(process) == (1, "", "vram: there is no such lease\n")


@pytest.mark.parametrize("word", ["8f1", "xyzw", "", "8f14e45fceea167a0", "../../v1/pause"])
def test_release_of_what_is_no_id(vram, daemon, word):
    run = vram("release", word)
    assert run.status == 2
    assert daemon.conversations.empty()
