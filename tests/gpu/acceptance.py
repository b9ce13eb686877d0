# SPDX-License-Identifier: MIT
"""The acceptance test for real hardware: ./dev gpu. In one run of a few minutes it compares every figure with NVIDIA's
own tools, lets CUDA programs allocate, race and die, and measures what the driver takes. Nothing of the card's
settings is changed. Exit 1 where the driver answers otherwise than the code expects, or a section breaks off.

On the simulated driver (--driver sim:r580/rtx4090) the same sections run small, so that they cannot rot.
"""

import argparse
import os
import pathlib
import platform
import re
import signal
import sys
import time
import traceback

import allocations
import answers
import calls
import costs
import figures
import lives
import race
from machine import ROOT, Failed, Machine
from report import Report

SKIPPED = 77


def section_machine(machine, report):
    """What kind of machine this is."""
    model = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    release = re.match(r"[\d.]*\d", platform.release())[0]  # what a distribution adds to it may name the machine
    document = machine.status()
    gpu = machine.gpu(document)
    report.text(
        f"- {os.cpu_count()} × {model}, Linux {release}, {'root' if os.geteuid() == 0 else 'not root'}, "
        f"Python {platform.python_version()}",
        f"- driver {document['driver']['version']} ({document['driver']['kind']}), CUDA {document['driver']['cuda']}, "
        f"{len(document['gpus'])} GPU(s); under test: {gpu['name']}, {gpu['uuid']}, {gpu['pci']}",
        f"- hypervisor: {'yes' if 'hypervisor' in pathlib.Path('/proc/cpuinfo').read_text() else 'none told'}; "
        f"first PID namespace: {'yes' if os.readlink('/proc/self/ns/pid') == 'pid:[4026531836]' else 'no'}",
        "",
        "```",
        machine.vram("doctor")[1].rstrip().replace(platform.release(), release),
        "```",
        "",
    )


# Title; what runs; about how many seconds it takes on real hardware. The most telling first: what time is left
# for decides what is left out.
SECTIONS = [
    ("Machine", section_machine, 2),
    ("Figures", figures.section, 8),
    ("Structures and codes", answers.section_layouts, 3),
    ("Modes", answers.section_modes, 1),
    ("Allocations", allocations.section, 15),
    ("Several processes", allocations.section_processes, 10),
    ("Race for the last room", race.section, 20),
    ("After the end", lives.section_lag, 35),
    ("Another PID namespace", lives.section_namespace, 3),
    ("After fork", answers.section_fork, 3),
    ("Waiting for events", answers.section_signal, 4),
    ("Start and shutdown", calls.section_start, 3),
    ("Calls", calls.section_latency, 45),
    ("Threads", calls.section_threads, 3),
    ("Whole programs", costs.section_programs, 12),
    ("Grants", costs.section_grants, 12),
    ("vramd at rest", costs.section_rest, 36),
]


class OutOfTime(Exception):
    pass


def ring(*_):
    raise OutOfTime


def run_section(machine, report, title, section, seconds):
    report.section(title)
    if machine.left() < machine.scale(seconds, 1):
        report.leave_out(title, "the time is over")
        return
    begun = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, max(min(machine.left(), 3 * seconds + 20), 1))
    try:
        section(machine, report)
    except Failed as failure:  # what a section could tell
        report.fail(str(failure))
    except OutOfTime:
        report.fail("its time is over")
    except Exception as error:  # a mistake in one section must not take the others along
        where = traceback.extract_tb(error.__traceback__)[-1]
        report.fail(f"{type(error).__name__}: {error} ({pathlib.Path(where.filename).name}:{where.lineno})")
        traceback.print_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        machine.end_programs()
    report.text(f"({time.monotonic() - begun:.1f} s)")
    report.write()


def options():
    parser = argparse.ArgumentParser(prog="./dev gpu", description="The acceptance test for real hardware.")
    parser.add_argument(
        "--driver", default="nvml", help="nvml (the default), nvml:/path/to/library, or sim:NAME for a rehearsal"
    )
    parser.add_argument("--report", help="write the report to this file too, as it grows")
    parser.add_argument("--redact", action="store_true", help="leave the UUIDs out")
    parser.add_argument("--seconds", type=float, default=240, help="how long it may take in all (240)")
    parser.add_argument(
        "--only", action="append", metavar="TITLE", help="only sections whose titles contain this; repeatable"
    )
    parser.add_argument("--build", default=os.environ.get("VRAM_BUILD", str(ROOT / "build")), help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    chosen = options()
    machine = Machine(chosen.build, chosen.driver, chosen.seconds)
    signal.signal(signal.SIGALRM, ring)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kind = "a rehearsal on the simulated driver" if machine.simulated else "real hardware"
    report = Report(
        f"vram on {kind}",
        chosen.report,
        chosen.redact,
        [f"{path}/" for path in (machine.work, str(machine.build), str(ROOT), os.path.expanduser("~"))],
    )
    try:
        if not machine.find_gpu():
            print("gpu: skipped, no GPU here has memory of its own")
            return SKIPPED
        for title, section, seconds in SECTIONS:
            if not chosen.only or any(word.lower() in title.lower() for word in chosen.only):
                run_section(machine, report, title, section, seconds)
        if machine.simulated:
            report.left_out.append(
                "what only hardware can tell: on the simulated driver every duration is the simulation's own"
            )
        report.write()
    except Failed as failure:
        print(f"gpu: {failure}", file=sys.stderr)
        return 1
    finally:
        machine.close()
    print(
        f"\ngpu: {report.checks} statements checked, {len(report.differences)} differ, "
        f"{len(report.failures)} sections not finished, "
        f"{len(report.left_out)} things left out"
    )
    for difference in report.differences:
        print("gpu: " + report.clean("{}: {}: expected {}, seen {}".format(*difference)))
    return report.status


sys.exit(main())
