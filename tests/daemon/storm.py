# SPDX-License-Identifier: MIT
"""A storm: many real processes that want the memory of one simulated GPU, and are killed and stopped as chance will
have it, while the daemon that they ask is killed and started again.

What each client is and what will happen to it comes from a seed, and happens on events: a client waits, holds, has
ended. Nothing is timed; where nothing happens any more, those that are stopped go on.
"""
import contextlib
import dataclasses
import http.client
import os
import random
import selectors
import signal
import subprocess
import time
from pathlib import Path

from conftest import BUILD, DEADLINE, VRAM, VRAM_SIM, VRAMD, alive, eventually

CLIENT = BUILD / "tests/daemon/client"
# A sanitizer that looks for leaks traces its own process, and hangs where that is stopped meanwhile.
UNTRACED = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
STALL = 0.3  # seconds without an event until the stopped go on
LEASE = f"{VRAM} run $SIZE --margin 0 -- "
HOLD = f"{VRAM_SIM} hold"

# What a client does with a lease of SIZE MiB, in HALF two of them; and the same without a lease. `holds`: so many
# lines tell that all is allocated that ever will be at once; from then on an owner may die and leave heirs.
KINDS = {
    "run": (f"exec {LEASE} {HOLD} $SIZE --for $TIME", f"exec {HOLD} $SIZE --for $TIME", 1),
    "ramp": (f"exec {LEASE} {HOLD} $SIZE --ramp $TIME --for $TIME", f"exec {HOLD} $SIZE --ramp $TIME --for $TIME", 1),
    "halves": (f"exec {LEASE} sh -c '{HOLD} $HALF --for $TIME & {HOLD} $HALF --for $TIME & wait'",
               f"{HOLD} $HALF --for $TIME & {HOLD} $HALF --for $TIME & wait", 2),
    "twice": (f"exec {LEASE} sh -c '{HOLD} $SIZE --for $TIME; {HOLD} $SIZE --for $TIME'",
              f"{HOLD} $SIZE --for $TIME; {HOLD} $SIZE --for $TIME", 1),
    "script": (f"id=$({VRAM} reserve $SIZE --margin 0 --timeout 10m) && {HOLD} $SIZE --for $TIME && {VRAM} release $id",
               f"{HOLD} $SIZE --for $TIME", 1),
    **{mode: (f"exec {CLIENT} {mode} {VRAM_SIM} $SIZE $TIME", f"exec {HOLD} $SIZE --for $TIME", 1)
       for mode in ("fork", "grow", "heir", "again")},
}
LINES = {"halves": 2, "twice": 2, "again": 2}  # that who lives to the end has printed; others: 1


@dataclasses.dataclass
class Fate:
    what: str   # "kill": all its processes; "orphan": its first process alone; "stop"
    on: str     # "start", "waiting", "holding"
    after: int  # so many events more


