# SPDX-License-Identifier: MIT
"""reslock at the same work, in a process that has its library: run by daemon_rows.py with the bench's own Python.

    reslock_work.py ask STATE ROUNDS           request to answer; prints: median_us p99_us
    reslock_work.py wake STATE WAITERS         release to the next waiter's answer, each a process; prints the same
    reslock_work.py promise STATE SIZE…        leases of so many MiB, one after the other; prints: promised_mib total_mib
"""
import os
import subprocess
import sys
import time

from reslock import ResourcePool
from reslock.nvml import nvml_total_vram_mb
from reslock.detect import gpu_vram_key


def show(times):
    times.sort()
    print(f"{times[len(times) // 2] * 1e6:.1f} {times[int(len(times) * 0.99)] * 1e6:.1f}")


def ask(pool, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        lease = pool.try_acquire(vram_mb_each=1, num_gpus=1)
        times.append(time.perf_counter() - start)
        lease.release()
    show(times)


def wait_in_turn(pool, size):
    """A waiter: tells when it was granted, and releases at once."""
    with pool.acquire(vram_mb_each=size, num_gpus=1):
        print(time.monotonic(), flush=True)


def wake(pool, waiters):
    size = max(pool.status().resources.values()) * 3 // 4
    reading, writing = os.pipe()
    command = [sys.executable, __file__, "wait", sys.argv[2], str(size)]
    with pool.acquire(vram_mb_each=size, num_gpus=1):
        children = [subprocess.Popen(command, stdout=writing) for _ in range(waiters)]
        while len(pool.status().queue) < waiters:
            time.sleep(0.01)
    released = time.monotonic()
    os.close(writing)
    times = []
    with os.fdopen(reading) as lines:
        for line in lines:
            times.append(float(line) - released)
            released = float(line)
    for child in children:
        child.wait()
    show(times)


def promise(pool, sizes):
    leases = [lease for lease in (pool.try_acquire(vram_mb_each=size, num_gpus=1) for size in sizes) if lease]
    print(sum(size for size, lease in zip(sizes, leases) if lease), max(pool.status().resources.values()))


def main():
    what, state, *numbers = sys.argv[1:]
    pool = ResourcePool(state)
    # Its own detection asks nvidia-smi.
    pool.set_resources({gpu_vram_key(uuid): mib for uuid, mib in nvml_total_vram_mb().items()})
    numbers = [int(number) for number in numbers]
    if what == "ask":
        ask(pool, *numbers)
    elif what == "wake":
        wake(pool, *numbers)
    elif what == "wait":
        wait_in_turn(pool, *numbers)
    else:
        promise(pool, numbers)


main()
