# SPDX-License-Identifier: MIT
"""Clients that misbehave: what they send, how slowly, and how they leave. The daemon serves the others, and keeps
nothing of them."""
import json
import contextlib
import os
import random
import socket
import threading
import time

from conftest import DEADLINE, eventually, is_closed, read_all, readable

GOOD = b"GET /v1/daemon HTTP/1.1\r\nHost: vram\r\n\r\n"


def serves(daemon):
    assert daemon.get("/v1/daemon").json["pid"] == daemon.pid


def ask(daemon, data):
    with daemon.connect(data) as client:
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else None


# ---- What is sent ----------------------------------------------------------------------------


def test_request__in_pieces(daemon):
    with daemon.connect() as client:
        for byte in GOOD:
            client.sendall(bytes([byte]))
        answer = read_all(client)
    head, body = answer.split(b"\r\n\r\n", 1)
    assert status_of(answer) == 200 and b"Connection: close" in head and b"application/json" in head
    assert json.loads(body)["pid"] == daemon.pid


def test_request__http_1_0_has_no_chunks(daemon):
    answer = ask(daemon, b"GET /v1/daemon HTTP/1.0\r\n\r\n")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["pid"] == daemon.pid


def test_request__one_per_connection(daemon):
    with daemon.connect(GOOD + GOOD) as client:
        assert read_all(client).count(b"HTTP/1.1 200") == 1


def test_request__what_says_two_things_is_refused(daemon):
    for headers in (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"Content-Length: 2\r\nContent-Length: 3\r\n",
                    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n",
                    b"Content-Length: +2\r\n", b"Content-Length: -2\r\n", b"Content-Length: 0x2\r\n",
                    b"Content-Length: 2 2\r\n"):
        answer = ask(daemon, b"POST /v1/pause HTTP/1.1\r\nHost: vram\r\n" + headers + b"\r\n{}")
        assert status_of(answer) == 400 or not answer, (headers, answer)
    assert daemon.get("/v1/daemon").json["paused"] is False


