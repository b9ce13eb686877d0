# SPDX-License-Identifier: MIT
"""Making room: idle holders are asked to give memory back before somebody waits; the driver says what came of it."""
import os
import re
import signal
import socket
import threading
import time

import pytest
from conftest import DEADLINE, VRAM_SIM, alive, eventually
from holders import ComfyUI, LlamaServer, LlamaSwap, Ollama, VLLM
from leasing import GIB, ask, granted, kill, leases, verdict, when
from reading import scrape

# Generous where nothing is to happen, short where something is to be given up.
SECTION = "[holder {name}]\nmatch = {match}\nask = {ask}\n{more}\n"


def section(name, ask, *more, match=None):
    return SECTION.format(name=name, match=match or f"name:{name}", ask=ask, more="\n".join(more))


# ---- The acceptance ----------------------------------------------------------------------------


def test_room__is_made_by_an_idle_ollama(room):
    ollama = room.holder(Ollama, "ollama", {"llama3:8b": "14G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}"))
    began = time.monotonic()
    run = daemon.vram("run", "12G", "--", "echo", "here")
    took = time.monotonic() - began
    assert (run.returncode, run.stdout) == (0, "here\n"), run.stderr
    assert re.search(r"^vram: asked ollama: 14\.0 GiB back in ([0-9.]+ s|\d+ ms)$", run.stderr, re.M), run.stderr
    assert ollama.asked == ["GET /api/ps", "POST /api/generate"]
    assert took < 2 or os.getloadavg()[0] > os.cpu_count(), f"it took {took:.1f} s"
    assert "asked ollama: 14.0 GiB back" in room.said()
    events = daemon.get("/v1/events?kind=holder_asked").json["events"]
    assert [(event["name"], event["bytes"], event["gpu_index"]) for event in events] == [("ollama", 14 * GIB, 0)]
    assert room.state()["ollama"]["last"].startswith("asked ollama: 14.0 GiB back")
    told = scrape(daemon)
    assert told.value("vram_holder_asks_total", holder="ollama", result="gave_back") == 1
    assert told.value("vram_holder_asks_total", holder="ollama", result="nothing") == 0
    assert told.value("vram_holder_returned_bytes_total", holder="ollama") == 14 * GIB
    assert told.value("vram_holder_returned_bytes_total", holder="(leases)") == 0


def test_room__a_busy_holder_is_left_alone(room, crowd_of):
    ollama = room.holder(Ollama, "ollama", {"llama3:8b": "14G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}"))
    daemon.sim("inject", "gpu 0 util=80")
    process = crowd_of(daemon).run("12G", "true")
    line = process.stderr.readline()
    while "busy" not in line:
        assert line.startswith("vram: waiting, number 1 in line: 4.7 GiB more on GPU 0"), line
        line = process.stderr.readline()
    assert "; ollama (14.0 GiB) is busy" in line
    assert "ollama (14.0 GiB) is busy" in leases(daemon)["waiters"][0]["waits_for"]
    assert not ollama.asked and room.state()["ollama"]["state"] == "busy"
    daemon.sim("inject", "gpu 0 util=0")
    assert process.wait(timeout=DEADLINE) == 0
    assert "asked ollama: 14.0 GiB back" in process.stderr.read()


# ---- How each is asked --------------------------------------------------------------------------


@pytest.mark.parametrize("kind,name,asks", [
    (Ollama, "ollama", ["GET /api/ps", "POST /api/generate"]),
    (ComfyUI, "comfyui", ["GET /queue", "POST /free"]),
    (LlamaSwap, "llama-swap", ["GET /unload"]),
    (LlamaServer, "llama-server", ["GET /models", "POST /models/unload"]),
    (VLLM, "vllm", ["GET /metrics", "POST /sleep?level=1&mode=wait"]),
])
def test_ask__in_its_own_language(room, kind, name, asks):
    holder = room.holder(kind, name, {"model": "14G"})
    daemon = room.start(section(name, f"{name} {holder.url}"))
    answer, _ = verdict(ask(daemon, 12))
    granted(answer)
    assert answer["made_room"].startswith(f"asked {name}: 14.0 GiB back in ")
    assert list(dict.fromkeys(holder.asked)) == asks


