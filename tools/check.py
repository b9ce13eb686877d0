#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Everything that must hold beyond the plain tests, one line a step; a step that fails shows why. Called by
./dev check; words given to it choose steps. Ends with `N passed, N failed, N skipped`, which counts steps.

A step is a function here or in documents.py: its docstring is the promise that it holds.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

import bounded
import documents
import layers
import pythons

ROOT = pathlib.Path(__file__).resolve().parents[1]
MESON = os.environ.get("MESON", "meson")
CLANG_FORMAT_MAJOR = "14"  # another version formats otherwise
LINES_MAX = 600
LONGER = {"include/vram.h": 1000}  # the library's manual, which is read in one piece
SIMULATION = (1000000, 120)  # schedules, or as many as fit so many seconds
UNSAFE = re.compile(r"\b(sprintf|vsprintf|strcpy|strcat|strtok|atoi|atol|gets|alloca)\s*\(")
THREADED = ("unit-", "library-", "cli-")  # the programs that are run under ThreadSanitizer
# 250 machines made of files: minutes for what runs under AddressSanitizer too, in one thread.
SLOW = "--except=unit-doctor"
LONGEST = 1500  # seconds, for one command of a step
JOBS = 2  # steps at once, and compilers at once within a step


class Skip(Exception):
    """This machine cannot do the step; the text says why."""


class Broken(Exception):
    """The step found something; the text is what."""


# ---- What the steps are made of -------------------------------------------------------------------


def run(*command, timeout=LONGEST, **more):
    """Runs a command that must succeed; `more` goes into its environment. Returns what it printed."""
    environment = dict(os.environ, **{name: str(value) for name, value in more.items()})
    status, text = bounded.run(command, environment, ROOT, timeout)
    if status != 0:
        words = " ".join(map(str, command))
        raise Broken(f"$ {words if len(words) < 300 else words[:300] + ' …'}\n{text[-20000:]}"
                     f"\n{bounded.describe(status, timeout)}")
    return text


def last_line(text):
    return text.strip().splitlines()[-1] if text.strip() else ""


