# SPDX-License-Identifier: MIT
"""Where the output goes: full disks, closed pipes, colours, hostile names, no memory."""
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
COMMANDS = [["status"], ["fit", "4G"], ["ps"], ["doctor"], ["watch"], ["help"]]


@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: args[0])
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]], ids=["text", "json", "csv"])
def test_full_disk(vram, args, form):
    with open("/dev/full", "wb") as full:
        run = vram(*args, *form, stdout=full)
    assert run.status == 4
    assert "vram: cannot write: No space left on device\n" in run.err


@pytest.mark.parametrize("args", COMMANDS[:4], ids=lambda args: args[0])
def test_closed_pipe_is_quiet(vram, args):
    expected = vram(*args).status
    read_end, write_end = os.pipe()
    os.close(read_end)
    run = vram(*args, stdout=write_end)
    os.close(write_end)
    assert run.status == expected
    assert "cannot write" not in run.err and "Broken pipe" not in run.err


def test_closed_stdout_is_an_error(vram):
    run = subprocess.run(["sh", "-c", f"exec {vram.path} --json >&-"], env=vram.environment(), capture_output=True)
    assert run.returncode == 4
    assert b"cannot write" in run.stderr


def test_all_descriptors_closed(vram):
    run = subprocess.run(["sh", "-c", f"{vram.path} --json <&- >&- 2>&-; echo $?"], env=vram.environment(),
                         capture_output=True)
    assert run.stdout == b"4\n"


# ---- Terminals -------------------------------------------------------------------------------------


def test_colour_on_terminals_only(vram):
    assert ESCAPE.search(vram.screen().out)
    assert not ESCAPE.search(vram().out)
    assert not ESCAPE.search(vram.screen(env={"NO_COLOR": "1"}).out)
    assert ESCAPE.search(vram.screen(env={"NO_COLOR": ""}).out)
    assert not ESCAPE.search(vram.screen(env={"TERM": "dumb"}).out)
    assert not ESCAPE.search(vram.screen(env={"TERM": None}).out)
    assert not ESCAPE.search(vram.screen("--color=never").out)
    assert ESCAPE.search(vram("--color=always").out)
    assert ESCAPE.search(vram("--color=always", env={"NO_COLOR": "1"}).out)
    assert not ESCAPE.search(vram.screen("--json").out)


def test_colour_changes_no_character(vram):
    for args in (["status"], ["fit", "4G", "22000", "30000"], ["ps"], ["help"]):
        plain = vram.screen(*args, env={"NO_COLOR": "1"}).out
        assert ESCAPE.sub("", vram.screen(*args).out) == plain


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_ascii_locales(vram, locale):
    for args in (["status"], ["fit", "4G", "22000"], ["ps"], ["doctor"], ["help"]):
        run = vram(*args, env={"LC_ALL": locale})
        assert run.out.isascii() and run.err.isascii()
    assert vram("fit", "4G", env={"LC_ALL": locale}).out.startswith("yes 4 GiB fits")
    assert vram("fit", "22000", env={"LC_ALL": locale}).out.startswith("no 22000 MiB does not fit")


def test_kernel_console_gets_ascii(vram):
    assert vram.screen(env={"TERM": "linux", "NO_COLOR": "1"}).out.isascii()


PROFILES = ["rtx4090", "2x3090", "8xh100", "gb10", "wsl", "mig", "empty", "laptop", "old"]


@pytest.mark.parametrize("columns", [60, 100, 200])
@pytest.mark.parametrize("profile", PROFILES)
def test_screens(vram, golden, machine, profile, columns):
    text = ""
    env = {"NO_COLOR": "1", "VRAM_SYSROOT": machine(profile)}
    for args in (["status"], ["fit", "4000", "10000", "18000", "20000", "22000"], ["ps"]):
        run = vram.screen(*args, columns=columns, driver=f"sim:{profile}", env=env)
        text += f"$ vram {' '.join(args)}\n{run.out}({run.status})\n"
        for line in run.lines:
            # Errors and notes are not wrapped: a terminal does that, and they are for copying.
            assert len(line) <= columns or line.startswith(("vram: ", "  "))
    golden(f"{profile}-{columns}.txt", text)


def test_pipes_are_not_cut(vram, scenario):
    name = "x" * 90
    driver = scenario("driver 550.54.14\ngpu 0 name=\"" + "n" * 60 + "\" total=24564M\n"
                      f"proc 0 pid=4200001 name={name[:60]} mem=1G\n")
    assert "n" * 60 in vram(driver=driver).out
    assert "…" in vram.screen(columns=60, driver=driver, env={"NO_COLOR": "1"}).out
    assert "…" not in vram(driver=driver).out


