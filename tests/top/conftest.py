# SPDX-License-Identifier: MIT
"""`vram top` as built, in a terminal that a test can read: pyte plays one behind a pseudo terminal."""
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

pyte = pytest.importorskip("pyte", reason="pyte is not installed")

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VRAM_BUILD", ROOT / "build"))
VRAM = BUILD / "cli/vram"
DEADLINE = 60  # for what should come about by itself; never waited for where all is well
DROPPED = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NO_COLOR", "COLUMNS", "LINES", "LANG", "LC_CTYPE")


class Terminal:
    """A program in a terminal of so many columns and lines."""

    def __init__(self, env, columns, lines, *arguments, **more):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        master, slave = pty.openpty()
        self.fd = master
        self.set_size(columns, lines)
        self.process = subprocess.Popen(
            [VRAM, "top", *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=dict(env, **more), preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def set_size(self, columns, lines):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def resize(self, columns, lines):
        self.screen.resize(lines, columns)
        self.set_size(columns, lines)  # the kernel tells the program

    def read(self, seconds=0.05):
        """What has come. False: the terminal is closed."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                chunk = os.read(self.fd, 65536)
            except OSError:  # nobody has the other end any more
                return False
            self.raw += chunk
            self.stream.feed(chunk)
            return bool(chunk)
        return True

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, shown):
        """Reads until the screen shows it, a pattern or what a function of the text holds for true. Returns the match.
        A picture comes in pieces: what is wanted together has to be awaited together."""
        look = shown if callable(shown) else lambda text: re.search(shown, text, re.M)
        end = time.monotonic() + DEADLINE
        while not (found := look(self.text)):
            assert self.read() and time.monotonic() < end, f"{shown} never came:\n{self.text}"
        return found

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def end(self):
        """Its exit status, once it has ended by itself."""
        end = time.monotonic() + DEADLINE
        while self.read():
            assert time.monotonic() < end, f"it does not end:\n{self.text}"
        return self.process.wait(DEADLINE)

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.fd)


class Place:
    """A simulated machine, its daemon where one is started, and terminals."""

    def __init__(self, directory):
        state = directory / "state"
        state.mkdir(mode=0o700)
        self.directory, self.terminals, self.processes = directory, [], []
        self.env = {key: value for key, value in os.environ.items()
                    if key not in DROPPED and not key.startswith("VRAM")}
        self.env.update(
            PATH=f"{BUILD / 'cli'}:{BUILD / 'daemon'}:{BUILD / 'top'}:{BUILD / 'sim'}:{self.env['PATH']}",
            VRAM_SIM_DIR=str(BUILD / "sim"), VRAM_SIM_STATE_DIR=str(state), VRAM_DRIVER="sim:rtx4090@top",
            VRAM_SOCKET="none", LC_ALL="C.UTF-8", TERM="screen-256color", HOME=str(directory), XDG_RUNTIME_DIR=str(directory))

    def top(self, *arguments, size=(80, 24), **more):
        terminal = Terminal(self.env, *size, *arguments, **more)
        self.terminals.append(terminal)
        return terminal

    def start(self, *command):
        """Another program on this machine, which lives as long as the test."""
        process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def run(self, *command):
        return subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=DEADLINE, check=True).stdout

    def serve(self, *arguments):
        """A daemon for this machine."""
        self.env["VRAM_SOCKET"] = str(self.directory / "vram.sock")
        daemon = self.start(BUILD / "daemon/vramd", "--driver", self.env["VRAM_DRIVER"], *arguments)
        end = time.monotonic() + DEADLINE
        while not (self.directory / "vram.sock").exists():
            assert daemon.poll() is None and time.monotonic() < end
            time.sleep(0.005)

    def close(self):
        for terminal in self.terminals:
            terminal.close()
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(DEADLINE)


@pytest.fixture
def place(tmp_path):
    if not (BUILD / "top/vram-top").exists():
        pytest.skip("vram-top was not built")
    made = Place(tmp_path)
    yield made
    made.close()