def files(*patterns):
    """The project's files: git's, and those that it would add."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns)
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())


def program(*names):
    for name in names:
        if shutil.which(name):
            return name
    raise Skip(f"{names[-1]} is not installed")


def build_in(context, name, *options, **environment):
    """A build of its own inside the build directory. Ninja may configure it anew: in the same environment."""
    directory = context.build / "check" / name
    if not (directory / "build.ninja").exists():
        run(MESON, "setup", directory, ROOT, *options, **environment)
    status, said = bounded.run(
        ["ninja", "-k", "20", "-j", JOBS, "-C", directory],
        dict(os.environ, **{key: str(value) for key, value in environment.items()}), timeout=LONGEST,
    )
    if status != 0:
        raise Broken(re.sub(r"^\[\d+/\d+\] .*\n", "", said, flags=re.M))
    return directory


def run_tests(directory, *options, **more):
    """The suites of another build, in the environment that ./dev env would make for it."""
    return last_line(run(
        sys.executable, ROOT / "tools/run_tests.py", "--quiet", "--build", directory, *options,
        VRAM_BUILD=directory, VRAM=directory / "cli/vram", VRAM_SIM_DIR=directory / "sim",
        LD_LIBRARY_PATH=directory / "lib", PATH=f"{directory}/cli:{directory}/daemon:{directory}/top:{directory}/sim:{os.environ['PATH']}", **more,
    ))


# ---- Steps: the text ------------------------------------------------------------------------------


def step_format(_):
    """clang-format leaves every C file as it is (./dev fmt)"""
    formatter = program(f"clang-format-{CLANG_FORMAT_MAJOR}", "clang-format")
    version = re.search(r"version (\d+)", run(formatter, "--version")).group(1)
    if version != CLANG_FORMAT_MAJOR:
        raise Skip(f"clang-format is {version}; the tree is formatted with {CLANG_FORMAT_MAJOR}")
    sources = files("*.c", "*.h")
    _status, said = bounded.run([formatter, "--dry-run", *sources], directory=ROOT)
    places = re.findall(r"^(\S+?):\d+:\d+: warning: code should be clang-formatted", said, re.M)
    if places:
        raise Broken("\n".join(f"{name}: {places.count(name)} places" for name in sorted(set(places))))
    return f"{len(sources)} files"


def step_rules(_):
    """sources name their licence, stay below 600 lines and do without the unsafe functions of C"""
    sources = files("*.c", "*.h", "*.py", "*.sh", "*.def")
    found = []
    for name in sources:
        lines = (ROOT / name).read_text(errors="replace").splitlines()
        if not any("SPDX-License-Identifier: MIT" in line for line in lines[:2]):
            found.append(f"{name}: no licence line")
        if len(lines) > LONGER.get(name, LINES_MAX):
            found.append(f"{name}: {len(lines)} lines")
        if name.endswith((".c", ".h")):
            found += [f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if UNSAFE.search(line)]
    if found:
        raise Broken("\n".join(found))
    return f"{len(sources)} files"


def step_shell(_):
    """shellcheck has nothing to say of the scripts"""
    checker = program("shellcheck")
    scripts = [name for name in files() if name.endswith(".sh") or is_shell(ROOT / name)]
    run(checker, "--external-sources", *scripts)
    return f"{len(scripts)} scripts"


def is_shell(path):
    with open(path, "rb") as file:
        return re.match(rb"#!/bin/(ba|da)?sh", file.read(12)) is not None


def step_layers(_):
    """no lower layer includes a higher one, and programs see of lib/ only include/vram.h"""
    found = list(layers.violations(ROOT))
    if found:
        raise Broken("\n".join(found))
    return "every include points downwards"


def step_documents(context):
    """what the documents show is what the programs print, and nothing that people type is left out"""
    found, summary = documents.examine(ROOT, context.build, files())
    if found:
        raise Broken("\n".join(found))
    return summary


def step_manuals(context):
    """no command lacks a manual page or a place in the completions; mandoc and shellcheck have no warning of them"""
    lint, shellcheck = program("mandoc"), program("shellcheck")
    shown = run(context.build / "cli/vram", "help")
    commands = re.findall(r"^  (\w+)", re.search(r"^Commands\n(.*?)\n\n", shown, re.S | re.M).group(1), re.M)
    made, completions = context.build / "docs/man", context.build / "packaging/completions"
    pages = [made / "vram.1", *(made / f"vram-{name}.1" for name in commands)]
    shells = {name: (completions / name).read_text() for name in ("vram", "_vram", "vram.fish")}
    found = [f"{page.name} is not made" for page in pages if not page.exists()]
    found += [f"{name} is not in the completions {shell}" for shell, text in shells.items() for name in commands
              if not re.search(rf"\b{name}\b", text)]
    if found:
        raise Broken("\n".join(found))
    pages += sorted((ROOT / "docs/man").glob("*.[1-8]"))
    run(lint, "-T", "lint", "-W", "warning", *pages)
    run(shellcheck, "--shell=bash", completions / "vram")
    return f"{len(pages)} pages, {len(shells)} shells"


# ---- Steps: the interface -------------------------------------------------------------------------


def step_header(_):
    """include/vram.h compiles by itself as C11 and as C++17"""
    compilers = [("gcc", "c11", "c"), ("g++", "c++17", "cc"), ("clang", "c11", "c"), ("clang++", "c++17", "cc")]
    done = []
    with tempfile.TemporaryDirectory() as directory:
        for compiler, standard, suffix in compilers:
            if not shutil.which(compiler):
                continue
            source = pathlib.Path(directory) / f"header.{suffix}"
            source.write_text('#include "vram.h"\n#include "vram.h"\nint main() { return 0; }\n')
            run(compiler, f"-std={standard}", "-pedantic-errors", "-Wall", "-Wextra", "-Werror",
                "-I", ROOT / "include", "-fsyntax-only", source)
            done.append(f"{compiler} {standard}")
    return ", ".join(done)


def step_symbols(context):
    """the library exports what its version script lists, which is what the header declares"""
    listed = set(re.findall(r"^\s+(vram_\w+);", (ROOT / "lib/libvram.map").read_text(), re.M))
    table = run("nm", "-D", "--defined-only", context.build / "lib/libvram.so")
    exported = {name for kind, name in re.findall(r" (\w) (\w+?)(?:@@\S+)?$", table, re.M) if kind != "A"}
    header = re.sub(r"/\*.*?\*/", "", (ROOT / "include/vram.h").read_text(), flags=re.S)
    declared = set(re.findall(r"^VRAM_API\b[^;(]*?\b(vram_\w+)\(", header, re.M))
    for what, odd in (("exported and not listed", exported - listed), ("listed and not exported", listed - exported),
                      ("declared and not listed", declared - listed), ("listed and not declared", listed - declared)):
        if odd:
            raise Broken(f"{what}: {', '.join(sorted(odd))}")
    return f"{len(listed)} functions"


def check_places(context, directory):
    """Where a build of its own, which is only configured, would put what it makes."""
    run(MESON, "setup", directory, ROOT, "--prefix=/opt/vram", "--mandir=/man", "-Dbash_completion_dir=/bash",
        "-Dzsh_completion_dir=no")
    places = set(json.loads(run(MESON, "introspect", directory, "--installed")).values())
    wanted = {"/opt/vram/bin/vram", "/opt/vram/include/vram.h", "/man/man1/vram.1", "/man/man1/vram-fit.1", "/man/man3/libvram.3",
              "/bash/vram", "/opt/vram/share/fish/vendor_completions.d/vram.fish"}
    if wanted - places or any("zsh" in place for place in places):
        raise Broken(f"missing {sorted(wanted - places)} or too much in\n" + "\n".join(sorted(places)))
    astray = [place for place in places if not place.startswith(("/opt/vram/", "/man/", "/bash/"))]
    if astray:
        raise Broken("outside the prefix: " + ", ".join(sorted(astray)))


def step_install(context):
    """meson install obeys DESTDIR and the places chosen, uninstall leaves nothing, a program builds by pkg-config"""
    compiler = program("gcc", "cc")
    with tempfile.TemporaryDirectory() as place:
        check_places(context, pathlib.Path(place) / "chosen")
        run(MESON, "install", "--no-rebuild", "-C", context.build, DESTDIR=f"{place}/root")
        pc = next(pathlib.Path(place, "root").rglob("vram.pc"))
        flags = run("pkg-config", "--cflags", "--libs", "vram", PKG_CONFIG_PATH=pc.parent,
                    PKG_CONFIG_SYSROOT_DIR=f"{place}/root").split()
        run(compiler, "-std=c11", "-o", f"{place}/report", ROOT / "examples/report.c", *flags)
        run(f"{place}/report", LD_LIBRARY_PATH=pc.parents[1], VRAM_DRIVER="sim:rtx4090")
        run("ninja", "-C", context.build, "uninstall")
        left = [str(path) for path in pathlib.Path(place, "root").rglob("*") if not path.is_dir()]
        if left:
            raise Broken("uninstall leaves\n" + "\n".join(left))
    return "examples/report.c, with pkg-config"


def step_deb(context):
    """the Debian packages are made, please lintian, and are installed, used, upgraded and purged in a clean root"""
    directory = context.build / "deb"
    for needed in ("dpkg-buildpackage", "dh", "dh_python3", "lintian"):
        program(needed)
    run(ROOT / "tools/deb", directory)
    return last_line(run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "tests/packaging/test_debian.py",
        VRAM_DEBS=directory, VRAM_BUILD=context.build, PYTHONDONTWRITEBYTECODE=1,
    )).strip("= ")


def step_prometheus(context):
    """promtool has nothing to say of the metrics, every alert fires where it should, a server scrapes, the dashboard is understood"""
    program("promtool")
    program("prometheus")
    return last_line(run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "tests/prometheus", VRAM_BUILD=context.build,
        PYTHONDONTWRITEBYTECODE=1,
    )).strip("= ")


def step_pythons(context):
    """the wheel passes the package's tests under every Python from 3.8 on that can be had"""
    tried = []
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        try:
            wheel = pythons.build_wheel(ROOT, place)
            found = pythons.found()
            for version, program_of_it in found.items():
                name = ".".join(map(str, version))
                full = version in (min(found), max(found))
                said = pythons.try_one(program_of_it, wheel, place / name, ROOT, context.build, full)
                if said is None:
                    raise Skip("pytest cannot be installed")
                tried.append(f"{name}: {re.search(r'[0-9]+ passed', said).group()}")
        except RuntimeError as error:
            raise Broken(error) from None
    return ", ".join(tried)


