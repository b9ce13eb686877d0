# SPDX-License-Identifier: MIT
"""A daemon's socket in a test's hand: it says what no real daemon would, whenever the test wants it to.

A test takes each request with accept() and answers it itself, or leaves some to answers of its own, by method and
path, with serve().
"""
import json
import os
import queue
import select
import socket
import struct
import threading
import urllib.parse

DEADLINE = 60  # for what comes by itself; never waited for where all is well


class Conversation:
    """One request and what becomes of its connection."""

    def __init__(self, connection):
        self.connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid = struct.unpack("3i", credentials)[0]
        text = b""
        while b"\r\n\r\n" not in text:
            text += self._more()
        head, body = text.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        self.method, self.target, self.protocol = lines[0].split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(self.headers.get("content-length", "0"))
        while len(body) < length:
            body += self._more()
        self.body = json.loads(body) if body else None
        url = urllib.parse.urlsplit(self.target)
        self.path, self.query = url.path, dict(urllib.parse.parse_qsl(url.query))

    def _more(self):
        chunk = self.connection.recv(65536)
        if not chunk:
            raise ConnectionError("the request ends in its middle")
        return chunk

    def send(self, data):
        self.connection.sendall(data)

    def begin(self, status=200):
        self.send(f"HTTP/1.0 {status} Whatever\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n".encode())

    def line(self, value):
        self.send(json.dumps(value).encode() + b"\n")

    def close(self):
        self.connection.close()

    def reset(self):
        """Breaks off, as a daemon does that is killed."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def reply(self, value, status=200):
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send(f"HTTP/1.0 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
                  "Connection: close\r\n\r\n".encode() + text)
        self.close()

    def error(self, code, message, errno=5, hint=None, status=400):
        self.reply({"error": {"code": code, "message": message, "hint": hint, "errno": errno}}, status)

    def wait_until_gone(self):
        """Until the client has hung up."""
        ready, _, _ = select.select([self.connection], [], [], DEADLINE)
        assert ready, "the client does not hang up"
        assert self.connection.recv(1) == b""
        self.close()


class FakeDaemon:
    def __init__(self, path):
        self.path = str(path)
        self.conversations = queue.Queue()
        self.answers = {}
        self.listener = None
        self.start()

    def start(self):
        """Listens, anew where it has stopped."""
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(128)
        threading.Thread(target=self._listen, args=[self.listener], daemon=True).start()

    def _listen(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._hear, args=[connection], daemon=True).start()

    def _hear(self, connection):
        try:
            conversation = Conversation(connection)
        except ConnectionError:  # somebody looked whether anybody listens
            connection.close()
            return
        for (method, path), answer in self.answers.items():
            if conversation.method == method and conversation.path == path:
                answer(conversation)
                return
        self.conversations.put(conversation)

    def serve(self, method, path, answer):
        """From now on such requests are answered by `answer(conversation)`, and not for accept()."""
        self.answers[method, path] = answer

    def accept(self):
        return self.conversations.get(timeout=DEADLINE)

    def stop(self, leave_socket=False):
        """Listens no more: its socket is gone, or refuses."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if not leave_socket:
            os.unlink(self.path)


# ---- What daemons say --------------------------------------------------------------------------------

GPU = "GPU-5f2c31aa-0000-4000-8000-000000000000"


def daemon_object(**changes):
    return {"pid": 77, "version": "0.1.0", "driver": "sim:rtx4090@default", "promising": True, "reason": None,
            "message": None, "paused": False, "since": "2026-01-31T12:00:00.000000Z", "margin_bytes": 1 << 30, **changes}


def lease_object(**changes):
    return {"id": "8f14e45fceea167a", "owner_pid": 4242, "user": "ada", "label": "comfyui", "gpus": [GPU],
            "size_bytes": 14 << 30, "held_bytes": 1 << 30, "outstanding_bytes": 13 << 30, "members": [4242],
            "attached": [], "ends": None, "since": "2026-01-31T12:00:00.123456Z", "until": None, "state": "ok", **changes}


def waiter_object(**changes):
    return {"position": 1, "id": "00d4e45fceea167a", "pid": 4300, "user": "bob", "label": None, "gpu_count": 1,
            "size_bytes": 12 << 30, "since": "2026-01-31T12:00:05.000000Z",
            "waits_for": "comfyui (4242) holds 14.0 GiB", **changes}


def list_object(leases=(), waiters=(), epoch=5, **changes):
    return {"schema": 1, "epoch": epoch, "daemon": daemon_object(), "leases": list(leases), "waiters": list(waiters),
            "ceilings": [],
            **changes}


def answer_object(answer="fits"):
    return {"size_bytes": 14 << 30, "margin_bytes": 1 << 30, "answer": answer, "gpu_count": 1, "waiters": 0,
            "promises_counted": True, "gpus_chosen": [GPU] if answer == "fits" else [],
            "gpus": [{"uuid": GPU, "answer": answer, "usable": True, "free_bytes": 20 << 30, "outstanding_bytes": 0,
                      "margin_bytes": 1 << 30, "headroom_bytes": 19 << 30, "shortfall_bytes": 0,
                      "capacity_bytes": 24 << 30, "own_outstanding_bytes": 0}]}


def granted(request, **changes):
    """The verdict that grants what a conversation asks for."""
    lease = lease_object(id=request.body["id"], size_bytes=request.body["size_bytes"], label=request.body["label"],
                         owner_pid=request.pid, held_bytes=0, **changes)
    return {"schema": 1, "verdict": "granted", "message": "granted on GPU 0", "lease": lease,
            "answer": answer_object()}


def refused(verdict="not_now", message="14 GiB does not fit now"):
    return {"schema": 1, "verdict": verdict, "message": message, "lease": None,
            "answer": answer_object("not_now" if verdict == "timed_out" else verdict)}


def end(process):
    """What a process printed, once it has ended."""
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out.decode(), err.decode()
