# SPDX-License-Identifier: MIT
"""Every page is whole, true and rendered without a warning."""
import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import BUILD, DEADLINE, ROOT, Built

MADE, WRITTEN = BUILD / "docs/man", ROOT / "docs/man"
HAND_WRITTEN = ["libvram.3", "vram-scenario.5", "vram-sim.1", "vram.conf.5", "vramd.8"]


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
    assert len(settings) == 17
    for name, value in settings:
        told = re.search(rf" {name} .*?Default: (\S+)\. ", text)
        assert told and told.group(1) == (value or "none"), name
    source, holders = re.search(r"^(.*)^\.Ss \[holder NAME\](.*?)^\.Sh", (WRITTEN / "vram.conf.5").read_text(), re.S | re.M).groups()
    plain = example.split(";[holder", 1)[0]
    assert set(re.findall(r"^\.It Va (\w+)", source, re.M)) == set(re.findall(r"^;(\w+) =", plain, re.M))
    known = re.search(r"names\[SETTINGS\] = \{(.*?)\}", (ROOT / "daemon/config_holders.c").read_text(), re.S).group(1)
    assert re.findall(r"^\.It Va (\w+)", holders, re.M) == re.findall(r'"(\w+)"', known)
    for name in re.findall(r'"(\w+)"', known):
        assert f";{name} = " in example, name


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


# ---- The scenario language ------------------------------------------------------------------------

SCENARIO = "vram-scenario.5"
TEXT = r'"\s*([^"\s]+?)=?\s*"'  # a word that the reader knows, as C writes it: "at", " do ", "gi="


def source(name):
    return re.sub(r"/\*.*?\*/", "", (ROOT / name).read_text(), flags=re.S)


def lists(text):
    """The lists of words in a C source, by their names."""
    found = re.findall(r"const char \*const (\w+)\[\] = \{(.*?)\};", text, re.S)
    return {name: set(re.findall(TEXT, members)) for name, members in found}


def known_words():
    """What the reader of scenarios compares with, has in tables and in lists."""
    words = set(re.findall(r"^    X\(\d+, (\w+),", source("common/nvml_abi.h"), re.M))
    for name in ("scenario", "words", "setting", "statement", "statement_rule"):
        text = source(f"sim/{name}.c")
        compared, rows = re.findall(rf"\bstrn?cmp\([^()]*?{TEXT}", text), re.findall(rf"\{{[\s\\]*{TEXT}", text)
        letters = "".join(re.findall(r'char letters\[\] = "(\w+)"', text))
        words = words.union(compared, rows, letters, *lists(text).values())
    return words


def told_words(text):
    """What a piece of a page sets as a word of the language (.Cm)."""
    words = set()
    for line in re.findall(r"^\.(.*)", text, re.M):
        macro = ""
        for token in line.replace("\\-", "-").replace("\\&", "").split():
            macro, word = (token, "") if re.fullmatch("[A-Z][a-z]", token) else (macro, token)
            words |= {word} if macro == "Cm" and re.search(r"\w|[*?]", word) else set()
    return words


def entries(section):
    """The entries of a section: the words at their heads, and what is said of them."""
    text = re.search(rf"^\.Ss {section}\n(.*?)(?=^\.S[sh] )", (WRITTEN / SCENARIO).read_text(), re.S | re.M).group(1)
    found = re.findall(r"((?:^\.It [^\n]*\n)+)(.*?)(?=^\.It|^\.El)", text, re.S | re.M)
    return [(told_words(heads), body) for heads, body in found]


def test_every_word_of_scenarios_is_told():
    known, page = known_words(), (WRITTEN / SCENARIO).read_text()
    assert len(known) > 180 and {"driver", "gpu", "temp", "slices", "mem", "jitter", "do", "hmm", "C", "GPU_IS_LOST"} <= known
    assert known - told_words(page) == set()
    heads = told_words("".join(re.findall(r"^\.It .*\n", page, re.M)))
    assert heads - known == set()


