# SPDX-License-Identifier: MIT
"""`vram watch`: lines that go on until something stops them."""
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios

import pytest


def read_lines(process, count):
    return [process.stdout.readline().decode() for _ in range(count)]


def stop(process, with_signal=signal.SIGTERM):
    process.send_signal(with_signal)
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_quietly(vram, with_signal):
    process = vram.start("watch", "--every", "100ms")
    header, line = read_lines(process, 2)
    assert header.startswith("TIME") and "GPU 0" in header
    assert re.match(r"\d\d:\d\d:\d\d +1\.3 GiB of 24\.0 GiB", line)
    assert stop(process, with_signal) == (0, "")


def test_json_lines(vram):
    process = vram.start("watch", "--every", "100ms", "--json")
    documents = [json.loads(line) for line in read_lines(process, 3)]
    assert stop(process) == (0, "")
    assert [document["schema"] for document in documents] == [1, 1, 1]
    times = [document["taken_at"] for document in documents]
    assert times == sorted(times) and len(set(times)) == 3
    assert documents[0]["gpus"][0]["processes"]


def test_csv_rows(vram):
    process = vram.start("watch", "--every", "100ms", "--csv", driver="sim:2x3090")
    lines = read_lines(process, 5)
    assert stop(process) == (0, "")
    assert lines[0].startswith("taken_at,index,uuid,")
    assert [line.split(",")[1] for line in lines[1:]] == ["0", "1", "0", "1"]
    assert all(line.count(",") == lines[0].count(",") for line in lines)


def test_it_ends_with_its_reader(vram):
    script = f"{vram.path} watch --every 100ms --json | head -3; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", script], env=vram.environment(), capture_output=True, timeout=60)
    lines = run.stdout.decode().splitlines()
    assert len(lines) == 4
    assert lines[3] == "0"
    assert all(json.loads(line)["schema"] == 1 for line in lines[:3])
    assert run.stderr == b""


def test_reader_that_goes_is_noticed_between_lines(vram):
    read_end, write_end = os.pipe()
    process = vram.start("watch", "--every", "1h", stdout=write_end)
    os.close(write_end)
    assert os.read(read_end, 1)
    os.close(read_end)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


# The driver is shut down underneath after the first snapshot, and does not start again at the first try. Played
# in an instance of its own, which remembers what was called while nobody has the driver open.
RESTART = ("driver 550.54.14\ngpu 0 total=24564M reserved=400M\n"
           "fail nvmlDeviceGetMemoryInfo_v2 ret=1 after=1 times=1\nfail nvmlInit_v2 ret=9 after=1 times=1\n")


def test_failing_driver_in_between(vram, scenario):
    process = vram.start("watch", "--every", "100ms", driver=scenario(RESTART) + "@restart")
    lines = read_lines(process, 4)
    assert stop(process) == (0, "")
    assert ["no figures: the NVIDIA kernel driver is not loaded" in line for line in lines] == [
        False, False, True, False]


def test_failing_driver_in_between_as_json(vram, scenario):
    process = vram.start("watch", "--every", "100ms", "--json", driver=scenario(RESTART) + "@restart")
    documents = [json.loads(line) for line in read_lines(process, 3)]
    assert stop(process) == (0, "")
    assert [set(document) == {"error"} for document in documents] == [False, True, False]
    assert documents[1]["error"]["code"] == "driver_not_loaded"


def test_failing_driver_in_between_as_csv(vram, scenario):
    process = vram.start("watch", "--every", "100ms", "--csv", driver=scenario(RESTART) + "@restart")
    lines = read_lines(process, 3)
    status, err = stop(process)
    assert status == 0
    assert all(line.count(",") == lines[0].count(",") for line in lines)
    assert "not loaded" in err


def test_first_failure_ends_it(vram):
    run = vram("watch", driver="sim:empty")
    assert (run.status, run.out) == (3, "")


def test_change_is_named(vram, hold):
    process = vram.start("watch", "--every", "100ms")
    read_lines(process, 2)
    holder = hold("2048")
    line = ""
    while "GiB vram-sim" not in line:
        line = process.stdout.readline().decode()
        assert line
    assert "+2.0 GiB vram-sim" in line
    holder.kill()
    while "−2.0 GiB" not in line:
        line = process.stdout.readline().decode()
        assert line
    assert stop(process)[0] == 0


@pytest.mark.parametrize("columns", [60, 100, 200])
@pytest.mark.parametrize("profile", ["rtx4090", "8xh100", "mig"])
def test_one_line_each(vram, columns, profile):
    """Each snapshot fits its line, under a header for each screenful."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 10, columns, 0, 0))
    process = vram.start("watch", "--every", "100ms", driver=f"sim:{profile}", stdout=follower,
                         env={"NO_COLOR": "1"})
    os.close(follower)
    text = ""
    while text.count("\n") < 12:
        text += os.read(leader, 65536).decode()
    assert stop(process)[0] == 0
    os.close(leader)
    lines = text.replace("\r", "").split("\n")[:12]
    assert all(len(line) <= columns for line in lines)
    headers = [index for index, line in enumerate(lines) if not re.match(r"\d\d:", line)]
    assert headers == [0, 9]  # a header for each screen of ten lines
