# SPDX-License-Identifier: MIT
"""The part of docs/benchmarks.md about the live page: what it weighs, and what a hundred of them cost. Called by bench.py."""

import contextlib
import pathlib
import re
import socket
import time

STREAMS = 100


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def weights(daemon):
    """Bytes of each file as it is sent."""
    rows = []
    for path in ("/", "/web/app.js", "/web/app.css", "/web/uplot.js", "/web/uplot.css"):
        head, _, body = daemon.get(path).partition(b"\r\n\r\n")
        if b" 200 " in head.splitlines()[0]:
            rows.append((path, len(body)))
    return rows


def streams(daemon):
    """KiB that so many open streams add, after some seconds of being read."""
    daemon.get("/v1/snapshot")
    with contextlib.ExitStack() as stack:
        clients = []
        before = None
        for _ in range(STREAMS + 1):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(daemon.socket)
            client.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: vram\r\n\r\n")
            client.recv(1)
            clients.append(client)
            if before is None:
                time.sleep(3)
                before = resident(daemon.process.pid)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for client in clients:
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while client.recv(65536):
                        pass
            time.sleep(0.05)
        return resident(daemon.process.pid) - before


def section(daemon_of, build, driver, table):
    with daemon_of(build, driver) as daemon:
        files = weights(daemon)
        added = streams(daemon)
    rows = [[f"`{path}`", str(count)] for path, count in files]
    rows.append(["all", str(sum(count for _path, count in files))])
    return f"""## The live page

Bytes as they are sent, compressed. Budget: 45 kB in all. First paint, and how long drawing takes, are told by
`./dev env build/venv/bin/python -m pytest -s tests/web -k budget`.

{table(["file", "bytes"], rows)}

{STREAMS} open streams add {added} KiB to vramd, 8 GPUs with 64 processes on each. Budget: 4 MiB.
"""
