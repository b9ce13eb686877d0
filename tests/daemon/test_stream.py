# SPDX-License-Identifier: MIT
"""GET /v1/stream: figures, leases and events as they come, to many readers at once; and to some that do not read."""
import json
import os
import socket
import time
from pathlib import Path

import pytest
from conftest import DEADLINE, eventually, is_closed
from leasing import GIB, Request, granted
from reading import Tcp

MANY = "driver 550.54.14\n" + "".join(
    f"gpu {i} total=81559M reserved=551M name=\"card {i}\"\n" + "".join(f"proc {i} pid={4194500 + i * 8 + j} name=worker{j} mem=1G type=C\n" for j in range(8))
    for i in range(32))  # a snapshot of some 60 kB


class Reader:
    """A stream as it comes: headers, then blocks. What is not asked for is not read."""

    def __init__(self, client, host="localhost", target="/v1/stream", **headers):
        self.client = client
        lines = [f"GET {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        client.sendall("\r\n".join(lines).encode())
        self.rest, self.status, self.headers, self.blocks = b"", None, None, []

    def more(self):
        chunk = self.client.recv(65536)
        self.rest += chunk
        return chunk

    def begin(self):
        while b"\r\n\r\n" not in self.rest:
            assert self.more(), self.rest
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        self.headers = head.decode()
        self.status = int(head.split()[1])
        return self

    def chunk(self):
        """The next piece; None: the end."""
        while b"\r\n" not in self.rest:
            if not self.more():
                return None
        size, _, _ = self.rest.partition(b"\r\n")
        length, begin = int(size, 16), len(size) + 2
        while len(self.rest) < begin + length + 2:
            if not self.more():
                return None
        piece, self.rest = self.rest[begin:begin + length], self.rest[begin + length + 2:]
        return piece.decode() if length else None

    def next(self, *kinds):
        """The next event of one of these kinds: (kind, object)."""
        end = time.monotonic() + DEADLINE
        while True:
            while not self.blocks:
                assert time.monotonic() < end, kinds
                if (piece := self.chunk()) is None:
                    raise EOFError
                self.blocks = piece.split("\n\n")[:-1]
            lines = self.blocks.pop(0).splitlines()
            fields = dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(":"))
            if "event" in fields and (not kinds or fields["event"] in kinds):
                assert int(fields["id"]) > 0
                return fields["event"], json.loads(fields["data"])


@pytest.fixture
def read():
    """Opens streams; they are closed with the test."""
    clients = []

    def open_one(of, begin=True, **headers):
        if isinstance(of, Tcp):
            client = socket.create_connection((of.host, of.port), timeout=DEADLINE)
        else:
            client = of.connect()
        clients.append(client)
        reader = Reader(client, **headers)
        return reader.begin() if begin else reader
    yield open_one
    for client in clients:
        client.close()


@pytest.fixture
def listening(make_daemon):
    daemon = make_daemon().start("--listen", "127.0.0.1:0")
    return daemon, Tcp(daemon)


def rss(pid):
    if "SANITIZED" in os.environ:
        return 0  # which keeps what was freed
    return int(next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1]) << 10


def calls(daemon):
    return sum(int(line.split()[-1]) for line in daemon.sim("stats").splitlines()
               if line.strip().startswith("nvmlDeviceGetMemoryInfo"))


# ---- What comes ------------------------------------------------------------------------------------


def test_stream__begins_with_all_and_goes_on(listening, read, hold):
    daemon, tcp = listening
    for of in (daemon, tcp):
        reader = read(of)
        assert reader.status == 200 and "text/event-stream" in reader.headers and "no-store" in reader.headers
        assert "retry: 2000" in reader.chunk()
        _, first = reader.next("snapshot")
        assert [process["name"] for process in first["gpus"][0]["processes"]] and first["daemon"]["pid"] == daemon.pid
        taken = first["taken_at"]
        _, later = reader.next("memory", "snapshot")
        assert later["taken_at"] > taken
    holder = hold(daemon, "2G")
    while True:
        _, now = reader.next("snapshot")
        if any(process["pid"] == holder.pid for process in now["gpus"][0]["processes"]):
            break
    assert {process["command"] for process in now["gpus"][0]["processes"]} == {None}


