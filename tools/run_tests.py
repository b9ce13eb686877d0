#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs every suite and counts every test: cmocka programs by their test functions, other programs as one
each, pytest by its report. Ends with one line, `N passed, N failed, N skipped`; exit 1 if any failed.

A suite that crashes, outlasts its time, breaks off or runs nothing has failed. Called by ./dev test;
words given to it choose the suites whose names contain one of them.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import sys
import time
import xml.etree.ElementTree

import bounded

ROOT = pathlib.Path(__file__).resolve().parents[1]
TAP_PLAN = re.compile(r"^1\.\.(\d+)", re.M)
TAP_RESULT = re.compile(r"^(not )?ok \d+(?: - | )?(.*)$", re.M)
TAP_SKIP = re.compile(r"#\s*SKIP\s*(.*)", re.I)
PYTEST_NO_TESTS, PYTEST_FAILED = 5, 1
SKIPPED = 77  # the exit status of a program that cannot run here; its last line says why
LONGEST = 900  # seconds, for pytest in one directory


@dataclasses.dataclass
class Result:
    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    output: str = ""
    remarks: list = dataclasses.field(default_factory=list)

    @property
    def count(self):
        return self.passed + self.failed + self.skipped

    def fail(self, remark, tests=1):
        self.failed += tests
        self.remarks.append(remark)


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


# ---- Programs -----------------------------------------------------------------------------------


def count_tap(result, output):
    """Counts the test functions of a program that reports each, as cmocka's do (there, a skipped test is
    "not ok 1 # SKIP name")."""
    for bad, text in TAP_RESULT.findall(output):
        skip = TAP_SKIP.search(text)
        if skip:
            result.skipped += 1
            result.remarks.append(f"skipped: {skip.group(1) or 'no reason given'}")
        elif bad:
            result.failed += 1
        else:
            result.passed += 1
    planned = sum(int(number) for number in TAP_PLAN.findall(output))
    if result.count < planned:
        result.fail(f"{planned - result.count} of {planned} tests were never run", planned - result.count)
    elif result.count > planned:
        result.fail(f"{result.count} results of {planned} tests: a forked child must leave by _exit()")


def judge_program(name, status, output, timeout):
    """What a program's exit status and output amount to."""
    result = Result(name, output=output)
    if status == SKIPPED:
        result.skipped = 1
        result.remarks.append(f"skipped: {last_line(output) or 'no reason given'}")
        return result
    tap = TAP_PLAN.search(output) is not None
    if tap:
        count_tap(result, output)
    elif status == 0:
        result.passed = 1
        result.remarks += [line for line in [last_line(output)] if line]
    if status is None or status < 0 or (status != 0 and result.failed == 0):
        result.fail(bounded.describe(status, timeout))
    if result.count == 0:
        result.fail("ran no test")
    return result


def run_program(test, options):
    # Against hanging alone: a limit that a busy machine can reach makes tests fail by chance.
    timeout = max(test["timeout"], options.limit)
    environment = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", **test["env"])
    command = [*shlex.split(options.wrap), *test["cmd"]]
    status, output = bounded.run(command, environment, test["workdir"] or ROOT, timeout)
    return judge_program(test["name"], status, output, timeout)


def programs(build):
    """The tests that the build lists; Meson's own report of them needs no Meson to read."""
    return json.loads((build / "meson-info/intro-tests.json").read_text())


# ---- pytest -------------------------------------------------------------------------------------


def judge_pytest(name, status, output, report):
    """What pytest's exit status and its report (JUnit's XML, an empty text: none) amount to."""
    result = Result(name, output=output)
    try:
        cases = list(xml.etree.ElementTree.fromstring(report).iter("testcase"))
    except xml.etree.ElementTree.ParseError:
        cases = []
    for case in cases:
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed += 1
        elif skip is not None:
            result.skipped += 1
            remark = f"skipped: {skip.get('message') or case.get('name')}"
            if remark not in result.remarks:
                result.remarks.append(remark)
        else:
            result.passed += 1
    if status == PYTEST_NO_TESTS or (status == 0 and result.count == 0):
        result.fail("ran no test")
    elif status not in (0, PYTEST_FAILED) or (status == PYTEST_FAILED and result.failed == 0):
        result.fail(bounded.describe(status, LONGEST))
    return result


def run_pytest(name, options):
    report = options.build / f"{name.replace('/', '-')}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", ROOT / name]
    status, output = bounded.run(command, dict(os.environ, PYTHONDONTWRITEBYTECODE="1"), ROOT, LONGEST)
    return judge_pytest(name, status, output, report.read_text() if report.exists() else "")


def pytest_directories():
    return sorted({path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")})


# ---- All of them --------------------------------------------------------------------------------


def timed(function, *arguments):
    start = time.monotonic()
    try:
        result = function(*arguments)
    except OSError as error:  # a program that is not there, or may not be run
        result = Result(arguments[0]["name"] if isinstance(arguments[0], dict) else arguments[0])
        result.fail(str(error))
    result.seconds = time.monotonic() - start
    return result


def run_all(options):
    """Yields results as they come. Several suites run at once, the long ones first."""

    def wanted(name):
        return name not in options.excepted and (not options.words or any(word in name for word in options.words))

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        running = []
        if options.only != "programs":
            running += [pool.submit(timed, run_pytest, name, options) for name in pytest_directories() if wanted(name)]
        if options.only != "pytest":
            running += [pool.submit(timed, run_program, test, options) for test in programs(options.build)
                        if wanted(test["name"])]
        for done in concurrent.futures.as_completed(running):
            yield done.result()


def show(result):
    print(
        f"{result.name:<32} {result.passed:>5} passed {result.failed:>4} failed {result.skipped:>4} skipped"
        f" {result.seconds:>7.1f} s", flush=True,
    )
    for remark in result.remarks:
        print(f"    {remark}")
    if result.failed:
        # Indented, so that no line of it can be taken for the closing one.
        print("".join(f"    | {line}\n" for line in result.output.strip().splitlines()), end="", flush=True)


def close(results):
    """Prints the closing line. Returns the exit status."""
    if not results:
        print("no suite was found")
    broken = sorted(result.name for result in results if result.failed)
    if broken:
        print(f"failed: {', '.join(broken)}")
    passed, skipped = sum(result.passed for result in results), sum(result.skipped for result in results)
    failed = sum(result.failed for result in results) if results else 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0)


def main():
    # A shell's background job is born with these ignored, and so would be the programs that tests press Ctrl-C in.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # under nohup: caught is not ignored, and not inherited
        signal.signal(signal.SIGHUP, lambda *_: None)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the build whose programs are run")
    parser.add_argument("--only", choices=("programs", "pytest"))
    parser.add_argument("--except", dest="excepted", action="append", default=[], metavar="SUITE")
    parser.add_argument("--quiet", action="store_true", help="show only suites that failed, and the counts")
    parser.add_argument("--wrap", default="", help="a command that runs each program, such as valgrind")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS",
                        help="how long a program that names no longer limit may take")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    options.build = options.build.resolve()
    results = []
    for result in run_all(options):
        if result.failed or not options.quiet:
            show(result)
        results.append(result)
    return close(results)


if __name__ == "__main__":
    sys.exit(main())