@pytest.mark.parametrize("kind,name", [(ComfyUI, "comfyui"), (VLLM, "vllm")])
def test_ask__its_own_word_on_being_busy(room, kind, name):
    """The GPU is at work, and it says that this is not its own work, or that it is."""
    holder = room.holder(kind, name, {"model": "14G"})
    holder.busy = True
    daemon = room.start(section(name, f"{name} {holder.url}"))
    request = ask(daemon, 12)
    while "is busy" not in request.wait()["waits_for"]:
        pass
    assert not [one for one in holder.asked if one.startswith("POST")]
    daemon.sim("inject", "gpu 0 util=80")
    holder.busy = False
    granted(request.answer())


def test_ask__of_several_models_those_that_are_needed(room):
    ollama = room.holder(Ollama, "ollama", {"next": "5G", "later": "5G", "last": "5G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}"))
    granted(verdict(ask(daemon, 12))[0])
    assert list(ollama.models) == ["last"]


def test_ask__as_it_is_written(room):
    comfy = room.holder(ComfyUI, "python3.11", {"model": "14G"})
    daemon = room.start(section("comfy", f"POST {comfy.url}/free",
                                'body = {"unload_models": true, "free_memory": true}', match="name:python3.11"))
    granted(verdict(ask(daemon, 12))[0])
    assert comfy.asked == ["POST /free"]


def test_ask__by_a_command(room, hold, tmp_path):
    holder = hold(room.daemon, "14G", "--name", "job")
    script = tmp_path / "free"
    script.write_text(f"#!/bin/sh\nenv | grep ^VRAM_ > {tmp_path}/env\necho $1 $2 > {tmp_path}/args\nkill {holder.pid}\n")
    script.chmod(0o755)
    daemon = room.start(section("job", f"command {script} one two"))
    answer, _ = verdict(ask(daemon, 12))
    granted(answer)
    assert (tmp_path / "args").read_text() == "one two\n"
    env = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert env["VRAM_HOLDER"] == "job" and int(env["VRAM_WANTED_BYTES"]) < 14 * GIB
    assert env["VRAM_GPUS"].startswith("GPU-")


def test_ask__a_command_tells_whether_it_is_busy(room, hold, tmp_path):
    holder = hold(room.daemon, "14G", "--name", "job")
    flag, busy, free = tmp_path / "busy-now", tmp_path / "busy", tmp_path / "free"
    flag.touch()
    busy.write_text(f"#!/bin/sh\ntest -e {flag}\n")
    free.write_text(f"#!/bin/sh\nkill {holder.pid}\n")
    for script in (busy, free):
        script.chmod(0o755)
    daemon = room.start(section("job", f"command {free}", f"busy = command {busy}"))
    request = ask(daemon, 12)
    while "job (14.0 GiB) is busy" not in request.wait()["waits_for"]:
        pass
    flag.unlink()
    granted(request.answer())


# ---- Only what is needed --------------------------------------------------------------------------


def test_plan__the_cheapest_that_is_enough(room):
    ollama = room.holder(Ollama, "ollama", {"a": "7G"})
    comfy = room.holder(ComfyUI, "comfyui", {"b": "7G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}", "cost = 20"),
                        section("comfyui", f"comfyui {comfy.url}"))
    granted(verdict(ask(daemon, 12))[0])  # 7.7 GiB are there
    assert not ollama.asked and "POST /free" in comfy.asked


def test_plan__several_where_one_is_not_enough(room):
    ollama = room.holder(Ollama, "ollama", {"a": "7G"})
    comfy = room.holder(ComfyUI, "comfyui", {"b": "7G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}"), section("comfyui", f"comfyui {comfy.url}"))
    answer, _ = verdict(ask(daemon, 20))
    granted(answer)
    assert "asked ollama: 7.0 GiB back" in answer["made_room"] and "asked comfyui: 7.0 GiB back" in answer["made_room"]


def test_plan__nobody_where_all_are_not_enough(room, hold):
    ollama = room.holder(Ollama, "ollama", {"a": "4G"})
    other = hold(room.daemon, "14G")
    daemon = room.start(section("ollama", f"ollama {ollama.url}"))
    request = ask(daemon, 12)
    assert request.wait()["waits_for"].startswith("8.7 GiB more on GPU 0")
    when(daemon, lambda listed: listed["waiters"], "it waits")
    kill(other)
    granted(request.answer())
    assert not ollama.asked