def test_stream__tells_of_leases(daemon, read):
    reader = read(daemon)
    assert reader.next("leases")[1]["leases"] == []
    lease = granted(Request(daemon, 2 * GIB, label="comfyui").answer())
    while not (told := reader.next("leases")[1])["leases"]:
        pass  # it waits in the queue for a moment
    assert [one["id"] for one in told["leases"]] == [lease["id"]] and told["leases"][0]["label"] == "comfyui"


def test_stream__tells_of_events_as_they_are_recorded(make_daemon, read, hold, tmp_path):
    daemon = make_daemon().start("--history", str(tmp_path / "history.db"))
    reader = read(daemon)
    reader.next("snapshot")
    holder = hold(daemon, "2G", "--name", "trainer")
    kind, begun = reader.next("event")
    assert (begun["kind"], begun["pid"], begun["gpu_index"]) == ("process_started", holder.pid, 0)
    holder.kill()
    kind, ended = reader.next("event")
    assert (ended["kind"], ended["pid"], ended["bytes"]) == ("process_ended", holder.pid, 2 * GIB)


def test_stream__tells_of_trouble_and_its_end(daemon, read):
    reader = read(daemon)
    reader.next("snapshot")
    assert daemon.call("POST", "/v1/pause").status == 200
    assert reader.next("trouble")[1]["error"]["code"] == "paused"
    assert read(daemon).next("trouble")[1]["error"]["code"] == "paused"
    assert daemon.call("POST", "/v1/resume").status == 200
    assert reader.next("snapshot", "memory")[1]["gpus"]


def test_stream__a_hundred_cost_the_driver_one(daemon, read):
    one = read(daemon)
    one.next("snapshot")

    def cost():
        for _ in range(2):
            one.next("memory", "snapshot")
        before = calls(daemon)
        for _ in range(4):
            one.next("memory", "snapshot")
        return calls(daemon) - before
    alone = cost()
    many = [read(daemon) for _ in range(60)]
    assert all(reader.status == 200 for reader in many)
    assert cost() <= alone * 1.5 + 2


# ---- Who reads slowly, or not at all ---------------------------------------------------------------


def test_slow__is_told_what_it_missed_and_costs_nothing(make_daemon, scenario, read):
    daemon = make_daemon(scenario(MANY)).start()
    quick = read(daemon)
    quick.next("snapshot")
    slow = read(daemon)
    size = len(json.dumps(slow.next("snapshot")[1]))
    assert size > 30000
    before = rss(daemon.pid)
    lease = granted(Request(daemon, 2 * GIB).answer())
    for i in range(16):  # each a change that both are to hear of
        assert daemon.call("PATCH", f"/v1/leases/{lease['id']}", json.dumps({"size_bytes": (1 + i % 2) * GIB})).status == 200
        quick.next("snapshot", "memory")
    assert rss(daemon.pid) - before < 1 << 20
    _, lag = slow.next("lag")
    assert lag["missed"] >= 1
    assert slow.next()[0] == "snapshot"  # and how things stand


def test_many__a_hundred_pages_cost_little(make_daemon, scenario, read):
    daemon = make_daemon(scenario(MANY)).start("--listen", "127.0.0.1:0")
    tcp = Tcp(daemon)
    first = read(tcp)
    first.next("snapshot")
    before = rss(daemon.pid)
    many = [read(tcp, begin=False) for _ in range(99)]
    for reader in many:
        assert reader.begin().status == 200
        reader.next("snapshot")
    for _ in range(3):
        first.next("memory", "snapshot")
    assert rss(daemon.pid) - before < 4 << 20
    assert tcp.get("/v1/daemon").status == 200 and tcp.get(f"/v1/leases?after={daemon.snapshot()['epoch']}&timeout_ms=10").status == 200


def test_many__are_bounded(listening, read):
    daemon, tcp = listening
    many = [read(of) for _ in range(64) for of in (daemon, tcp)]
    assert {reader.status for reader in many} == {200}
    refused = read(tcp)
    assert refused.status == 503 and "Retry-After" in refused.headers
    for reader in many:
        reader.client.close()
    eventually(lambda: read(tcp).status == 200, "there is room again")


