# SPDX-License-Identifier: MIT
"""The first user's module (first_user.py) and the drop-in on the same simulated machine: equal where theirs is right, and
each difference with its reason."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUILD, DEADLINE

import vram

PROFILES = sorted(path.stem for path in (BUILD / "sim/profiles").glob("*.scenario"))
GENERATION = "r550"
FIRST_QUERY = "the binding's default is NVML's first memory query, whose `used` has the driver's reserve in it; nvidia-smi's has not"
TWO_LISTS = "one pid in the compute and the graphics list is one process, and not two"
DIVIDED = "of a divided card an index means its first instance, which is what a program gets; theirs tells of the whole card"
WINDOWS = "what a process holds is unknown under Windows, and not 0"
NO_MEMORY = "a GPU without memory of its own: theirs raises, ours has the machine's"
# Profile: the fields in which they differ, and why.
DIFFERENCES = {
    "rtx4090": {"used_mb": FIRST_QUERY}, "8xh100": {"used_mb": FIRST_QUERY}, "laptop": {"used_mb": FIRST_QUERY},
    "old": {"used_mb": FIRST_QUERY},
    "2x3090": {"used_mb": FIRST_QUERY, "processes": TWO_LISTS},
    "wsl": {"used_mb": FIRST_QUERY, "processes": WINDOWS},
    "mig": {"total_mb": DIVIDED, "used_mb": DIVIDED, "free_mb": DIVIDED, "processes": DIVIDED, "fits": DIVIDED},
    "gb10": {"error": NO_MEMORY}, "empty": {"error": "both raise, each in its own words"},
}


def theirs(profile, state):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VRAM", "CUDA"))}
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "first_user.py"], capture_output=True, text=True, timeout=DEADLINE,
        env=dict(kept, LD_LIBRARY_PATH=str(BUILD / "sim" / GENERATION), VRAM_SIM=profile, VRAM_SIM_STATE_DIR=str(state)))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ours():
    tracker = vram.get_vram_tracker()
    try:
        status = tracker.get_status()
    except vram.Error as error:
        return {"error": str(error)}
    return {"total_mb": status.total_mb, "used_mb": status.used_mb, "free_mb": status.free_mb,
            "temperature_c": status.temperature_c, "utilization_percent": status.utilization_percent,
            "processes": sorted([each.pid, each.memory_mb] for each in status.processes),
            "fits": {str(required): tracker.can_fit(required) for required in (4000, 10000, 18000, 20000, 22000)}}


@pytest.mark.parametrize("profile", PROFILES)
def test_side_by_side(machine, scenario, tmp_path, profile):
    lines = (BUILD / f"sim/profiles/{profile}.scenario").read_text().splitlines()
    # The generation that the binding is given, whichever driver the profile has.
    text = "\n".join("driver 550.54.14" if line.startswith("driver ") else line for line in lines) + "\n"
    machine.set(VRAM_SYSROOT=machine.root)
    machine.use(scenario(text))
    there, here = theirs(str(tmp_path / "test.scenario"), os.environ["VRAM_SIM_STATE_DIR"]), ours()
    differ = {key for key in {*there, *here} if there.get(key) != here.get(key)}
    if profile == "gb10":
        assert "error" in there and "error" not in here, NO_MEMORY
    elif profile == "empty":
        assert "error" in there and "error" in here
    else:
        assert differ == set(DIFFERENCES[profile])
