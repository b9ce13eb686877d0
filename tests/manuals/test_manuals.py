# SPDX-License-Identifier: MIT
"""Every page is whole, true and rendered without a warning."""
import os
import re
import shutil
import subprocess

import pytest
from conftest import BUILD, DEADLINE, ROOT, Built

MADE, WRITTEN = BUILD / "docs/man", ROOT / "docs/man"
HAND_WRITTEN = ["libvram.3", "vram.conf.5", "vramd.8"]


def pages():
    return {page.name: page for directory in (MADE, WRITTEN) for page in directory.glob("*.[1-8]")}


def rendered(page):
    """The page as plain text: lines without end, so that no word is broken."""
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    done = subprocess.run(["groff", "-mandoc", "-Tutf8", "-ww", "-P-cbou", "-rHY=0", "-rLL=300n", page], timeout=DEADLINE,
                          capture_output=True, text=True, env=dict(os.environ, LC_ALL="C.UTF-8"))
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(r"\s+", " ", done.stdout.replace("’", "'"))


def test_every_command_has_a_page(built):
    commands = built.commands()
    assert {"status", "run", "help"} <= set(commands)
    made = {page.name for page in MADE.glob("*.[1-8]")}
    assert made == {"vram.1"} | {f"vram-{command}.1" for command in commands}
    assert {page.name for page in WRITTEN.glob("*.[1-8]")} == set(HAND_WRITTEN)


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_is_rendered_without_a_warning(name):
    text = rendered(pages()[name])
    for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
        assert f" {title} " in text


def words(text):
    return re.sub(r"\s+", " ", text.replace("`", "").lower())


@pytest.mark.parametrize("name", sorted(page.name for page in MADE.glob("*.1")))
def test_a_page_says_what_the_help_says(built, name):
    command = name[len("vram-"):-len(".1")]
    shown = built.vram("help", *[command] if command else [])
    text = words(rendered(MADE / name))
    for block in re.split(r"\n(?=  \S|\n)", shown.split("\n", 1)[1]):
        assert words(block).strip() in text
    assert f"vram [option...] {command} ".strip() in text
    for option in built.options(*[command] if command else []):
        assert f" {option} " in text


@pytest.mark.parametrize("name", sorted(pages()))
def test_what_a_page_leads_to_is_there(name):
    references = re.findall(r"^\.Xr (\S+) (\d)", pages()[name].read_text(), re.M)
    assert references
    assert [f"{page}.{section}" for page, section in references if f"{page}.{section}" not in pages()] == []


def test_the_daemons_options_are_told(built):
    text = rendered(WRITTEN / "vramd.8")
    options = re.findall(r"--[\w-]+", built.run(str(built.vramd), "--help"))
    assert len(options) >= 9
    assert [option for option in options if f"{option}" not in text] == []
    told = set(re.findall(r"^\.It Fl \\-([\w\\-]+)", (WRITTEN / "vramd.8").read_text(), re.M))
    assert {"--" + option.replace("\\-", "-") for option in told} == set(options)


def test_the_settings_and_their_defaults_are_told():
    text = rendered(WRITTEN / "vram.conf.5")
    example = (ROOT / "packaging/vram.conf").read_text()
    settings = re.findall(r"^;(\w+) = ?(.*)$", example.split(";[gpu", 1)[0], re.M)
    assert len(settings) == 6
    for name, value in settings:
        told = re.search(rf" {name} .*?Default: (\S+)\. ", text)
        assert told and told.group(1) == (value or "none"), name
    source = (WRITTEN / "vram.conf.5").read_text()
    assert set(re.findall(r"^\.It Va (\w+)", source, re.M)) == {name for name, _value in settings}


def literal(page):
    """What a page shows as an example."""
    text = re.search(r"^\.Bd -literal.*?\n(.*?)^\.Ed", (WRITTEN / page).read_text(), re.S | re.M).group(1)
    return text.replace("\\-", "-").replace("\\e", "\\")


def test_the_example_of_a_configuration_is_accepted(tmp_path):
    built = Built(tmp_path)
    config = tmp_path / "vram.conf"
    config.write_text(literal("vram.conf.5"))
    reader, writer = os.pipe()
    daemon = subprocess.Popen([built.vramd, "--config", config, "--socket", tmp_path / "v.sock", "--ready-fd", str(writer)],
                              env=dict(built.env, VRAM_SOCKET=""), pass_fds=[writer], stderr=subprocess.PIPE)
    os.close(writer)
    with os.fdopen(reader) as ready:
        said = ready.readline()
    daemon.terminate()
    _out, err = daemon.communicate(timeout=DEADLINE)
    assert (said, daemon.returncode) == ("ready\n", 0), err


def test_the_librarys_page_names_every_function():
    listed = set(re.findall(r"^\s+(vram_\w+);", (ROOT / "lib/libvram.map").read_text(), re.M))
    told = set(re.findall(r"^\.F[no] (?:Fn )?(vram_\w+)|Fn (vram_\w+)", (WRITTEN / "libvram.3").read_text(), re.M))
    assert {first or second for first, second in told} == listed


def test_the_librarys_example_compiles(tmp_path):
    program = tmp_path / "program.c"
    program.write_text(literal("libvram.3"))
    done = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", ROOT / "include", program],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
