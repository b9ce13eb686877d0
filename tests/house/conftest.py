# SPDX-License-Identifier: MIT
"""The house's own tests: ./dev and the scripts in tools/, fed with suites and trees that are made up."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True


@pytest.fixture
def environment():
    """What a person's shell has, without what ./dev test has set."""
    names = ("VRAM_BUILD", "VRAM_SIM_DIR", "VRAM_SYSROOT", "LD_LIBRARY_PATH", "PKG_CONFIG_PATH", "PYTHONPATH", "TERM")
    return {name: value for name, value in os.environ.items() if name not in names}


@pytest.fixture
def tree(tmp_path):
    """Writes files below a directory of the test's own: tree({"lib/fit.c": text}) returns the directory."""
    def write(files):
        for name, text in files.items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "tree"
    return write