def test_request__too_long_is_refused(daemon):
    assert status_of(ask(daemon, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n")) in (400, 413)
    assert status_of(ask(daemon, b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n")) in (400, 413)
    body = b"x" * 70000
    answer = ask(daemon, b"POST /v1/pause HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert status_of(answer) in (400, 413, None)
    assert daemon.get("/v1/daemon").json["paused"] is False
    serves(daemon)


def test_request__other_methods_are_refused(daemon):
    for method in (b"PUT", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"BREW"):
        assert status_of(ask(daemon, method + b" /v1/daemon HTTP/1.1\r\n\r\n")) >= 400


def mutate(choice, data):
    """A request with something wrong in it, most of the time."""
    data = bytearray(data)
    for _ in range(choice.randint(1, 4)):
        at = choice.randrange(len(data) + 1)
        what = choice.randrange(5)
        if what == 0:
            data[at:at] = bytes(choice.randrange(256) for _ in range(choice.randint(1, 20)))
        elif what == 1:
            del data[at:at + choice.randint(1, 10)]
        elif what == 2 and data:
            data[at % len(data)] = choice.randrange(256)
        elif what == 3:
            data[at:at] = choice.choice([b"\r\n", b"\0", b"%00", b" ", b":", b"\r", b"\n\n", b"%", b"?", b"&=&", b"//"])
        else:
            data = data[:at]
    return bytes(data)


def test_requests__10_000_malformed(daemon):
    seed = int(os.environ.get("VRAM_TEST_SEED", random.randrange(1 << 32)))
    print(f"VRAM_TEST_SEED={seed}")
    choice = random.Random(seed)
    models = [GOOD, b"GET /v1/snapshot?take=health&max_age_ms=60000 HTTP/1.1\r\nHost: vram\r\nAccept: */*\r\n\r\n",
              b"GET /v1/snapshot?after=1&timeout_ms=1 HTTP/1.0\r\n\r\n",
              b"POST /v1/resume HTTP/1.1\r\nHost: vram\r\nContent-Length: 10\r\n\r\n{\"a\": [1]}",
              b"DELETE /v1/leases/0 HTTP/1.1\r\nHost: vram\r\nConnection: keep-alive\r\n\r\n"]
    daemon.snapshot()
    serves(daemon)
    before = daemon.fds()
    for _ in range(10_000):
        with daemon.connect() as client:
            try:
                client.sendall(mutate(choice, choice.choice(models)))
                if choice.randrange(4):
                    client.shutdown(socket.SHUT_WR)
                    read_all(client)
            except (BrokenPipeError, ConnectionResetError):
                pass
    serves(daemon)
    eventually(lambda: daemon.fds() <= before + 1, "all descriptors are closed again")


# ---- How it is sent --------------------------------------------------------------------------


def test_slow__a_byte_a_second_is_cut_off(daemon):
    start = time.monotonic()
    with daemon.connect(b"GET /v1/dae") as client:
        while not readable(client, 0.5):
            try:
                client.sendall(b"m")
            except BrokenPipeError:
                break
            assert time.monotonic() - start < 30
        assert is_closed(client)
    assert time.monotonic() - start > 5
    serves(daemon)


def test_slow__many_who_say_nothing_keep_nobody_out(make_daemon):
    daemon = make_daemon()
    # 64 descriptors allow 16 connections.
    daemon.start(wrap=("prlimit", "--nofile=64:64"))
    assert daemon.ready == "ready"
    silent = [daemon.connect(b"GET") for _ in range(40)]
    serves(daemon)
    assert is_closed(silent[0])  # the oldest made room
    for client in silent:
        client.close()


def test_slow__who_does_not_take_its_answer_is_let_go(make_daemon, scenario):
    """An answer that no socket's buffer takes whole."""
    text = "driver 550.54.14\n" + "".join(f"gpu {gpu} total=24564M\n" for gpu in (0, 1))
    text += "".join(f"proc {gpu} pid={4000000 + i} name={'n' * 60} mem=1M type=C\n" for gpu in (0, 1) for i in range(950))
    daemon = make_daemon(scenario(text)).start()
    assert [len(gpu["processes"]) for gpu in daemon.snapshot()["gpus"]] == [950, 950]  # as many as a driver lists
    before = daemon.fds()
    start = time.monotonic()
    with daemon.connect(b"GET /v1/snapshot HTTP/1.1\r\n\r\n") as client:
        assert readable(client, DEADLINE)
        serves(daemon)  # nobody else waits for it
        assert daemon.fds() > before
        eventually(lambda: daemon.fds() <= before, "its descriptor is closed, though it lives on")
        assert time.monotonic() - start > 5
        with contextlib.suppress(ConnectionResetError):
            assert len(read_all(client)) < 300_000  # the rest is lost to it
    serves(daemon)


# ---- How they leave --------------------------------------------------------------------------


def long_poll(daemon):
    return b"GET /v1/snapshot?after=%d HTTP/1.1\r\nHost: vram\r\n\r\n" % daemon.snapshot()["epoch"]


def test_vanish__1_000_who_wait(daemon):
    request = long_poll(daemon)
    before = daemon.fds()
    clients = [daemon.connect(request) for _ in range(1000)]
    # The request before may have been closed since.
    eventually(lambda: daemon.fds() >= before + 990, "all wait")
    for client in clients:
        client.close()
    eventually(lambda: daemon.fds() <= before + 1, "all are forgotten")
    serves(daemon)


def test_vanish__at_any_moment(daemon, hold):
    seed = int(os.environ.get("VRAM_TEST_SEED", random.randrange(1 << 32)))
    print(f"VRAM_TEST_SEED={seed}")
    choice = random.Random(seed)
    serves(daemon)
    daemon.snapshot()
    before = daemon.fds()
    stop = threading.Event()

    def stir():  # so that answers are under way while they leave
        while not stop.is_set():
            hold(daemon, "1G").kill()
    stirring = threading.Thread(target=stir)
    stirring.start()
    waiting = []
    for _ in range(1500):
        request = choice.choice([GOOD, b"GET /v1/snapshot HTTP/1.1\r\n\r\n", long_poll(daemon)])
        waiting.append(daemon.connect(request[:choice.randrange(1, len(request) + 200)]))
        while len(waiting) > 20:
            client = waiting.pop(choice.randrange(len(waiting)))
            if choice.randrange(3) == 0:
                client.shutdown(choice.choice([socket.SHUT_WR, socket.SHUT_RD, socket.SHUT_RDWR]))
            client.close()
    for client in waiting:
        client.close()
    stop.set()
    stirring.join(DEADLINE)
    eventually(lambda: daemon.fds() <= before + 1, "all are forgotten")
    serves(daemon)


def test_wait__who_goes_on_sending_harms_nobody(daemon):
    before = daemon.fds()
    request = long_poll(daemon)
    with daemon.connect(request) as client:
        client.settimeout(0.2)
        sent = 0
        try:
            while sent < 10 << 20:
                sent += client.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert sent < 10 << 20  # nobody reads it all
        serves(daemon)
    eventually(lambda: daemon.fds() <= before + 2, "it is forgotten")
    rss = int(next(line for line in open(f"/proc/{daemon.pid}/status") if line.startswith("VmRSS")).split()[1])
    assert rss < 64 << 10


def test_wait__who_has_sent_its_last_byte_is_answered(daemon, hold):
    with daemon.connect(long_poll(daemon)) as client:
        client.shutdown(socket.SHUT_WR)
        serves(daemon)
        assert not readable(client, 0)
        hold(daemon, "1G")
        assert status_of(read_all(client)) == 200
    before = daemon.fds()
    with daemon.connect(long_poll(daemon)) as client:
        client.shutdown(socket.SHUT_WR)
        serves(daemon)
    eventually(lambda: daemon.fds() <= before, "it is forgotten though it was half closed before")


def test_end__who_waits_is_told(daemon):
    with daemon.connect(long_poll(daemon)) as client, daemon.connect(b"GET /v1") as arriving:
        serves(daemon)
        assert daemon.stop() == 0
        answer = read_all(client)
        assert status_of(answer) == 503
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["code"] == "ending"
        assert is_closed(arriving)