def test_plan__who_does_not_wait_is_answered_at_once(room):
    ollama = room.holder(Ollama, "ollama", {"a": "14G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}"))
    assert verdict(ask(daemon, 12, wait_ms=0))[0]["verdict"] == "not_now"
    assert not ollama.asked


def test_plan__what_counts_for_a_lease_is_not_asked_for(room, crowd_of):
    """What it gave back would stay promised to it."""
    holder = crowd_of(room.daemon)
    daemon = room.start(section("job", "command /bin/true", "busy = never"))
    process = holder.run("14G", VRAM_SIM, "hold", "14G", "--name", "job")
    holder.holds(process)
    request = ask(daemon, 12)
    assert request.wait()["waits_for"] == "4.7 GiB more on GPU 0"
    state = room.state()["job"]
    assert (state["state"], state["held_bytes"], state["leased_bytes"]) == ("leased", 0, 14 * GIB)
    assert not room.state()["job"]["last"]
    kill(process)
    granted(request.answer())


def ceiling(name, size):
    return f"[ceiling {name}]\nmatch = name:{name}\nsize = {size}\n"


def test_plan__what_a_ceiling_would_keep_is_not_asked_for(room, crowd_of):
    ollama = room.holder(Ollama, "ollama", {"a": "14G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}", "busy = never"), ceiling("ollama", "14G"))
    request = ask(daemon, 12, owner={"pid": crowd_of(daemon).idler().pid})  # the holder is this process's child
    assert request.wait()["waits_for"] == "4.7 GiB more on GPU 0"
    when(daemon, lambda _: room.state()["ollama"]["state"] == "leased", "it is seen to be within its ceiling")
    for _ in range(5):
        daemon.snapshot()
    state = room.state()["ollama"]
    assert (state["held_bytes"], state["leased_bytes"], ollama.asked) == (0, 14 * GIB, [])
    ollama.unload("a")  # of itself, and then it is kept for it
    when(daemon, lambda listed: "14.0 GiB are kept by ceilings" in listed["waiters"][0]["waits_for"], "it is kept")


def test_plan__what_is_beyond_a_ceiling_is_asked_for(room, crowd_of):
    ollama = room.holder(Ollama, "ollama", {"a": "14G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}", "busy = never"), ceiling("ollama", "4G"))
    answer, _ = verdict(ask(daemon, 12, owner={"pid": crowd_of(daemon).idler().pid}))
    granted(answer)
    assert "asked ollama: 10.0 GiB back" in answer["made_room"]
    assert daemon.snapshot()["gpus"][0]["ceiling_bytes"] == 4 * GIB


def test_plan__what_ceilings_keep_is_asked_for_besides(room):
    ollama = room.holder(Ollama, "ollama", {"a": "5G", "b": "5G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}", "busy = never"), ceiling("another", "6G"))
    granted(verdict(ask(daemon, 12))[0])  # one model would be enough but for the ceiling
    assert not ollama.models


def test_plan__nobody_gives_for_a_drained_gpu(room):
    room.prepare("sim:2x3090")
    holder = room.holder(Ollama, "second", {"a": "8G"}, gpu=1)
    daemon = room.start(section("second", f"ollama {holder.url}", "busy = never"))
    assert daemon.vram("drain", "1").returncode == 0
    request = ask(daemon, 10)
    assert "GPU 0" in request.wait()["waits_for"]
    when(daemon, lambda _: room.state()["second"]["state"] == "idle", "it could be asked")
    for _ in range(5):
        daemon.snapshot()
    assert not holder.asked
    assert daemon.vram("undrain", "1").returncode == 0
    granted(verdict(request)[0])
    assert holder.asked


def test_plan__on_the_gpu_where_it_helps(room, make_daemon, tmp_path):
    daemon = room.prepare("sim:2x3090")
    first = room.holder(Ollama, "first", {"a": "3G"}, gpu=0)
    second = room.holder(Ollama, "second", {"a": "8G"}, gpu=1)
    daemon = room.start(section("first", f"ollama {first.url}", "busy = never"),
                        section("second", f"ollama {second.url}", "busy = never"))
    granted(verdict(ask(daemon, 10))[0])
    assert not first.asked and second.asked


# ---- What does not give back ----------------------------------------------------------------------


SHORT = ("timeout = 1s", "again_after = 1h")


