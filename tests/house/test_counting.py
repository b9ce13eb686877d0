# SPDX-License-Identifier: MIT
"""Tests are counted right when suites crash, hang, break off or run nothing."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
import run_tests

ROOT = pathlib.Path(__file__).resolve().parents[2]
TAP = "1..3\nok 1 - one\nnot ok 2 # SKIP two\nok 3 - three\n"


def counts(result):
    return result.passed, result.failed, result.skipped


@pytest.mark.parametrize("status, output, wanted", [
    (0, TAP, (2, 0, 1)),
    (1, TAP.replace("ok 3", "not ok 3"), (1, 1, 1)),
    (0, "1..3\nok 1 - one\n", (1, 2, 0)),  # left by exit(0) in the second
    (-11, "1..3\nok 1 - one\n", (1, 3, 0)),  # two never run, and the crash
    (1, TAP, (2, 1, 1)),  # a leak found at the end
    (0, TAP + TAP[5:], (4, 1, 2)),  # a forked child printed it all again
    (0, "1..0\n", (0, 1, 0)),
    (0, TAP + TAP, (4, 0, 2)),  # two groups
    (0, "fine\n", (1, 0, 0)),
    (0, "", (1, 0, 0)),
    (3, "", (0, 1, 0)),
    (-6, "", (0, 1, 0)),
    (None, "", (0, 1, 0)),
    (77, "no GPU here\n", (0, 0, 1)),
])
def test_program(status, output, wanted):
    assert counts(run_tests.judge_program("suite", status, output, 30)) == wanted


def test_reasons_are_kept():
    skipped = run_tests.judge_program("suite", 77, "looking\nno GPU here\n", 30)
    assert skipped.remarks == ["skipped: no GPU here"]
    crashed = run_tests.judge_program("suite", -11, "", 30)
    assert crashed.remarks == ["ended by SIGSEGV"]
    late = run_tests.judge_program("suite", None, "", 30)
    assert late.remarks == ["not finished after 30 s"]


def report(*cases):
    return f"<testsuites><testsuite>{''.join(f'<testcase>{case}</testcase>' for case in cases)}</testsuite></testsuites>"


@pytest.mark.parametrize("status, text, wanted", [
    (0, report("", "<skipped message='not root'/>"), (1, 0, 1)),
    (1, report("", "<failure/>", "<error/>"), (1, 2, 0)),
    (1, report(""), (1, 1, 0)),
    (2, report(), (0, 1, 0)),  # interrupted
    (5, report(), (0, 1, 0)),  # nothing collected
    (0, report(), (0, 1, 0)),
    (-9, "", (0, 1, 0)),
    (0, "<testsu", (0, 1, 0)),
    (None, "", (0, 1, 0)),
])
def test_pytest(status, text, wanted):
    assert counts(run_tests.judge_pytest("suite", status, "", text)) == wanted


@pytest.fixture
def build(tmp_path):
    """A build that lists programs of the test's own: build(name=script)."""
    def make(**scripts):
        listed = [
            {"name": name, "cmd": ["/bin/sh", "-c", script], "env": {}, "workdir": None, "timeout": 0}
            for name, script in scripts.items()
        ]
        (tmp_path / "meson-info").mkdir()
        (tmp_path / "meson-info/intro-tests.json").write_text(json.dumps(listed))
        return tmp_path
    return make


def run(build, *arguments):
    done = subprocess.run(
        [sys.executable, ROOT / "tools/run_tests.py", "--build", build, "--only", "programs", *arguments],
        capture_output=True, text=True, timeout=60,
    )
    return done.returncode, done.stdout.splitlines()


def test_the_closing_line_counts_every_suite(build):
    status, lines = run(build(good="printf '1..2\\nok 1 - a\\nok 2 - b\\n'", crash="kill -SEGV $$", plain="true",
                              skip="echo no GPU here; exit 77", broken="echo '9 passed, 0 failed, 0 skipped'; exit 1"))
    assert (status, lines[-1]) == (1, "3 passed, 2 failed, 1 skipped")
    assert "failed: broken, crash" in lines
    assert any(line.endswith("no GPU here") for line in lines)
    assert [line for line in lines if line.split(" ")[1:2] == ["passed,"]] == lines[-1:], "one closing line"


def test_success_is_status_0(build):
    assert run(build(plain="true"))[0] == 0


def test_words_choose_suites(build):
    status, lines = run(build(first="true", second="false"), "first")
    assert (status, lines[-1]) == (0, "1 passed, 0 failed, 0 skipped")


def test_no_suite_is_a_failure(build):
    status, lines = run(build(first="true"), "third")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_program_that_is_not_there_has_failed(build):
    directory = build(gone="true")
    path = directory / "meson-info/intro-tests.json"
    path.write_text(path.read_text().replace("/bin/sh", "/nowhere/sh"))
    status, lines = run(directory)
    assert (status, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_hanging_suite_is_stopped(build):
    status, lines = run(build(hang="echo waiting; sleep 1000"), "--limit=0.2")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")
    assert "    | waiting" in lines


def test_what_a_suite_leaves_behind_is_ended(build, tmp_path):
    """The child keeps the suite's output open, which must not be waited for either."""
    status, _lines = run(build(leaver=f"sleep 1000 & echo $! >{tmp_path}/pid"))
    assert status == 0
    wait_until_gone(int((tmp_path / "pid").read_text()))


def wait_until_gone(pid):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} lives on")
