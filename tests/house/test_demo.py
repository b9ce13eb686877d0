# SPDX-License-Identifier: MIT
"""The demo shows the main job, says whether it is simulated, and leaves nothing behind however it ends."""

import os
import pathlib
import signal
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "tools/demo"
BUILD = pathlib.Path(os.environ.get("VRAM_BUILD", ROOT / "build"))


@pytest.fixture
def machine(environment, tmp_path):
    """The environment of ./dev env on a machine without a GPU, whose temporary files are the test's own."""
    (tmp_path / "root").mkdir()
    temporary = tempfile.TemporaryDirectory(prefix="vram-")  # pytest's own is too long for a socket
    environment.update(PATH=f"{BUILD}/cli:{BUILD}/daemon:{BUILD}/sim:{environment['PATH']}", VRAM_SIM_DIR=f"{BUILD}/sim",
                       LD_LIBRARY_PATH=f"{BUILD}/lib", VRAM_SYSROOT=str(tmp_path / "root"), LC_ALL="C.UTF-8",
                       TMPDIR=temporary.name)
    yield environment
    for pid in holders(environment):
        os.kill(int(pid), signal.SIGKILL)
    temporary.cleanup()


def holders(machine):
    """Processes that hold simulated memory for this test or promise it, told by their environment."""
    mark = machine["TMPDIR"].encode()
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
            if (b"vram-sim" in command or b"vramd" in command) and mark in (path / "environ").read_bytes():
                yield path.name
        except OSError:  # gone, or another user's
            pass


def check_nothing_is_left(machine):
    assert os.listdir(machine["TMPDIR"]) == []
    assert list(holders(machine)) == []


def test_shows_the_main_job_on_the_simulated_driver(machine):
    machine.update(VRAM_DRIVER="sim:empty", CUDA_VISIBLE_DEVICES="")  # what a caller happens to have set
    done = subprocess.run([DEMO], env=machine, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "All that follows is SIMULATED" in done.stdout
    shown = [line for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert shown == ["$ vram status", "$ vram fit 4000 10000 18000 20000 22000", "$ vram ps", "$ vram-sim hold 14G &",
                     "$ vram status", "$ vram fit 4000 10000", "$ vram run 14G --label first -- vram-sim hold 14G --for 3s &",
                     "$ vram run 14G --label second -- vram-sim hold 14G --for 1s &", "$ vram leases"]
    before, after = done.stdout.split("$ vram-sim hold", 1)
    assert "✓ 20000 MiB fits" in before and "✗ 22000 MiB does not fit now" in before
    assert "holding 14336 MiB" in after
    assert "✓ 4000 MiB fits" in after and "✗ 10000 MiB does not fit now" in after
    assert "vram: waiting, number 1 in line" in after
    assert "Both have run, one after the other." in after.split("first", 1)[1]
    check_nothing_is_left(machine)


def test_leaves_nothing_behind_when_nobody_reads_on(machine):
    """Whoever reads stops after the holder's line, so that it is there when the demo ends."""
    demo = subprocess.Popen([DEMO], env=machine, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in demo.stdout:
        if line.startswith("holding "):
            break
    demo.stdout.close()
    demo.wait(timeout=60)
    check_nothing_is_left(machine)


def test_shows_a_real_driver_where_there_is_one(machine, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "vram").write_text('#!/bin/sh\necho "real $*"\n')
    (programs / "vram").chmod(0o755)
    machine["PATH"] = f"{programs}:{machine['PATH']}"
    done = subprocess.run([DEMO], env=machine, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "real fit 4000" in done.stdout and "SIMULATED" not in done.stdout
