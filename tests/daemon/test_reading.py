# SPDX-License-Identifier: MIT
"""The daemon over TCP: for reading only, for who calls this machine by its name, and with a token where one is set."""
import json
import os
import signal
import socket
import subprocess

import pytest
from conftest import DEADLINE, VRAM, VRAMD, eventually, is_closed
from exposition import parse
from leasing import GIB, Request, granted
from reading import OPEN, Tcp

TOKEN = "correct-horse-battery-staple"
READING = ["/metrics", "/v1/snapshot", "/v1/leases", "/v1/daemon"]


@pytest.fixture
def listening(make_daemon):
    """A daemon that listens on a port that the kernel chose, and who reads there."""
    def start(*args, address="127.0.0.1:0", **more):
        daemon = make_daemon().start("--listen", address, *args, **more)
        assert daemon.ready == "ready"
        return daemon, Tcp(daemon)
    return start


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("address", ["127.0.0.1:0", "0", "localhost:0", "[::1]:0"])
def test_reading__what_there_is(listening, address):
    if address.startswith("[") and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this machine has no IPv6")
    daemon, tcp = listening(address=address)
    for target in READING:
        assert tcp.get(target).status == 200, target
    assert tcp.get("/v1/daemon").json["pid"] == daemon.pid
    assert len(tcp.get("/v1/snapshot").json["gpus"]) == 1
    assert parse(tcp.get("/metrics").body.decode()).value("vram_device_up", gpu="0") == 1
    assert parse(tcp.get("/metrics", headers=OPEN).body.decode(), open=True)


def test_reading__nowhere_unless_told(daemon):
    assert daemon.get("/v1/daemon").json["listen"] is None


@pytest.mark.parametrize("method, target, status", [
    ("POST", "/v1/leases", 405), ("POST", "/v1/pause", 405), ("POST", "/v1/resume", 405),
    ("DELETE", "/v1/leases/0123456789abcdef", 405), ("PATCH", "/v1/leases/0123456789abcdef", 405),
    ("POST", "/metrics", 405), ("GET", "/v1/pause", 405), ("GET", "/v1/leases/0123", 405), ("GET", "/nothing", 404),
    ("GET", "/metrics/../v1/pause", 404), ("HEAD", "/metrics", 501), ("TRACE", "/metrics", 501), ("OPTIONS", "/metrics", 501)])
def test_reading__and_nothing_else(listening, method, target, status):
    daemon, tcp = listening()
    assert tcp.call(method, target, headers={"Content-Length": "0"}).status == status
    told = daemon.get("/v1/daemon").json
    assert told["promising"] and not told["paused"]


def test_reading__headers(listening):
    _daemon, tcp = listening()
    for target, status in (("/v1/daemon", 200), ("/metrics", 200), ("/nothing", 404)):
        reply = tcp.get(target)
        assert reply.status == status
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]
    assert tcp.get("/metrics").headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("host, status", [
    (["localhost"], 200), (["127.0.0.1:1"], 200), (["[::1]:80"], 200), (["LocalHost:99"], 200),
    (["evil.example"], 421), (["127.0.0.1.evil.example"], 421), (["localhost:x"], 421), ([""], 421), ([], 400),
    (["localhost", "localhost"], 400), (["localhost", "evil.example"], 400)])
def test_reading__for_this_machine(listening, host, status):
    _daemon, tcp = listening()
    assert tcp.get("/v1/daemon", host=host).status == status


@pytest.mark.parametrize("headers, status", [
    ({}, 200), ({"Sec-Fetch-Site": "none"}, 200), ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "http://localhost:3000"}, 200), ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403)])
def test_reading__not_for_other_sites(listening, headers, status):
    _daemon, tcp = listening()
    assert tcp.get("/v1/daemon", headers=headers).status == status


def test_reading__no_command_lines_and_no_owner(listening, hold):
    """Whoever asks over TCP is a stranger, also where the same process could see more on the unix socket."""
    daemon, tcp = listening()
    holder = hold(daemon, "1G")
    lease = granted(Request(daemon, 2 * GIB).answer())
    over_unix = daemon.snapshot("?take=commands")["gpus"][0]
    assert next(process["command"] for process in over_unix["processes"] if process["pid"] == holder.pid)
    over_tcp = tcp.get("/v1/snapshot?take=commands").json["gpus"][0]
    assert {process["command"] for process in over_tcp["processes"]} == {None}
    assert over_unix["own_outstanding_bytes"] == 2 * GIB and over_tcp["own_outstanding_bytes"] == 0
    assert over_tcp["outstanding_bytes"] == 2 * GIB
    assert [one["id"] for one in tcp.get("/v1/leases").json["leases"]] == [lease["id"]]


# ---- The token -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent, status", [
    (f"Bearer {TOKEN}", 200), (f"bearer {TOKEN}", 200), (None, 401), (TOKEN, 401), ("Bearer ", 401), (f"Basic {TOKEN}", 401),
    (f"Bearer {TOKEN}x", 401), (f"Bearer {TOKEN[:-1]}", 401)])
def test_token__is_asked_for(listening, token_file, sent, status):
    _daemon, tcp = listening("--token-file", str(token_file))
    reply = tcp.get("/metrics", headers={"Authorization": sent} if sent else {})
    assert reply.status == status
    assert (reply.headers["WWW-Authenticate"] is not None) == (status == 401)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_token__other_machines_need_one(make_daemon, token_file, address):
    refused = make_daemon().start("--listen", address)
    assert "takes a token" in refused.ready and refused.process.wait(timeout=DEADLINE) == 4
    daemon = make_daemon().start("--listen", address, "--token-file", str(token_file))
    if daemon.ready != "ready":
        pytest.skip(daemon.ready)
    tcp = Tcp(daemon)
    tcp.host = "localhost" if address.startswith("[") else "127.0.0.1"
    assert tcp.get("/metrics").status == 401
    assert tcp.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
    assert tcp.get("/metrics", host=["0.0.0.0"], headers={"Authorization": f"Bearer {TOKEN}"}).status == 421


