# SPDX-License-Identifier: MIT
"""The wheel as people get it: built from the tree, installed into an environment of its own, without a libvram elsewhere."""
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import DEADLINE, ROOT, VRAMD

BUILD_DEADLINE = 600
LIBRARY = ".vram.mesonpy.libs/libvram.so"
SCRIPT = """
import logging, os, vram
from vram import get_vram_tracker
print(os.path.dirname(vram.__file__))
print(get_vram_tracker().get_status().total_mb, vram.fit("12GiB").answer)
with vram.lease("12GiB", timeout=60) as lease:
    print(len(vram.leases()), lease.info().state)
os.kill(vram.leases().daemon.pid, 9)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("mesonpy", reason="meson-python is not installed")
    place = tmp_path_factory.mktemp("wheel")
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", place,
         "--config-settings", f"build-dir={place / 'build'}", str(ROOT)],
        env=environment, capture_output=True, text=True, timeout=BUILD_DEADLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    found, = place.glob("vram-*.whl")
    return found


def test_what_is_in_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {f"vram/{path.name}" for path in (ROOT / "python/vram").iterdir() if path.suffix in (".py", ".typed")}
    version = wheel.name.split("-")[1]
    data = f"vram-{version}.data/purelib/"
    packaged = {name[len(data):] for name in names if name.startswith(data)}
    assert packaged == sources and LIBRARY in names
    assert {name.split("/")[0] for name in names} == {LIBRARY.split("/")[0], data.split("/")[0], f"vram-{version}.dist-info"}
    assert wheel.name.startswith(f"vram-{version}-py3-none-linux_")  # for every Python


def test_it_needs_nothing_but_libc(wheel, tmp_path):
    zipfile.ZipFile(wheel).extract(LIBRARY, tmp_path)
    needed = subprocess.run(["readelf", "-d", tmp_path / LIBRARY], capture_output=True, text=True, check=True).stdout
    libraries = {line.split("[")[1].split("]")[0].split(".")[0] for line in needed.splitlines() if "(NEEDED)" in line}
    assert libraries <= {"libc", "libjansson", "ld-linux-x86-64", "ld-linux-aarch64"}


def test_installed_and_used(wheel, leasing, tmp_path):
    place = tmp_path / "venv"
    venv.create(place, with_pip=True)
    python = place / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", wheel], check=True,
                   timeout=BUILD_DEADLINE)
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("PYTHONPATH", "LD_LIBRARY_PATH", "VRAM_LIBRARY")}
    done = subprocess.run([python, "-c", SCRIPT], env=dict(environment, VRAM_DAEMON=str(VRAMD)), capture_output=True, text=True,
                          timeout=DEADLINE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, *rest = done.stdout.splitlines()
    assert where.startswith(str(place)) and rest == ["24564 fits", "1 ok"]


def test_the_tests_pass_on_it(wheel, tmp_path):
    """Those that ask the library, against the installed package and its own library instead of the tree's."""
    place = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check",
                    "--target", place, wheel], check=True, timeout=BUILD_DEADLINE)
    environment = dict(os.environ, PYTHONPATH=str(place), VRAM_LIBRARY="/nowhere/libvram.so")
    script = "import vram, sys, pytest; assert vram.__file__.startswith(sys.argv[1]); sys.exit(pytest.main(sys.argv[2:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, place, "-q", "-p", "no:cacheprovider", ROOT / "tests/python/test_drop_in.py",
         ROOT / "tests/python/test_abi.py"], env=environment, capture_output=True, text=True, timeout=BUILD_DEADLINE, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