def test_vanished__leave_nothing(listening, read):
    daemon, tcp = listening
    read(daemon).next("snapshot")
    base = daemon.fds()
    many = [read(of) for _ in range(20) for of in (daemon, tcp)]
    assert daemon.fds() > base
    for reader in many:
        reader.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset where there is one
        reader.client.close()
    eventually(lambda: daemon.fds() <= base, "their descriptors are closed")
    assert daemon.get("/v1/daemon").status == 200


def test_restart__ends_them_and_the_next_begins_with_all(listening, read):
    daemon, tcp = listening
    reader = read(tcp)
    reader.next("snapshot")
    assert daemon.stop() == 0
    with pytest.raises(EOFError):
        while True:
            reader.next()
    daemon.start("--listen", f"127.0.0.1:{tcp.port}")
    _, again = read(tcp).next("snapshot")
    assert again["daemon"]["pid"] == daemon.pid


# ---- Who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers, status", [
    ({"host": "evil.example"}, 421), ({"Origin": "https://evil.example"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403), ({}, 200),
    ({"Origin": "http://localhost:9464", "Sec-Fetch-Site": "same-origin"}, 200)])
def test_gate__of_both_sockets(listening, read, headers, status):
    """`ssh -L` leads browsers to the unix socket too."""
    for of in listening:
        assert read(of, **headers).status == status


def test_gate__the_token(make_daemon, read, tmp_path):
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple\n")
    token.chmod(0o600)
    tcp = Tcp(make_daemon().start("--listen", "127.0.0.1:0", "--token-file", str(token)))
    assert read(tcp).status == 401
    assert read(tcp, Authorization="Bearer correct-horse-battery-staple").status == 200
    assert tcp.get("/").status == 200  # which tells nothing, and asks for the token


# ---- The page's files, and fit ---------------------------------------------------------------------


def test_page__is_served_compressed_and_strict(listening):
    _daemon, tcp = listening
    page = tcp.get("/", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert page.status == 200 and page.headers["Content-Encoding"] == "gzip" and page.headers["Cache-Control"] == "no-cache"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';") and "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    again = tcp.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    for refused in ("br", "gzip;q=0", "identity"):
        assert tcp.get("/", headers={"Accept-Encoding": refused}).status == 406
    assert tcp.get("/web/app.js").status == 200 and tcp.get("/web/../page.c").status == 404 and tcp.get("/web/").status == 404
    assert tcp.call("POST", "/").status == 405


def test_fit__is_what_the_command_says(listening):
    daemon, tcp = listening
    for size, margin in (("20000M", None), ("22000M", None), ("30G", None), ("22000M", "0")):
        query = f"?size={size}" + (f"&margin={margin}" if margin else "")
        said = daemon.vram("fit", size, "--json", *(["--margin", margin] if margin else [])).stdout
        assert tcp.get("/v1/fit" + query).json["answers"] == json.loads(said)["answers"]
    for wrong in ("", "?size=", "?size=much", "?size=1G&gpus=0", "?size=1G&margin=x"):
        assert tcp.get("/v1/fit" + wrong).status == 400


def test_fit__counts_promises(daemon):
    granted(Request(daemon, 20 * GIB).answer())
    answer = daemon.get("/v1/fit?size=4G").json["answers"][0]
    assert answer["answer"] == "not_now" and answer["gpus"][0]["outstanding_bytes"] == 20 * GIB


def test_steps__of_processes(make_daemon, hold, tmp_path):
    daemon = make_daemon().start("--history", str(tmp_path / "history.db"))
    hold(daemon, "2G", "--name", "trainer")

    def steps():
        found = [process for process in daemon.get("/v1/processes?steps=1").json["processes"] if process["name"] == "trainer"]
        return found and found[0]["steps"]
    told = eventually(steps, "it is seen")
    assert told[-1][1] <= 2 * GIB and abs(told[-1][0] / 1000 - time.time()) < DEADLINE
    assert "steps" not in daemon.get("/v1/processes").json["processes"][0]
    assert daemon.get("/v1/processes?steps=2").status == 400
