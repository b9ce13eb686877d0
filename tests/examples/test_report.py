# SPDX-License-Identifier: MIT
"""examples/report.c, the report that the first user had, on every simulated machine: golden texts.

VRAM_UPDATE_GOLDEN=1 writes them anew.
"""

import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("VRAM_BUILD", HERE.parents[1] / "build"))
# gb10 has the machine's own memory, whose figures are this machine's: a root with a fixed one is given.
PROFILES = ["rtx4090", "2x3090", "8xh100", "gb10", "wsl", "mig", "laptop", "old"]
MEMINFO = "MemTotal:       125829120 kB\nMemFree:        96468992 kB\nMemAvailable:   104857600 kB\n"


def report(driver, tmp_path):
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VRAM", "CUDA"))}
    environment = dict(
        kept, VRAM_SOCKET="none", VRAM_DRIVER=driver, VRAM_SIM_DIR=str(BUILD / "sim"), VRAM_SIM_STATE_DIR=str(tmp_path),
        VRAM_SYSROOT=str(root), LD_LIBRARY_PATH=str(BUILD / "lib"),
    )
    return subprocess.run([BUILD / "examples/report"], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("profile", PROFILES)
def test_report(profile, tmp_path):
    done = report(f"sim:{profile}", tmp_path)
    assert done.returncode == 0, done.stderr
    golden = HERE / "golden" / f"{profile}.txt"
    if os.environ.get("VRAM_UPDATE_GOLDEN") == "1":
        golden.write_text(done.stdout)
    assert done.stdout == golden.read_text()


def test_without_a_gpu_it_says_why(tmp_path):
    done = report("sim:empty", tmp_path)
    assert done.returncode == 1
    assert "knows no GPU" in done.stderr and "vram doctor" in done.stderr
