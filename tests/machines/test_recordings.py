# SPDX-License-Identifier: MIT
"""Every recording in this directory, played: it says what the machine said. README.md tells how one is added."""
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from conftest import without_time

HERE = Path(__file__).resolve().parent
RECORDINGS = sorted(path.stem for path in HERE.glob("*.scenario"))
pytestmark = pytest.mark.parametrize("name", RECORDINGS)

# What of a GPU must be as the machine itself said it; the rest is of another moment or another file.
SAID = ("index", "name", "pci", "state", "memory_kind", "used_includes_reserved", "total_bytes", "used_bytes", "free_bytes",
        "driver_reserved_bytes", "unattributed_bytes", "mig_index", "gpu_instance_id", "compute_instance_id")


def scenario(name):
    return (HERE / f"{name}.scenario").read_text()


def driver(name):
    return f"sim:{HERE / name}.scenario"


def hangs(name):
    return re.search("^(hang|crash) ", scenario(name), re.M)


def answered(lines, function, gpu):
    """The numbers of a successful answer; None."""
    found = [line for line in lines if re.match(rf"{function} gpu={gpu}: SUCCESS ", line)]
    return [int(word) for word in found[0].split()[3:]] if found else None


def said(gpu):
    """What must be alike. A GPU without memory of its own has that of whatever machine it is played on."""
    moving = ("total_bytes", "free_bytes") if gpu["memory_kind"] == "unified" else ()
    return {key: gpu[key] for key in SAID if key not in moving}


def holdings(gpu):
    return Counter((row["used_bytes"], row["kind"]) for row in gpu["processes"])


def test_the_recording_says_itself_again(machine, name):
    again = machine.record(driver(name), "--readings", "1", "--timeout", "2s", status=3 if hangs(name) else 0)
    assert without_time(again) == without_time(scenario(name))


def test_nothing_personal_is_in_it(name):
    text = scenario(name)
    assert not re.search(r"uuid=|GPU-[0-9a-f]{8}", text)
    assert set(re.findall(r"^(?:at \S+ )?proc .* name=(\S+)", text, re.M)) <= {f'"process-{i}"' for i in range(1, 5000)}
    assert all(int(pid) > 4194304 for pid in re.findall(r"pid=(\d+)", text))


def test_figures_are_those_of_the_answers(machine, name):
    if hangs(name):
        pytest.skip("it ends in a call that does not return")
    lines, status = machine.answers(driver(name)), machine.json(driver(name), "status")
    whole = [gpu for gpu in status["gpus"] if gpu["parent_uuid"] is None]
    for gpu in whole:
        second = answered(lines, "nvmlDeviceGetMemoryInfo_v2", gpu["index"])
        if second:
            figures = [gpu[f"{key}_bytes"] for key in ("total", "driver_reserved", "free", "used")]
            assert figures == second and sum(second[1:]) == second[0]


def test_it_says_what_the_machine_said(machine, name):
    stored = HERE / f"{name}.status.json"
    if not stored.exists():
        pytest.skip("nothing is stored beside it")
    there, here = json.loads(stored.read_text()), machine.json(driver(name), "status")
    assert here["driver"]["version"] == there["driver"]["version"] and here["driver"]["cuda"] == there["driver"]["cuda"]
    assert list(map(said, here["gpus"])) == list(map(said, there["gpus"]))
    assert list(map(holdings, here["gpus"])) == list(map(holdings, there["gpus"]))


def test_commands_work_on_it(machine, name):
    if hangs(name):
        pytest.skip("it ends in a call that does not return")
    machine.run("--driver", driver(name), "doctor", "--json")
    rows = [gpu for gpu in machine.json(driver(name), "status")["gpus"] if gpu["memory_kind"] != "unified"]
    room = max((gpu["headroom_bytes"] or 0 for gpu in rows), default=0) >> 20
    if room:
        assert machine.json(driver(name), "fit", f"{room}M")["answers"][0]["answer"] == "fits"
        assert machine.json(driver(name), "fit", f"{room + 1}M", status=(1, 5))["answers"][0]["answer"] != "fits"