# ---- Hostile names ---------------------------------------------------------------------------------

# What must never arrive on a terminal: controls, bidirectional marks, line and paragraph separators.
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")

NAMES = {
    b"\xe2\x80\xaegpj.exe": "\\u202egpj.exe",
    b"\xc2\x9b31mred": "\\u009b31mred",
    b"a\xe2\x80\xa8b": "a\\u2028b",
    b"\xff\xfebad": "\\xff\\xfebad",
    b"\xf0\x9f\x98\x80ok": "\U0001f600ok",
    b"=cmd|calc": "=cmd|calc",
    b"a,b;c": "a,b;c",
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.decode("ascii", "backslashreplace"))
def test_hostile_names_from_the_driver(vram, scenario, name):
    driver = scenario(b"driver 550.54.14\ngpu 0 total=24564M reserved=400M\n"
                      b'proc 0 pid=4200001 name="' + name + b'" mem=20G type=C\n')
    for args in (["status"], ["ps"], ["fit", "12G"]):
        run = vram(*args, driver=driver)
        assert not FORBIDDEN.search(run.out)
        assert NAMES[name] in run.out
    json.loads(vram("ps", "--json", driver=driver).out)
    rows = vram("ps", "--csv", driver=driver).rows
    assert [row["name"] for row in rows] == [NAMES[name]]


@pytest.mark.parametrize("name", ["\x1b[2J\x1b]0;x\x07", "a\nb\tc", "\u202egpj", "-rf", "'\"$(x)", "%s%n"])
def test_hostile_names_of_real_processes(vram, hold, tmp_path, name):
    program = tmp_path / name.replace("/", "_")
    program.symlink_to(vram.sim_path)
    holder = hold("1024", executable=str(program), name=name)
    for args in (["status"], ["ps"], ["fit", "22000"]):
        for run in (vram(*args), vram.screen(*args, env={"NO_COLOR": "1"})):
            assert not FORBIDDEN.search(run.out)
            assert str(holder.pid) in run.out
    found = [process for process in vram("ps", "--json").json["processes"] if process["pid"] == holder.pid]
    assert len(found) == 1
    rows = vram("ps", "--csv")
    assert len(rows.lines) == len(rows.rows) + 1
    assert not FORBIDDEN.search(rows.out)


def test_csv_of_formulas_is_quoted(vram, scenario):
    driver = scenario("driver 550.54.14\ngpu 0 total=24564M\nproc 0 pid=4200001 name==1+1 mem=1G type=C\n")
    assert ',"=1+1",' in vram("ps", "--csv", driver=driver).out


# ---- No memory -------------------------------------------------------------------------------------

@pytest.fixture
def fail_malloc(vram):
    """What is preloaded to make allocations fail, where it was built beside the program."""
    path = Path(vram.path).resolve().parent.parent / "tests/cli/fail_malloc.so"
    if not path.exists():
        pytest.skip("fail_malloc.so was not built: no glibc, or a sanitizer has the allocator")
    return str(path)


def run_failing(vram, fail_malloc, args, number, every_later):
    env = {"LD_PRELOAD": fail_malloc, "FAIL_MALLOC": str(number)}
    if every_later:
        env["FAIL_MALLOC_ALL"] = "1"
    return vram(*args, env=env)


def count_allocations(vram, fail_malloc, args):
    read_end, write_end = os.pipe()
    env = {"LD_PRELOAD": fail_malloc, "FAIL_MALLOC_COUNT": str(write_end)}
    run = vram(*args, env=env, pass_fds=[write_end])
    os.close(write_end)
    count = int(os.read(read_end, 32))
    os.close(read_end)
    return run, count


@pytest.mark.parametrize("every_later", [False, True], ids=["one", "all-later"])
@pytest.mark.parametrize("args", [["--json"], ["status"], ["fit", "4G", "22000"], ["ps", "--csv"], ["doctor"]],
                         ids=lambda args: args[0].strip("-"))
def test_no_memory_at_any_allocation(vram, fail_malloc, args, every_later):
    whole, count = count_allocations(vram, fail_malloc, args)
    assert count > 0
    for number in range(1, count + 1):
        run = run_failing(vram, fail_malloc, args, number, every_later)
        # An answer, complete; or an error, said: by us, by the driver that could not start, or by the doctor.
        allowed = {whole.status, 3, 4} | ({1} if args == ["doctor"] else set())
        assert run.status in allowed or "memory" in run.err, number
        if run.status != whole.status:
            assert run.err.startswith("vram: ") or args == ["doctor"], number
        if args == ["--json"]:
            assert set(run.json) == ({"error"} if run.status else set(whole.json)), number
        elif run.status in (2, 3, 4):
            assert run.out == "", number
