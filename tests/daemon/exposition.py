# SPDX-License-Identifier: MIT
"""Reads both text formats as strictly as their descriptions are, and says what is wrong.

    parse(text, open=True)["vram_used_bytes"] -> [({"gpu": "0", …}, 3221225472.0)]
"""
import re
import unicodedata

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (-?\d+(?:\.\d+)?)\n?")
META = re.compile(rf"# (HELP|TYPE|UNIT) ({NAME}) (.+)")
UNITS = ("bytes", "seconds", "celsius", "ratio")
# Prometheus or its users own these.
RESERVED = {"instance", "job", "host", "hostname", "pod", "namespace", "container", "type"}


class Families(dict):
    """Samples by their names; `types` of families, `helps` too."""

    types, helps = {}, {}

    def value(self, name, **labels):
        """The one sample with these labels."""
        found = [value for have, value in self.get(name, ()) if labels.items() <= have.items()]
        assert len(found) == 1, (name, labels, self.get(name))
        return found[0]


def labels_of(text):
    found, at = {}, 0
    while text and at < len(text):
        match = LABEL.match(text, at)
        assert match, f"no label at {text[at:]}"
        name, value = match.groups()
        assert name not in found, f"twice: {name} in {text}"
        assert name not in RESERVED and not name.startswith("__"), name
        value = re.sub(r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped.group(1), escaped.group(1)), value)
        assert len(value.encode()) <= 256, value
        for char in value:
            assert unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), repr(value)
        found[name] = value
        at = match.end()
        if at < len(text):
            assert text[at] == ",", text
            at += 1
    return found


def sample_name(family, kind, open):
    """What the samples of a family are called."""
    if not open:
        return family
    return family + {"counter": "_total", "info": "_info"}.get(kind, "")


def check_family(name, kind, units, open):
    assert kind in ("gauge", "counter", "info") and (kind != "info" or open), (name, kind)
    if kind == "counter":
        assert name.endswith("_total") != open, name
    if open:
        assert not name.endswith(("_info", "_total")), name
        wanted = [unit for unit in UNITS if name.endswith("_" + unit)]
        assert units == (wanted or [None]), (name, units)
    else:
        assert units == [None], (name, units)
        assert kind == "counter" or not name.endswith("_total"), name


def parse(text, open=False):
    families, types, helps, seen = Families(), {}, {}, set()
    assert text.endswith("\n") and "\r" not in text and not text.startswith("\ufeff")
    lines = text.split("\n")[:-1]
    if open:
        assert lines.pop() == "# EOF"
    family = kind = None
    units = {}
    for line in lines:
        meta = META.fullmatch(line)
        if meta:
            what, name, rest = meta.groups()
            table = {"HELP": helps, "TYPE": types, "UNIT": units}[what]
            assert name not in table, f"{what} of {name} twice"
            assert name == family or name not in types, f"{name} comes back"
            table[name], family = rest, name
            kind = types.get(name)
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, f"no sample: {line!r}"
        name, labels, value = sample.groups()
        assert family in types and family in helps, f"{name} without a head"
        assert name == sample_name(family, kind, open), f"{name} within {family}"
        labels = labels_of(labels)
        key = (name, tuple(sorted(labels.items())))
        assert key not in seen, f"twice: {line}"
        seen.add(key)
        assert kind != "counter" or float(value) >= 0
        assert not name.endswith("_info") or value == "1", line
        assert not name.endswith("_ratio") or 0 <= float(value) <= 1, line
        assert float(value) < 1 << 63, line
        families.setdefault(name, []).append((labels, float(value)))
    for name, told in types.items():
        check_family(name, told, [units.get(name)], open)
        assert sample_name(name, told, open) in families, f"{name} has no sample"
    families.types = {sample_name(name, told, open): told for name, told in types.items()}
    families.helps = helps
    return families
