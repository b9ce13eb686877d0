# SPDX-License-Identifier: MIT
"""The part of docs/benchmarks.md about being watched: what a scrape costs, beside nvitop's exporter on the same simulated driver,
and what a history costs in time and on disk. Called by bench.py.
"""

import contextlib
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import threading
import time

from promises import Daemon, cpu_s, memory_mib

GPUS = 8


def moving(path, base, pids, seconds):
    """The machine of `base`, on each of whose GPUs a process allocates or frees 200 MiB and more every second."""
    lines = pathlib.Path(base).read_text().splitlines()
    for second in range(1, seconds):
        lines += [f"at +{second}s proc {gpu} pid={pids[(second + gpu) % len(pids)]} mem={256 + 200 * (second % 3 + 1)}MiB"
                  for gpu in range(GPUS)]
    path.write_text("\n".join(lines) + "\n")
    return path


def free_port():
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def scrape(port):
    """A connection of its own, as Prometheus makes after a pause: what came, without its head."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        raise RuntimeError(head.decode(errors="replace").splitlines()[0])
    return body


class Exporter:
    """nvitop's, on the simulated driver, told to look once a second."""

    def __init__(self, build, peers, driver, state):
        self.port = free_port()
        env = {key: value for key, value in os.environ.items() if not key.startswith("VRAM")}
        env.update(LD_LIBRARY_PATH=f"{build}/sim/r550", VRAM_SIM=driver, VRAM_SIM_DIR=f"{build}/sim", VRAM_SIM_STATE_DIR=state)
        self.process = subprocess.Popen(
            [peers / "nvitop-exporter", "--bind-address", "127.0.0.1", "--port", str(self.port), "--interval", "1"], env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if b"process" in scrape(self.port):
                    return self
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("nvitop-exporter does not start")
            time.sleep(0.1)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def pids(self):
        return [self.process.pid]


def cpu_percent(pids, seconds, scrapes_a_second, port):
    """Of one core, of each process, while it is scraped so often."""
    stop = threading.Event()

    def keep_scraping():
        while scrapes_a_second and not stop.wait(1 / scrapes_a_second):
            scrape(port)
    thread = threading.Thread(target=keep_scraping)
    thread.start()
    time.sleep(2)  # until it goes its even way
    begun, before = time.monotonic(), [cpu_s(pid) for pid in pids]
    time.sleep(seconds)
    took = time.monotonic() - begun
    used = sum(cpu_s(pid) - was for pid, was in zip(pids, before))
    stop.set()
    thread.join()
    return 100 * used / took


def scraped(name, port, pids, rounds):
    times, body = [], b""
    for _ in range(rounds):
        begun = time.monotonic()
        body = scrape(port)
        times.append(time.monotonic() - begun)
    begun, count = time.monotonic(), 0
    while time.monotonic() - begun < 3:
        scrape(port)
        count += 1
    rate = count / (time.monotonic() - begun)
    once, often = (cpu_percent(pids, 10, number, port) for number in (1, 10))
    times.sort()
    series = sum(1 for line in body.splitlines() if line and not line.startswith(b"#"))
    return [name, f"{1e3 * statistics.median(times):.2f}", f"{1e3 * times[int(len(times) * 0.99)]:.2f}", f"{rate:.0f}",
            f"{len(body) / 1024:.1f}", str(series), f"{once:.2f}", f"{often:.2f}", f"{sum(memory_mib(pid)[0] for pid in pids):.1f}"]


def scrapes(build, peers, driver, rounds):
    rows = []
    port = free_port()
    with Daemon(build, driver, "--listen", str(port)) as daemon:
        scrape(port)
        rows.append(scraped("`vramd`", port, daemon.pids(), rounds))
    with Daemon(build, driver) as daemon, Exporter(build, peers, driver, daemon.directory) as exporter:
        rows.append(scraped("`nvitop-exporter`", exporter.port, exporter.pids(), rounds // 10))
    return rows


def figure(daemon, name):
    return float(re.search(rf"^{name} (\S+)$", daemon.get("/metrics").decode(), re.M).group(1))


def polled(daemon, seconds, times_a_second):
    """CPU of the daemon and its collector while somebody has a sample with processes taken so often; 0: only history does."""
    stop = threading.Event()

    def keep_asking():
        while times_a_second and not stop.wait(1 / times_a_second):
            daemon.get("/v1/snapshot?take=processes")
    thread = threading.Thread(target=keep_asking)
    thread.start()
    time.sleep(2)
    pids = daemon.pids()
    begun, before = time.monotonic(), [cpu_s(pid) for pid in pids]
    time.sleep(seconds)
    took = time.monotonic() - begun
    used = [100 * (cpu_s(pid) - was) / took for pid, was in zip(pids, before)]
    stop.set()
    thread.join()
    return used


def history(build, driver, seconds):
    """CPU without and with it, and what it takes on disk."""
    rows = []
    for name, arguments in (("off", ("--history", "off")), ("on", ("--history", None))):
        for times in (0, 1, 10) if name == "on" else (1, 10):
            with Daemon(build, driver, *arguments) as daemon:
                daemon.get("/v1/snapshot?take=processes")
                used = polled(daemon, 10, times)
            rows.append([name, str(times) if times else "by itself: 1, lists each 5 s", *(f"{part:.2f}" for part in used)])
    with Daemon(build, driver, "--history", None) as daemon:
        daemon.get("/v1/snapshot?take=processes")
        time.sleep(20)
        daemon.get("/v1/events")  # has it written
        begun, before = time.monotonic(), figure(daemon, "vram_history_size_bytes")
        time.sleep(seconds)
        daemon.get("/v1/events")
        samples = GPUS * (time.monotonic() - begun)
        size = (figure(daemon, "vram_history_size_bytes") - before) / samples
    return rows, size


def section(build, peers, driver, work, sleepers, table):
    """`driver`: the scenario of 8 GPUs with 64 processes each, `sleepers`."""
    found = scrapes(build, peers, driver, 300)
    rows, size = history(build, f"{moving(work / 'moving.scenario', driver.partition('@')[0], sleepers, 120)}@moving", 60)
    return f"""## Being scraped

`tests/bench/observing.py`: 8 GPUs, 64 processes on each, over TCP on loopback, a connection for each scrape. Budgets: 2 ms, 150 kB, and
no driver call for a scrape. CPU of one core, the process that asks the driver included, in the last columns but one: scraped
once and ten times a second. nvitop-exporter looks every second and has ten series and more for every process; vramd has the 20 largest
processes of each GPU.

{table(["", "median ms", "99th % ms", "scrapes a second", "KiB", "series", "% CPU at 1/s", "% CPU at 10/s", "MiB resident"], found)}

## History

The same machine, on each GPU a process that allocates or frees 200 MiB every second. How often somebody has a sample with process lists
taken besides:

{table(["history", "samples a second", "% of a core, vramd", "collector"], rows)}

On disk **{size:.1f} bytes** for each GPU and second, where every second differs by more than is left out (16 MiB, 1 %): changes, tiers,
steps of processes, indexes. Changes are kept for 6 hours, the rest is one row in 10 s and less.
"""


if __name__ == "__main__":
    sys.exit("called by bench.py")
