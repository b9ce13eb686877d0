# SPDX-License-Identifier: MIT
"""`vram top` on simulated machines: what is on the screen, and what keys and signals do."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from conftest import DEADLINE, VRAM

FOOTER = r"q quit  \? help"


def lines_of(terminal):
    return terminal.text.split("\n")


# ---- The picture ---------------------------------------------------------------------------------


@pytest.mark.parametrize("columns, lines", [(60, 20), (80, 24), (100, 30), (130, 40), (200, 60)])
@pytest.mark.parametrize("machine", ["rtx4090", "8xh100", "mig", "old", "wsl", "gb10"])
def test_every_machine_at_every_size(place, machine, columns, lines):
    terminal = place.top("--driver", f"sim:{machine}", size=(columns, lines))
    terminal.until(rf"(?s)^vram top  sim .*^ +0(:0)? +\d{{7}} .*{FOOTER}")  # with a process
    gpus = [line for line in lines_of(terminal) if re.match(r" {0,2}\d(:\d)?  \S.* of +\d", line)]
    assert len(gpus) == {"8xh100": 8, "mig": 3}.get(machine, 1)
    assert any("[" in line for line in gpus)


def test_figures_and_order(place):
    terminal = place.top(size=(130, 24))
    terminal.until(r"^  0  RTX 4090 .* 1\.3 GiB of 24\.0 GiB  free 22\.3 GiB  promised        –   41 °C    3 %$")
    terminal.until(lambda text: re.findall(r"^   0 +(\d+)  .*", text, re.M) == ["4194402", "4194401"])
    terminal.press("ssss")  # by name
    terminal.until(r"4194402.*python3\n.*4194401.*Xorg")


def test_a_chart_grows(place):
    terminal = place.top("--every", "100ms")
    terminal.until(r"▂▂▂▂▂▂▂▂$|▁▁▁▁▁▁▁▁$")
    place.start("vram-sim", "hold", "20G")
    terminal.until(r"[▇█]$")


def test_without_utf8_all_is_ascii(place):
    terminal = place.top(LC_ALL="C")
    terminal.until(rf"(?s)\[#+=?-+\] .*{FOOTER}")
    assert terminal.text.isascii()


def test_names_are_made_safe(place):
    place.start("vram-sim", "hold", "1G", "--name", "\x1b]0;evil\x07\x1b[31m\u202egnp")
    terminal = place.top(size=(130, 24))
    terminal.until(r"1\.0 GiB")
    assert "\\x1b]0;evil\\x07" in terminal.text and "\u202e" not in terminal.text
    assert b"\x1b]0;evil" not in terminal.raw


def test_unknown_stays_unknown(place):
    terminal = place.top("--driver", "sim:wsl")
    row = terminal.until(r"^   0   4194701 .*").group()
    assert row.split()[-3:] == ["–", "–", "python3.10"]


# ---- Processes and leases that come and go -------------------------------------------------------


def test_leases_and_who_waits(place):
    place.serve()
    place.start("vram", "run", "14G", "--label", "comfyui", "--", "vram-sim", "hold", "10G", "--name", "comfyui")
    terminal = place.top("--every", "100ms", size=(130, 30))
    terminal.until(r"^[0-9a-f]{8} +14\.0 GiB +10\.0 GiB +4\.0 GiB .* comfyui$")
    place.start("vram", "run", "12G", "--label", "llm", "--", "true")
    terminal.until(r"^waits  1   12\.0 GiB  llm: 4\.7 GiB more on GPU 0$")
    terminal.until(r"promised  4\.0 GiB")


def test_what_ceilings_keep(place):
    config = place.directory / "vram.conf"
    config.write_text("[ceiling render]\nmatch = name:render\nsize = 12G\n")
    place.serve("--config", str(config))
    terminal = place.top("--every", "100ms", size=(140, 30))
    terminal.until(r"^  0  .* promised 12\.0 GiB .* ceilings 12\.0 GiB$")


def test_a_lease_is_ended_after_a_question(place):
    place.serve()
    holder = place.start("vram", "run", "6G", "--label", "mine", "--", "vram-sim", "hold", "1G")
    terminal = place.top("--every", "100ms")
    lease = terminal.until(r"^([0-9a-f]{8}) .* mine$").group(1)
    terminal.press("x")  # not among the processes
    terminal.until(r"Tab goes to the leases")
    terminal.press("\tx")
    terminal.until(rf"^end lease {lease} of \S+, mine\? y: yes")
    terminal.press("n")
    terminal.until(FOOTER)
    terminal.press("x")
    terminal.until(r"^end lease")
    terminal.press("y")
    terminal.until(rf"^lease {lease} has ended$")
    terminal.until(lambda text: not re.search(r"mine$", text, re.M))
    assert holder.poll() is None


def test_a_daemon_that_goes_takes_its_leases_along(place):
    place.serve()
    terminal = place.top("--every", "100ms")
    terminal.until(r"with vramd")
    place.processes[0].terminate()
    place.processes[0].wait(DEADLINE)
    terminal.until(r"no daemon")


def test_the_cursor_stays_with_its_process(place):
    terminal = place.top("--every", "100ms", size=(130, 24))
    terminal.until(r"4194401")
    terminal.press("j")
    place.start("vram-sim", "hold", "2G", "--name", "newcomer")
    terminal.until(r"newcomer")

    def is_marked(_text):
        row = next(number for number, line in enumerate(lines_of(terminal)) if "4194401" in line)
        return all(terminal.screen.buffer[row][column].reverse for column in range(130))
    terminal.until(is_marked)


# ---- Keys ----------------------------------------------------------------------------------------


def test_filter(place):
    terminal = place.top()
    terminal.until(r"Xorg")
    terminal.press("/xorx\x7fg")
    terminal.until(lambda text: "\nfilter: xorg" in text and "python3" not in text)
    terminal.press("\r")
    terminal.until(r"filter: xorg\n")  # in the title
    terminal.press("/zzz\r")
    terminal.until(r"none matches")
    terminal.press("\x1b")
    terminal.until(r"python3")


def test_one_gpu_only(place):
    terminal = place.top("--driver", "sim:8xh100", size=(100, 40))
    terminal.until(r"4194501")
    terminal.press("2")
    terminal.until(lambda text: "GPU 1 only" in text and re.findall(r"^   \d +(41945\d\d) ", text, re.M) == ["4194501"])
    terminal.press("0")
    terminal.until(r"4194500")


def test_gpus_named_on_the_command_line(place):
    terminal = place.top("--driver", "sim:8xh100", "--gpu", "6", size=(100, 40))
    terminal.until(lambda text: "vllm" in text and len(re.findall(r"^  \d  H100", text, re.M)) == 1 and "4194501" not in text)


def test_help_and_back(place):
    terminal = place.top()
    terminal.until(FOOTER)
    terminal.press("?")
    terminal.until(r"end the chosen lease")
    terminal.press("q")  # any key
    terminal.until(r"Xorg")


def test_pause(place):
    terminal = place.top("--every", "100ms", size=(130, 24))
    terminal.until(r"Xorg")
    terminal.press(" ")
    terminal.until(r"paused")
    place.start("vram-sim", "hold", "2G", "--name", "newcomer")
    place.run("vram", "fit", "1G", "--timeout", "10s")
    terminal.press(" ")
    terminal.until(r"newcomer")


def test_more_and_less_often(place):
    terminal = place.top()
    terminal.until(r"every 1 s")
    terminal.press("+")
    terminal.until(r"every 0\.5 s")
    terminal.press("--")
    terminal.until(r"every 2 s")


def test_it_fits_after_a_resize(place):
    terminal = place.top("--driver", "sim:8xh100", size=(130, 40))
    terminal.until(FOOTER)
    terminal.resize(60, 20)
    terminal.until(r"x en…$")
    assert len(lines_of(terminal)) == 20
    terminal.resize(200, 60)
    terminal.until(r"Space pause$")


# ---- Bad days ------------------------------------------------------------------------------------


def test_a_hung_driver_leaves_the_figures_and_the_keys(place):
    terminal = place.top("--every", "100ms", VRAM_CALL_TIMEOUT="300ms")
    terminal.until(r"Xorg")
    place.run("vram-sim", "inject", "hang", "nvmlDeviceGetMemoryInfo", "until=release")
    terminal.until(r"hung")
    terminal.press("?")
    terminal.until(r"end the chosen lease")
    terminal.press("?")
    terminal.until(r"1\.3 GiB of 24\.0 GiB")
    place.run("vram-sim", "release")
    terminal.press("q")
    assert terminal.end() == 0


def test_keys_are_answered_while_the_driver_is_asked(place):
    place.run("vram-sim", "inject", "hang", "nvmlInit", "until=release")
    terminal = place.top()
    terminal.until(r"asking the driver")
    terminal.press("q")
    assert terminal.end() == 0
    place.run("vram-sim", "release")


def test_a_lost_gpu(place):
    terminal = place.top("--every", "100ms", "--driver", "sim:2x3090@top")
    terminal.until(r"^  1  RTX 3090")
    place.run("vram-sim", "--driver", "sim:2x3090@top", "inject", "gpu", "1", "lost")
    terminal.until(r"(?s)^  0  RTX 3090 [^\n]*GiB of.*^  1  RTX 3090 +lost")


def test_no_driver(place):
    terminal = place.top("--driver", "nvml:/nowhere/libnvidia-ml.so.1")
    terminal.until(r"/nowhere/libnvidia-ml\.so\.1")
    assert "most likely" in terminal.text


def test_the_terminal_is_as_it_was(place):
    terminal = place.top()
    terminal.until(FOOTER)
    terminal.press("q")
    assert terminal.end() == 0
    assert b"\x1b[?1049h" in terminal.raw and terminal.raw.rindex(b"\x1b[?1049l") > terminal.raw.rindex(b"\x1b[?1049h")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_leave_the_terminal_as_it_was(place, number):
    terminal = place.top()
    terminal.until(FOOTER)
    os.kill(terminal.process.pid, number)
    assert terminal.end() != -number
    assert b"\x1b[?1049l" in terminal.raw


def test_a_closed_terminal_ends_it(place):
    terminal = place.top()
    terminal.until(FOOTER)
    os.close(terminal.fd)
    assert terminal.process.wait(DEADLINE) != 0
    terminal.fd = os.open("/dev/null", os.O_RDONLY)


def test_it_waits_without_working(place):
    terminal = place.top("--every", "60s")
    terminal.until(r"Xorg")

    def ticks():
        fields = open(f"/proc/{terminal.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])
    before, end = ticks(), time.monotonic() + 0.5
    while time.monotonic() < end:
        terminal.read()
    assert ticks() - before <= 5  # hundredths of a second


@pytest.mark.parametrize("words, status, said", [
    (["--every", "10ms"], 2, "from 100ms to 1m"), (["--json"], 2, "top is for people"), (["word"], 2, "no further argument"),
    ([], 2, "top needs a terminal"),
])
def test_wrong_usage(place, words, status, said):
    done = subprocess.run([VRAM, "top", *words], env=place.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=DEADLINE)
    assert done.returncode == status and said in done.stderr + done.stdout


def test_an_unknown_terminal(place):
    terminal = place.top(TERM="no-such-terminal")
    assert terminal.end() == 4
    assert "TERM=no-such-terminal" in terminal.text


def test_it_is_not_found(place):
    path = ":".join(part for part in place.env["PATH"].split(":") if not part.endswith("/top"))
    done = subprocess.run([VRAM, "top"], env=dict(place.env, PATH=path), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=DEADLINE)
    if done.returncode != 2:  # installed on this machine
        assert done.returncode == 4 and "vram-top is not found" in done.stderr


# ---- What a daemon remembers ----------------------------------------------------------------------


def ask(place, target):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE)
    client.connect(place.env["VRAM_SOCKET"])
    connection = http.client.HTTPConnection("vram")
    connection.sock = client
    with contextlib.closing(connection):
        connection.request("GET", target)
        return json.loads(connection.getresponse().read())


def past_of_seconds(place, number):
    """Once so many seconds of memory are recorded."""
    end = time.monotonic() + DEADLINE
    while True:
        gpu = ask(place, "/v1/history?step=1")["gpus"]
        known = [value for value in gpu[0]["used"] if value is not None] if gpu else []
        if len(known) >= number:
            return known
        assert time.monotonic() < end, "nothing is recorded"
        time.sleep(0.1)


def test_charts_and_peaks_begin_with_what_the_daemon_remembers(place):
    place.serve("--history", str(place.directory / "history.db"))
    past_of_seconds(place, 1)
    place.run("vram-sim", "inject", "proc 0 pid=4190001 name=grown mem=20G")
    past_of_seconds(place, 3)
    ask(place, "/v1/snapshot?take=processes")
    place.run("vram-sim", "inject", "proc 0 pid=4190001 mem=2G")
    past_of_seconds(place, 5)
    terminal = place.top(size=(100, 40))
    terminal.until(r"grown")
    shown = terminal.until(lambda text: re.search(r"^.*[█▇▆].*$", text.split("grown")[0], re.M) and "grown" in text and text)
    row = next(line for line in shown.split("\n") if "grown" in line)
    assert "20.0" in row and re.search(r"\b2\.0\d?\b", row), row
    assert len([line for line in shown.split("\n") if re.search(r"[▁▂▃▄▅▆▇█]", line)]) >= 2
    chart = [line for line in shown.split("\n") if re.search(r"^ {5,}\S", line) and re.search(r"[▂▃▄▅▆▇█]", line)]
    assert max(len(re.findall(r"[▁▂▃▄▅▆▇█]", line)) for line in chart) >= 5, shown


def test_what_nobody_saw_is_a_gap(place):
    arguments = ("--history", str(place.directory / "history.db"))
    place.serve(*arguments)
    past_of_seconds(place, 2)
    first = place.processes.pop()
    first.terminate()
    first.wait(DEADLINE)
    end = time.monotonic() + 3  # a daemon that does not run for so long
    while time.monotonic() < end:
        time.sleep(0.1)
    place.serve(*arguments)
    past_of_seconds(place, 4)
    terminal = place.top(size=(100, 40))
    found = terminal.until(r"^ {5,}.*[▁▂▃▄▅▆▇█]+( +)[▁▂▃▄▅▆▇█]+ *$")
    assert 2 <= len(found.group(1)) <= 8, terminal.text


def test_without_a_history_a_chart_begins_with_now(place):
    place.serve()
    terminal = place.top(size=(100, 40))
    found = terminal.until(r"^ {5,}.*?([▁▂▃▄▅▆▇█]+) *$")
    assert len(found.group(1)) <= 3, terminal.text