def test_every_key_of_scenarios_is_told_where_it_belongs():
    setting, statement = source("sim/setting.c"), source("sim/statement.c")
    shared, own = [re.findall(rf"{TEXT}, SETTING_", part) for part in setting.split("struct setting gpu_settings", 1)]
    state = re.findall(rf"{TEXT}, offsetof\(struct gpu, \w+\), (?:true|false)", setting)
    count = re.findall(rf"{TEXT}, offsetof\(struct instance, \w+\)", setting)
    address = re.findall(rf"strcmp\(key, {TEXT}\)", setting)
    process = re.findall(rf"strcmp\(key, {TEXT}\)", statement)
    rule = re.findall(rf"strcmp\(word, {TEXT}\)", source("sim/statement_rule.c"))
    event = re.findall(rf"\{{{TEXT}, (?:0x)?\d+\}}", statement)
    for section, words, least in (("GPUs", shared + own + state + address, 55), ("MIG instances", shared + count, 9),
                                  ("Processes", process, 6), ("Events", event, 6), ("What calls meet", rule, 9)):
        heads = set().union(*(head for head, _body in entries(section)))
        assert len(words) >= least and set(words) - heads == set(), section


def test_every_verb_of_scenarios_has_an_entry():
    verbs = {"at", "after"}  # read before a line is taken apart
    for name in ("scenario", "statement", "statement_rule"):
        text = source(f"sim/{name}.c")
        tables = "".join(re.findall(r"\bverbs\[\] = \{(.*?)\};", text, re.S))
        verbs.update(re.findall(TEXT, tables), re.findall(rf"strcmp\(verb, {TEXT}\)", text))
    assert len(verbs) > 20
    told = re.findall(r"^\.It Cm (\w+) (?:Ar|Cm|Oo) |^\.It Cm (release|clear)$", (WRITTEN / SCENARIO).read_text(), re.M)
    assert verbs == {one or other for one, other in told}


def test_every_value_of_a_gpus_keys_is_told():
    setting = source("sim/setting.c")
    numbers = dict(re.findall(rf"{TEXT}, SETTING_NUMBER, \w+\(\w+\), ([^,]+),", setting))
    choices = dict(re.findall(rf"{TEXT}, SETTING_CHOICE, \w+\(\w+\), 0, (\w+)", setting))
    switches = re.findall(rf"{TEXT}, SETTING_SWITCH", setting)
    assert len(numbers) >= 30 and len(choices) >= 8 and len(switches) >= 6
    said = {key: body for head, body in entries("GPUs") for key in head}
    most = {"UINT32_MAX": str(2**32 - 1), "UINT64_MAX - 1": str(2**64 - 2)}
    assert [key for key, end in numbers.items() if not re.search(rf"\bup to {most.get(end, end)}\b", said[key])] == []
    assert [key for key, name in choices.items() if lists(setting)[name] - told_words(said[key])] == []
    assert [key for key in switches if not {"on", "off"} <= told_words(said[key])] == []


def test_the_bounds_of_scenarios_are_told():
    bounds = {}
    for name in ("words.h", "world.h", "scenario.h", "state.h", "nvml_process.c"):
        bounds.update(re.findall(r"^#define (\w+) (\d+)u? *$", source(f"sim/{name}"), re.M))
    names = ("WORLD_GPUS", "WORLD_INSTANCES", "WORLD_PROCESSES", "WORLD_RULES", "WORLD_EVENTS", "SCENARIO_LINES_MAX",
             "STATE_LOG_LINES", "STATE_SLOTS", "WORDS_LINE_MAX", "WORDS_MAX", "LIST_MAX")
    text = re.search(r"^\.Ss Bounds\n(.*?)^\.S", (WRITTEN / SCENARIO).read_text(), re.S | re.M).group(1)
    assert [name for name in names if not re.search(rf"\b{bounds[name]}\b", text)] == []


def test_the_example_of_a_scenario_is_played(tmp_path):
    built = Built(tmp_path)
    (tmp_path / "two.scenario").write_text(literal(SCENARIO))
    machine = {"VRAM_DRIVER": f"sim:{tmp_path}/two.scenario@demo"}
    for used in (6, 20):
        first, second = json.loads(built.vram("status", "--json", **machine))["gpus"]
        assert [process["used_bytes"] for process in first["processes"]] == [used << 30]
        assert (first["temperature_c"], second["temperature_c"], second["processes"]) == (61, None, [])
        built.run("vram-sim", "advance", "2s", **machine)
