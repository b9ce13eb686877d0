# SPDX-License-Identifier: MIT
"""The part of docs/benchmarks.md about vramd: what a promise costs, how fast the next one is woken, what the daemon
uses at rest, and reslock at the same work. Called by bench.py.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

RESLOCK = "reslock[cuda]==0.12.3"
HERE = pathlib.Path(__file__).resolve().parent


class Daemon:
    """vramd on a simulated machine, in a directory like /run: in memory, for its journal is synced at each grant."""

    def __init__(self, build, driver, *arguments):
        """`arguments` of vramd; None among them stands for a file in its directory."""
        self.build = build
        self.directory = tempfile.mkdtemp(prefix="vram-bench-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.socket = f"{self.directory}/vram.sock"
        self.arguments = [f"{self.directory}/file" if argument is None else argument for argument in arguments]
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("VRAM")}
        self.env.update(VRAM_DRIVER=f"sim:{driver}", VRAM_SIM=driver, VRAM_SIM_DIR=f"{build}/sim",
                        VRAM_SIM_STATE_DIR=self.directory, VRAM_SOCKET=self.socket, LD_LIBRARY_PATH=f"{build}/lib")

    def __enter__(self):
        reading, writing = os.pipe()
        self.process = subprocess.Popen([f"{self.build}/daemon/vramd", "--ready-fd", str(writing), *self.arguments],
                                        env=self.env, pass_fds=(writing,), stderr=subprocess.DEVNULL)
        os.close(writing)
        with os.fdopen(reading) as ready:
            if ready.readline() != "ready\n":
                raise RuntimeError("vramd does not start")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.directory)

    def run(self, *words, **kwargs):
        return subprocess.run([str(word) for word in words], env={**self.env, **kwargs}, check=True,
                              capture_output=True, text=True, timeout=300).stdout

    def get(self, target):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.socket)
            client.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
            return b"".join(iter(lambda: client.recv(65536), b""))

    def pids(self):
        """The daemon's and its collector's."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [self.process.pid, *map(int, pathlib.Path(path).read_text().split())]

    def driver_calls(self):
        lines = [line.split() for line in self.run(f"{self.build}/sim/vram-sim", "stats").splitlines()]
        return sum(int(words[1]) for words in lines if words[0] == "calls")


