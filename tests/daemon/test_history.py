# SPDX-License-Identifier: MIT
"""What the daemon remembers: of real processes that come and go, of leases, over restarts and on disks that are full.

Every sample counts, whoever asked for it, and every question has what is not written yet written first: nothing here waits for a
second to pass.
"""
import os
import signal
import sqlite3
import subprocess
import time
from datetime import datetime, timezone

import pytest
from conftest import DEADLINE, eventually
from leasing import GIB, IS_ROOT, MIB, Crowd, kill

class Past:
    """A daemon's history as its clients see it."""

    def __init__(self, daemon, file):
        self.daemon, self.file = daemon, file

    def start(self, *args, **kwargs):
        self.daemon.start("--history", str(self.file), *args, **kwargs)
        assert self.daemon.ready == "ready"
        if "without SQLite" in self.daemon.get("/v1/history").body.decode():
            pytest.skip("this vramd was built without SQLite")
        return self

    def look(self):
        """One more sample."""
        return self.daemon.snapshot("?take=processes")

    def get(self, what, **parameters):
        query = "&".join(f"{key.rstrip('_')}={value}" for key, value in parameters.items())
        reply = self.daemon.get(f"/v1/{what}?{query}")
        assert reply.status == 200, reply.body
        return reply.json

    def processes(self, **parameters):
        return self.get("processes", **parameters)["processes"]

    def process(self, pid):
        return next((process for process in self.processes() if process["pid"] == pid), None)

    def events(self, kind, **parameters):
        return self.get("events", kind=kind, **parameters)["events"]

    def memory(self, **parameters):
        answer = self.get("history", **parameters)
        return answer, answer["gpus"][0] if answer["gpus"] else None


@pytest.fixture
def make_past(make_daemon, tmp_path):
    def make(*args, driver="sim:rtx4090", **kwargs):
        return Past(make_daemon(driver), tmp_path / "history.db").start(*args, **kwargs)
    return make


@pytest.fixture
def past(make_past):
    return make_past()


