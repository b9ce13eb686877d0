# SPDX-License-Identifier: MIT
"""Completions in the shells themselves: lines are typed into a terminal, and all that is offered is inserted."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import BUILD, DEADLINE, Built

MADE = BUILD / "packaging/completions"
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")

# Each has C-x i insert all that is offered, C-x d tell the line, between two marks, and C-u empty it.
BASHRC = """
PS1='ready> '
set +o history
bind 'set bell-style none'
bind '"\\C-xi": insert-completions'
bind -x '"\\C-xd": printf "\\001%s\\002" "$READLINE_LINE"'
"""
ZSHRC = """
PS1='ready> '
fpath=({directory} $fpath)
autoload -Uz compinit
compinit -D -u
zle -C insert-all complete-word _generic
zstyle ':completion:insert-all::::' completer _all_matches _complete
zstyle ':completion:insert-all:*' insert true
bindkey '^Xi' insert-all
tell() {{ printf '\\001%s\\002' $BUFFER }}
zle -N tell
bindkey '^Xd' tell
"""


class Terminal:
    """An interactive shell with the completions in it."""

    def __init__(self, command, env, directory):
        self.pid, self.leader = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe(command[0], command, env)
        self.unread = b""
        self.read_until(b"ready> ")

    def read_until(self, mark):
        """What comes in front of the mark."""
        end = time.monotonic() + DEADLINE
        while mark not in self.unread:
            assert select.select([self.leader], [], [], max(0, end - time.monotonic()))[0], self.unread
            self.unread += os.read(self.leader, 65536)
        before, _mark, self.unread = self.unread.partition(mark)
        return before

    def offers(self, line):
        os.write(self.leader, line.encode() + b"\x18i\x18d\x15")
        self.read_until(b"\x01")
        completed = self.read_until(b"\x02").decode()
        typed = line.rpartition(" ")[2]
        kept = line[: len(line) - len(typed)]
        assert completed.startswith(kept)
        offered = completed[len(kept):].split()
        return [] if offered == [typed] else offered

    def close(self):
        os.close(self.leader)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Fish:
    """Fish tells by itself what it offers."""

    def __init__(self, env, directory):
        self.env, self.directory = env, directory

    def offers(self, line):
        script = f"source '{MADE}/vram.fish'; complete -C \"$argv\""
        done = subprocess.run(["fish", "-N", "-c", script, line], env=self.env, cwd=self.directory, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, done.stderr) == (0, "")
        return [offer.split("\t")[0] for offer in done.stdout.splitlines()]

    def close(self):
        pass


def start_bash(env, directory, more=f"source '{MADE}/vram'\n"):
    rc = directory / "bashrc"
    rc.write_text(more + BASHRC)
    return Terminal(["bash", "--noprofile", "--rcfile", str(rc), "-i"], env, directory)


def start_zsh(env, directory):
    (directory / ".zshrc").write_text(ZSHRC.format(directory=MADE))
    return Terminal(["zsh", "-d", "-i"], dict(env, ZDOTDIR=str(directory)), directory)


STARTS = {"bash": start_bash, "zsh": start_zsh, "fish": Fish}


def start(name, env, directory):
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    return STARTS[name](env, directory)


@pytest.fixture(scope="module", params=STARTS)
def shell(request, built, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "needle.conf").touch()
    program = directory / "bin/needle-of-a-program"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    started = start(request.param, dict(built.env, PATH=f"{program.parent}:{built.env['PATH']}"), directory)
    yield started
    started.close()


def values(offers, typed):
    """What is offered behind `typed`, which shells insert with each, with the first alone, or not at all."""
    return {offer[len(typed):] if offer.startswith(typed) else offer for offer in offers}


def test_commands(shell, built):
    commands = set(built.commands())
    for line in ("vram ", "vram --json ", "vram --gpu 0 ", "vram --driver=sim:rtx4090 ", "vram help "):
        assert set(shell.offers(line)) == commands, line
    assert shell.offers("vram sta") == ["status"]
    assert shell.offers("vram --gpu 0 fi") == ["fit"]


def test_options(shell, built):
    for command in ("", *built.commands()):
        offered = {offer.rstrip("=") for offer in shell.offers(f"vram {command} --".replace("  ", " "))}
        assert offered - {"-h"} == set(built.options(*command.split())), command
    assert [offer.rstrip("=") for offer in shell.offers("vram fit 4G --mar")] == ["--margin"]
    assert shell.offers("vram status --mar") == []


def test_when_to_colour(shell, built):
    for line, typed in (("vram --color ", ""), ("vram fit 4G --color=", "--color=")):
        offered = values(shell.offers(line), typed)
        assert offered == {"auto", "always", "never"}
    for when in offered:
        built.vram("--color", when)  # which refuses others


def test_drivers(shell, built):
    machines = {line.split()[0] for line in built.run("vram-sim", "list").splitlines()}
    assert "rtx4090" in machines
    for line, typed in (("vram --driver sim:", "sim:"), ("vram ps --driver=sim:", "--driver=sim:")):
        assert machines <= values(values(shell.offers(line), typed), "sim:"), line
    assert {"auto", "nvml", "nvml:"} <= set(shell.offers("vram --driver "))
    assert values(shell.offers("vram --driver nvml:need"), "nvml:") == {"needle.conf"}


def test_gpus(shell, built):
    def gpus(driver):
        listed = json.loads(built.vram("--json", "--driver", driver))["gpus"]
        return {str(gpu[key]) for gpu in listed for key in ("index", "uuid")}

    assert len(gpus("sim:2x3090")) == 4
    assert set(shell.offers("vram --gpu ")) == gpus("sim:2x3090")
    assert values(shell.offers("vram fit 4G --gpu="), "--gpu=") == gpus("sim:2x3090")
    assert set(shell.offers("vram --driver sim:8xh100 fit --gpu ")) == gpus("sim:8xh100")
    assert set(shell.offers("vram fit --driver=sim:8xh100 --gpu ")) == gpus("sim:8xh100")
    assert set(shell.offers("vram --gpu 1 --driver sim:empty status --gpu ")) == set()


def test_members_processes_and_files(shell):
    assert set(shell.offers("vram run 4G --member ")) >= {"container:", "unit:", "cgroup:/", "pid:"}
    pid = str(os.getpid())
    assert pid in shell.offers(f"vram reserve 4G --pid {pid[:-1]}")
    assert pid in values(shell.offers(f"vram run 4G --member pid:{pid[:-1]}"), "pid:")
    assert shell.offers("vram serve --config need") == ["needle.conf"]
    assert values(shell.offers("vram serve --socket=need"), "--socket=") == {"needle.conf"}


def test_nothing_is_offered_where_nothing_can_be_known(shell):
    for line in ("vram fit 4", "vram fit 4G --margin ", "vram status need", "vram ps need", "vram release "):
        assert shell.offers(line) == [], line


def test_another_programs_command_line(shell):
    assert shell.offers("vram run 4G -- needle-of") == ["needle-of-a-program"]
    assert shell.offers("vram run 4G --label x -- cat need") == ["needle.conf"]
    assert shell.offers("vram run 4G -- cat --mar") == []


@pytest.mark.parametrize("name", STARTS)
def test_leases(name, tmp_path):
    built = Built(tmp_path)
    built.env.update(VRAM_SOCKET=str(tmp_path / "v.sock"), VRAM_DAEMON=str(built.vramd), VRAM_DRIVER="sim:rtx4090")
    shell = start(name, built.env, tmp_path)
    lease = ""
    try:
        lease = built.vram("reserve", "2G").strip()
        assert re.fullmatch("[0-9a-f]{16}", lease)
        assert shell.offers("vram release ") == [lease]
        assert shell.offers(f"vram release {lease[:4]}") == [lease]
    finally:
        shell.close()
        if lease:
                os.kill(json.loads(built.vram("leases", "--json"))["daemon"]["pid"], signal.SIGKILL)


@pytest.mark.parametrize("name", STARTS)
def test_what_a_driver_calls_its_gpus_is_not_executed(name, tmp_path):
    built = Built(tmp_path)
    trap = tmp_path / "trap"
    rows = f"index,uuid\\n0,GPU-good\\n$(touch {trap}),`touch {trap}`\\n;touch {trap};,\\033[2J\\n"
    stand_in = tmp_path / "bin/vram"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\nprintf '{rows}'\n")
    stand_in.chmod(0o755)
    assert "`touch" in subprocess.check_output([stand_in], text=True)
    shell = start(name, dict(built.env, PATH=f"{stand_in.parent}:{os.environ['PATH']}"), tmp_path)
    assert set(shell.offers("vram --gpu ")) == {"0", "GPU-good"}
    shell.close()
    assert not trap.exists()


def test_bash_loads_it_by_itself(built, tmp_path):
    """Where it is installed bash-completion finds it, and the program behind `--` has its own completions."""
    if not BASH_COMPLETION.exists():
        pytest.skip("bash-completion is not installed")
    place = tmp_path / "data/bash-completion/completions"
    place.mkdir(parents=True)
    (place / "vram").symlink_to(MADE / "vram")
    more = f"source {BASH_COMPLETION}\n_needle() {{ COMPREPLY=(\"word-$COMP_CWORD-${{COMP_WORDS[0]}}\"); }}\ncomplete -F _needle needle\n"
    shell = start_bash(dict(built.env, XDG_DATA_HOME=str(tmp_path / "data")), tmp_path, more)
    assert shell.offers("vram sta") == ["status"]
    assert shell.offers("vram run 4G --label x -- needle one ") == ["word-2-needle"]
    shell.close()


def test_bash_without_a_colon_among_the_breaks(built, tmp_path):
    """Some take it out of COMP_WORDBREAKS; others take all."""
    for breaks in ("COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n", "COMP_WORDBREAKS=$' \\t\\n'\n"):
        shell = start_bash(built.env, tmp_path, f"source '{MADE}/vram'\n{breaks}")
        assert shell.offers("vram --driver sim:rtx") == ["sim:rtx4090"]
        assert shell.offers("vram --driver=sim:rtx") == ["--driver=sim:rtx4090"]
        assert shell.offers("vram --color=al") == ["--color=always"]
        shell.close()