@pytest.mark.parametrize("manner,why", [
    ("keeps it", r"asked ollama: nothing came back$"),
    ("hangs", r"asked ollama: nothing came back \(no answer in time\)$"),
    ("fails", r"asked ollama: nothing came back \(it answered with status 500\)$"),
])
def test_trouble__what_gave_nothing_is_not_asked_again_for_a_while(room, manner, why):
    ollama = room.holder(Ollama, "ollama", {"a": "14G"}, manner)
    daemon = room.start(section("ollama", f"ollama {ollama.url}", *SHORT))
    request = ask(daemon, 12)
    while "gave nothing back when it was asked" not in request.wait()["waits_for"]:
        pass
    asked = list(ollama.asked)
    state = room.state()["ollama"]
    assert state["state"] == "resting" and state["again_at"] > state["last_at"]
    assert re.search(why, state["last"]), state
    another = ask(daemon, 12, wait_ms=300)
    assert verdict(another)[0]["verdict"] == "timed_out"
    assert ollama.asked == asked
    daemon.vram("release", request.id)


def test_trouble__it_is_asked_again_afterwards(room):
    ollama = room.holder(Ollama, "ollama", {"a": "14G"}, "keeps it")
    daemon = room.start(section("ollama", f"ollama {ollama.url}", "timeout = 200ms", "again_after = 1s"))
    request = ask(daemon, 12)
    eventually(lambda: ollama.asked.count("POST /api/generate") >= 2, "it is asked again")
    ollama.manner = "at once"
    granted(request.answer())


def test_trouble__late(room):
    """It answers at once, and the memory comes later."""
    ollama = room.holder(Ollama, "ollama", {"a": "14G"}, "late")
    daemon = room.start(section("ollama", f"ollama {ollama.url}"))
    answer, told = verdict(ask(daemon, 12))
    granted(answer)
    assert "ollama (14.0 GiB) is asked to give back" in told[-1]
    assert re.fullmatch(r"asked ollama: 14\.0 GiB back in \d+\.\d s", answer["made_room"])


def test_trouble__without_an_answer(room):
    """The memory comes, and no answer: the driver is believed."""
    ollama = room.holder(Ollama, "ollama", {"a": "14G"}, "hangs and frees")
    daemon = room.start(section("ollama", f"ollama {ollama.url}"))
    granted(verdict(ask(daemon, 12))[0])


def test_trouble__partly(room):
    """What is still lacking is asked for elsewhere."""
    ollama = room.holder(Ollama, "ollama", {"a": "4G", "b": "4G"}, "at once")
    comfy = room.holder(ComfyUI, "comfyui", {"c": "6G"})
    ollama.free = lambda model: ollama.unload(model) or 200 if model == "a" else 200
    daemon = room.start(section("ollama", f"ollama {ollama.url}", "timeout = 1s"),
                        section("comfyui", f"comfyui {comfy.url}", "cost = 100"))
    answer, _ = verdict(ask(daemon, 14))  # 7.7 GiB are there
    granted(answer)
    assert "asked ollama: 4.0 GiB back" in answer["made_room"]
    assert "asked comfyui: 6.0 GiB back" in answer["made_room"]


def test_trouble__nobody_is_there(room, hold):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hold(room.daemon, "14G", "--name", "ollama")
    daemon = room.start(section("ollama", f"ollama http://127.0.0.1:{port}", *SHORT))
    request = ask(daemon, 12)
    while "gave nothing back" not in request.wait()["waits_for"]:
        pass
    assert room.state()["ollama"]["last"] == "asked ollama: nothing came back (it cannot be reached)"


@pytest.mark.parametrize("answer,why", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 100000, "its answer is too long"),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"y" * (4 << 20), "its answer is too long"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]", "its list of models cannot be read"),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"models":[]}', "it has no model loaded"),
    (b"what\r\n\r\n", "it"),
    (b"", "it"),
], ids=["a length that is a lie", "megabytes", "another list", "no model", "no HTTP", "nothing"])
def test_trouble__answers_that_are_none(room, hold, answer, why):
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                try:
                    client.sendall(answer)
                except OSError:
                    pass
    threading.Thread(target=serve, daemon=True).start()
    hold(room.daemon, "14G", "--name", "ollama")
    daemon = room.start(section("ollama", f"ollama http://127.0.0.1:{server.getsockname()[1]}", *SHORT))
    request = ask(daemon, 12)
    while "gave nothing back" not in request.wait()["waits_for"]:
        pass
    assert room.state()["ollama"]["last"].startswith(f"asked ollama: nothing came back ({why}")
    assert daemon.vram("fit", "1G").returncode == 0  # all else goes on
    server.close()


