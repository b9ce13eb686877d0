# SPDX-License-Identifier: MIT
"""The Python package's answers, timed within one program: microseconds in the median of vram.snapshot() and of the
tracker's get_status(), on the driver library named first. Run by bench.py beside snapshot.c."""
import statistics
import sys
import time

import vram


def median_us(call, rounds):
    call()  # opens the driver
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


handle = vram.Handle(driver=f"nvml:{sys.argv[1]}", direct=True)
rounds = int(sys.argv[2])
tracker = vram.get_vram_tracker()
print(f"{median_us(handle.snapshot, rounds):.1f} {median_us(tracker.get_status, rounds):.1f}")
