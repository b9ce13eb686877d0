# SPDX-License-Identifier: MIT
"""What the daemon says of the driver and of itself, also where the driver misbehaves."""
import json
import os
import re
import signal
import threading

import pytest
from conftest import DEADLINE, alive, eventually

QUICK = {"VRAM_CALL_TIMEOUT": "300ms"}
TWO_GPUS = """driver 550.54.14
gpu 0 name=One uuid=GPU-00000000-0000-0000-0000-000000000001 pci=0000:01:00.0 total=24564M reserved=400M temp=41
gpu 1 name=Two uuid=GPU-00000000-0000-0000-0000-000000000002 pci=0000:02:00.0 total=24564M reserved=400M temp=42
proc 0 pid=4194401 name=python3 mem=1010M type=C
"""


def without_times(snapshot):
    text = json.dumps({key: snapshot[key] for key in ("schema", "driver", "errors", "gpus")})
    return json.loads(re.sub(r'"age_ms": \d+', '"age_ms": 0', text))


def calls(daemon, function):
    """How often the driver was asked by this name."""
    return sum(int(count) for count in re.findall(rf"^calls +(\d+)  {function}\w*$", daemon.sim("stats"), re.M))


def test_daemon__tells_of_itself(daemon):
    told = daemon.get("/v1/daemon").json
    assert told["schema"] == 1 and told["pid"] == daemon.pid and told["driver"] == "sim:rtx4090@default"
    assert told["promising"] is True and told["reason"] is None and told["paused"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", told["since"])
    assert told["margin_bytes"] == 1 << 30


def test_snapshot__has_the_drivers_figures(daemon, hold):
    holder = hold(daemon, "2G")
    direct = json.loads(daemon.vram("status", "--json", "--driver", "nvml:" + library_of(daemon)).stdout)
    served = daemon.snapshot()
    assert without_times(served)["gpus"][0]["processes"][0]["pid"] == holder.pid
    for key in ("total_bytes", "used_bytes", "free_bytes", "driver_reserved_bytes", "unattributed_bytes", "uuid"):
        assert served["gpus"][0][key] == direct["gpus"][0][key]
    process = served["gpus"][0]["processes"][0]
    assert process["used_bytes"] == 2 << 30 and process["name"] == "vram-sim"
    assert served["daemon"]["pid"] == daemon.pid and served["epoch"] > 0


def library_of(daemon):
    return daemon.snapshot()["driver"]["library"]


def test_snapshot__takes_what_is_asked(daemon, hold):
    holder = hold(daemon, "1G")
    command = next(process["command"] for process in daemon.snapshot("?take=commands")["gpus"][0]["processes"]
                   if process["pid"] == holder.pid)
    assert command.endswith("hold 1G")
    # Figures that others had taken with command lines are given without them.
    aged = daemon.snapshot(f"?max_age_ms={DEADLINE * 1000}")["gpus"][0]["processes"]
    assert {process["command"] for process in aged} == {None}
    assert daemon.snapshot("?take=")["gpus"][0]["total_bytes"] > 0


@pytest.mark.parametrize("target, code", [
    ("/v1/snapshot?take=all", 400), ("/v1/snapshot?max_age_ms=-1", 400), ("/v1/snapshot?max_age_ms=", 400),
    ("/v1/snapshot?max_age_ms=99999999999999999999", 400), ("/v1/snapshot?after=x", 400),
    ("/v1/snapshot?timeout_ms=1s&after=1", 400), ("/v1", 404), ("/v1/snapshot/", 404), ("//v1/daemon", 404),
    ("/v1/snapshot%00", 400), ("/v1/snapshot?take=%00", 400)])
def test_api__refuses_what_it_does_not_know(daemon, target, code):
    reply = daemon.get(target)
    assert reply.status == code
    assert reply.error["code"] == {400: "bad_request", 404: "not_found"}[code]
    assert reply.error["errno"] > 0


def test_api__names_a_wrong_method(daemon):
    reply = daemon.call("DELETE", "/v1/snapshot")
    assert reply.status == 405 and "DELETE" in reply.error["message"]


def test_snapshot__those_who_ask_at_once_share_samples(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS + "delay nvmlDeviceGetMemoryInfo_v2 20ms\n")).start()
    daemon.snapshot()
    before = calls(daemon, "nvmlDeviceGetMemoryInfo")
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(daemon.snapshot())) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 50 and all(reply["gpus"][1]["total_bytes"] for reply in replies)
    samples = (calls(daemon, "nvmlDeviceGetMemoryInfo") - before) / 2
    assert 1 <= samples <= 25, samples


def test_snapshot__aged_figures_cost_no_call(daemon):
    daemon.snapshot()
    before = calls(daemon, "nvmlDeviceGetMemoryInfo")
    for _ in range(20):
        daemon.snapshot(f"?max_age_ms={DEADLINE * 1000}")
    assert calls(daemon, "nvmlDeviceGetMemoryInfo") == before


def test_snapshot__waits_for_another_epoch(daemon, hold):
    epoch = daemon.snapshot()["epoch"]
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(daemon.snapshot(f"?after={epoch}")))
    waiting.start()
    holder = hold(daemon, "3G")
    waiting.join(DEADLINE)
    assert replies[0]["epoch"] > epoch
    assert replies[0]["gpus"][0]["processes"][0]["pid"] == holder.pid


def test_snapshot__waits_so_long_and_no_longer(daemon):
    epoch = daemon.snapshot()["epoch"]
    assert daemon.snapshot(f"?after={epoch}&timeout_ms=50")["epoch"] == epoch
    assert daemon.snapshot(f"?after={epoch - 1}")["epoch"] == epoch


