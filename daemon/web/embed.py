#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes one C source of the page's files: embed.py OUTPUT FILE….

The page's modules become one, web/app.js: each connection of vramd has one request, and what is compressed together is
smaller. So their outermost names must be different ones, which is looked at here. Comments and indentation stay behind.
Each file is compressed, the same bytes every time, and has a checksum of its text as its ETag. Without uPlot among them
the page is told so: lines that name it are left out of index.html."""

import gzip
import hashlib
import pathlib
import re
import sys

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
# What is served under another name than it has.
NAMES = {"index.html": "/", "uPlot.iife.min.js": "/web/uplot.js", "uPlot.min.css": "/web/uplot.css",
         "LICENSE": "/web/uplot.license.txt"}
IMPORT = re.compile(r'^import .* from "\./(\w+\.js)";\n', re.M)
LONG_COMMENT = re.compile(r"^[ \t]*/\*\*.*?\*/\n", re.M | re.S)
COMMENT = re.compile(r"^[ \t]*//.*\n|[ \t]+// [^'\"`\n]*$", re.M)
OUTERMOST = re.compile(r"^(?:export )?(?:async )?(?:const|let|function|class) (\w+)", re.M)


def shrink(text):
    return re.sub(r"^\s+", "", text, flags=re.M)


def joined(modules):
    """One module of all, each behind those that it imports."""
    order, names = [], []

    def add(name):
        if name not in order:
            for needed in IMPORT.findall(modules[name]):
                add(needed)
            order.append(name)
            names.extend(OUTERMOST.findall(modules[name]))
    add("app.js")
    twice = {name for name in names if names.count(name) > 1}
    if twice or set(order) != set(modules):
        sys.exit(f"embed.py: named twice: {sorted(twice)}; imported by nobody: {sorted(set(modules) - set(order))}")
    text = "".join(re.sub(r"^export ", "", IMPORT.sub("", modules[name]), flags=re.M) for name in order)
    return shrink(COMMENT.sub("", LONG_COMMENT.sub("", text)))


def texts(paths):
    """Pairs: a path as clients ask for it, and its bytes."""
    has_charts = any(path.name == "uPlot.iife.min.js" for path in paths)
    modules = {}
    for path in paths:
        text = path.read_bytes()
        if path.suffix == ".js" and path.name not in NAMES:
            modules[path.name] = text.decode()
            continue
        if path.name == "index.html" and not has_charts:
            text = b"".join(line for line in text.splitlines(keepends=True) if b"uplot" not in line)
        if path.name not in NAMES or path.name == "index.html":
            text = shrink(text.decode()).encode()
        yield NAMES.get(path.name, f"/web/{path.name}"), text
    yield "/web/app.js", joined(modules).encode()


def c_bytes(data):
    rows = (data[at:at + 32] for at in range(0, len(data), 32))
    return ",\n".join("    " + ",".join(map(str, row)) for row in rows)


def main():
    output, *paths = map(pathlib.Path, sys.argv[1:])
    arrays, entries = [], []
    for number, (name, text) in enumerate(sorted(texts(paths))):
        data = gzip.compress(text, 9, mtime=0)
        kind = TYPES["." + name.rpartition(".")[2] if "." in name else ".html"]
        etag = hashlib.sha256(text).hexdigest()[:16]
        arrays.append(f"static const unsigned char file_{number}[] = {{\n{c_bytes(data)}}};\n")
        entries.append(f'    {{"{name}", "{kind}; charset=utf-8", "\\"{etag}\\"", file_{number}, sizeof(file_{number})}},\n')
    output.write_text('#include "daemon/page.h"\n\n' + "".join(arrays) + "\nconst struct page_file page_files[] = {\n" +
                      "".join(entries) + "    {0, 0, 0, 0, 0},\n};\n")


if __name__ == "__main__":
    main()