@pytest.mark.parametrize("text, mode, said", [
    (TOKEN, 0o644, "chmod 600"), (TOKEN, 0o620, "chmod 600"), ("short", 0o600, "16 to 256"), ("", 0o600, "16 to 256"),
    ("two words of a token", 0o600, "plain"), (None, 0, "No such file")])
def test_token__files_that_are_none(make_daemon, tmp_path, text, mode, said):
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    daemon = make_daemon().start("--listen", "127.0.0.1:0", "--token-file", str(path))
    assert said in daemon.ready and str(path) in daemon.ready and (not text or text not in daemon.ready)
    assert daemon.process.wait(timeout=DEADLINE) == 4


# ---- Where -----------------------------------------------------------------------------------------


def test_listening__an_address_in_use_is_told(make_daemon, listening, tmp_path):
    _daemon, tcp = listening()
    place = tmp_path / "second"
    place.mkdir()
    second = make_daemon(directory=place)
    second.start("--listen", f"127.0.0.1:{tcp.port}")
    assert f"127.0.0.1:{tcp.port} cannot be listened on" in second.ready and "another program has it" in second.ready
    assert second.process.wait(timeout=DEADLINE) == 4
    assert tcp.get("/v1/daemon").status == 200


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:99999", "vram.example:9464", "::1:9464"])
def test_listening__what_is_no_address(make_daemon, address):
    daemon = make_daemon().start("--listen", address)
    assert daemon.process.wait(timeout=DEADLINE) == 2


def configure(path, **settings):
    path.write_text("[daemon]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))


def test_listening__as_configured(make_daemon, tmp_path, token_file):
    config = tmp_path / "vram.conf"
    configure(config, listen="127.0.0.1:0", public_host="gpu-box gpu.example.org")
    log = tmp_path / "log"
    with log.open("w") as file:
        daemon = make_daemon().start("--config", str(config), stderr=file)
    tcp = Tcp(daemon)
    assert tcp.get("/v1/daemon", host=["gpu-box:80"]).status == 200
    assert tcp.get("/v1/daemon", host=["gpu"]).status == 421
    assert tcp.get("/v1/daemon", headers={"Origin": "https://gpu.example.org"}).status == 200
    configure(config, listen="127.0.0.1:0", token_file=token_file)  # the same place, with a token
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: tcp.get("/v1/daemon").status == 401, "the token is asked for")
    configure(config, listen="0.0.0.0:0")  # refused: what was before goes on
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "takes a token" in log.read_text(), "it is refused")
    assert tcp.get("/v1/daemon").status == 401
    configure(config)
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: daemon.get("/v1/daemon").json["listen"] is None, "it listens nowhere")
    with pytest.raises(ConnectionRefusedError):
        tcp.get("/v1/daemon")


def test_serve__passes_it_on(make_daemon, token_file):
    daemon = make_daemon()
    process = subprocess.Popen([VRAM, "serve", "--listen", "127.0.0.1:0", "--token-file", str(token_file)],
                               env={**daemon.env, "VRAM_DAEMON": str(VRAMD)}, stderr=subprocess.PIPE, text=True)
    try:
        lines = [process.stderr.readline() for _ in range(2)]
        assert any("for reading on http://127.0.0.1:" in line for line in lines), lines
        assert Tcp(daemon).get("/v1/daemon").status == 401
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE)
        process.stderr.close()


# ---- Bounds ----------------------------------------------------------------------------------------


def test_bounds__many_connections_keep_nobody_out(listening):
    _daemon, tcp = listening()
    idle = [socket.create_connection((tcp.host, tcp.port), timeout=DEADLINE) for _ in range(200)]
    assert tcp.get("/v1/daemon").status == 200
    assert is_closed(idle[0])  # the oldest had to go
    for client in idle:
        client.close()


def test_bounds__who_waits_for_changes(listening):
    daemon, tcp = listening()
    epoch = daemon.snapshot()["epoch"]
    waiting = [socket.create_connection((tcp.host, tcp.port), timeout=DEADLINE) for _ in range(40)]
    for client in waiting:
        client.sendall(f"GET /v1/leases?after={epoch} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    eventually(lambda: tcp.get(f"/v1/leases?after={epoch}&timeout_ms=50").status == 503, "too many wait")
    assert tcp.get("/metrics").status == 200
    for client in waiting:
        client.close()
    eventually(lambda: tcp.get(f"/v1/leases?after={epoch}&timeout_ms=50").status == 200, "they are gone")


def test_bounds__ends_in_order(listening):
    daemon, tcp = listening()
    epoch = daemon.snapshot()["epoch"]
    client = socket.create_connection((tcp.host, tcp.port), timeout=DEADLINE)
    client.sendall(f"GET /v1/snapshot?after={epoch} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    eventually(lambda: tcp.get("/v1/daemon").status == 200, "it is served")
    assert daemon.stop() == 0
    said = b""
    while chunk := client.recv(65536):
        said += chunk
    client.close()
    assert b" 503 " in said and json.loads(said.rpartition(b"\r\n")[2])["error"]["code"] == "ending"
