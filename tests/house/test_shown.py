# SPDX-License-Identifier: MIT
"""The check of the documents catches what it is there for, and so does ./dev check a step that fails."""

import os
import pathlib
import re
import subprocess
import sys

import check
import documents
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELP = "Commands:\n  status  what is free\n  fit     does it fit\n"
GOOD = """# vram

`vram status`, `vram fit`, `./dev demo`. The header is `include/vram.h`. See [the guide](docs/guide.md) and [the rules](#rules).

```console
$ name=two
$ echo one; echo $name
one
two
$ false
$ echo three
three
```

```c
#include "vram.h"
int main(void) { return vram_version() == NULL; }
```
"""


@pytest.fixture
def project(tree):
    """A project with one document; project(text, …) returns what is wrong with it."""
    def examine(text, **more):
        root = tree({"README.md": text, "docs/guide.md": "The guide.\n", "build/cli/vram": f"#!/bin/sh\ncat <<'X'\n{HELP}X\n",
                     "dev": "#!/bin/sh\necho '  demo  shows'\n", "include/vram.h": (ROOT / "include/vram.h").read_text(),
                     **more})
        for program in ("build/cli/vram", "dev"):
            os.chmod(root / program, 0o755)
        files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return documents.examine(root, root / "build", [name for name in files if not name.startswith("build/")])
    return examine


def test_good_documents_pass(project):
    found, summary = project(GOOD)
    assert found == []
    assert summary == "2 documents, 4 commands run, 1 programs compiled"


@pytest.mark.parametrize("before, after, wanted", [
    ("one\ntwo\n", "one\n2\n", "README.md shows for `echo one; echo $name`"),
    ("$ false\n", "$ false\nno\n", "README.md shows for `false`"),
    ("vram fit", "vram", "no document mentions `vram fit`"),
    ("./dev demo", "./dev", "no document mentions `./dev demo`"),
    ("docs/guide.md", "docs/gone.md", "README.md links to docs/gone.md"),
    ("`include/vram.h`", "`include/gone.h`", "README.md names include/gone.h"),
    ("$ false\n", "$ exit\n", "README.md: `exit` does not end"),
    ("vram_version()", "vram_vision()", "README.md shows a program that does not compile"),
    ("# vram", "# vram in /home/ada/vram", "README.md names a path of some machine: /home/ada/vram"),
])
def test_what_is_wrong_is_found(project, before, after, wanted):
    assert before in GOOD
    found, _summary = project(GOOD.replace(before, after))
    assert len(found) == 1 and found[0].startswith(wanted)


def test_the_path_of_the_checkout_is_found_in_any_file(project, tmp_path):
    found, _summary = project(GOOD, **{"lib/fit.c": f"/* see {tmp_path}/tree/notes */\n"})
    assert found == [f"lib/fit.c names a path of some machine: {tmp_path}/tree"]


def outcome(step):
    return check.outcome_of(step, None)[1]


def test_a_step_passes_fails_or_is_skipped():
    def step_good(_):
        return "3 files"

    def step_skipped(_):
        raise check.Skip("no tool")

    def step_broken(_):
        raise check.Broken("a finding")

    def step_crashing(_):
        return 1 // 0

    assert [outcome(step) for step in (step_good, step_skipped, step_broken, step_crashing)] == [
        "passed", "skipped", "failed", "failed"]


def test_a_command_that_fails_breaks_its_step():
    with pytest.raises(check.Broken, match="no such thing"):
        check.run("sh", "-c", "echo no such thing; exit 1")


def test_steps_are_listed_and_unknown_ones_named():
    def run(*arguments):
        return subprocess.run([sys.executable, ROOT / "tools/check.py", "--build", ROOT / "build", *arguments],
                              capture_output=True, text=True, timeout=60)

    listed = run("--list")
    assert listed.returncode == 0
    assert {"format", "asan", "tree"} <= set(re.findall(r"^(\w+) ", listed.stdout, re.M))
    unknown = run("brew")
    assert unknown.returncode == 2 and "brew" in unknown.stderr