def test_pause__lets_go_of_the_driver(daemon, tmp_path):
    daemon.snapshot()
    collector = daemon.collector()
    told = daemon.call("POST", "/v1/pause").json
    assert told["paused"] is True and told["promising"] is False and told["reason"] == "paused"
    assert "resume" in told["message"]
    assert not alive(collector)
    reply = daemon.get("/v1/snapshot")
    assert reply.status == 503 and reply.error["code"] == "paused" and reply.error["hint"]
    assert daemon.call("POST", "/v1/pause").json["paused"] is True
    assert daemon.call("POST", "/v1/resume").json["promising"] is True
    assert daemon.snapshot()["gpus"]


def test_pause__ends_those_who_wait_for_figures(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS + "hang nvmlDeviceGetMemoryInfo_v2 gpu=1 until=release\n"))
    daemon.start()
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(daemon.get("/v1/snapshot")))
    waiting.start()
    eventually(daemon.collector, "a collector")
    assert daemon.call("POST", "/v1/pause").json["paused"] is True
    waiting.join(DEADLINE)
    assert replies[0].error["code"] == "paused"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_rights__others_may_look_and_not_pause(daemon, tmp_path):
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != parent.parent and str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        seen = [daemon.get("/v1/daemon").status, daemon.call("POST", "/v1/pause").status,
                daemon.get("/v1/snapshot?take=commands").json["gpus"][0]["processes"][0]["command"]]
        os.write(write, json.dumps(seen).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert json.load(pipe) == [200, 403, None]
    os.waitpid(child, 0)


# ---- Bad days --------------------------------------------------------------------------------


def test_driver__a_hung_gpu_hides_nothing(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS))
    daemon.start(env=QUICK)
    assert [gpu["state"] for gpu in daemon.snapshot()["gpus"]] == ["ok", "ok"]
    daemon.sim("inject", "hang nvmlDeviceGetMemoryInfo_v2 gpu=1 until=release")
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(daemon.snapshot()))
    waiting.start()
    assert daemon.get("/v1/daemon").status == 200  # while the driver hangs
    waiting.join(DEADLINE)
    assert [gpu["state"] for gpu in replies[0]["gpus"]] == ["ok", "hung"]
    assert replies[0]["gpus"][1]["total_bytes"] > 0
    daemon.sim("release")
    eventually(lambda: daemon.snapshot()["gpus"][1]["state"] == "ok", "the GPU is back")


def test_driver__a_start_that_hangs_is_told(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS + "hang nvmlInit* until=release\n"))
    daemon.start(env=QUICK)
    reply = daemon.get("/v1/snapshot")
    assert reply.status == 503 and reply.error["code"] == "driver_hung" and reply.error["errno"] == 110
    daemon.sim("release")
    eventually(lambda: daemon.get("/v1/snapshot").status == 200, "the driver is back")


def test_driver__a_failed_start_is_told_and_not_remembered(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS + "fail nvmlInit* ret=DRIVER_NOT_LOADED times=1\n")).start()
    reply = daemon.get("/v1/snapshot")
    assert reply.status == 503
    assert reply.error["code"] == "driver_not_loaded" and reply.error["message"] and reply.error["hint"]
    assert reply.error["errno"] == 19
    assert daemon.snapshot()["gpus"][0]["state"] == "ok"


def test_driver__a_lost_gpu_is_one(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS)).start()
    daemon.snapshot()
    daemon.sim("inject", "gpu 0 lost")
    assert [gpu["state"] for gpu in daemon.snapshot()["gpus"]] == ["lost", "ok"]


def test_collector__killed_is_replaced(daemon):
    daemon.snapshot()
    first = daemon.collector()
    os.kill(first, signal.SIGKILL)
    assert daemon.snapshot()["gpus"][0]["state"] == "ok"
    assert daemon.collector() != first


def test_collector__stopped_is_given_up(make_daemon):
    daemon = make_daemon().start(env=QUICK)
    taken_at = daemon.snapshot()["taken_at"]
    first = daemon.collector()
    os.kill(first, signal.SIGSTOP)
    late = daemon.snapshot()  # the last figures, with their time
    assert late["taken_at"] == taken_at
    eventually(lambda: not alive(first), "the stopped collector is killed")
    eventually(lambda: daemon.snapshot()["taken_at"] > taken_at, "new figures")
    assert daemon.collector() not in (first, None)


def test_collector__that_crashes_is_told_and_tried_again(make_daemon, scenario):
    daemon = make_daemon(scenario(TWO_GPUS + "crash nvmlInit*\n")).start()
    reply = daemon.get("/v1/snapshot")
    assert reply.status == 503 and reply.error["code"] == "collector_ended"
    assert "ended" in reply.error["message"]
    daemon.sim("inject", "clear")
    assert daemon.snapshot()["gpus"][0]["state"] == "ok"


def test_collector__holds_nothing_of_the_daemons(make_daemon, tmp_path):
    daemon = make_daemon()
    daemon.env.update(SECRET="1", HOME="/", LD_PRELOAD="")
    extra = os.open(tmp_path, os.O_RDONLY)
    daemon.start(pass_fds=(extra,))
    daemon.snapshot()
    pid = daemon.collector()
    kept = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2}
    assert not {path for path in kept if not path.startswith((str(tmp_path / "state"), "anon_inode:"))}, kept
    names = {entry.split(b"=")[0] for entry in open(f"/proc/{pid}/environ", "rb").read().split(b"\0") if entry}
    assert not names & {b"SECRET", b"HOME", b"LD_PRELOAD"}
    os.close(extra)


def test_collector__ends_with_the_daemon(daemon):
    daemon.snapshot()
    collector = daemon.collector()
    daemon.stop(signal.SIGKILL)
    eventually(lambda: not alive(collector), "the collector ends")
