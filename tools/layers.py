# SPDX-License-Identifier: MIT
"""Holds the direction of includes: a lower layer never includes a higher one, programs see of lib/ only
include/vram.h, and the simulated driver sees common/ alone. Used by check.py; ARCHITECTURE.md says why."""

import posixpath
import re

# What a file below the key may include of the project, by prefix. The longest key counts.
ALLOWED = {
    "include/": (),
    "common/": ("common/",),
    "lib/source/source.h": ("lib/err.h", "common/", "include/vram.h"),  # all that a source knows of the rest
    "lib/source/": ("lib/source/", "common/"),
    "lib/": ("lib/", "common/", "include/vram.h"),
    "sim/": ("sim/", "common/"),
    "cli/": ("cli/", "common/", "include/vram.h"),
    "top/": ("top/", "cli/", "common/", "include/vram.h"),
    "daemon/": ("daemon/", "common/", "include/vram.h"),
    "python/": ("python/", "include/vram.h"),
    "examples/": (),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def violations(root):
    for top in sorted({key.split("/")[0] for key in ALLOWED}):
        for path in sorted((root / top).rglob("*.[ch]")):
            name = path.relative_to(root).as_posix()
            allowed = ALLOWED[max((key for key in ALLOWED if name.startswith(key)), key=len)]
            for included in INCLUDE.findall(path.read_text(errors="replace")):
                if not posixpath.normpath(included).startswith(allowed):
                    yield f"{name} includes {included}"
