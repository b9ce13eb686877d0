# SPDX-License-Identifier: MIT
"""The part of docs/benchmarks.md about programs that poll through the daemon. Called by bench.py."""

import json
import pathlib
import subprocess
import sys

from promises import Daemon

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 5
# What is polled: for each program the ages of its threads, in ms.
CASES = (("1, of 300 ms", [[300]]), ("100, all of 300 ms", [[300] * 25] * 4),
         ("100, of 300 ms to 10 s", [[(300, 600, 1500, 10_000)[i % 4] for i in range(25)]] * 4))


def poll(daemon, programs):
    """Questions, samples and driver calls in SECONDS."""
    def calls():
        return json.loads(daemon.run(f"{daemon.build}/sim/vram-sim", "stats", "--json"))["calls"]
    env = dict(daemon.env, PYTHONPATH=str(HERE.parents[1] / "python"), VRAM_LIBRARY=f"{daemon.build}/lib/libvram.so.0")
    running = [subprocess.Popen([sys.executable, HERE / "poll_work.py", *map(str, ages)], env=env, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True) for ages in programs]
    for program in running:
        program.stdout.readline()
    before = calls()
    for program in running:
        program.stdin.write(f"{SECONDS}\n")
        program.stdin.flush()
    asked = sum(int(program.communicate()[0].split()[0]) for program in running)
    after = calls()
    memory = "nvmlDeviceGetMemoryInfo_v2"
    return asked, after[memory] - before.get(memory, 0), sum(after.values()) - sum(before.values())


def section(build, table):
    rows = []
    with Daemon(build, "rtx4090@bench") as daemon:
        daemon.get("/v1/snapshot")
        for name, programs in CASES:
            rows.append([name, *(f"{number / SECONDS:.1f}" for number in poll(daemon, programs))])
    return f"""## Programs that poll

Handles that ask every 50 ms through the daemon, each for figures of at most some age, in one program or four. Budget: a
hundred cost the driver what one does.

{table(["handles", "questions a second", "samples a second", "driver calls a second"], rows)}
"""
