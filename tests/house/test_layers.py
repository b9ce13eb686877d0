# SPDX-License-Identifier: MIT
"""The check of include directions catches what it is there for."""

import pathlib

import layers
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_project_keeps_its_layers():
    assert list(layers.violations(ROOT)) == []


@pytest.mark.parametrize("name, included", [
    ("common/size.c", "lib/err.h"),
    ("lib/source/nvml.c", "lib/snapshot.h"),
    ("lib/source/nvml.c", "lib/source/../fit.h"),
    ("lib/source/source.h", "lib/fit.h"),
    ("lib/fit.c", "cli/command.h"),
    ("cli/fit.c", "lib/snapshot.h"),
    ("daemon/ledger.c", "lib/snapshot.h"),
    ("python/module.c", "lib/snapshot.h"),
    ("sim/sim.c", "include/vram.h"),
    ("sim/sim.c", "lib/err.h"),
    ("examples/report.c", "common/size.h"),
    ("include/vram.h", "common/attr.h"),
])
def test_a_planted_violation_is_found(tree, name, included):
    root = tree({name: f'/* a file */\n#include <stdio.h>\n  # include "{included}"\n'})
    found = list(layers.violations(root))
    assert len(found) == 1 and found[0].startswith(f"{name} includes ")


@pytest.mark.parametrize("name, included", [
    ("lib/source/nvml.c", "lib/source/source.h"),
    ("lib/fit.c", "lib/source/source.h"),
    ("lib/fit.c", "include/vram.h"),
    ("cli/fit.c", "include/vram.h"),
    ("sim/sim.c", "common/nvml_abi.h"),
])
def test_what_is_allowed_is_not_found(tree, name, included):
    assert list(layers.violations(tree({name: f'#include "{included}"\n'}))) == []


def test_a_path_around_the_layers_is_found(tree):
    assert list(layers.violations(tree({"cli/fit.c": '#include "../lib/snapshot.h"\n'})))
