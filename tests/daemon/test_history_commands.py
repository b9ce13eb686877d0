# SPDX-License-Identifier: MIT
"""`vram history` and `vram why` of a scenario that is known: somebody fills a GPU beside a lease, and ends."""
import csv
import io
import json
import re

import pytest
from leasing import GIB, MIB, Crowd, kill


class Story:
    """Who was there, in the order of what they did."""

    def __init__(self, daemon, crowd, culprit, victim):
        self.daemon, self.crowd, self.culprit, self.victim = daemon, crowd, culprit, victim

    def vram(self, *args, env=None):
        self.daemon.env.update(TZ="UTC", **(env or {}))
        return self.daemon.vram(*args)


@pytest.fixture
def story(make_daemon, hold, tmp_path):
    daemon = make_daemon().start("--history", str(tmp_path / "history.db"))
    if "without SQLite" in daemon.get("/v1/history").body.decode():
        pytest.skip("this vramd was built without SQLite")
    daemon.snapshot()
    crowd = Crowd(daemon)
    victim = crowd.hold("4G", options=("--label", "comfyui"))
    free = daemon.snapshot()["gpus"][0]["free_bytes"]
    culprit = hold(daemon, f"{free // MIB - 200}M")
    daemon.snapshot()
    kill(culprit)
    daemon.snapshot()
    yield Story(daemon, crowd, culprit, victim)
    crowd.end()


def test_why__tells_who_grew_who_ended_and_which_leases_stood(story):
    told = story.vram("why")
    assert told.returncode == 0 and told.stderr == ""
    lines = told.stdout.splitlines()
    assert re.fullmatch(r"GPU 0 \(NVIDIA GeForce RTX 4090\), \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[0])
    assert lines[1].startswith("  free      200 MiB of 24.0 GiB at the least in those 20 s; ")
    assert re.fullmatch(r"            nearly full at [\d:]+, with 200 MiB free", lines[2])
    # The largest first; who was there before history began has not grown.
    assert re.fullmatch(rf"  grew      vram-sim \({story.culprit.pid}, \w+\) \+18.1 GiB to 18.1 GiB", lines[3])
    assert re.fullmatch(rf"            vram-sim \({story.victim.pid}, \w+\) \+4.0 GiB to 4.0 GiB, lease comfyui", lines[4])
    assert re.fullmatch(rf"  ended     vram-sim \({story.culprit.pid}, \w+\) at [\d:]+, with 18.1 GiB: probably out of memory",
                        lines[5])
    assert re.fullmatch(r"  leases    comfyui \(\w+\) of 4.0 GiB since [\d:]+", lines[6])
    around = [line.split("  ", 2)[2] for line in lines[lines.index("Around it") + 1:]]
    assert around[0] == "vramd starts: sim:rtx4090@default" and "GPU 0 is nearly full, 200 MiB free" in around
    assert around[-1].endswith("has ended, probably out of memory, 18.1 GiB")


def test_why__for_programs(story):
    told = json.loads(story.vram("why", "--json").stdout)
    assert told["gpus"][0]["free_bytes"] == 200 * MIB and told["gpus"][0]["index"] == 0
    assert [process["pid"] for process in told["grew"]] == [story.culprit.pid, story.victim.pid]
    assert [process["pid"] for process in told["ended"]] == [story.culprit.pid]
    assert [lease["label"] for lease in told["leases"]] == ["comfyui"]
    assert {"nearly_full", "oom_suspected", "lease_granted"} <= {event["kind"] for event in told["events"]}


def test_why__of_a_moment(story):
    assert story.vram("why", "0s").stdout.startswith("GPU 0 ")
    assert story.vram("why", "--gpu", "0", "-0s").stdout.startswith("GPU 0 ")
    for when, status, words in (("2d", 6, "nothing was recorded at"), ("then", 2, "is no moment"),
                                ("2099-01-01", 2, "has not been yet"), ("25:00", 2, "is no moment")):
        told = story.vram("why", when)
        assert (told.returncode, told.stdout) == (status, "") and words in told.stderr
    assert "there is history since" in story.vram("why", "2d").stderr
    assert story.vram("why", "0s", "--gpu", "3").returncode == 3


def test_why__without_trouble_or_history_it_says_so(make_daemon, tmp_path):
    daemon = make_daemon().start("--history", str(tmp_path / "history.db"))
    daemon.snapshot()
    told = daemon.vram("why")
    assert told.returncode == 1 and "no GPU has been nearly full since" in told.stderr
    daemon.stop()
    daemon.start()
    told = daemon.vram("why")
    assert told.returncode == 4 and "no history is kept" in told.stderr and "history = on" in told.stderr
    assert daemon.vram("history", "--json").returncode == 4
    daemon.stop()
    assert daemon.vram("history").returncode == 4


def test_history__is_a_table_with_bars(story):
    told = story.vram("history", "--step", "10s")
    assert told.returncode == 0
    lines = told.stdout.splitlines()
    assert lines[0] == "GPU 0  NVIDIA GeForce RTX 4090  24.0 GiB"
    assert lines[1].split() == ["TIME", "USED", "PEAK", "FREE"]
    assert lines[2].split()[1:] == ["–"] * 3  # before it was started: no figure, and no bar
    assert not any(line.endswith(" ") for line in lines)
    shown = [line for line in lines[3:] if "200 MiB" in line]
    assert shown and re.search(r"23\.4 GiB +200 MiB +█*▒+░*$", shown[0])
    assert "there is history since" in told.stderr
    assert "▒" not in story.vram("history", env={"LC_ALL": "C"}).stdout


def test_history__for_programs(story):
    rows = list(csv.DictReader(io.StringIO(story.vram("history", "--csv").stdout)))
    assert max(int(row["max_bytes"]) for row in rows if row["max_bytes"]) > 23 * GIB
    told = json.loads(story.vram("history", "--json", "--step", "60").stdout)
    assert told["step_s"] == 60 and set(told["gpus"][0]) >= {"used", "min", "max", "free"}
    for arguments, status in ((("--since", "x"), 2), (("--step", "0"), 2), (("--since", "1h", "--until", "2h"), 2),
                              (("--gpu", "a b"), 2), (("--since", "2d", "--until", "1d"), 6)):
        assert story.vram("history", *arguments).returncode == status, arguments


def test_history__of_processes(story):
    told = story.vram("history", "--peak")
    lines = told.stdout.splitlines()
    assert lines[0].split() == ["GPU", "PID", "USER", "BEGAN", "ENDED", "PEAK", "LAST", "NAME", "LEASE"]
    assert [int(line.split()[1]) for line in lines[1:3]] == [story.culprit.pid, story.victim.pid]
    assert "18.1 GiB" in lines[1] and "comfyui" in lines[2]
    rows = list(csv.DictReader(io.StringIO(story.vram("history", "--process", "COMFY", "--csv").stdout)))
    assert [(int(row["pid"]), int(row["peak_bytes"]), row["ended"]) for row in rows] == [(story.victim.pid, 4 * GIB, "")]
    found = json.loads(story.vram("history", "--process", "vram-sim", "--json").stdout)["processes"]
    assert {process["pid"] for process in found} == {story.victim.pid, story.culprit.pid}
    assert story.vram("history", "--process", "nobody").returncode == 1