def moment(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()


def known(column):
    return [value for value in column if value is not None]


# ---- Memory and processes -------------------------------------------------------------------------


def test_history__a_process_that_came_and_went_is_an_interval_with_its_peak(past, hold):
    past.look()
    before = time.time()
    holder = hold(past.daemon, "6G")
    past.look()
    assert past.process(holder.pid)["ended"] is None
    assert kill(holder) < 0
    past.look()
    after = time.time()
    process = past.process(holder.pid)
    assert process["name"] == "vram-sim" and process["peak_bytes"] == process["first_bytes"] == 6 * GIB
    assert before - 1 <= moment(process["began"]) <= moment(process["ended"]) <= after + 1
    assert process["was_running"] is False and process["gpu_index"] == 0 and process["from_bytes"] == 0 and process["to_bytes"] == 0
    kinds = [event["kind"] for event in past.events("process_started,process_ended") if event["pid"] == holder.pid]
    assert kinds == ["process_ended", "process_started"]  # the newest first


@pytest.mark.parametrize("step", [1, 10, 60, 900])
def test_history__a_peak_is_in_every_step_that_has_it(past, hold, step):
    base = past.look()["gpus"][0]["used_bytes"]
    holder = hold(past.daemon, "9G")
    past.look()
    kill(holder)
    past.look()
    answer, gpu = past.memory(step=step)
    assert answer["step_s"] == step and len(answer["t"]) == len(gpu["used"]) == len(gpu["max"]) == len(gpu["free"])
    assert [right - left for left, right in zip(answer["t"], answer["t"][1:])] == [step] * (len(answer["t"]) - 1)
    assert max(known(gpu["max"])) == base + 9 * GIB and min(known(gpu["min"])) == base
    assert min(known(gpu["free"])) == gpu["total_bytes"] - 400 * MIB - base - 9 * GIB
    assert None in gpu["used"]  # before it was started


def test_history__questions_that_are_none_are_told(past):
    past.look()
    for query, code in (("history?from=x", 400), ("history?from=5&to=4", 400), ("history?from=0&step=1", 400),
                        ("history?step=-1", 400), ("history?gpu=7", 404), ("history?gpu=,", 404), ("events?limit=0", 400),
                        ("events?limit=5001", 400), ("events?kind=x", 400), ("processes?to=2026-11-26", 400)):
        reply = past.daemon.get("/v1/" + query)
        assert reply.status == code, query
        assert reply.error["message"]
    assert past.daemon.call("POST", "/v1/history").status == 405
    uuid = past.look()["gpus"][0]["uuid"]
    for selector in ("0", uuid, uuid[4:10], "01:00.0"):
        assert past.memory(gpu=selector)[1]["uuid"] == uuid
    assert past.get("history", from_="2026-01-01T00:00:00Z", to="2026-01-01T04:00:00%2B01:00")["step_s"] == 60


def test_history__instances_of_a_divided_card_are_asked_for_as_elsewhere(make_past):
    past = make_past(driver="sim:mig")
    names = {f"{gpu['index']}:{gpu['mig_index']}": gpu["uuid"] for gpu in past.look()["gpus"] if gpu["mig_index"] is not None}
    assert len(names) >= 3
    for name, uuid in names.items():
        answer = past.get("history", gpu=name)["gpus"]
        assert [(gpu["uuid"], f"{gpu['index']}:{gpu['mig_index']}") for gpu in answer] == [(uuid, name)]
    card = next(iter(names)).split(":")[0]
    assert set(names.values()) <= {gpu["uuid"] for gpu in past.get("history", gpu=card)["gpus"]}
    for name in (f"{card}:77", "0:", ":0", "0:x", "0:0:0"):
        assert past.daemon.get(f"/v1/history?gpu={name}").status == 404, name
    told = past.daemon.vram("history", "--gpu", next(iter(names)))
    assert told.returncode == 0 and f"GPU {next(iter(names))}  " in told.stdout


def test_history__a_file_of_the_first_version_is_taken_over(past):
    past.look()
    before = past.get("history")["gpus"]
    past.daemon.stop()
    with sqlite3.connect(past.file) as file:
        file.execute("DROP INDEX lease_label")
        for column in ("peak", "room", "total", "whole", "steady"):
            file.execute(f"ALTER TABLE lease DROP COLUMN {column}")
        file.execute("ALTER TABLE gpu DROP COLUMN mig")
        for table in ("member", "resize", "look"):
            file.execute(f"DROP TABLE {table}")
        file.execute("PRAGMA user_version = 1")
    past.start()
    after = past.get("history")["gpus"]
    assert [gpu["uuid"] for gpu in after] == [gpu["uuid"] for gpu in before]
    assert past.daemon.get("/v1/history?gpu=0").status == 200
    assert len(past.events("daemon_started")) == 2


def test_history__without_one_it_says_how_to_have_one(make_daemon):
    daemon = make_daemon().start()
    reply = daemon.get("/v1/history")
    assert reply.status == 503 and reply.error["code"] == "no_history" and "history = on" in reply.error["hint"]
    daemon.stop()
    assert daemon.start("--history", "relative").ready == ""


def test_history__is_where_the_configuration_has_it(make_daemon, tmp_path):
    config = tmp_path / "vram.conf"
    config.write_text("[daemon]\nhistory = on\nhistory_max = 2M\n")
    daemon = make_daemon().start("--config", config, env={"XDG_STATE_HOME": str(tmp_path / "xdg")})
    assert daemon.get("/v1/history").status == 200
    assert (tmp_path / "xdg/vram/history.db").stat().st_mode & 0o777 == 0o600
    config.write_text("[daemon]\nhistory = off\n")
    os.kill(daemon.pid, signal.SIGHUP)
    eventually(lambda: daemon.get("/v1/history").status == 503, "it keeps none any more")
    config.write_text("[daemon]\nhistory = on\n")
    os.kill(daemon.pid, signal.SIGHUP)
    eventually(lambda: daemon.get("/v1/history").status == 200, "it keeps one again")


# ---- Events ---------------------------------------------------------------------------------------


def test_events__who_fills_a_gpu_and_ends_is_suspected(past, hold):
    free = past.look()["gpus"][0]["free_bytes"]
    holder = hold(past.daemon, f"{free // MIB - 100}M")
    past.look()
    kill(holder)
    past.look()
    full, suspected = past.events("nearly_full"), past.events("oom_suspected")
    assert [event["bytes"] for event in full] == [100 * MIB]
    assert [event["pid"] for event in suspected] == [holder.pid] and suspected[0]["name"] == "vram-sim"
    assert suspected[0]["bytes"] > free - GIB


def test_events__a_gpu_that_is_lost_is_told_once(past):
    past.look()
    past.daemon.sim("inject", "gpu 0 lost")
    past.look()
    past.look()
    assert len(past.events("gpu_lost")) == 1 and past.events("gpu_back") == []
    past.daemon.sim("inject", "gpu 0 back")
    eventually(lambda: past.look()["gpus"][0]["state"] == "ok", "the driver has it again")
    past.look()
    assert len(past.events("gpu_lost")) == len(past.events("gpu_back")) == 1
    assert past.events("gpu_back")[0]["gpu"] == past.look()["gpus"][0]["uuid"]


def test_events__leases_are_queued_granted_and_ended(past):
    crowd = Crowd(past.daemon)
    try:
        first = crowd.hold("14G", options=("--label", "comfyui"))
        queue = crowd.queue("10G", "true", options=("--label", "second"))
        lease = past.daemon.get("/v1/leases").json["leases"][0]
        kill(first)
        assert queue.wait(timeout=DEADLINE) == 0
        story = [(event["kind"], event["name"]) for event in reversed(past.events(
            "lease_queued,lease_granted,lease_ended"))]
        assert story[:2] == [("lease_granted", "comfyui"), ("lease_queued", "second")]
        assert ("lease_ended", "comfyui") in story and ("lease_granted", "second") in story
        kept = {one["label"]: one for one in past.get("history/leases")["leases"]}
        assert kept["comfyui"]["id"] == lease["id"] and kept["comfyui"]["size_bytes"] == 14 * GIB
        assert kept["comfyui"]["gpus"] == lease["gpus"] and kept["comfyui"]["ended"]
        assert kept["comfyui"]["why"] == "its owner has ended"
        assert kept["second"]["asked"] <= kept["second"]["granted"]
        assert past.process(first.pid)["lease"] == "comfyui"
    finally:
        crowd.end()


def test_events__a_request_that_is_taken_back_has_ended(past):
    crowd = Crowd(past.daemon)
    try:
        crowd.hold("14G")
        queue = crowd.queue("10G", "true", options=("--label", "impatient"))
        kill(queue)
        events = eventually(lambda: past.events("lease_ended"), "it was taken back")
        assert [event["name"] for event in events] == ["impatient"]
    finally:
        crowd.end()


# ---- Restarts -------------------------------------------------------------------------------------


def test_restart__after_a_kill_intervals_go_on_and_the_time_between_is_a_gap(past, hold):
    stays, goes = hold(past.daemon, "2G"), hold(past.daemon, "3G")
    past.look()
    assert len(past.processes()) >= 2
    seen = time.time()
    past.daemon.stop(signal.SIGKILL)
    kill(goes)
    past.start()
    past.look()
    assert past.process(stays.pid)["ended"] is None
    ended = past.process(goes.pid)
    assert ended["peak_bytes"] == 3 * GIB and moment(ended["ended"]) <= seen + 1
    with sqlite3.connect(past.file) as file:
        told = [row[0] for row in file.execute("SELECT used FROM change ORDER BY at")]
    assert None in told[1:-1]
    assert len(past.events("daemon_started")) == 2 and past.events("daemon_stopped") == []


def test_restart__leases_stand_on_or_have_ended_meanwhile(past):
    crowd = Crowd(past.daemon)
    try:
        stays = crowd.hold("4G", options=("--label", "stays"))
        goes = crowd.hold("5G", options=("--label", "goes"))
        assert len(past.get("history/leases")["leases"]) == 2
        past.daemon.stop(signal.SIGKILL)
        kill(goes)
        past.start()
        eventually(lambda: len(past.daemon.get("/v1/leases").json["leases"]) == 1, "one lease is left")
        kept = {one["label"]: one for one in past.get("history/leases")["leases"]}
        assert kept["stays"]["ended"] is None and kept["goes"]["ended"]
        kill(stays)
        eventually(lambda: past.get("history/leases")["leases"][0]["ended"], "it has ended")
    finally:
        crowd.end()


def test_restart__an_orderly_end_is_told(past):
    past.look()
    assert past.daemon.stop() == 0
    past.start()
    kinds = [event["kind"] for event in past.get("events")["events"] if event["kind"].startswith("daemon_")]
    assert kinds == ["daemon_started", "daemon_stopped", "daemon_started"]


def test_restart__killed_again_and_again_while_it_writes(past, hold):
    for _round in range(8):
        holder = hold(past.daemon, "1G")
        past.look()
        asked = past.daemon.connect(b"GET /v1/events HTTP/1.1\r\nHost: vram\r\n\r\n")  # has it write
        past.daemon.stop(signal.SIGKILL)
        asked.close()
        kill(holder)
        past.start(stderr=subprocess.PIPE, text=True)
    assert len(past.events("daemon_started")) >= 1
    past.daemon.stop()
    assert "damaged" not in past.daemon.process.stderr.read()
    with sqlite3.connect(past.file) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# ---- Trouble --------------------------------------------------------------------------------------


def test_trouble__two_daemons_never_write_one_file(past, make_daemon, tmp_path):
    other_place = tmp_path / "other"
    other_place.mkdir()
    other = make_daemon("sim:2x3090", other_place).start("--history", str(past.file), stderr=subprocess.PIPE, text=True)
    assert other.ready == "ready"
    assert other.get("/v1/history").status == 503
    assert other.snapshot()["gpus"]  # all else goes on
    assert past.get("history")["schema"] == 1
    other.stop()
    assert other.process.stderr.read().count("another daemon writes it") == 1


@pytest.mark.parametrize("content", [b"no data base at all", b"SQLite format 3\0" + b"x" * 9000], ids=["text", "torn"])
def test_trouble__a_damaged_file_is_set_aside_and_told(make_past, tmp_path, content):
    (tmp_path / "history.db").write_bytes(content)
    past = make_past(stderr=subprocess.PIPE, text=True)
    past.look()
    assert past.get("history")["gpus"]
    assert (tmp_path / "history.db.damaged").read_bytes() == content
    past.daemon.stop()
    assert past.daemon.process.stderr.read().count("is damaged: it is kept as") == 1


def test_trouble__a_newer_file_is_set_aside_and_told(past, tmp_path):
    past.look()
    past.daemon.stop()
    with sqlite3.connect(past.file) as file:
        file.execute("PRAGMA user_version = 99")
    past.start()
    past.look()
    assert len(past.events("daemon_started")) == 1
    with sqlite3.connect(tmp_path / "history.db.newer") as file:
        assert file.execute("PRAGMA user_version").fetchall() == [(99,)]


def test_trouble__what_is_no_history_is_left_alone(make_daemon, tmp_path):
    (tmp_path / "precious").write_text("text")
    daemon = make_daemon().start("--history", str(tmp_path / "precious"))
    reply = daemon.get("/v1/history")
    assert reply.status == 503 and "something else" in reply.error["message"]
    assert (tmp_path / "precious").read_text() == "text"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if not IS_ROOT or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", place],
                                     capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_trouble__a_full_disk_costs_history_alone_and_is_told_once(make_daemon, small_disk, hold):
    past = Past(make_daemon(), small_disk / "history.db").start(stderr=subprocess.PIPE, text=True)
    past.look()
    assert past.get("history")["gpus"]
    ballast = small_disk / "ballast"
    with pytest.raises(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    holder = hold(past.daemon, "2G")
    for _ in range(3):
        past.look()
        past.daemon.get("/v1/events")  # tries to write
    assert past.daemon.snapshot()["gpus"][0]["used_bytes"] > 2 * GIB
    ballast.unlink()
    past.look()
    assert past.process(holder.pid)["first_bytes"] == 2 * GIB  # what was not written was kept
    past.daemon.stop()
    said = past.daemon.process.stderr.read()
    assert said.count("cannot be written") == 1 and said.count("is written again") == 1, said


def test_trouble__while_paused_nothing_is_made_up(past):
    past.look()
    assert past.daemon.call("POST", "/v1/pause").status == 200
    assert past.get("history")["gpus"]
    assert past.daemon.call("POST", "/v1/resume").status == 200
