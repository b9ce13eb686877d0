# SPDX-License-Identifier: MIT
"""What programs need, learned from their runs: `vram run auto`, `vram needs`."""
import os
import re
import signal
import sqlite3
import time

import pytest
from conftest import DEADLINE, VRAM, VRAM_SIM
from leasing import GIB, MIB, kill, leases, when


@pytest.fixture
def learning(make_daemon, tmp_path):
    from leasing import Crowd

    class Learning:
        def __init__(self):
            self.file = tmp_path / "history.db"
            self.daemon = make_daemon()
            self.start()
            self.crowd = Crowd(self.daemon)

        def start(self):
            self.daemon.start("--history", str(self.file))
            assert self.daemon.ready == "ready"
            if "without SQLite" in self.daemon.get("/v1/history").body.decode():
                pytest.skip("this vramd was built without SQLite")

        def run(self, size, allocates, label="job", looks=2, **kwargs):
            """A run to its end, which is looked at so often."""
            process = self.crowd.run(size, VRAM_SIM, "hold", allocates, options=["--label", label], **kwargs)
            self.crowd.holds(process)
            for _ in range(looks):
                leases(self.daemon)
            kill(process)
            when(self.daemon, lambda listed: not listed["leases"], "it has ended")
            return process.stderr.read()

        def need(self, label="job"):
            need, = self.daemon.get(f"/v1/needs?label={label}").json["needs"]
            return need
    made = Learning()
    yield made
    made.crowd.end()


def test_needs__the_second_run_needs_no_size(learning):
    learning.run("8G", "6G")
    need = learning.need()
    assert (need["verdict"], need["runs"], need["peak_bytes"]) == ("known", 1, 6 * GIB)
    assert need["need_bytes"] == pytest.approx(6 * GIB * 1.15, abs=100)
    said = learning.run("auto", "6G")
    assert said == "vram: job needs 6.9 GiB: 6.0 GiB, the most of one run, and 15 %\n"
    need = learning.need()
    assert need["runs"] == 2 and need["need_bytes"] == pytest.approx(6 * GIB * 1.03, abs=100)
    shown = learning.daemon.vram("needs").stdout
    assert re.search(r"^job +\S+ +2 +6\.0 GiB +6\.0 GiB +6\.2 GiB$", shown, re.M), shown


def test_needs__what_it_holds_once_it_has_started_is_told_apart(learning):
    """A run that has 2 GiB more at its start, as one that compiles or loads; it lasts twice as long afterwards."""
    process = learning.crowd.run("8G", "sh", "-c", f"{VRAM_SIM} hold 2G & echo $!; {VRAM_SIM} hold 4G; wait",
                                 options=["--label", "job"])
    lines = sorted(process.stdout.readline() for _ in range(3))
    assert sum(line.startswith("holding ") for line in lines) == 2, lines
    began = time.monotonic()
    for _ in range(3):
        leases(learning.daemon)
    os.kill(int(lines[0]), signal.SIGKILL)
    when(learning.daemon, lambda listed: listed["leases"][0]["held_bytes"] == 4 * GIB, "it has started")
    started = time.monotonic()
    while time.monotonic() < started + 2 * (started - began) + 0.1:  # which goes by the clock
        leases(learning.daemon)
    learning.crowd.end()
    when(learning.daemon, lambda listed: not listed["leases"], "it has ended")
    need = learning.need()
    assert (need["peak_bytes"], need["steady_bytes"]) == (6 * GIB, 4 * GIB)
    assert need["need_bytes"] == pytest.approx(6 * GIB * 1.15, abs=100)  # what it asks for has to do for its start
    shown = learning.daemon.vram("needs").stdout
    assert re.search(r"PEAK +STEADY +NEEDS", shown) and re.search(r"6\.0 GiB +4\.0 GiB +6\.9 GiB$", shown, re.M), shown
    learning.daemon.vram("needs", "--forget", "job")
    assert learning.need()["steady_bytes"] is None


def test_needs__the_label_may_be_the_commands_own(learning):
    for size in ("8G", "auto"):
        process = learning.crowd.run(size, VRAM_SIM, "hold", "2G")
        learning.crowd.holds(process)
        for _ in range(2):
            leases(learning.daemon)
        kill(process)
        when(learning.daemon, lambda listed: not listed["leases"], "it has ended")
    assert learning.need("vram-sim")["runs"] == 2


def test_needs__all_members_together(learning):
    """Two processes of 2 GiB at once, in a lease of both."""
    process = learning.crowd.run("6G", "sh", "-c", f"{VRAM_SIM} hold 2G & {VRAM_SIM} hold 2G; wait",
                                 options=["--label", "two words"])
    learning.crowd.holds(process)
    learning.crowd.holds(process)
    for _ in range(2):
        leases(learning.daemon)
    learning.crowd.end()
    when(learning.daemon, lambda listed: not listed["leases"], "it has ended")
    assert learning.need("two%20words")["peak_bytes"] == 4 * GIB
    run = learning.daemon.vram("run", "auto", "--label", "two words", "--", "true")
    assert run.returncode == 0 and "two words needs 4.6 GiB" in run.stderr, run.stderr


