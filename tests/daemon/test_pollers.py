# SPDX-License-Identifier: MIT
"""A hundred programs that poll through the daemon cost the driver what one does: they share its samples, and each gets
figures as fresh as it asks for. Counted by the simulated driver itself."""
import json
import os
import subprocess
import sys

import pytest

from conftest import BUILD, DEADLINE, ROOT

pytestmark = pytest.mark.skipif("SANITIZED" in os.environ, reason="a plain Python cannot load an instrumented library")
WORK = ROOT / "tests/bench/poll_work.py"
SECONDS = 3
AGE_MS = 300


class Pollers:
    """Programs with a thread for each age, all of which begin at once."""

    def __init__(self, daemon, programs):
        env = dict(daemon.env, PYTHONPATH=str(ROOT / "python"), VRAM_LIBRARY=str(BUILD / "lib/libvram.so.0"),
                   PATH=os.environ["PATH"])
        self.programs = [subprocess.Popen([sys.executable, WORK, *map(str, ages)], env=env, stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, text=True) for ages in programs]
        assert [program.stdout.readline() for program in self.programs] == ["ready\n"] * len(programs)

    def poll(self):
        """How often they asked in SECONDS, and by how much figures were too old, in ms."""
        for program in self.programs:
            program.stdin.write(f"{SECONDS}\n")
            program.stdin.flush()
        said = [program.communicate(timeout=DEADLINE)[0].split() for program in self.programs]
        assert [program.returncode for program in self.programs] == [0] * len(said)
        return sum(int(asked) for asked, _ in said), max(float(excess) for _, excess in said)


def calls(daemon):
    return json.loads(daemon.sim("stats", "--json"))["calls"]


def count(daemon, programs):
    """Samples, all driver calls, and questions of programs that poll."""
    pollers = Pollers(daemon, programs)
    before = calls(daemon)
    asked, excess_ms = pollers.poll()
    after = calls(daemon)
    assert excess_ms <= 1  # ages are told in whole milliseconds
    function = "nvmlDeviceGetMemoryInfo_v2"
    return after[function] - before.get(function, 0), sum(after.values()) - sum(before.values()), asked


@pytest.mark.parametrize("ages", [(AGE_MS,), (AGE_MS, 2 * AGE_MS, 5 * AGE_MS, 10_000)], ids=["alike", "unlike"])
def test_a_hundred_cost_what_one_does(make_daemon, ages):
    daemon = make_daemon("sim:rtx4090@pollers").start()
    assert daemon.ready == "ready"
    daemon.snapshot()  # the driver is started
    one, calls_of_one, asked_of_one = count(daemon, [[AGE_MS]])
    hundred, calls_of_hundred, asked_of_hundred = count(daemon, [[ages[i % len(ages)] for i in range(25)] for _ in range(4)])
    most = SECONDS * 1000 // AGE_MS + 2  # a sample whenever the last one is too old; one more at each end
    assert asked_of_one > 10 and asked_of_hundred > 20 * asked_of_one
    assert 0 < one <= most and 0 < hundred <= most
    # A hundred ask sooner after the moment from which figures are too old than one, who asks every 50 ms.
    assert hundred <= one * (AGE_MS + 100) / AGE_MS + 2
    assert calls_of_hundred / hundred <= calls_of_one / one * 1.5


def test_who_wants_the_newest_shares_with_who_waits(make_daemon):
    """Without an age each question is answered from a sample that begins after it: those that wait meanwhile share the next."""
    daemon = make_daemon("sim:rtx4090@newest").start()
    daemon.snapshot()
    daemon.sim("inject", "delay nvmlDeviceGetMemoryInfo_v2 100ms")
    samples, _, asked = count(daemon, [[0] * 25] * 4)
    assert asked > 200 and samples <= SECONDS * 10 + 3
