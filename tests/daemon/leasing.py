# SPDX-License-Identifier: MIT
"""What the tests of leases share: requests as a client makes them, and real processes that hold what was promised."""
import contextlib
import json
import os
import secrets
import signal
import subprocess
import time

from conftest import DEADLINE, VRAM, VRAM_SIM, UnixConnection

GIB = 1 << 30
NO_OTHER_DAEMON = {"VRAM_DAEMON": "/nonexistent"}  # only the test's own is to be had
MIB = 1 << 20


def new_id():
    return secrets.token_hex(8)


class Request:
    """A request for a lease; it waits unless told not to, until it is hung up."""

    def __init__(self, daemon, size, **more):
        self.id = more.pop("id", None) or new_id()
        self.body = {"id": self.id, "size_bytes": size, "wait_ms": None, **more}
        self.connection = UnixConnection(daemon.socket)
        self.connection.request("POST", "/v1/leases", body=json.dumps(self.body))
        self.response = None

    @property
    def status(self):
        """Comes with the first line."""
        if not self.response:
            self.response = self.connection.getresponse()
        return self.response.status

    def line(self):
        """The next line; None: there is none any more."""
        assert self.status
        text = self.response.readline()
        return json.loads(text) if text else None

    def wait(self):
        """Until it says that it waits: what for."""
        line = self.line()
        assert "waiting" in line, line
        return line["waiting"]

    def answer(self):
        """The verdict, or the error."""
        while "waiting" in (line := self.line()):
            pass
        return line

    def hang_up(self):
        self.connection.close()
        if self.response:
            self.response.close()


def granted(answer):
    assert answer.get("verdict") == "granted", answer
    return answer["lease"]


def ask(daemon, size, **more):
    """For so many GiB."""
    return Request(daemon, int(size * GIB), **more)


def verdict(request):
    """The verdict, and what was told before it."""
    told = []
    while "waiting" in (line := request.line()):
        told.append(line["waiting"]["waits_for"])
    return line, told


def change(daemon, id, **what):
    return daemon.call("PATCH", f"/v1/leases/{id}", body=json.dumps(what))


def end(daemon, id):
    return daemon.call("DELETE", f"/v1/leases/{id}")


def leases(daemon):
    return daemon.get("/v1/leases").json


def ids(listed):
    return [one["id"] for one in listed]


def lease_of(daemon, pid):
    found = [lease for lease in leases(daemon)["leases"] if lease["owner_pid"] == pid]
    assert len(found) == 1, found
    return found[0]


def when(daemon, condition, what):
    """The list of leases once it is so: looked at whenever something changes, and now and then besides."""
    deadline, after = time.monotonic() + DEADLINE, ""
    while True:
        listed = daemon.get(f"/v1/leases{after}").json
        if condition(listed):
            return listed
        assert time.monotonic() < deadline, f"never: {what}: {listed}"
        after = f"?after={listed['epoch']}&timeout_ms=200"


def waiting(daemon, *ids_in_order):
    """Once these wait, in this order, and nobody else."""
    return when(daemon, lambda listed: ids(listed["waiters"]) == list(ids_in_order), f"{ids_in_order} wait")


class Crowd:
    """Processes of a test: all end with it."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.processes = []

    def spawn(self, *command, env=None, **kwargs):
        kwargs = {"start_new_session": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE,
                  "stderr": subprocess.PIPE, **kwargs}
        env = {**self.daemon.env, **NO_OTHER_DAEMON, **(env or {})}
        process = subprocess.Popen([str(word) for word in command], env=env, text=True,
                                   **kwargs)
        self.processes.append(process)
        return process

    def idler(self):
        """A process that does nothing: somebody to own something."""
        return self.spawn("cat")

    def run(self, size, *command, options=(), **kwargs):
        return self.spawn(VRAM, "run", size, *options, "--", *command, **kwargs)

    def hold(self, size, allocate=None, options=()):
        """A process with a lease, once it holds so much (all of it)."""
        process = self.run(size, VRAM_SIM, "hold", allocate or size, options=options)
        return self.holds(process)

    @staticmethod
    def holds(process):
        line = process.stdout.readline()
        assert line.startswith("holding "), line + process.stderr.read()
        return process

    def queue(self, size, *command, options=(), **kwargs):
        """A process that waits for its lease, once it says so."""
        process = self.run(size, *command, options=options, **kwargs)
        line = process.stderr.readline()
        assert line.startswith("vram: waiting, number "), line
        return process

    def end(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and its children
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    with contextlib.suppress(BrokenPipeError):  # what was never read goes with it
                        pipe.close()


def kill(process):
    """Ends it with SIGKILL, for good."""
    process.kill()
    return process.wait(timeout=DEADLINE)


def environment_of(pid):
    with open(f"/proc/{pid}/environ") as file:
        return dict(word.split("=", 1) for word in file.read().split("\0") if word)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def comm_of(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


IS_ROOT = os.geteuid() == 0
