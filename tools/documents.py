# SPDX-License-Identifier: MIT
"""Holds the documents to what the programs do. Used by check.py.

- A block marked `console` is a session in one shell: commands behind "$ " and exactly what they print. All
  of them are run.
- A block marked `c` is a whole program; it is compiled against the public header.
- Links and names of files lead somewhere; no file names a path of the machine that it was written on.
- Every command of vram and every verb of ./dev is told of.
"""

import os
import pathlib
import re
import tempfile

import bounded

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)
EXAMPLE = re.compile(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", re.S | re.M)
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


def sessions(text):
    """Lists of pairs: a command and what it is said to print."""
    return [EXAMPLE.findall(body) for body in blocks(text, "console")]


def run_session(root, environment, name, session):
    script = "".join(f"{command}\nprintf '\\001'\n" for command, _wanted in session)
    _status, said = bounded.run(["sh", "-c", script], environment, root, timeout=60)
    printed = said.split(END_OF_COMMAND)
    for (command, wanted), got in zip(session, printed):
        if got.strip() != wanted.strip():
            yield f"{name} shows for `{command}`\n{wanted.rstrip()}\n{name}: it prints\n{got.rstrip()}"
    if len(printed) <= len(session):
        yield f"{name}: `{session[len(printed) - 1][0]}` does not end"


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
    """A machine for every example: its own state, and none of the caller's choices."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CUDA_", "LC_", "NO_COLOR"))}
    return dict(kept, LC_ALL="C.UTF-8", VRAM_SIM_STATE_DIR=directory, TERM="dumb", TZ="UTC")


def examine(root, build, files):
    """Returns what is wrong, and a summary for when nothing is."""
    documents = {name: (root / name).read_text() for name in files if name.endswith(".md")}
    found = [*foreign_paths(root, files), *broken_links(root, documents)]
    found += untold(documents, [build / "cli/vram", "--help"], r"^  ([a-z]+)\b", "vram")
    found += untold(documents, [root / "dev"], r"^  (\w+) ", "./dev")
    run = compiled = 0
    with tempfile.TemporaryDirectory() as directory:
        for name, text in documents.items():
            for session in sessions(text):
                found += run_session(root, example_environment(directory), name, session)
                run += len(session)
            for program in blocks(text, "c"):
                found += compile_program(root, name, program)
                compiled += 1
    return found, f"{len(documents)} documents, {run} commands run, {compiled} programs compiled"
