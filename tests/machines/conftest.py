# SPDX-License-Identifier: MIT
"""Runs the built `vram record`, and what it wrote, on the simulated driver. VRAM_BUILD names the build (default: build/)."""
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VRAM_BUILD", ROOT / "build"))
VRAM, VRAM_SIM = BUILD / "cli/vram", BUILD / "sim/vram-sim"
DEADLINE = 120  # for what should end by itself


class Machine:
    """The programs, with simulated machines of their own."""

    def __init__(self, directory):
        self.directory = directory
        state = directory / "state"
        state.mkdir(mode=0o700)
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith("VRAM") and key not in ("CUDA_VISIBLE_DEVICES", "NO_COLOR", "COLUMNS")}
        self.env.update(PATH=f"{BUILD / 'sim'}:{self.env['PATH']}", VRAM_SIM_DIR=str(BUILD / "sim"), VRAM_SOCKET="none",
                        VRAM_SIM_STATE_DIR=str(state), LC_ALL="C.UTF-8", TERM="dumb", TMPDIR=str(directory))

    def start(self, *arguments, env=None, **more):
        return subprocess.Popen([VRAM, *map(str, arguments)], env=dict(self.env, **(env or {})), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def run(self, *arguments, status=0, **more):
        """What it wrote; `error` has what it said."""
        process = self.start(*arguments, **more)
        out, self.error = process.communicate(timeout=DEADLINE)
        assert process.returncode in (status if isinstance(status, tuple) else (status,)), (arguments, self.error)
        return out

    def record(self, driver, *options, **more):
        """A recording, as text."""
        return self.run("record", "--driver", driver, *options, "-", **more)

    def write(self, name, text):
        """A scenario in a file, as a driver."""
        path = self.directory / name
        path.write_text(text)
        return f"sim:{path}"

    def answers(self, driver):
        """What every function answers, a line each; what tells times is left out."""
        lines = self.record(driver, "--readings", "1", "--answers").splitlines()
        assert len(lines) > 10
        return sorted(line for line in lines if "GetAccountingStats" not in line)

    def json(self, driver, *command, status=0):
        return json.loads(self.run("--driver", driver, *command, "--json", status=status))


def without_time(text):
    """The machine of a recording as it began: without comments, latencies, and what happened later."""
    lines = [re.sub(r" # .*", "", line) for line in text.splitlines()]
    return [line for line in lines if line and not re.match("#|delay |at ", line)]


def figures(document):
    """A document of `vram status` or `ps` without what is another's on another machine, or at another time."""
    if isinstance(document, list):
        return [figures(part) for part in document]
    if not isinstance(document, dict):
        return document
    dropped = ("taken_at", "age_ms", "library", "kind", "user", "started_at")
    if document.get("memory_kind") == "unified":  # what is free is the machine's, which does not stand still
        dropped += ("free_bytes", "headroom_bytes")
    return {key: figures(value) for key, value in document.items() if key not in dropped}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)