def cpu_s(pid):
    """Seconds on a CPU, all threads, from the scheduler's own count: ticks are too coarse."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def memory_mib(pid):
    """Resident, and in proportion to those who share it."""
    rollup = dict(line.split(":") for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return tuple(int(rollup[key].split()[0]) / 1024 for key in ("Rss", "Pss"))


def grants(build, rounds):
    library = f"{build}/sim/r550/libnvidia-ml.so.1"
    rows = []
    for name, words in (("as the kernel places them", []), ("all on one CPU", ["taskset", "-c", "0"])):
        with Daemon(build, "rtx4090@bench") as daemon:
            for pid in daemon.pids() if words else []:
                subprocess.run(["taskset", "-apc", "0", str(pid)], check=True, capture_output=True)
            out = daemon.run(*words, f"{build}/tests/bench/grant", "ask", daemon.socket, rounds, library).split()
        rows.append([name, *out])
    return rows


def wakes(build, rounds):
    rows = []
    for waiters in (1, 100, 1000):
        for how in ("release", "kill"):
            with Daemon(build, "rtx4090@bench") as daemon:
                out = daemon.run(f"{build}/tests/bench/grant", "wake", daemon.socket, rounds, waiters, how).split()
            rows.append([str(waiters), "release" if how == "release" else "SIGKILL of the holder", *out])
    return rows


def at_rest(build, driver, holder, seconds):
    """A lease stands, so that the daemon looks every second; then also a hundred programs that ask every second."""
    rows = []
    with Daemon(build, driver) as daemon:
        daemon.run(f"{build}/cli/vram", "reserve", "1G", "--pid", holder)
        for name, pollers in (("one lease", 0), ("and 1 poller", 1), ("and 100 pollers", 100)):
            stop = threading.Event()

            def poll(number, stop=stop, pollers=pollers):
                while not stop.wait(number / pollers if number else 1):
                    number = 0
                    daemon.get("/v1/snapshot?max_age_ms=1000")
            threads = [threading.Thread(target=poll, args=(i + 1,)) for i in range(pollers)]
            for thread in threads:
                thread.start()
            time.sleep(2)  # until it goes its even way
            pids = daemon.pids()
            begun, before, calls = time.monotonic(), [cpu_s(pid) for pid in pids], daemon.driver_calls()
            time.sleep(seconds)
            took = time.monotonic() - begun
            used = [100 * (cpu_s(pid) - was) / took for pid, was in zip(pids, before)]
            calls = (daemon.driver_calls() - calls) / took
            stop.set()
            for thread in threads:
                thread.join()
            memory = [memory_mib(pid) for pid in pids]
            rows.append([name, *(f"{part:.2f}" for part in used), f"{sum(rss for rss, _ in memory):.1f}",
                         f"{sum(pss for _, pss in memory):.1f}", f"{calls:.0f}"])
    return rows


def promised_mib(daemon, build, sizes):
    """What of these sizes vramd promises, one after the other, while nobody allocates anything."""
    total, owners = 0, []
    with contextlib.ExitStack() as stack:
        for size in sizes:
            owners.append(stack.enter_context(subprocess.Popen(["sleep", "1000"])))
            stack.callback(owners[-1].kill)
            done = subprocess.run([f"{build}/cli/vram", "reserve", f"{size}M", "--margin", "0", "--timeout", "15s", "--pid",
                                   str(owners[-1].pid)], env=daemon.env, capture_output=True)
            total += size if done.returncode == 0 else 0
    return total


def reslock(build, peers):
    """Its rows, and what both have promised where too much was asked; None where it cannot be had."""
    python = peers / "python"
    if subprocess.run([python, "-c", "import reslock"], capture_output=True).returncode != 0 and subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", RESLOCK]).returncode != 0:
        return None
    rows = []
    with Daemon(build, "rtx4090@bench") as daemon:
        def theirs(what, state, *numbers):
            return daemon.run(python, HERE / "reslock_work.py", what, f"{daemon.directory}/{state}", *numbers,
                              LD_LIBRARY_PATH=f"{build}/sim/r550").split()
        rows.append(["request to answer, µs (its figures up to 1 s old)", *theirs("ask", "1", 300)])
        rows.append(["release to the next of 1 waiter, µs", *theirs("wake", "2", 1)])
        rows.append(["release to the next of 16 waiters, µs", *theirs("wake", "3", 16)])
        sizes = (10240, 12288)
        with subprocess.Popen([f"{build}/sim/vram-sim", "hold", "8G"], env=daemon.env, stdout=subprocess.PIPE) as holder:
            holder.stdout.readline()
            promised, total = map(int, theirs("promise", "4", *sizes))
            ours = promised_mib(daemon, build, sizes)
            holder.kill()
    return rows, (8192 + promised, 8192 + ours, total)


def section(build, peers, machines, sleepers, table):
    """`machines`: the driver of 8 GPUs with 64 processes each; `sleepers`: those processes."""
    asked, woken = grants(build, 1000), wakes(build, 300)
    rest = at_rest(build, machines, sleepers[0], 10)
    found = reslock(build, peers)
    if found:
        rows, (theirs, ours, total) = found
        versus = f"""The same simulated driver, {RESLOCK} as a Python library: its own call, no start of a program.

{table(["", "median", "99th percentile"], rows)}

Somebody holds 8 GiB without a lease; then leases of 10 240 and 12 288 MiB are asked for. Used and promised afterwards, of
{total} MiB: reslock **{theirs} MiB**, vramd **{ours} MiB**."""
    else:
        versus = "Left out: its registry cannot be reached from here."
    return f"""## A promise

`tests/bench/grant.c` asks `vramd` for leases, each from a sample that begins after the request. Budget: 200 µs in the
median without the driver's calls, which are the last column here. "Connected": a bare connection that was made before.

{table(["processes", "library µs", "99th %", "connected µs", "99th %", "driver µs"], asked)}

## The next one is woken

From the release, or the SIGKILL, to the answer that the next waiter reads. Budget: 1 ms in the 99th percentile with
1 000 waiters, without the driver's calls.

{table(["waiters", "by", "median µs", "99th % µs"], woken)}

## vramd at rest

8 GPUs, 64 processes on each, one lease, so that memory and processes are read every second. Budgets: 0.2 % of a core and
12 MB together; a hundred programs that poll make the driver calls of one.

{table(["", "% of a core, vramd", "collector", "MiB resident", "MiB in proportion", "driver calls a second"], rest)}

## reslock

{versus}
"""
