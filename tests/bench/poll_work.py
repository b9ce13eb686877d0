# SPDX-License-Identifier: MIT
"""Polls the daemon as programs do: a thread and a handle for each of the ages in milliseconds that are its arguments. Says
"ready", begins with a line of input, and ends after the seconds in it: how often it asked, and by how many milliseconds figures
were older than their asker wants, at the worst.
"""

import sys
import threading
import time

import vram

ages = [int(word) for word in sys.argv[1:]]
begin, results = threading.Event(), []
end = 0.0


def poll(age_ms):
    asked, worst = 0, 0.0
    with vram.Handle(max_age=age_ms / 1000) as handle:
        begin.wait()
        while time.monotonic() < end:
            before = time.monotonic()
            snapshot = handle.snapshot()
            took_ms = (time.monotonic() - before) * 1000
            asked += 1
            worst = max(worst, *(gpu.age_ms - took_ms - age_ms for gpu in snapshot.gpus))
            time.sleep(0.05)
    results.append((asked, worst))


threads = [threading.Thread(target=poll, args=(age,)) for age in ages]
for thread in threads:
    thread.start()
print("ready", flush=True)
end = time.monotonic() + float(sys.stdin.readline())
begin.set()
for thread in threads:
    thread.join()
assert len(results) == len(threads)
print(sum(asked for asked, _ in results), max(0.0, *(worst for _, worst in results)), flush=True)
