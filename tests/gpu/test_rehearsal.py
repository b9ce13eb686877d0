# SPDX-License-Identifier: MIT
"""The acceptance test for real hardware runs from end to end on the simulated driver, and finds what it is for."""

import os
import pathlib
import re
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("VRAM_BUILD", HERE.parents[1] / "build"))

pytestmark = pytest.mark.skipif("SANITIZED" in os.environ, reason="a plain Python cannot load an instrumented library")


def run(*words):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("VRAM", "CUDA"))}
    env.update(
        PATH=f"{BUILD}/cli:{env['PATH']}",
        VRAM_BUILD=str(BUILD),
        VRAM_SIM_DIR=f"{BUILD}/sim",
        LD_LIBRARY_PATH=f"{BUILD}/lib",
    )
    return subprocess.run([HERE / "run", *map(str, words)], env=env, capture_output=True, text=True, timeout=200)


def section(report, title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", report, re.M | re.S).group(1)


def test_the_whole(tmp_path):
    done = run("--driver", "sim:r580/rtx4090", "--report", tmp_path / "report.md", "--redact")
    report = (tmp_path / "report.md").read_text()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    titles = re.findall(r"^## (.*)$", report, re.M)
    assert titles[0] == "Differences" and len(titles) == 18, titles
    assert section(report, "Differences").strip().startswith("None.")
    assert "Not finished" not in report and not re.search(r"GPU-[0-9a-f]{8}-", report)
    assert str(BUILD) not in report
    assert "1 times one of them ran out of memory" in section(report, "Race for the last room")
    assert "3 programs in 1 rounds, 0 out of memory" in section(report, "Race for the last room")
    assert "| managed | 1024 MiB | 1024 MiB | 0 MiB | 1024 MiB |" in section(report, "Allocations")
    figures = section(report, "Figures")
    assert (
        "left out: NVIDIA's Python binding" not in report
        and len(re.findall(r"(\d+) of \1 figures are the binding's", figures)) == 4
    )


def test_a_difference_is_found_and_comes_first(tmp_path):
    done = run("--driver", "sim:r535_54/rtx4090", "--only", "Structures", "--report", tmp_path / "report.md")
    report = (tmp_path / "report.md").read_text()
    assert done.returncode == 1
    assert "bytes an entry, nvmlDeviceGetComputeRunningProcesses_v3 | 24 | 32 |" in section(report, "Differences")


def test_a_section_that_breaks_off_is_told_and_leaves_the_others(tmp_path):
    scenario = tmp_path / "machine.scenario"
    scenario.write_text(
        "driver 580.95.05\ngpu 0 total=24G reserved=400M\nfail nvmlDeviceGetHandleByPciBusId_v2 ret=999\n"
    )
    done = run(
        "--driver", f"sim:r580/{scenario}", "--only", "Modes", "--only", "Machine", "--report", tmp_path / "report.md"
    )
    report = (tmp_path / "report.md").read_text()
    assert done.returncode == 1
    assert "not finished: Modes: probe modes ends with 1" in section(report, "Differences")
    assert "under test" in section(report, "Machine")


@pytest.mark.parametrize("driver", ["nvml:/there/is/none", "sim:empty"])
def test_without_a_gpu_it_is_skipped(driver):
    done = run("--driver", driver)
    assert done.returncode == 77
    assert len(done.stdout.splitlines()) == 1 and done.stdout.startswith("gpu: skipped")
