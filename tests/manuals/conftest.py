# SPDX-License-Identifier: MIT
"""Manual pages and completions as the build made them: held against the programs that they tell of, read by groff,
and used in real shells. VRAM_BUILD names the build."""
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VRAM_BUILD", ROOT / "build"))
DEADLINE = 60  # for what should end by itself

# What a test did not ask for must not reach the programs.
DROPPED = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NO_COLOR", "COLUMNS", "LANG", "LC_CTYPE")


class Built:
    """The built programs, on a simulated machine of their own."""

    build, vramd = BUILD, BUILD / "daemon/vramd"

    def __init__(self, directory):
        state = directory / "state"
        state.mkdir(mode=0o700)
        self.env = {key: value for key, value in os.environ.items()
                    if key not in DROPPED and not key.startswith("VRAM")}
        self.env.update(PATH=f"{BUILD / 'cli'}:{BUILD / 'sim'}:{self.env['PATH']}", VRAM_SIM_DIR=str(BUILD / "sim"),
                        VRAM_SIM_STATE_DIR=str(state), VRAM_DRIVER="sim:2x3090", VRAM_SOCKET="none",
                        LC_ALL="C.UTF-8", TERM="dumb", HOME=str(directory), XDG_RUNTIME_DIR=str(directory))

    def run(self, *command, **more):
        return subprocess.run(command, env=dict(self.env, **more), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=DEADLINE, check=True).stdout

    def vram(self, *arguments, **more):
        return self.run("vram", *arguments, **more)

    def commands(self):
        """The names in the list of commands that `vram help` shows."""
        listed = re.search(r"^Commands\n(.*?)\n\n", self.vram("help"), re.S | re.M).group(1)
        return re.findall(r"^  (\w+)", listed, re.M)

    def options(self, *command):
        """The options that the help of a command shows: "--gpu" and so on, each with whether it takes a value."""
        found = re.findall(r"^  (?:-\w, )?(--[\w-]+)( \S+)?(?:  |$)", self.vram("help", *command), re.M)
        assert found
        return {name: bool(value) for name, value in found}


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return Built(tmp_path_factory.mktemp("machine"))