@pytest.mark.parametrize("script,why", [
    ("sleep 1000 & echo $! > {pid}; wait", "it took too long, and was killed"),
    ("echo $$ > {pid}; exec yes", "it was ended by signal 13"),
    ("echo $$ > {pid}; echo 'no such; model' >&2; exit 3", "its command ended with status 3: no such; model"),
    ("echo $$ > {pid}; kill -9 $$", "it was ended by signal 9"),
    ("echo $$ > {pid}", ""),
    (None, "there is no such command, or it cannot be run"),
], ids=["hangs", "babbles", "fails", "crashes", "does nothing", "is missing"])
def test_trouble__commands(room, hold, tmp_path, script, why):
    hold(room.daemon, "14G", "--name", "job")
    path, pid = tmp_path / "free", tmp_path / "pid"
    if script:
        path.write_text("#!/bin/sh\n" + script.format(pid=pid) + "\n")
        path.chmod(0o755)
    daemon = room.start(section("job", f"command {path}", *SHORT))
    request = ask(daemon, 12)
    while "gave nothing back" not in request.wait()["waits_for"]:
        pass
    assert room.state()["job"]["last"] == f"asked job: nothing came back{f' ({why})' if why else ''}"
    if script:
        assert eventually(lambda: not alive(int(pid.read_text())), "what it started has ended")
    assert daemon.vram("fit", "1G").returncode == 0


def test_trouble__a_daemon_that_ends_takes_its_command_along(room, hold, tmp_path):
    hold(room.daemon, "14G", "--name", "job")
    path, pid = tmp_path / "free", tmp_path / "pid"
    path.write_text(f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000\n")
    path.chmod(0o755)
    daemon = room.start(section("job", f"command {path}"))
    request = ask(daemon, 12)
    eventually(pid.exists, "the command runs")
    daemon.stop()
    eventually(lambda: not alive(int(pid.read_text())), "it has ended")
    request.hang_up()


def test_trouble__who_waited_has_gone(room):
    """It was asked for somebody who did not wait for it: what came of it is told all the same."""
    ollama = room.holder(Ollama, "ollama", {"a": "14G"}, "hangs and frees")
    daemon = room.start(section("ollama", f"ollama {ollama.url}", "timeout = 1s"))
    request = ask(daemon, 12)
    ollama.free = lambda model: ollama.released.wait(DEADLINE) and 200
    eventually(lambda: "POST /api/generate" in ollama.asked, "it is asked")
    request.hang_up()
    ollama.unload("a")
    eventually(lambda: "asked ollama: 14.0 GiB back" in room.said(), "it is told")


# ---- The configuration ------------------------------------------------------------------------------


def test_reload__takes_holders_and_keeps_them_where_there_is_a_mistake(room):
    ollama = room.holder(Ollama, "ollama", {"a": "14G"})
    daemon = room.start("")
    assert room.state() == {}
    request = ask(daemon, 12)
    assert request.wait()["waits_for"] == "4.7 GiB more on GPU 0"
    room.conf.write_text(section("ollama", "ollama ftp://127.0.0.1"))
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: f"{room.conf}:3: ask cannot be 'ollama ftp://127.0.0.1'" in room.said(), "it is refused")
    room.conf.write_text(section("ollama", f"ollama {ollama.url}"))
    daemon.process.send_signal(signal.SIGHUP)
    granted(request.answer())
    assert list(room.state()) == ["ollama"]


def test_holders__are_shown(room):
    ollama = room.holder(Ollama, "ollama", {"a": "14G"})
    daemon = room.start(section("ollama", f"ollama {ollama.url}", match="name:nobody name:ollama"),
                        section("comfyui", "comfyui http://localhost:8188"))
    state = room.state()
    assert (state["ollama"]["state"], state["ollama"]["held_bytes"]) == ("idle", 14 * GIB)
    assert (state["comfyui"]["state"], state["comfyui"]["held_bytes"]) == ("absent", 0)
    assert state["ollama"]["match"] == "name:nobody name:ollama" and state["ollama"]["ask"] == "ollama"