# ---- Steps: the code ------------------------------------------------------------------------------


def step_gcc(context):
    """gcc has no warning"""
    build_in(context, "gcc", "-Dwerror=true", CC=program("gcc"))
    return run("gcc", "--version").splitlines()[0]


def step_clang(context):
    """clang has no warning"""
    build_in(context, "clang", "-Dwerror=true", CC=program("clang"))
    return run("clang", "--version").splitlines()[0]


def step_tidy(context):
    """clang-tidy finds nothing (.clang-tidy)"""
    tidy = program("clang-tidy")
    sources = files("common/*.c", "lib/*.c", "daemon/*.c", "cli/*.c", "top/*.c", "sim/*.c", "examples/*.c")

    def examine(name):
        try:
            run(tidy, "--quiet", "-p", context.build, name, timeout=300)
        except Broken as what:
            return str(what)
        return ""

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        found = [text for text in pool.map(examine, sources) if text]
    if found:
        raise Broken("\n".join(found))
    return f"{len(sources)} files"


def step_asan(context):
    """the suites that run our programs under AddressSanitizer (with leaks) and UndefinedBehaviorSanitizer"""
    directory = build_in(context, "asan", "-Db_sanitize=address,undefined", "-Db_lundef=false", CC=program("gcc"))
    # The binding loads the simulated driver into a Python that knows nothing of sanitizers; the browser's requests
    # are those of tests/daemon.
    return run_tests(
        directory, "--limit=900", "--except=tests/binding", "--except=tests/house", "--except=tests/web",
        SANITIZED="address",
        ASAN_OPTIONS="detect_leaks=1:exitcode=99:allocator_may_return_null=1",
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
    )


