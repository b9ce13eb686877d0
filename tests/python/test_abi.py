# SPDX-License-Identifier: MIT
"""What the package says of the library's structures, functions and constants, held against what a C compiler makes of
include/vram.h."""
import ctypes
import os
import re
import shlex
import subprocess

import pytest
from conftest import BUILD, ROOT

from vram import _lib

HEADER = (ROOT / "include/vram.h").read_text()
BARE = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.S)
STRUCTURES = {cls.__doc__.split()[1]: cls for cls in vars(_lib).values()
              if isinstance(cls, type) and issubclass(cls, ctypes.Structure) and cls is not ctypes.Structure}
CONSTANTS = {
    "VRAM_UNKNOWN": _lib.UNKNOWN, "VRAM_DEFAULT_MARGIN_BYTES": _lib.DEFAULT_MARGIN_BYTES, "VRAM_LOG_DEBUG": _lib.LOG_DEBUG,
    "VRAM_LOG_WARNING": _lib.LOG_WARNING, "VRAM_LOG_ERROR": _lib.LOG_ERROR, "VRAM_OPEN_WAKE": _lib.OPEN_WAKE,
    "VRAM_OPEN_DIRECT": _lib.OPEN_DIRECT, "VRAM_TAKE_PROCESSES": _lib.TAKE_PROCESSES,
    "VRAM_TAKE_COMMANDS": _lib.TAKE_COMMANDS, "VRAM_TAKE_HEALTH": _lib.TAKE_HEALTH,
    "VRAM_PROCESS_COMPUTE": _lib.PROCESS_COMPUTE, "VRAM_PROCESS_GRAPHICS": _lib.PROCESS_GRAPHICS,
    "VRAM_PROCESS_MPS": _lib.PROCESS_MPS, "VRAM_START_IF_PROMISED": _lib.START_IF_PROMISED,
    "VRAM_OWNER_PARENT": _lib.OWNER_PARENT, "VRAM_FITS": _lib.FITS, "VRAM_NOT_NOW": _lib.NOT_NOW, "VRAM_NEVER": _lib.NEVER,
    "VRAM_CANNOT_TELL": _lib.CANNOT_TELL, "VRAM_TIMED_OUT": _lib.TIMED_OUT,
}
# Enumeration: the package's words for its values, and what they are called in C after their prefix.
ENUMERATIONS = {
    "vram_gpu_state": ("VRAM_GPU_", _lib.GPU_STATES), "vram_memory_kind": ("VRAM_MEMORY_", _lib.MEMORY_KINDS),
    "vram_answer": ("VRAM_", _lib.ANSWERS), "vram_lease_state": ("VRAM_LEASE_", _lib.LEASE_STATES),
    "vram_severity": ("VRAM_FINDING_", _lib.SEVERITIES),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What the compiler says, by what was asked."""
    lines = [f'printf("%s=%lld\\n", "{name}", (long long){name});' for name in CONSTANTS]
    for name, cls in STRUCTURES.items():
        lines.append(f'printf("%s=%zu\\n", "{name}", sizeof(struct {name}));')
        for field, *_ in cls._fields_:
            lines.append(f'printf("%s=%zu:%zu\\n", "{name}.{field}", offsetof(struct {name}, {field}), '
                         f"sizeof(((struct {name} *)0)->{field}));")
    for name in ENUMERATIONS:
        lines += [f'printf("%s=%lld\\n", "{value}", (long long){value});' for value in enumerators(name)]
    directory = tmp_path_factory.mktemp("abi")
    source = directory / "abi.c"
    source.write_text("#include <vram.h>\n#include <stdio.h>\nint main(void)\n{\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, "-std=gnu11", "-I", ROOT / "include", source, "-o", directory / "abi"], check=True)
    output = subprocess.run([directory / "abi"], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=") for line in output.splitlines())


def enumerators(name):
    return re.findall(r"\b(VRAM_\w+)\b", re.search(rf"enum {name} {{(.*?)}}", BARE, re.S).group(1))


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(compiled, name):
    cls = STRUCTURES[name]
    assert int(compiled[name]) == ctypes.sizeof(cls)
    for field, *_ in cls._fields_:
        described = getattr(cls, field)
        assert compiled[f"{name}.{field}"] == f"{described.offset}:{described.size}", field


def test_every_structure_that_is_read_is_declared():
    in_header = set(re.findall(r"^struct (vram_\w+) {", BARE, re.M))
    not_read = {"vram_promises", "vram_metrics_options", "vram_value", "vram_field"}  # for vramd and vram alone
    assert in_header - set(STRUCTURES) == not_read


@pytest.mark.parametrize("name", STRUCTURES)
def test_fields_are_all_there(name):
    body = re.search(rf"^struct {name} {{(.*?)^}};", BARE, re.M | re.S).group(1)
    names = [part.split()[-1].lstrip("*") for line in body.split(";") if line.strip() for part in line.split(",")]
    assert names == [field for field, *_ in STRUCTURES[name]._fields_]


def test_constants(compiled):
    for name, value in CONSTANTS.items():
        assert int(compiled[name]) & _lib.UNKNOWN == value & _lib.UNKNOWN, name


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_enumerations(compiled, name):
    prefix, words = ENUMERATIONS[name]
    in_c = {value: int(compiled[value]) for value in enumerators(name)}
    # "unknown" is what people read; in C it must not be taken for VRAM_UNKNOWN.
    in_python = {prefix + ("CANNOT_TELL" if word == "unknown" else word.upper()): i for i, word in enumerate(words)}
    assert in_c == in_python


def test_functions():
    kinds = {"int": ctypes.c_int, "size_t": ctypes.c_size_t, "uint64_t": ctypes.c_uint64, "const char *": ctypes.c_char_p}
    for name, (result, arguments) in _lib._FUNCTIONS.items():
        found = re.search(rf"VRAM_API (?:VRAM_MUST_CHECK )?([\w ]+?\*?){name}\(([^)]*)\)", BARE)
        assert found, name
        declared = [text.strip() for text in found.group(2).split(",") if text.strip() != "void"]
        assert len(declared) == len(arguments), name
        for text, kind in zip(declared, arguments):
            if "*" not in text:
                assert kind is {"uint32_t": ctypes.c_uint32, "uint64_t": ctypes.c_uint64, "size_t": ctypes.c_size_t}[
                    text.split()[0]], f"{name}: {text}"
            elif re.fullmatch(r"const char \*\w+", text):
                assert kind is ctypes.c_char_p, f"{name}: {text}"
        kind = found.group(1).strip()
        if kind in kinds:
            assert result is kinds[kind], name


def test_it_is_the_library_of_this_build():
    assert _lib.lib().vram_version().decode() == re.search(r"version: '([\d.]+)'", (ROOT / "meson.build").read_text()).group(1)
    assert BUILD.exists()
