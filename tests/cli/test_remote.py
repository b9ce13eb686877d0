# SPDX-License-Identifier: MIT
"""Figures through a daemon: taken where one answers, whatever a daemon does otherwise. The daemon here answers one
request after the other with the bytes that it was given."""
import json
import os
import socket
import threading

import pytest


class FakeDaemon(threading.Thread):
    """Listens on a socket of its own; `answer` is called with the request and returns bytes, or None to stay silent
    until the client has gone."""

    def __init__(self, path, answer):
        super().__init__(daemon=True)
        self.path, self.answer, self.requests = str(path), answer, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    chunk = connection.recv(65536)
                    if not chunk:
                        break
                    request += chunk
                self.requests.append(request.split(b"\r\n")[0].decode())
                answer = self.answer(request)
                if answer is None:
                    connection.recv(1)
                elif answer:
                    connection.sendall(answer)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


@pytest.fixture
def daemon(tmp_path):
    started = []

    def start(answer):
        fake = FakeDaemon(tmp_path / "vram.sock", answer if callable(answer) else lambda request: answer)
        started.append(fake)
        return fake

    yield start
    for fake in started:
        fake.close()


@pytest.fixture
def asking(vram, tmp_path):
    """The program, with VRAM_SOCKET naming the daemon's place."""
    vram.env["VRAM_SOCKET"] = str(tmp_path / "vram.sock")
    return vram


def reply(body, status="200 OK"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def machine_of(vram):
    """What the driver itself says, with one figure that only a daemon could have."""
    document = vram("--json", env={"VRAM_SOCKET": "none"}).json
    document["epoch"] = 5
    document["waiters"] = 2
    document["daemon"] = {"driver": "sim:rtx4090@default"}
    document["gpus"][0].update(outstanding_bytes=5 << 30, own_outstanding_bytes=0)
    document["gpus"][0]["processes"][0]["lease"] = "8f14e45fceea167a"
    return document


def is_the_drivers(run):
    return run.status == 0 and run.json["gpus"][0]["outstanding_bytes"] is None and "epoch" not in run.json


# ---- A daemon that answers --------------------------------------------------------------------------


def test_its_figures_are_taken(asking, daemon):
    fake = daemon(reply(machine_of(asking)))
    document = asking("--json").json
    assert fake.requests == ["GET /v1/snapshot?take=processes,health HTTP/1.0"]
    assert (document["epoch"], document["waiters"]) == (5, 2)
    gpu = document["gpus"][0]
    assert gpu["outstanding_bytes"] == 5 << 30
    assert gpu["headroom_bytes"] == gpu["free_bytes"] - (5 << 30) - (1 << 30)
    assert gpu["processes"][0]["lease"] == "8f14e45fceea167a"


def test_fit_counts_promises(asking, daemon):
    daemon(reply(machine_of(asking)))
    answer = asking("fit", "17G", "--json").json["answers"][0]
    assert (answer["answer"], answer["promises_counted"], answer["waiters"]) == ("not_now", True, 2)
    assert asking("fit", "17G", env={"VRAM_SOCKET": "none"}).status == 0


def test_no_driver_is_needed(asking, daemon, tmp_path):
    document = machine_of(asking)
    daemon(reply(document))
    env = {"VRAM_SIM_DIR": "/nonexistent"}
    assert asking("--json", env=env).json["gpus"][0]["uuid"] == document["gpus"][0]["uuid"]
    assert asking("--json", env={**env, "VRAM_SOCKET": "none"}).status == 3


def test_auto_takes_what_was_named(asking, daemon):
    daemon(reply(machine_of(asking)))
    assert asking("--json", driver="auto").json["driver"]["kind"] == "sim"


def test_ages_grow_on_the_way(asking, daemon):
    document = machine_of(asking)
    document["taken_at"] = "2026-01-01T00:00:00.000000Z"
    daemon(reply(document))
    assert asking("--json").json["gpus"][0]["age_ms"] > 0


def test_its_error_is_the_librarys(asking, daemon):
    error = {"code": "paused", "message": "the daemon has let go of the driver", "hint": "vram resume", "errno": 19}
    daemon(reply({"error": error}, "503 Service Unavailable"))
    run = asking()
    assert (run.status, run.out) == (3, "")
    assert "the daemon has let go of the driver" in run.err and "vram resume" in run.err
    assert asking("--json").json["error"]["code"] == "paused"


# ---- Daemons that are none: the driver is read --------------------------------------------------------


@pytest.mark.parametrize("answer", [
    b"",
    b"garbage\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"schema\": 1",
    reply(b"{\"schema\": 1"),
    reply({"schema": 1}),
    reply(b"\xff" * 1000),
    reply(b"[" * 100000),
    reply(b"Not Found", "404 Not Found"),
], ids=["vanished", "garbage", "cut", "half", "empty", "binary", "deep", "404"])
def test_an_answer_that_is_none(asking, daemon, answer):
    fake = daemon(answer)
    assert is_the_drivers(asking("--json"))
    assert len(fake.requests) == 1


def test_one_that_is_ending(asking, daemon):
    error = {"code": "ending", "message": "vramd is ending", "hint": None, "errno": 11}
    daemon(reply({"error": error}, "503 Service Unavailable"))
    assert is_the_drivers(asking("--json"))


def test_another_machines_daemon(asking, daemon):
    daemon(reply(machine_of(asking)))
    run = asking("--json", driver="sim:2x3090")
    assert is_the_drivers(run) and len(run.json["gpus"]) == 2


def test_one_that_stays_silent(asking, daemon):
    daemon(lambda request: None)
    assert is_the_drivers(asking("--json", env={"VRAM_CALL_TIMEOUT": "100ms"}))


def test_a_socket_that_nobody_listens_on(asking, tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "vram.sock"))
    left.close()
    assert is_the_drivers(asking("--json"))


def test_no_socket_at_all(asking):
    assert is_the_drivers(asking("--json"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_socket_for_others(asking, daemon, tmp_path):
    daemon(reply(machine_of(asking)))
    (tmp_path / "vram.sock").chmod(0)
    assert is_the_drivers(asking("--json"))


def test_the_private_place_is_looked_at(asking, daemon, tmp_path):
    """Without VRAM_SOCKET: below XDG_RUNTIME_DIR, each simulated machine its own."""
    document = machine_of(asking)
    place = tmp_path / "run/vram"
    place.mkdir(parents=True, mode=0o700)
    fake = FakeDaemon(place / "sim-rtx4090@default.sock", lambda request: reply(document))
    env = {"VRAM_SOCKET": None, "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert asking("--json", env=env).json["epoch"] == 5
    assert is_the_drivers(asking("--json", driver="sim:rtx4090@other", env=env))
    assert len(fake.requests) == 1
    fake.close()