class Client:
    def __init__(self, number, choice, calm):
        self.number = number
        self.kind = choice.choice(list(KINDS))
        self.size = choice.choice([choice.randint(64, 1024), choice.randint(1024, 6000), choice.randint(6000, 16000)])
        self.time = choice.choice([0, 20, 100])
        self.fate = None
        if choice.random() > calm:
            what = choice.choice(["kill", "kill", "kill", "orphan", "stop", "stop"])
            on = "holding" if what == "orphan" else choice.choice(["start", "waiting", "holding"])
            self.fate = Fate(what, on, choice.randrange(6))
        self.process = None
        self.text = ""
        self.told = set()      # what it has told: "start", "waiting", "holding"
        self.struck = self.stopped = False

    def __str__(self):
        return f"client {self.number} ({self.kind} {self.size} MiB for {self.time} ms, {self.fate})"

    def start(self, env, with_leases):
        words = KINDS[self.kind][0 if with_leases else 1]
        size = f"{self.size & ~1}M"
        self.process = subprocess.Popen(
            ["sh", "-c", words],
            env={**env, **UNTRACED, "SIZE": size, "HALF": f"{self.size // 2}M", "TIME": f"{self.time}ms"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        return self.process.stdout

    def hear(self, chunk):
        """Returns what it has told now for the first time."""
        before = set(self.told)
        self.text += chunk.decode()
        if ": waiting, number" in self.text:
            self.told.add("waiting")
        if self.holding >= KINDS[self.kind][2]:
            self.told.add("holding")
        return self.told - before

    @property
    def holding(self):
        return self.text.count("holding ")

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def strike(self):
        self.struck = True
        if self.fate.what == "stop":
            self.stopped = True
            self.signal(signal.SIGSTOP)
        elif self.fate.what == "kill":
            self.signal(signal.SIGKILL)
        elif self.process.poll() is None:
            self.process.kill()

    def go_on(self):
        self.stopped = False
        self.signal(signal.SIGCONT)

    def problem(self):
        """What is wrong with how it has ended; None: nothing."""
        if self.struck and self.fate.what != "stop":
            return None
        lines = LINES.get(self.kind, 1)
        if self.process.returncode != 0 or self.holding != lines:
            return f"{self} ended with {self.process.returncode}:\n{self.text}"
        return None


class Keeper:
    """Has a daemon there, and takes it away. The next one is started from here, or by clients who need it."""

    def __init__(self, daemon, choice, variables):
        self.daemon, self.choice = daemon, choice
        self.ends = {"SIGKILL": 0, "SIGTERM": 0}
        self.log = daemon.directory / "daemon.log"
        # Daemons that clients start are to be like ours, and what they say is to be found.
        program = daemon.directory / "vramd"
        program.write_text(f'#!/bin/sh\n{variables} exec {VRAMD} "$@" 2>>{self.log}\n')
        program.chmod(0o755)
        daemon.env["VRAM_DAEMON"] = str(program)

    def start(self):
        self.daemon.start(wrap=("sh", "-c", 'exec "$VRAM_DAEMON" "$@"'))
        if self.daemon.ready != "ready":  # a client was faster
            assert "another vramd" in self.daemon.ready, self.daemon.ready
            self.daemon.process.wait(DEADLINE)

    def pid(self):
        """The daemon's, whoever has started it; None: there is none."""
        try:
            return self.daemon.get("/v1/daemon").json["pid"]
        except (OSError, http.client.HTTPException, ValueError):  # it was just ended, or has just begun
            return None

    def upset(self):
        pid = self.pid()
        if pid:
            name = self.choice.choice(["SIGKILL", "SIGKILL", "SIGTERM"])
            self.ends[name] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, getattr(signal, name))
            if pid == self.daemon.pid:
                self.daemon.process.wait(DEADLINE)
            else:
                eventually(lambda: not alive(pid), f"{name} ends the daemon {pid}")
        if self.choice.random() < 0.5:
            self.start()


class Storm:
    def __init__(self, daemon, seed, clients, upsets, variables="", calm=0.6):
        self.daemon = daemon
        self.choice = random.Random(seed)
        self.clients = [Client(i, self.choice, calm) for i in range(clients)]
        self.keeper = Keeper(daemon, self.choice, variables)
        # Of some two events per client, in the first two thirds the daemon is upset at these.
        self.upsets = set(self.choice.sample(range(clients // 10, clients * 4 // 3), upsets))
        self.events = 0
        self.due = []  # (event, client)
        self.selector = selectors.DefaultSelector()

    def event(self, client, what):
        self.events += 1
        fate = client.fate
        if fate and fate.on == what and not client.struck:
            self.due.append((self.events + fate.after, client))
        for due in [due for due in self.due if due[0] <= self.events]:
            self.due.remove(due)
            due[1].strike()
        if self.events % 7 == 0:
            self.continue_one()

    def continue_one(self):
        for client in self.clients:
            if client.stopped:
                client.go_on()
                return True
        return False

    def stalled(self):
        """Nothing happens: what was to come after more events comes now."""
        if self.due:
            self.due.pop(0)[1].strike()
            return True
        return self.continue_one()

    def listen(self, seconds):
        """Takes in what has happened. Returns whether anything has."""
        happened = self.selector.select(seconds)
        for key, _ in happened:
            client = key.data
            chunk = os.read(key.fd, 65536)
            for what in sorted(client.hear(chunk)):
                self.event(client, what)
            if not chunk:
                self.selector.unregister(key.fileobj)
                key.fileobj.close()
                client.process.wait(DEADLINE)
                self.event(client, "end")
        return bool(happened)

    def run(self, with_leases=True):
        waiting = list(self.clients)
        quiet_since = time.monotonic()
        while waiting or self.selector.get_map():
            if waiting:
                client = waiting.pop(0)
                self.selector.register(client.start(self.daemon.env, with_leases), selectors.EVENT_READ, client)
                self.event(client, "start")
            if self.listen(0 if waiting else STALL) or waiting or self.stalled():
                quiet_since = time.monotonic()
            assert time.monotonic() - quiet_since < DEADLINE, self.describe()
            while with_leases and self.upsets and min(self.upsets) <= self.events:
                self.upsets.remove(min(self.upsets))
                self.keeper.upset()

    def describe(self):
        left = [f"{key.data}: {key.data.text[-300:]}" for key in self.selector.get_map().values()]
        alive_now = [f"{pid}: {command}" for pid, command in processes_of(self.daemon).items()]
        leases = str(self.daemon.get("/v1/leases").json) if self.keeper.pid() else "no daemon"
        return "\n".join(["these do not end:", *left, "of these processes:", *alive_now, leases])

    def end(self):
        """After a failure: nothing of it stays."""
        for client in self.clients:
            if client.process:
                client.signal(signal.SIGKILL)
                client.process.wait()


def out_of_memory(daemon):
    return int(next(line for line in daemon.sim("stats").splitlines() if line.startswith("out of memory")).split()[-1])


def processes_of(daemon):
    """All that live on this machine with this storm's directory in their environment."""
    mark = str(daemon.directory).encode()
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes() and alive(int(path.name)):
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
