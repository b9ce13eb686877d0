# SPDX-License-Identifier: MIT
"""Holds the documents to what the programs do. Used by check.py.

- A block marked `console` is a session: commands behind "$ ", what they are given behind "> ", and exactly what they
  print, but that "…" stands for anything within a line. All of them are run, those of one document in one shell.
- A block marked `c` is a whole program; it is compiled against the public header.
- Links and names of files lead somewhere; no file names a path of the machine that it was written on.
- Every command of vram and every verb of ./dev is told of.
"""

import os
import pathlib
import re
import signal
import socket
import struct
import sys
import tempfile

import bounded

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)
EXAMPLE = re.compile(r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n)*)", re.M)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
FILE = re.compile(r"`((?:cli|common|docs|examples|include|lib|python|sim|tests|tools)/[\w./-]*)`")
END_OF_COMMAND = "\x01"
FOREIGN_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w[\w./-]*")


def blocks(text, language):
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def foreign_paths(root, files):
    """Only texts for people are searched for any path; all other files for this checkout's own."""
    for name in files:
        text = (root / name).read_text(errors="replace")
        pattern = FOREIGN_PATH if name.endswith(".md") else re.compile(re.escape(str(root)) + r"\b")
        for path in sorted(set(pattern.findall(text))):
            if len(root.parts) > 2:
                yield f"{name} names a path of some machine: {path}"


def broken_links(root, documents):
    for name, text in documents.items():
        for target in LINK.findall(text):
            if not (root / name).parent.joinpath(target).exists():
                yield f"{name} links to {target}, which is not there"
        for target in FILE.findall(text):
            if not (root / target).exists():
                yield f"{name} names {target}, which is not there"


def untold(documents, command, pattern, prefix):
    """What `command` lists and no document mentions."""
    status, listed = bounded.run(command)
    words = re.findall(pattern, listed, re.M)
    if status != 0 or not words:
        yield f"{' '.join(map(str, command))} lists nothing"
    told = "\n".join(documents.values())
    for word in words:
        if not re.search(rf"{re.escape(prefix)} {word}\b", told):
            yield f"no document mentions `{prefix} {word}`"


def not_run(documents):
    """A guide shows what runs, but for texts that are no commands."""
    for name, text in documents.items():
        for kind, body in BLOCK.findall(text):
            if name.startswith("docs/guides/") and kind not in ("console", "python", "c", "ini", "yaml", "text"):
                yield f"{name} shows what nothing runs: {body.splitlines()[0]}"


def session(text):
    """Pairs: a command and what it is said to print."""
    found = [pair for body in blocks(text, "console") for pair in EXAMPLE.findall(body)]
    return [(command.replace("\n> ", "\n"), wanted) for command, wanted in found]


def matches(wanted, got):
    pattern = ".*".join(map(re.escape, wanted.strip().split("…")))
    return re.fullmatch(pattern, got.strip()) is not None


def end_daemons(directory):
    """Those that commands have started; nobody else knows their sockets."""
    for path in pathlib.Path(directory).glob("vram/*.sock"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            pid, _uid, _gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        os.kill(pid, signal.SIGTERM)


def run_session(directory, name, examples):
    script = "".join(f"{command}\nstatus=$?; printf '\\001'; (exit $status)\n" for command, _wanted in examples)
    _status, said = bounded.run(["sh", "-c", script], example_environment(directory), directory, timeout=60)
    end_daemons(directory)
    printed = said.split(END_OF_COMMAND)
    for (command, wanted), got in zip(examples, printed):
        if not matches(wanted, got):
            yield f"{name} shows for `{command}`\n{wanted.rstrip()}\n{name}: it prints\n{got.rstrip()}"
    if len(printed) <= len(examples):
        yield f"{name}: `{examples[len(printed) - 1][0]}` does not end"


def compile_program(root, name, program):
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory) / "program.c"
        source.write_text(program)
        status, said = bounded.run(
            ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", root / "include", "-fsyntax-only", source]
        )
        if status != 0:
            yield f"{name} shows a program that does not compile\n{said}"


def example_environment(directory):
    """A machine for every document: its own state, and none of the caller's choices."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CUDA_", "LC_", "NO_COLOR"))}
    return dict(kept, LC_ALL="C.UTF-8", XDG_RUNTIME_DIR=directory, VRAM_SIM_STATE_DIR=directory, TERM="dumb", TZ="UTC",
                PATH=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")


def examine(root, build, files):
    """Returns what is wrong, and a summary for when nothing is."""
    documents = {name: (root / name).read_text() for name in files if name.endswith(".md")}
    found = [*foreign_paths(root, files), *broken_links(root, documents)]
    found += not_run(documents)
    found += untold(documents, [build / "cli/vram", "--help"], r"^  ([a-z]+)\b", "vram")
    found += untold(documents, [root / "dev"], r"^  (\w+) ", "./dev")
    run = compiled = 0
    for name, text in documents.items():
        examples = session(text)
        with tempfile.TemporaryDirectory() as directory:
            found += run_session(directory, name, examples) if examples else []
        run += len(examples)
        for program in blocks(text, "c"):
            found += compile_program(root, name, program)
            compiled += 1
    return found, f"{len(documents)} documents, {run} commands run, {compiled} programs compiled"