def test_auto__refuses_where_nothing_is_known(learning):
    run = learning.daemon.vram("run", "auto", "--label", "new", "--", "true")
    assert run.returncode == 125 and "nothing is known of what new needs" in run.stderr
    assert "12G instead of auto" in run.stderr
    learning.run("1G", "1G", label="new", looks=0)  # nobody looked: as if it had not been
    assert learning.need("new")["verdict"] == "unknown"


def test_auto__refuses_programs_that_take_what_they_find(learning):
    for command in (["vllm", "serve"], ["python3", "-m", "vllm.entrypoints.openai.api_server"], ["/opt/llama-server", "-m", "x"]):
        run = learning.daemon.vram("run", "auto", "--", *command)
        assert run.returncode == 125 and "takes whatever it finds" in run.stderr, run.stderr
    run = learning.daemon.vram("run", "auto", "--", "llama-server", "-fit", "off")
    assert "nothing is known" in run.stderr


def test_auto__refuses_what_filled_the_card(learning):
    learning.run("21500M", "21000M")
    assert learning.need()["verdict"] == "elastic"
    run = learning.daemon.vram("run", "auto", "--label", "job", "--", "true")
    assert run.returncode == 125 and "job takes what it finds, 20.5 GiB the last time" in run.stderr


def test_auto__without_a_history_it_says_so(daemon):
    run = daemon.vram("run", "auto", "--", "true")
    assert run.returncode == 125 and "none is kept" in run.stderr and "history = on" in run.stderr
    for command in (["needs"], ["needs", "--forget", "x"]):
        shown = daemon.vram(*command)
        assert shown.returncode == 4 and "history = on" in shown.stderr, shown


def test_auto__a_run_that_ran_out_of_memory_needs_more(learning, hold):
    """It ends while the card is full, of which it held a part."""
    learning.run("6G", "4G")
    process = learning.crowd.run("6G", VRAM_SIM, "hold", "6G", options=["--label", "job"])
    learning.crowd.holds(process)
    other = hold(learning.daemon, "16G")
    for _ in range(2):
        leases(learning.daemon)
    kill(process)
    when(learning.daemon, lambda listed: not listed["leases"], "it has ended")
    need = learning.need()
    assert need["peak_bytes"] == 6 * GIB and "ran out of memory" in need["message"], need
    assert need["need_bytes"] >= 6 * GIB * 1.2
    kill(other)


def test_forget__and_it_is_unknown_again(learning):
    learning.run("8G", "6G")
    shown = learning.daemon.vram("needs", "--forget", "job")
    assert (shown.returncode, shown.stdout) == (0, "job is forgotten, with 1 of its runs\n")
    assert learning.need()["verdict"] == "unknown"
    again = learning.daemon.vram("needs", "--forget", "job")
    assert again.returncode == 1 and "nothing was known of job" in again.stderr
    assert not learning.daemon.get("/v1/needs").json["needs"]


def test_needs__live_on_in_the_file_and_runs_that_were_cut_do_not_count(learning):
    learning.run("8G", "6G")
    cut = learning.crowd.hold("7G", options=["--label", "job"])
    leases(learning.daemon)
    learning.daemon.stop()
    learning.start()
    for _ in range(2):
        leases(learning.daemon)
    kill(cut)
    when(learning.daemon, lambda listed: not listed["leases"], "it has ended")
    need = learning.need()
    assert (need["runs"], need["peak_bytes"]) == (1, 6 * GIB)


def test_needs__what_else_the_owner_holds_is_not_learned(learning):
    """Two leases of one owner: nobody can tell whose memory it is."""
    process = learning.crowd.run("4G", "sh", "-c",
                                 f"{VRAM} reserve 2G --label other > /dev/null; echo ready; {VRAM_SIM} hold 5G",
                                 options=["--label", "job"])
    assert process.stdout.readline() == "ready\n"
    learning.crowd.holds(process)
    for _ in range(3):
        leases(learning.daemon)
    learning.crowd.end()
    when(learning.daemon, lambda listed: not listed["leases"], "both have ended")
    assert learning.need("other")["verdict"] == learning.need("job")["verdict"] == "unknown"


def test_store__a_file_of_the_second_version_is_taken_over(learning):
    learning.run("8G", "6G")
    learning.daemon.stop()
    with sqlite3.connect(learning.file) as db:
        db.execute("DROP INDEX lease_label")
        for column in ("peak", "room", "total", "whole", "steady"):
            db.execute(f"ALTER TABLE lease DROP COLUMN {column}")
        for table in ("member", "resize", "look"):
            db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA user_version = 2")
    db.close()
    learning.start()
    assert len(learning.daemon.get("/v1/history/leases").json["leases"]) == 1
    assert learning.need()["verdict"] == "unknown"
    learning.run("8G", "5G")
    assert learning.need()["peak_bytes"] == 5 * GIB
    assert [file.name for file in learning.file.parent.glob("history.db.*") if "lock" not in file.name
            and "-" not in file.name] == []