def step_tsan(context):
    """the programs, threaded ones among them, under ThreadSanitizer"""
    directory = build_in(context, "tsan", "-Db_sanitize=thread", "-Db_lundef=false", CC=program("gcc"))
    # It knows the layouts of memory of an older kernel; without this it may refuse to start.
    steady = ["--wrap=setarch -R"] if bounded.run(["setarch", "-R", "true"])[0] == 0 else []
    return run_tests(
        directory, "--only=programs", "--limit=900", SLOW, *steady, *THREADED, SANITIZED="thread",
        # A forked child that starts threads is what some tests are about.
        TSAN_OPTIONS="halt_on_error=1:exitcode=66:die_after_fork=0",
    )


def step_valgrind(context):
    """the unit tests under valgrind: no error, no leak"""
    command = (f"{program('valgrind')} -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite"
               " --fair-sched=yes")
    return run_tests(context.build, "--only=programs", "--limit=900", SLOW, f"--wrap={command}", "unit-",
                     SANITIZED="valgrind")


def step_simulation(context):
    """the ledger over-promises in none of a million schedules, or as many as fit two minutes: each time the same, so that
    a change is judged by itself; `./dev fuzz ledger` plays others"""
    schedules, seconds = SIMULATION
    said = run(context.build / "tests/simulation/simulate_ledger", str(schedules), "1", str(seconds),
               timeout=seconds + 60)
    return re.search(r"# (\d+ schedules: .*)", said).group(1)


