# SPDX-License-Identifier: MIT
"""The table of docs/benchmarks.md: vram beside its peers, on one simulated driver, in one run.

Every figure is a median of runs that take turns, so that a machine that is busy for a moment is busy for
all. Seconds differ from machine to machine; the ratios are what is claimed.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import observing
import page
import pollers
import promises

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def scenario(path, gpus, processes):
    """A machine with `gpus` cards and that many real processes on each (children that sleep)."""
    lines = ["driver 550.54.14", "cuda 12.4"]
    for gpu in range(gpus):
        lines.append(
            f"gpu {gpu} uuid=GPU-{gpu:08x}-1111-2222-3333-444444444444 pci=0000:{gpu + 1:02x}:00.0 "
            'name="NVIDIA H100 80GB HBM3" total=81559MiB reserved=550MiB temp=41 util=3'
        )
        lines += [f"proc {gpu} pid={pid} mem=256MiB type=C" for pid in processes]
    path.write_text("\n".join(lines) + "\n")
    return path


class Sleepers:
    """Real processes that /proc shows."""

    def __init__(self, count):
        self.children = [subprocess.Popen(["sleep", "1000"]) for _ in range(count)]
        self.pids = [child.pid for child in self.children]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.kill()
            child.wait()


def race(build, commands, environment, rounds):
    """Median seconds, median peak KiB and the number of runs of each command, measured by race.c."""
    words = []
    for command in commands.values():
        words += ["--", *map(str, command)]
    done = subprocess.run(
        [f"{build}/tests/bench/race", str(rounds), "10", *words], env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"bench: {done.stderr}")
    rows = [line.split() for line in done.stdout.splitlines()]
    return {
        name: (float(us) / 1e6, float(kib), int(runs)) for name, (us, kib, runs) in zip(commands, rows)
    }


def instructions(command, environment):
    """Instructions executed, where valgrind is there: they repeat, seconds do not."""
    if not shutil.which("valgrind"):
        return None
    with tempfile.NamedTemporaryFile() as out:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", *map(str, command)],
            env=environment, capture_output=True, text=True,
        )
    for line in done.stderr.splitlines():
        if "Collected" in line:
            return int(line.split(":")[-1].strip())
    return None


def whole_program(build, peers, work, rounds):
    with Sleepers(1) as sleepers:
        environment = dict(
            os.environ,
            LD_LIBRARY_PATH=f"{build}/sim/r550",
            VRAM_SIM_DIR=f"{build}/sim",
            VRAM_SIM=str(scenario(work / "one.scenario", 1, sleepers.pids)),
            VRAM_SIM_STATE_DIR=str(work),
        )
        environment.pop("VRAM_DRIVER", None)
        commands = {
            "bare C program": [f"{build}/tests/bench/bare"],
            "vram status --json": [f"{build}/cli/vram", "status", "--json"],
            "vram status": [f"{build}/cli/vram", "status"],
            "gpustat --json": [peers / "gpustat", "--json"],
            "nvitop -1": [peers / "nvitop", "-1"],
        }
        if shutil.which("nvtop"):
            commands["nvtop -s"] = [shutil.which("nvtop"), "-s"]
        if shutil.which("nvidia-smi"):
            commands["nvidia-smi"] = [shutil.which("nvidia-smi")]
        results = race(build, commands, environment, rounds)
        counted = {name: instructions(commands[name], environment) for name in list(commands)[:2]}
    base_s, base_kib, _ = results["bare C program"]
    ours = results["vram status --json"][0]
    rows = []
    for name, (seconds, kib, runs) in results.items():
        count = counted.get(name)
        rows.append([
            f"`{name}`", f"{seconds * 1e3:.2f}", f"{seconds / base_s:.2f}", f"{seconds / ours:.1f}",
            f"{kib / 1024:.1f}", f"{kib / base_kib:.2f}", f"{count:,}" if count else "", str(runs),
        ])
    return table(["program", "ms", "x bare", "x vram", "MiB peak", "x bare", "instructions", "runs"], rows), results


def in_python(build, work, rounds):
    """The package's answers beside the C library's, and what importing it costs beside a Python that does nothing."""
    library = f"{build}/sim/r550/libnvidia-ml.so.1"
    environment = dict(os.environ, LD_LIBRARY_PATH=f"{build}/lib", VRAM_LIBRARY=f"{build}/lib/libvram.so.0",
                       VRAM_DRIVER=f"nvml:{library}", VRAM_SOCKET="none", VRAM_SIM_STATE_DIR=str(work))
    rows = []
    for gpus, count in ((1, 0), (1, 8), (8, 64)):
        with Sleepers(count) as sleepers:
            environment["VRAM_SIM"] = str(scenario(work / f"python-{gpus}x{count}.scenario", gpus, sleepers.pids))
            in_c, there = (
                subprocess.run([*words, library, str(rounds)], env=environment, check=True, capture_output=True, text=True).stdout
                for words in ([f"{build}/tests/bench/snapshot"], [sys.executable, HERE / "python_work.py"])
            )
        c_us, (snapshot_us, status_us) = float(in_c.split()[1]), map(float, there.split())
        rows.append([str(gpus), str(count), f"{c_us:.1f}", f"{snapshot_us:.1f}", f"{snapshot_us / c_us:.2f}",
                     f"{status_us:.1f}", f"{status_us / c_us:.2f}"])
    calls = table(["GPUs", "processes", "C µs", "`vram.snapshot()` µs", "x C", "`get_status()` µs", "x C"], rows)
    plain = [sys.executable, "-c"]
    commands = {"nothing": [*plain, "pass"], "`vram`": [*plain, "import vram"], "`pynvml`": [*plain, "import pynvml"]}
    environment["PYTHONPYCACHEPREFIX"] = str(work / "compiled")  # as an installed package is compiled, once
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    results = race(build, commands, environment, rounds // 20)
    bare = results["nothing"][0]
    return calls + "\n\n" + table(["import", "ms", "ms more than nothing"], [
        [name, f"{seconds * 1e3:.1f}", f"{(seconds - bare) * 1e3:.1f}"] for name, (seconds, _kib, _runs) in results.items()])


def snapshots(build, work, rounds):
    rows = []
    library = f"{build}/sim/r550/libnvidia-ml.so.1"
    empty_first = None
    for gpus, count in ((1, 0), (1, 1), (1, 8), (1, 64), (8, 8), (8, 64)):
        with Sleepers(count) as sleepers:
            environment = dict(
                os.environ,
                LD_LIBRARY_PATH=f"{build}/lib",
                VRAM_SIM=str(scenario(work / f"{gpus}x{count}.scenario", gpus, sleepers.pids)),
                VRAM_SIM_STATE_DIR=str(work),
            )
            command = [f"{build}/tests/bench/snapshot", library, str(rounds)]
            out, pinned = (
                subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.split()
                for words in (command, ["taskset", "-c", "0", *command])
            )
        bare, known, _ = map(float, out[:3])
        bare_pinned, known_pinned, first = map(float, pinned[:3])
        if count == 0:
            empty_first = first
        over = known - bare
        new = (first - empty_first) / count if count and gpus == 1 else None
        rows.append([
            str(gpus), str(count), f"{bare:.1f}", f"{known:.1f}", f"{over:.1f}",
            f"{known_pinned - bare_pinned:.1f}", f"{25 + 10 * count:.0f}", f"{new:.1f}" if new is not None else "",
        ])
    return table(
        ["GPUs", "processes", "bare calls µs", "snapshot µs", "over µs", "over on one CPU", "budget µs", "µs per new process"], rows
    )


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def machine():
    model = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    release = re.match(r"[\d.]*\d", os.uname().release)[0]  # what a distribution adds to it may name the machine
    return f"{os.cpu_count()} x {model}, Linux {release}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--peers", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    build = options.build.resolve()
    peers = options.peers.absolute()
    with tempfile.TemporaryDirectory(prefix="vram-bench-") as directory:
        work = pathlib.Path(directory)
        whole, _ = whole_program(build, peers, work, options.rounds)
        inner = snapshots(build, work, 2000)
        python = in_python(build, work, 2000)
        with Sleepers(64) as sleepers:
            driver = f"{scenario(work / 'rest.scenario', 8, sleepers.pids)}@bench"
            daemon = promises.section(build, peers, driver, sleepers.pids, table)
            watched = observing.section(build, peers, driver, work, sleepers.pids, table)
            live = page.section(promises.Daemon, build, driver, table)
        polled = pollers.section(build, table)
    text = f"""# Benchmarks

Made by `./dev bench --write` on the simulated driver r550 (no GPU), {machine()}.
Medians of runs that take turns. The simulated driver answers in well under a microsecond; a real one takes 16 ms to start
([on an H100](real-hardware.md)), so that on real hardware whole programs differ less.

## One question, whole program

One GPU, one process. "bare C program" is `tests/bench/bare.c`: the same driver calls and printf.
Budgets: `vram status --json` at most 1.2 x bare in time and 1.5 x in memory; gpustat and nvitop at least 20 x
slower; never slower than `nvtop -s`.

{whole}

## One snapshot, in a program that runs on

Budget: the bare driver calls and 25 µs, plus 10 µs per known process or 20 µs per new one. The driver is asked in a
thread of its own, so that it may hang; waking a thread on another, sleeping CPU costs some 30 µs on a virtual
machine and a few on one CPU, which is why both are shown.

{inner}

## In Python

`tests/bench/python_work.py`, with processes and health as above. Budgets: three times the C call; an import that takes 30 ms
more than a Python that does nothing.

{python}

{daemon}
{polled}
{watched}
{live}"""
    print(text)
    if options.write:
        (ROOT / "docs" / "benchmarks.md").write_text(text)


main()
