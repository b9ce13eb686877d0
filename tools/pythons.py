# SPDX-License-Identifier: MIT
"""The wheel under every Python that can be had: built once, and in an environment of each the package's own tests.
Used by check.py."""

import os
import pathlib
import re
import subprocess
import sys

import bounded

TESTS, FULL = ("test_abi", "test_drop_in"), ("test_leases", "test_snapshots")  # the latter for the oldest and the newest
PYTEST = "pytest==8.3.4"  # the last that Python 3.8 can run
OLDEST = (3, 8)
TELL = "import ensurepip, sys; print(*sys.version_info[:2])"


def found():
    """A program for each minor version: of the system, in PATH, or of a version manager."""
    root = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    places = [*map(pathlib.Path, os.environ["PATH"].split(":")), pathlib.Path("/usr/bin"), *sorted(root.glob("versions/*/bin"))]
    pythons = {}
    for program in (program for place in places for program in sorted(place.glob("python3*"))):
        if re.fullmatch(r"python3(\.\d+)?", program.name):
            told = subprocess.run([program, "-c", TELL], capture_output=True, text=True, check=False)
            version = tuple(map(int, told.stdout.split())) if told.returncode == 0 else (0, 0)
            if version >= OLDEST:
                pythons.setdefault(version, program)
    return dict(sorted(pythons.items()))


def must(command, directory, environment=None):
    status, said = bounded.run(command, environment, directory)
    if status != 0:
        raise RuntimeError(f"$ {' '.join(map(str, command))}\n{said[-10000:]}")
    return said


def build_wheel(root, directory):
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    environment = dict(os.environ, PATH=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    environment.pop("PYTHONPATH", None)
    must([*pip, "--wheel-dir", directory, root], root, environment)
    wheel, = directory.glob("vram-*.whl")
    return wheel


def try_one(program, wheel, place, root, build, full):
    """What pytest says last. None: nothing could be installed, so there is no network."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "PYENV_VERSION", "VIRTUAL_ENV")}
    environment.update(VRAM_BUILD=str(build), VRAM_LIBRARY="/nowhere/libvram.so", PYTHONDONTWRITEBYTECODE="1")
    must([program, "-m", "venv", "--clear", place], root, environment)
    python = place / "bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if bounded.run([*pip, PYTEST], environment, root)[0] != 0:
        return None
    must([*pip, "--no-index", wheel], root, environment)
    tests = [root / f"tests/python/{name}.py" for name in TESTS + (FULL if full else ())]
    script = "import vram, sys, pytest; assert vram.__file__.startswith(sys.argv[1]); sys.exit(pytest.main(sys.argv[2:]))"
    said = must([python, "-c", script, place, "-q", "-p", "no:cacheprovider", *tests], place, environment)
    return said.strip().splitlines()[-1]