def step_fuzz(context):
    """the fuzz targets build, and replay their corpora with the sanitizers"""
    directory = build_in(context, "fuzz", "-Dfuzz=true", "-Db_lundef=false", CC=program("clang"))
    corpora = sorted(path for path in (ROOT / "tests/fuzz/corpus").glob("*") if path.is_dir())
    if not corpora:
        raise Broken("there is no corpus")
    for corpus in corpora:
        run(directory / f"tests/fuzz/fuzz_{corpus.name}", "-runs=0", f"-artifact_prefix={directory}/", corpus)
    return f"{len(corpora)} targets"


def step_musl(context):
    """library, command and simulated driver build against musl"""
    build_in(context, "musl", CC=program("musl-gcc"), PKG_CONFIG_LIBDIR=context.build / "none")
    return "built"


def step_arm64(context):
    """library, command and simulated driver build for 64-bit ARM"""
    if os.uname().machine == "aarch64":
        raise Skip("this is one")
    program("aarch64-linux-gnu-gcc")
    build_in(context, "arm64", "--cross-file", ROOT / "tools/arm64.ini", PKG_CONFIG_LIBDIR=context.build / "none")
    return "built"


# The long ones first: steps run side by side.
STEPS = (
    step_asan, step_deb, step_simulation, step_tidy, step_tsan, step_valgrind, step_clang, step_gcc, step_fuzz, step_musl, step_arm64, step_install,
    step_pythons, step_prometheus,
    step_documents, step_manuals, step_header, step_symbols, step_format, step_rules, step_shell, step_layers,
)


# ---- Running them ---------------------------------------------------------------------------------


def name_of(step):
    return step.__name__.removeprefix("step_")


def outcome_of(step, context):
    """Returns the step's name, its outcome, the detail for its line, what it has to say, its seconds."""
    start = time.monotonic()
    try:
        outcome, detail, said = "passed", step(context), ""
    except Skip as why:
        outcome, detail, said = "skipped", str(why), ""
    except Exception as what:  # a step that cannot be done has not passed, whatever stopped it
        outcome, detail, said = "failed", f"broken: {step.__doc__}", str(what) or repr(what)
    return name_of(step), outcome, detail, said, time.monotonic() - start


def show(name, outcome, detail, said, seconds):
    print(f"{name:<10} {outcome:<8} {seconds:6.1f} s  {detail}", flush=True)
    print("".join(f"    | {line}\n" for line in said.strip().splitlines()), end="", flush=True)


def untracked():
    return set(run("git", "status", "--porcelain", "--untracked-files=all").splitlines())


def step_tree(context):
    """building and testing leave nothing behind in the tree"""
    left = untracked() - context.before
    if left:
        raise Broken("\n".join(sorted(left)))
    return "nothing was left behind"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--list", action="store_true", help="only say which steps there are")
    parser.add_argument("steps", nargs="*")
    context = parser.parse_args()
    context.build = context.build.resolve()
    names = [name_of(step) for step in (*STEPS, step_tree)]
    unknown = [name for name in context.steps if name not in names]
    if unknown:
        parser.error(f"there is no step {', '.join(unknown)}; there are {' '.join(names)}")
    context.wanted = context.steps or names
    return context


def main():
    context = parse_options()
    if context.list:
        for step in (*STEPS, step_tree):
            print(f"{name_of(step):<10} {step.__doc__}")
        return 0
    context.before = untracked()
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def close(result):
        show(*result)
        counts[result[1]] += 1

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        running = [pool.submit(outcome_of, step, context) for step in STEPS if name_of(step) in context.wanted]
        for done in concurrent.futures.as_completed(running):
            close(done.result())
    if name_of(step_tree) in context.wanted:
        close(outcome_of(step_tree, context))
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
